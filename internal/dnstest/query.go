package dnstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/miekg/dns"
)

// Query is what is asked. The class is IN.
type Query struct {
	Name string
	Type uint16
	DO   bool   // the asker wants signatures
	CO   bool   // the asker knows compact denial (RFC 9824 §5.1)
	Size uint16 // of the largest UDP answer; 0 with DO or CO means 1232, 0 without means no EDNS
}

// Asker gets the answer to a query.
type Asker func(Query) (*dns.Msg, error)

// String is for messages.
func (q Query) String() string {
	text := fmt.Sprintf("%s %s", q.Name, dns.Type(q.Type))
	if q.DO {
		text += " +do"
	}
	if q.CO {
		text += " +co"
	}
	return text
}

// hasEDNS reports whether the query carries an OPT record.
func (q Query) hasEDNS() bool { return q.DO || q.CO || q.Size > 0 }

// Message builds the query. Its ID is random.
func (q Query) Message() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(q.Name), q.Type)
	m.RecursionDesired = false
	if q.hasEDNS() {
		size := q.Size
		if size == 0 {
			size = 1232
		}
		m.SetEdns0(size, q.DO)
		m.IsEdns0().SetCo(q.CO)
	}
	return m
}

// Client asks a server, each time over a socket of its own.
type Client struct {
	Addr    string        // host:port
	Net     string        // udp or tcp
	Timeout time.Duration // for the whole exchange
}

// Exchange sends a packet and returns the first one that comes back.
func (c Client) Exchange(packet []byte) (reply []byte, err error) {
	conn, err := net.DialTimeout(c.Net, c.Addr, c.Timeout)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return nil, err
	}
	if c.Net == "tcp" {
		return exchangeTCP(conn, packet)
	}
	if _, err := conn.Write(packet); err != nil {
		return nil, err
	}
	buf := make([]byte, 65535)
	n, err := conn.Read(buf)
	return buf[:n], err
}

// exchangeTCP frames with two octets of length (RFC 1035 §4.2.2).
func exchangeTCP(conn net.Conn, packet []byte) ([]byte, error) {
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, reply)
	return reply, err
}

// Ask is an [Asker].
func (c Client) Ask(q Query) (*dns.Msg, error) { return q.Ask(c.Exchange) }

// Ask packs the query, hands it to exchange and parses what comes back. With the Respond method of a responder in
// the place of exchange no socket is needed.
func (q Query) Ask(exchange func(packet []byte) ([]byte, error)) (*dns.Msg, error) {
	m := q.Message()
	packet, err := m.Pack()
	if err != nil {
		return nil, fmt.Errorf("%s: pack: %w", q, err)
	}
	reply, err := exchange(packet)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", q, err)
	}
	answer := new(dns.Msg)
	if err := answer.Unpack(reply); err != nil {
		return nil, fmt.Errorf("%s: parse the answer: %w", q, err)
	}
	if answer.Id != m.Id {
		return nil, fmt.Errorf("%s: the answer has id %d, not %d", q, answer.Id, m.Id)
	}
	return answer, nil
}
