package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// State is one consistent state of namespace and keys: what it returns does not change, and belongs together. It is
// safe for concurrent use.
type State interface {
	zone.View
	zone.Keys
	// KeySet returns the keys that a zone is signed with, nil when it has no usable ones. They are those that Apex
	// has the records of.
	KeySet(apex zone.Name) *keymgmt.KeySet
}

// Signer makes signatures and denials. It is safe for concurrent use.
type Signer interface {
	// Sign returns the RDATA of the RRSIG records of set, one for each algorithm of the zone, in wire form. With an
	// error nothing may be answered.
	// The span is when these signatures are the ones to give out; now is in it, and may be some minutes ahead of the time.
	Sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, now time.Time) (sigs []string, span rrsig.Span, err error)
	// Denial returns the NSEC RRset of a name that is in the answer's zone, existing or not.
	Denial(a zone.Answer) zone.RRset
	// Verify returns nil if a validator that has the keys would accept the signatures of set at now.
	Verify(ks *keymgmt.KeySet, set zone.RRset, sigs []string, now time.Time) error
}

// Options configure a Server. All fields but NSID, Chaos and Version are needed.
type Options struct {
	// State returns the newest state. It is called once a query and must be cheap. While the first state is not
	// loaded it returns nil: the interface itself, not a nil pointer in it.
	State func() State
	// Mark takes the present epochs of a label in a zone that there is: as long as it is current, what was answered about the
	// label from a State that was read later is current too.
	Mark    func(apex zone.Name, label string) epoch.Mark
	Signer  Signer
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *Metrics

	NSID    string // identifies this node to those who ask (RFC 5001); at most 64 octets; empty: not answered
	Chaos   bool   // answer version.bind and id.server in class CHAOS (RFC 4892); otherwise REFUSED
	Version string // what version.bind is answered with; at most 255 octets; empty: REFUSED

	CacheSize int64 // most memory for answers, in octets; at least 1 MiB

	UDPSize int // largest answer over UDP in octets, from 512 (RFC 1035 §4.2.1) to 65507

	// TCPIdle is how long a TCP connection may be without a complete query, and how long a client may take to
	// accept answers (RFC 7766 §6.2.3).
	TCPIdle         time.Duration
	TCPMax          int // most TCP connections at a time; more are closed at once
	TCPMaxPerClient int // the same for one client address
}

const (
	maxNSID    = 64
	minCache   = 1 << 20
	maxText    = 255   // of a character-string: RFC 1035 §3.3
	minUDPSize = 512   // RFC 1035 §4.2.1
	maxUDPSize = 65507 // what fits into an IPv4 packet
)

// Server is the DNS server. Its order of life is [New], [Server.Listen], [Server.Serve]. [Server.Respond] and
// [Server.Ready] work at any time, without sockets too.
type Server struct {
	Options

	udp   []*net.UDPConn     // written by Listen alone
	tcp   []*net.TCPListener // written by Listen alone; on the addresses of udp
	conns connTable

	answers    answers
	responders sync.Pool // of *responder, for Respond; loops have their own
	cursor     cursor    // of Ready
	failureLog [failures]seldom
	panicLog   seldom
}

// New checks the options and makes a server that does not listen yet.
func New(o Options) (*Server, error) {
	if o.State == nil || o.Mark == nil || o.Signer == nil || o.Now == nil || o.Log == nil || o.Metrics == nil {
		return nil, errors.New("server: State, Mark, Signer, Now, Log and Metrics are needed")
	}
	switch {
	case len(o.NSID) > maxNSID:
		return nil, fmt.Errorf("server: an NSID of %d octets; at most %d", len(o.NSID), maxNSID)
	case len(o.Version) > maxText:
		return nil, fmt.Errorf("server: a version of %d octets; at most %d", len(o.Version), maxText)
	case o.UDPSize < minUDPSize || o.UDPSize > maxUDPSize:
		return nil, fmt.Errorf("server: UDP answers of %d octets; from %d to %d", o.UDPSize, minUDPSize, maxUDPSize)
	case o.CacheSize < minCache:
		return nil, fmt.Errorf("server: %d octets for answers; at least %d", o.CacheSize, minCache)
	case o.TCPIdle <= 0:
		return nil, fmt.Errorf("server: a TCP idle timeout of %s", o.TCPIdle)
	case o.TCPMax < 1 || o.TCPMaxPerClient < 1:
		return nil, fmt.Errorf("server: at most %d TCP connections, %d of a client; both must be at least 1", o.TCPMax, o.TCPMaxPerClient)
	}
	s := &Server{Options: o, answers: newAnswers(o.CacheSize, o.Metrics)}
	s.conns.init(o.TCPMax, o.TCPMaxPerClient)
	s.responders.New = func() any { return &responder{s: s} }
	return s, nil
}
