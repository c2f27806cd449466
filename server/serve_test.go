package server_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// patience is after how long a test gives up waiting for what must happen. No test measures time.
const patience = 30 * time.Second

// running is a world with sockets.
type running struct {
	*world
	stop func() error // ends Serve and returns its result; may be called several times
}

// serve starts a world on loopback, IPv4 and IPv6. When the test ends, so must all goroutines.
func serve(t testing.TB, s *state, edit ...func(*server.Options)) *running {
	t.Helper()
	r := &running{world: newWorld(t, s, edit...)}
	others := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, others) })
	if err := r.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0"), netip.MustParseAddrPort("[::1]:0")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx) }()
	r.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			t.Error("the server does not stop")
			return nil
		}
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// before sets the signer's hook in time: loops read it.
func before(hook func(zone.RRset) error) func(*server.Options) {
	return func(o *server.Options) { o.Signer.(*testSigner).before = hook }
}

func (r *running) client(network string, address int) dnstest.Client {
	return dnstest.Client{Addr: r.Addrs()[address].String(), Net: network, Timeout: patience}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never comes to this: %s", what)
		}
	}
}

// Both transports, both families: the names and types that mail needs, and a few that it does not.
func TestAnswersOverSockets(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	types := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeTLSA, dns.TypeNS, dns.TypeSOA, dns.TypeRRSIG, dns.TypeNSEC,
		dns.TypeDNSKEY, dns.TypeANY, dns.TypeHTTPS, 65280}
	for address := range r.Addrs() {
		for _, network := range []string{"udp", "tcp"} {
			for _, e := range everyName() {
				if _, err := dnstest.CheckName(r.client(network, address).Ask, r.keys, e.name, types, r.opts.Now); err != nil {
					t.Errorf("%s: %v", network, err)
				}
			}
		}
	}
	for _, transport := range []string{"udp", "tcp"} {
		if counted(t, r.opts.Metrics, `mxseal_dns_responses_total{outcome="nxname",transport="`+transport+`"}`) == 0 {
			t.Errorf("answers over %s are not counted", transport)
		}
	}
}

// What did not fit over UDP comes in full over TCP.
func TestTruncatedAnswerIsHadOverTCP(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	q := dnstest.Query{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true}
	m, err := r.client("udp", 0).Ask(q)
	if err != nil || !m.Truncated || len(m.Answer) > 0 {
		t.Fatalf("over UDP: %v, %s", err, m)
	}
	m, err = r.client("tcp", 0).Ask(q)
	if err != nil {
		t.Fatal(err)
	}
	dnstest.Verify(t, r.keys, q, m, now)
	if len(m.Answer) != 31 {
		t.Errorf("%d records", len(m.Answer))
	}
}

// Garbage gets no reply and does no harm.
func TestUDPSurvivesGarbage(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	conn, err := net.Dial("udp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	good := pack(t, query())
	response := append([]byte{}, good...)
	response[2] |= 0x80
	for _, packet := range [][]byte{{}, {1}, good[:11], response, make([]byte, 9000), good} {
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	var ids []uint16
	conn.SetDeadline(time.Now().Add(patience))
	buf := make([]byte, 4096)
	for range 2 { // to the zeros, which are a header with nothing in it, and to the good one; in any order
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, parse(t, buf[:n]).Id)
	}
	if id := parse(t, good).Id; !(ids[0] == id && ids[1] == 0 || ids[0] == 0 && ids[1] == id) {
		t.Errorf("replies to %v, the good query is %d", ids, id)
	}
	eventually(t, "four packets dropped", func() bool {
		return counted(t, r.opts.Metrics, `mxseal_dns_dropped_total{reason="short"}`) == 3 &&
			counted(t, r.opts.Metrics, `mxseal_dns_dropped_total{reason="response"}`) == 1
	})
}

// onAll sets the same for all sockets.
func onAll(conns []*net.UDPConn, set func(*net.UDPConn, time.Time) error) func(time.Time) error {
	return func(at time.Time) (err error) {
		for _, c := range conns {
			err = errors.Join(err, set(c, at))
		}
		return err
	}
}

// Errors of sockets are counted and do not end the loops.
func TestSocketErrorsDoNotEndTheLoops(t *testing.T) {
	r := serve(t, standard(t, ecdsa))
	past := time.Unix(1, 0)
	q := dnstest.Query{Name: host, Type: dns.TypeA, DO: true}
	for _, c := range []struct {
		operation, network string
		set                func(time.Time) error
		provoke            bool
	}{
		{"udp_read", "udp", onAll(r.UDPConns(), (*net.UDPConn).SetReadDeadline), false},
		{"udp_write", "udp", onAll(r.UDPConns(), (*net.UDPConn).SetWriteDeadline), true},
		{"tcp_accept", "tcp", r.TCPListener().SetDeadline, false},
	} {
		if err := c.set(past); err != nil {
			t.Fatal(err)
		}
		if c.provoke {
			conn, err := net.Dial(c.network, r.Addrs()[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Write(pack(t, query()))
		}
		eventually(t, c.operation, func() bool {
			return counted(t, r.opts.Metrics, `mxseal_dns_socket_errors_total{operation="`+c.operation+`"}`) > 0
		})
		if err := c.set(time.Time{}); err != nil {
			t.Fatal(err)
		}
		m, err := r.client(c.network, 0).Ask(q)
		if err != nil {
			t.Fatalf("after %s failed: %v", c.operation, err)
		}
		dnstest.Verify(t, r.keys, q, m, now)
	}
}

// A panic costs one query, over both transports; the connection lives on.
func TestPanicOverSockets(t *testing.T) {
	r := serve(t, standard(t, ecdsa), before(func(set zone.RRset) error {
		if set.Type() == zone.TypeMX {
			panic("at the disco")
		}
		return nil
	}))
	for _, network := range []string{"udp", "tcp"} {
		conn, err := net.Dial(network, r.Addrs()[1].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		c := &dns.Conn{Conn: conn}
		c.SetDeadline(time.Now().Add(patience))
		for i, typ := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeMX, dns.TypeA} {
			if err := c.WriteMsg(dnstest.Query{Name: host, Type: typ, DO: true}.Message()); err != nil {
				t.Fatal(err)
			}
			m, err := c.ReadMsg()
			if err != nil {
				t.Fatal(err)
			}
			if want := []int{dns.RcodeServerFailure, dns.RcodeSuccess}[i%2]; m.Rcode != want {
				t.Errorf("%s, query %d: %s", network, i, m)
			}
		}
	}
}

// Queries at work when the server stops are answered, over UDP and TCP; then nothing listens any more.
func TestStopAnswersWhatIsAtWork(t *testing.T) {
	entered, release := make(chan bool), make(chan bool)
	r := serve(t, standard(t, ecdsa), before(func(zone.RRset) error { entered <- true; <-release; return nil }))
	idle, err := net.Dial("tcp", r.Addrs()[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	q := dnstest.Query{Name: host, Type: dns.TypeA, DO: true}
	answers := make(chan error)
	for _, network := range []string{"udp", "tcp"} {
		go func() {
			m, err := r.client(network, 0).Ask(q)
			if err == nil {
				err = dnstest.CheckAnswer(r.keys, q, m, now)
			}
			answers <- err
		}()
		<-entered
	}
	stopped := make(chan error)
	go func() { stopped <- r.stop() }()
	idle.SetDeadline(time.Now().Add(patience))
	if n, err := idle.Read(make([]byte, 1)); n > 0 || err == nil || isTimeout(err) { // closed, so the end has begun
		t.Errorf("the idle connection: %d octets, %v", n, err)
	}
	close(release)
	for range 2 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", r.Addrs()[0].String()); err == nil {
		conn.Close()
		t.Error("TCP is still accepted")
	}
	again := newWorld(t, r.state)
	if err := again.Listen(r.Addrs()); err != nil {
		t.Errorf("the sockets are not free: %v", err)
	}
	again.Close()
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// Respond may be called from everywhere while states come and go.
func TestRespondConcurrently(t *testing.T) {
	s := standard(t, ecdsa)
	w := newWorld(t, s)
	shard := zone.MustParseName("o-v1.mx.test.")
	states := []*state{s, s.with(func(s *state) { delete(s.hosts, zone.MustParseName(host)) }),
		s.with(func(s *state) {
			s.tenants["acme"] = &zone.Tenant{ID: "acme", Pool: "drain", DANE: true, State: zone.Active}
		}),
		s.with(func(s *state) { s.Ring = new(keymgmt.Ring).With(s.KeySet(shard)) })}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 200 {
				w.loaded.Store(states[(i+j)%len(states)])
				for _, typ := range []uint16{dns.TypeA, dns.TypeTXT} {
					q := dnstest.Query{Name: host, Type: typ, DO: true}
					m, err := w.ask(q)
					if err == nil {
						err = dnstest.CheckAnswer(w.keys, q, m, now)
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}
