// Package parent knows what the parent zone says of a child's DS, and how it is told about a new one.
//
// Nothing here is validated with DNSSEC: who can change packets between us and the servers of the parent can make us
// believe in any DS RRset. Who cannot has to guess port, ID and question of a query. What no server of the parent has
// said with authority is an error, and never the absence of a DS: a key must not go because a packet was lost.
//
// github.com/miekg/dns reads and writes the messages. Deadlines come from contexts; the one clock that is read is that
// of the TSIG signatures, by that module.
package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

const (
	defaultTimeout = 3 * time.Second
	headerLen      = 12   // octets of a message before its sections, RFC 1035 §4.1.1
	udpSize        = 1232 // octets of an answer over UDP that cross the Internet in one piece
	udpBuffer      = 4096 // octets; more than was offered, for servers that do not listen
)

// Client asks and tells the servers of a parent zone. The zero value works. Safe for concurrent use while its fields
// do not change.
type Client struct {
	// Timeout of one exchange of messages, connecting included; 3 s if it is not positive.
	Timeout time.Duration
	// Resolver finds the addresses of the target of a NOTIFY; host is fully qualified, with the final dot. If nil, it
	// is net.DefaultResolver.
	Resolver func(ctx context.Context, host string) ([]netip.Addr, error)
}

// request is a message and how it looks on the wire.
type request struct {
	*dns.Msg
	wire []byte
}

// newRequest begins a message with one question of class IN. Whoever wants to forge the answer must guess the ID.
func newRequest(opcode int, name zone.Name, qtype uint16) *dns.Msg {
	return &dns.Msg{
		MsgHdr:   dns.MsgHdr{Id: dns.Id(), Opcode: opcode},
		Question: []dns.Question{{Name: name.String(), Qtype: qtype, Qclass: dns.ClassINET}},
	}
}

// pack brings a message without TSIG into wire form.
func pack(m *dns.Msg) (request, error) {
	wire, err := m.Pack()
	if err != nil {
		return request{}, fmt.Errorf("pack the message: %w", err)
	}
	return request{m, wire}, nil
}

// exchange sends a request over "udp" or "tcp" and returns the answer to it, parsed and as it came. The error is a
// context.DeadlineExceeded if there was none in time.
func (c *Client) exchange(ctx context.Context, network string, server netip.AddrPort, r request) (answer *dns.Msg, raw []byte, err error) {
	timeout := c.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, nil, err
	}
	defer conn.Close()
	// A deadline that has passed ends what is waiting. It fails only if the connection is closed already.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		return r.overTCP(ctx, conn)
	}
	return r.overUDP(ctx, conn)
}

// overUDP waits for the datagram that answers the request. Others are passed over: anybody can send them, and they
// must not keep the answer from being heard. They are named when there is none.
func (r request) overUDP(ctx context.Context, conn net.Conn) (*dns.Msg, []byte, error) {
	if _, err := conn.Write(r.wire); err != nil {
		return nil, nil, cause(ctx, err)
	}
	var ignored error
	for buffer := make([]byte, udpBuffer); ; {
		n, err := conn.Read(buffer)
		if err != nil {
			err = cause(ctx, err)
			if ignored != nil {
				err = fmt.Errorf("%w (ignored: %w)", err, ignored)
			}
			return nil, nil, err
		}
		answer, err := r.read(buffer[:n])
		if err == nil {
			return answer, buffer[:n], nil
		}
		ignored = err
	}
}

// overTCP puts the length before the messages (RFC 1035 §4.2.2).
func (r request) overTCP(ctx context.Context, conn net.Conn) (*dns.Msg, []byte, error) {
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(r.wire))) // queries are short, and sign checks it
	if _, err := conn.Write(append(framed, r.wire...)); err != nil {
		return nil, nil, cause(ctx, err)
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, nil, fmt.Errorf("read the length of the answer: %w", cause(ctx, err))
	}
	raw := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(conn, raw); err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", cause(ctx, err))
	}
	answer, err := r.read(raw)
	return answer, raw, err
}

// cause is why an operation failed: the context, if that is over, because it ended the operation.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// read parses a message and reports as an error if it is not the answer to the request.
func (r request) read(raw []byte) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil {
		return nil, fmt.Errorf("malformed answer: %w", err)
	}
	// Unpack is content with fewer records than the header promises. Half of an RRset is none.
	for i, n := range []int{len(m.Question), len(m.Answer), len(m.Ns), len(m.Extra)} {
		if promised := binary.BigEndian.Uint16(raw[4+2*i : headerLen]); int(promised) != n {
			return nil, fmt.Errorf("malformed answer: section %d has %d entries of %d", i+1, n, promised)
		}
	}
	switch {
	case m.Id != r.Id:
		return nil, fmt.Errorf("message with ID %d, not %d", m.Id, r.Id)
	case !m.Response:
		return nil, errors.New("message that is no response")
	case m.Opcode != r.Opcode:
		return nil, fmt.Errorf("answer with opcode %d, not %d", m.Opcode, r.Opcode)
	case !r.echoed(m):
		return nil, fmt.Errorf("answer to another question: %v", m.Question)
	}
	return m, nil
}

// echoed reports whether an answer repeats the question. It may leave it away if nothing depends on it: with an error,
// and where the answer is only an acknowledgement.
func (r request) echoed(m *dns.Msg) bool {
	if len(m.Question) == 0 {
		return r.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError
	}
	asked, got := r.Question[0], m.Question[0]
	return len(m.Question) == 1 && got.Qtype == asked.Qtype && got.Qclass == asked.Qclass && sameName(got.Name, asked.Name)
}

// sameName compares two names in presentation form.
func sameName(a, b string) bool {
	x, errX := zone.ParseName(a)
	y, errY := zone.ParseName(b)
	return errX == nil && errY == nil && x == y
}

// rcodeName is the mnemonic of an RCODE, or RCODE123.
func rcodeName(rcode int) string {
	if name, known := dns.RcodeToString[rcode]; known {
		return name
	}
	return fmt.Sprintf("RCODE%d", rcode)
}

// checkBelow reports as an error if child is not a name below parent.
func checkBelow(child, parent zone.Name) error {
	if child == parent || !child.Within(parent) {
		return fmt.Errorf("%q is not below %q", child, parent)
	}
	return nil
}

// sorted returns the list in order and without duplicates.
func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// hostPort is how a target is shown: without the final dot.
func hostPort(host zone.Name, port uint16) string {
	return net.JoinHostPort(strings.TrimSuffix(host.String(), "."), fmt.Sprint(port))
}
