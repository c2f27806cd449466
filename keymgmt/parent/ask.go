package parent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/zone"
)

const (
	maxAsked = 16 // servers that are asked at the same time
	minDS    = 5  // octets of DS RDATA with a digest, RFC 4034 §5.1
)

// Answer is what one server said.
type Answer struct {
	Server netip.AddrPort
	DS     []string // RDATA in wire form, sorted, no duplicates; empty: the server says authoritatively that there is none
	TTL    uint32   // seconds, of the DS RRset as served, the longest if they differ; 0 when there is none
	Err    error    // why there is no answer that counts; then DS is empty and means nothing
}

// AskDS asks every server for the DS RRset of child, side by side, and returns an Answer for each in the order of the
// servers. It asks over UDP, and over TCP when the answer is truncated or there is none. Only an authoritative answer
// from above the delegation counts; everything else is an Err.
func (c *Client) AskDS(ctx context.Context, child zone.Name, servers []netip.AddrPort) []Answer {
	answers := make([]Answer, len(servers))
	var g errgroup.Group
	g.SetLimit(maxAsked)
	for i, server := range servers {
		g.Go(func() error {
			a := Answer{Server: server}
			if a.DS, a.TTL, a.Err = c.askDS(ctx, child, server); a.Err != nil {
				a.Err = fmt.Errorf("DS of %s at %s: %w", child, server, a.Err)
			}
			answers[i] = a
			return nil
		})
	}
	_ = g.Wait() // errors are in the answers
	return answers
}

func (c *Client) askDS(ctx context.Context, child zone.Name, server netip.AddrPort) (ds []string, ttl uint32, err error) {
	if child.IsZero() || child.IsRoot() {
		return nil, 0, fmt.Errorf("%q has no parent", child)
	}
	m, err := c.query(ctx, server, child, dns.TypeDS)
	if err != nil {
		return nil, 0, err
	}
	records, apex, err := authoritative(m, child, dns.TypeDS)
	if err != nil {
		return nil, 0, err
	}
	if len(records) == 0 {
		if apex == child {
			return nil, 0, errors.New("the answer is from the child's side of the delegation")
		}
		if err := checkBelow(child, apex); err != nil {
			return nil, 0, fmt.Errorf("the answer is from the zone %s: %w", apex, err)
		}
		return nil, 0, nil
	}
	for _, rr := range records {
		rdata, err := rdataOf(rr)
		if err != nil {
			return nil, 0, err
		}
		if len(rdata) < minDS {
			return nil, 0, fmt.Errorf("malformed DS: %d octets", len(rdata))
		}
		ds = append(ds, rdata)
		// The longest is how long others may go on to believe in what was served.
		ttl = max(ttl, rr.Header().Ttl)
	}
	return sorted(ds), ttl, nil
}

// query asks one server for an RRset, without recursion. The answer is complete; what it says is not checked.
func (c *Client) query(ctx context.Context, server netip.AddrPort, name zone.Name, qtype uint16) (*dns.Msg, error) {
	m, err := c.queryOver(ctx, "udp", server, name, qtype)
	if err == nil && !m.Truncated {
		return m, nil
	}
	if err == nil {
		err = errors.New("truncated")
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("over UDP: %w", err)
	}
	m, tcpErr := c.queryOver(ctx, "tcp", server, name, qtype)
	if tcpErr == nil && m.Truncated {
		tcpErr = errors.New("truncated")
	}
	if tcpErr != nil {
		return nil, fmt.Errorf("over UDP: %w; over TCP: %w", err, tcpErr)
	}
	return m, nil
}

func (c *Client) queryOver(ctx context.Context, network string, server netip.AddrPort, name zone.Name, qtype uint16) (*dns.Msg, error) {
	m := newRequest(dns.OpcodeQuery, name, qtype)
	m.SetEdns0(udpSize, true)
	r, err := pack(m)
	if err != nil {
		return nil, err
	}
	answer, _, err := c.exchange(ctx, network, server, r)
	return answer, err
}

// authoritative takes from an answer the records that were asked for. If there are none, the server must say so with
// the SOA record of a zone (RFC 2308 §2), and apex is the name of that zone; whether that zone may say so is up to the
// caller. All else is an error.
func authoritative(m *dns.Msg, name zone.Name, qtype uint16) (records []dns.RR, apex zone.Name, err error) {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, zone.Name{}, fmt.Errorf("the server answers %s", rcodeName(m.Rcode))
	case !m.Authoritative && holds(m.Ns, dns.TypeNS):
		return nil, zone.Name{}, errors.New("the server answers with a referral")
	case !m.Authoritative:
		return nil, zone.Name{}, errors.New("the answer is not authoritative")
	}
	for _, rr := range m.Answer {
		switch h := rr.Header(); {
		case h.Class != dns.ClassINET || !sameName(h.Name, name.String()):
			return nil, zone.Name{}, fmt.Errorf("the answer has a record of %s, class %s", h.Name, dns.Class(h.Class))
		case h.Rrtype == qtype:
			records = append(records, rr)
		case h.Rrtype != dns.TypeRRSIG:
			return nil, zone.Name{}, fmt.Errorf("the answer has a record of type %s", dns.Type(h.Rrtype))
		}
	}
	switch {
	case len(m.Answer) == 0:
		apex, err = denier(m.Ns)
		return nil, apex, err
	case len(records) == 0:
		return nil, zone.Name{}, errors.New("the answer has signatures alone")
	case m.Rcode == dns.RcodeNameError:
		return nil, zone.Name{}, errors.New("the answer has records of a name that it says does not exist")
	}
	return records, zone.Name{}, nil
}

func holds(section []dns.RR, rrtype uint16) bool {
	for _, rr := range section {
		if rr.Header().Rrtype == rrtype {
			return true
		}
	}
	return false
}

// denier returns the zone whose SOA record is in the authority section.
func denier(authority []dns.RR) (apex zone.Name, err error) {
	for _, rr := range authority {
		h := rr.Header()
		if h.Rrtype != dns.TypeSOA || h.Class != dns.ClassINET {
			continue
		}
		if !apex.IsZero() {
			return zone.Name{}, errors.New("two SOA records deny that there is a record")
		}
		if apex, err = zone.ParseName(h.Name); err != nil {
			return zone.Name{}, fmt.Errorf("owner of the SOA record: %w", err)
		}
	}
	if apex.IsZero() {
		return zone.Name{}, errors.New("neither a record nor the SOA record of a zone that has none")
	}
	return apex, nil
}

// rdataOf returns the RDATA of a record in wire form.
func rdataOf(rr dns.RR) (string, error) {
	var raw dns.RFC3597
	if err := raw.ToRFC3597(rr); err != nil {
		return "", fmt.Errorf("RDATA of %s: %w", dns.Type(rr.Header().Rrtype), err)
	}
	rdata, err := hex.DecodeString(raw.Rdata)
	if err != nil {
		return "", fmt.Errorf("RDATA of %s: %w", dns.Type(rr.Header().Rrtype), err)
	}
	return string(rdata), nil
}
