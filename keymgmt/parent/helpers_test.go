package parent

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/mxseal/mxseal/zone"
)

const (
	brief    = 20 * time.Millisecond // the time-out where no answer is to come: nothing depends on how long it is
	patience = time.Minute           // where one is to come; ends a test that has failed, times none
	interval = 20 * time.Millisecond // between two looks at a condition
)

// patient is a client that a slow machine does not make give up.
func patient() *Client { return &Client{Timeout: patience} }

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	parentName = zone.MustParseName("test.")
	childName  = zone.MustParseName("child.test.")
)

// loopback is a port of 127.0.0.1 that is ours for UDP and for TCP.
func loopback(t testing.TB) (*net.UDPConn, *net.TCPListener, netip.AddrPort) {
	t.Helper()
	for range 20 { // the TCP port of the same number may be taken
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		addr := udp.LocalAddr().(*net.UDPAddr).AddrPort()
		tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err == nil {
			return udp, tcp, addr
		}
		udp.Close()
	}
	t.Fatal("no port is free for UDP and TCP")
	return nil, nil, netip.AddrPort{}
}

// serve runs a server over UDP and TCP until the test ends. secrets are the TSIG keys it knows.
func serve(t testing.TB, secrets map[string]string, handle dns.HandlerFunc) netip.AddrPort {
	t.Helper()
	udp, tcp, addr := loopback(t)
	for _, s := range []*dns.Server{{PacketConn: udp}, {Listener: tcp}} {
		s.Handler, s.TsigSecret = handle, secrets
		run(t, s)
	}
	return addr
}

// run runs a server that has its socket until the test ends.
func run(t testing.TB, s *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.ActivateAndServe(); err != nil {
			t.Error(err)
		}
	})
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
}

// silent is a server that takes messages and says nothing, neither over UDP nor over TCP.
func silent(t testing.TB) netip.AddrPort {
	t.Helper()
	udp, tcp, addr := loopback(t)
	t.Cleanup(func() {
		udp.Close()
		tcp.Close()
	})
	return addr
}

// closed is an address where nobody listens, nor anybody else will: a UDP socket that is connected elsewhere has it, and
// loopback wants both.
func closed(t testing.TB) netip.AddrPort {
	t.Helper()
	udp, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	return udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

func overTCP(w dns.ResponseWriter) bool { return w.RemoteAddr().Network() == "tcp" }

// record reads a record in presentation form.
func record(t testing.TB, text string) dns.RR {
	t.Helper()
	rr, err := dns.NewRR(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rr
}

func records(t testing.TB, lines ...string) (rrs []dns.RR) {
	t.Helper()
	for _, line := range lines {
		rrs = append(rrs, record(t, line))
	}
	return rrs
}

// reply begins an authoritative answer.
func reply(r *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(r)
	m.Authoritative = true
	return m
}

// respond is a handler that changes an authoritative answer without records and sends it.
func respond(t testing.TB, change func(m *dns.Msg)) dns.HandlerFunc {
	return func(w dns.ResponseWriter, r *dns.Msg) {
		m := reply(r)
		change(m)
		send(t, w, m)
	}
}

func send(t testing.TB, w dns.ResponseWriter, m *dns.Msg) {
	if err := w.WriteMsg(m); err != nil && !overTCP(w) { // the client may have hung up
		t.Errorf("answer %v: %v", m.Question, err)
	}
}

func mustName(t testing.TB, text string) zone.Name {
	t.Helper()
	name, err := zone.ParseName(text)
	if err != nil {
		t.Fatal(err)
	}
	return name
}
