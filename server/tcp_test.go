package server_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// tcpClient is a connection from a chosen address of 127.0.0.0/8.
func tcpClient(t *testing.T, r *running, from string) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.Dial("tcp4", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

func framed(packet []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)
}

func send(t *testing.T, w io.Writer, b []byte) {
	t.Helper()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
}

// receive reads one framed reply.
func receive(t *testing.T, r io.Reader) *dns.Msg {
	t.Helper()
	var length [2]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		t.Fatalf("no reply: %v", err)
	}
	reply := make([]byte, binary.BigEndian.Uint16(length[:]))
	if _, err := io.ReadFull(r, reply); err != nil {
		t.Fatalf("half a reply: %v", err)
	}
	return parse(t, reply)
}

// closed waits for the end of a connection on which nothing more is said.
func closed(t *testing.T, what string, conn net.Conn) {
	t.Helper()
	rest, err := io.ReadAll(conn)
	if len(rest) > 0 || err != nil && isTimeout(err) {
		t.Errorf("%s: %d octets, %v; want the connection closed", what, len(rest), err)
	}
}

// A hundred queries in one write, and then the client's end (RFC 7766 §6.2.1): all are answered, each with its own.
func TestTCPPipelining(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	conn := tcpClient(t, r, "127.0.0.1")
	asked := map[uint16]dnstest.Query{}
	var all []byte
	for i := range 100 {
		q := dnstest.Query{Name: []string{host, "absent.mx.test.", "_25._tcp.large.o-v1.mx.test."}[i%3], Type: []uint16{dns.TypeA, dns.TypeTLSA}[i%2], DO: true}
		m := q.Message()
		m.Id = uint16(1000 + i)
		asked[m.Id] = q
		all = append(all, framed(pack(t, m))...)
	}
	send(t, conn, all)
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		m := receive(t, conn)
		q, found := asked[m.Id]
		if !found {
			t.Fatalf("an answer twice, or not asked for: %d", m.Id)
		}
		delete(asked, m.Id)
		dnstest.Verify(t, r.keys, q, m, now)
	}
	closed(t, "after the last answer", conn)
}

// Answers to queries that were sent ahead are collected, but not without bound: the first ones are on their way before
// the last one is made.
func TestTCPAnswersAreNotHeldBack(t *testing.T) {
	release, made := make(chan bool), 0 // of one connection, hence of one goroutine
	r := serve(t, standard(t, ecdsa), before(func(zone.RRset) error {
		if made++; made == 30 {
			<-release
		}
		return nil
	}))
	conn := tcpClient(t, r, "127.0.0.1")
	q := dnstest.Query{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true}
	send(t, conn, bytes.Repeat(framed(pack(t, q.Message())), 40))
	dnstest.Verify(t, r.keys, q, receive(t, conn), now)
	close(release)
	for range 39 {
		receive(t, conn)
	}
}

// A message may come in any number of segments, and be as long as the length allows.
func TestTCPSegments(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	conn := tcpClient(t, r, "127.0.0.1")
	m := query()
	for _, octet := range framed(pack(t, m)) {
		send(t, conn, []byte{octet})
	}
	if reply := receive(t, conn); reply.Id != m.Id || reply.Rcode != dns.RcodeSuccess {
		t.Errorf("octet by octet: %s", reply)
	}
	m = query()
	m.IsEdns0().Option = append(m.IsEdns0().Option, &dns.EDNS0_PADDING{Padding: make([]byte, 65535-len(pack(t, m))-4)})
	long := pack(t, m)
	if len(long) != 65535 {
		t.Fatalf("%d octets", len(long))
	}
	both := append(framed(long), framed(pack(t, query()))...)
	send(t, conn, both[:20000])
	send(t, conn, both[20000:])
	if reply := receive(t, conn); reply.Id != m.Id || reply.Rcode != dns.RcodeSuccess {
		t.Errorf("65535 octets: %s", reply)
	}
	if reply := receive(t, conn); reply.Rcode != dns.RcodeSuccess {
		t.Errorf("after that: %s", reply)
	}
}

// What is not DNS ends the connection; what came before is answered.
func TestTCPClosesOnGarbage(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	response := pack(t, query())
	response[2] |= 0x80
	for name, garbage := range map[string][]byte{
		"length 0":      {0, 0},
		"short":         {0, 3, 1, 2, 3},
		"response":      framed(response),
		"HTTP":          []byte("GET / HTTP/1.1\r\n\r\n")[:16],
		"half a length": {0},
		"no body":       {0, 100},
		"half a body":   framed(pack(t, query()))[:30],
	} {
		conn := tcpClient(t, r, "127.0.0.1")
		m := query()
		send(t, conn, append(framed(pack(t, m)), garbage...))
		if reply := receive(t, conn); reply.Id != m.Id {
			t.Errorf("%s: %s", name, reply)
		}
		if err := conn.CloseWrite(); err != nil { // otherwise those that are not whole would have the idle timeout
			t.Fatal(err)
		}
		closed(t, name, conn)
	}
	// FORMERR is a reply like any other: the framing is intact.
	conn := tcpClient(t, r, "127.0.0.1")
	send(t, conn, append(framed(pack(t, query())[:20]), framed(pack(t, query()))...))
	if first, second := receive(t, conn), receive(t, conn); first.Rcode != dns.RcodeFormatError || second.Rcode != dns.RcodeSuccess {
		t.Errorf("malformed, then good: %s %s", first, second)
	}
}

// A connection without a complete query for the idle timeout is closed, whatever it has been used for.
func TestTCPIdle(t *testing.T) {
	r := serve(t, standard(t, ecdsa), func(o *server.Options) { o.TCPIdle = 50 * time.Millisecond })
	good := framed(pack(t, query()))
	for name, begin := range map[string][]byte{"nothing": {}, "half a length": good[:1], "a length": good[:2], "half a message": good[:40]} {
		conn := tcpClient(t, r, "127.0.0.1")
		send(t, conn, begin)
		closed(t, name, conn)
	}
	conn := tcpClient(t, r, "127.0.0.1")
	send(t, conn, good)
	if m := receive(t, conn); m.Rcode != dns.RcodeSuccess {
		t.Errorf("got %s", m)
	}
	closed(t, "after an answer", conn)
	// A drip is not a query: octets alone do not buy time.
	drip := tcpClient(t, r, "127.0.0.1")
	for _, octet := range bytes.Repeat([]byte{0xff}, 1<<20) {
		if _, err := drip.Write([]byte{octet}); err != nil {
			if isTimeout(err) {
				t.Error("a client that drips is served for ever")
			}
			break
		}
		time.Sleep(time.Millisecond)
	}
	eventually(t, "all connections closed", func() bool {
		return counted(t, r.opts.Metrics, "mxseal_dns_tcp_connections_open") == 0
	})
}

// A client that sends and does not take the answers is given up, and holds no more than buffers until then.
func TestTCPClientThatDoesNotRead(t *testing.T) {
	r := serve(t, standard(t, ecdsa), func(o *server.Options) { o.TCPIdle = 200 * time.Millisecond })
	conn := tcpClient(t, r, "127.0.0.1")
	q := dnstest.Query{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true}
	batch := bytes.Repeat(framed(pack(t, q.Message())), 100)
	for {
		if _, err := conn.Write(batch); err != nil {
			if isTimeout(err) {
				t.Error("the server waits for ever")
			}
			break
		}
	}
	eventually(t, "the connection closed", func() bool {
		return counted(t, r.opts.Metrics, "mxseal_dns_tcp_connections_open") == 0
	})
	if m, err := r.client("tcp", 0).Ask(q); err != nil || m.Rcode != dns.RcodeSuccess {
		t.Errorf("others: %v %s", err, m)
	}
}

func TestTCPLimits(t *testing.T) {
	r := serve(t, standard(t, ecdsa), func(o *server.Options) { o.TCPMax, o.TCPMaxPerClient = 3, 2 })
	served := func(from string) *net.TCPConn {
		conn := tcpClient(t, r, from)
		send(t, conn, framed(pack(t, query())))
		if m := receive(t, conn); m.Rcode != dns.RcodeSuccess {
			t.Errorf("got %s", m)
		}
		return conn
	}
	refusals := func(limit string) float64 {
		return counted(t, r.opts.Metrics, `mxseal_dns_tcp_connections_refused_total{limit="`+limit+`"}`)
	}
	open := func(n float64) {
		t.Helper()
		eventually(t, "connections open", func() bool { return counted(t, r.opts.Metrics, "mxseal_dns_tcp_connections_open") == n })
	}
	first, second := served("127.0.0.1"), served("127.0.0.1")
	closed(t, "a third of one client", tcpClient(t, r, "127.0.0.1"))
	if refusals("client") != 1 || refusals("total") != 0 {
		t.Errorf("refused: client %v, total %v", refusals("client"), refusals("total"))
	}
	third := served("127.0.0.2")
	closed(t, "a fourth of all", tcpClient(t, r, "127.0.0.3"))
	if refusals("client") != 1 || refusals("total") != 1 {
		t.Errorf("refused: client %v, total %v", refusals("client"), refusals("total"))
	}
	open(3)
	for _, conn := range []*net.TCPConn{first, second} { // who is in is served
		send(t, conn, framed(pack(t, query())))
		receive(t, conn)
	}
	for i, conn := range []*net.TCPConn{third, first, second} {
		conn.Close()
		open(float64(2 - i))
	}
	for range 5 { // nothing is left in the table
		conn := served("127.0.0.1")
		conn.Close()
		open(0)
	}
	if n := counted(t, r.opts.Metrics, "mxseal_dns_tcp_connections_accepted_total"); n != 8 {
		t.Errorf("accepted %v", n)
	}
}

// A client that does not take its answers cannot keep the server from stopping.
func TestStopDoesNotWaitForClients(t *testing.T) {
	r := serve(t, standard(t, ecdsa), func(o *server.Options) { o.TCPIdle = time.Hour })
	conn := tcpClient(t, r, "127.0.0.1")
	q := dnstest.Query{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true}
	batch := bytes.Repeat(framed(pack(t, q.Message())), 100)
	for { // until all buffers on the way are full and the server is stuck in a write
		conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := conn.Write(batch); err != nil {
			break
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// peer is a connection from somewhere.
type peer struct {
	net.Conn
	addr string
}

func (p peer) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.addr)) }

// Whoever has an IPv6 address has 2^64 of them: they count as one client.
func TestConnectionsAreCountedByNetwork(t *testing.T) {
	for from, want := range map[string]string{
		"192.0.2.1:1": "192.0.2.1", "[::ffff:192.0.2.1]:1": "192.0.2.1", "[2001:db8:1:2:3::4]:1": "2001:db8:1:2::", "[2001:db8:1:2::]:9": "2001:db8:1:2::",
		"[fe80::1%eth0]:1": "fe80::",
	} {
		if got := server.ClientOf(peer{addr: from}); got.String() != want {
			t.Errorf("%s counts as %s, want %s", from, got, want)
		}
	}
}
