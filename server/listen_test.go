package server_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/server"
)

func TestListenIsAllOrNothing(t *testing.T) {
	taken, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	takenTCP, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer takenTCP.Close()
	// A port that is free, for the first address of each list.
	probe := newWorld(t, newState())
	if err := probe.Listen([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}); err != nil {
		t.Fatal(err)
	}
	free := probe.Addrs()[0]
	probe.Close()
	for _, c := range []struct{ second, want string }{
		{taken.LocalAddr().String(), "over UDP: "},
		{taken.LocalAddr().String(), "another program"},
		{takenTCP.Addr().String(), "over TCP: "},
		{takenTCP.Addr().String(), "another program"},
		{free.String(), "listed twice"},
		{"203.0.113.77:5353", "no interface of this machine"},
		{"[2001:db8::dead]:0", "[2001:db8::dead]:0"},
	} {
		w := newWorld(t, newState())
		err := w.Listen([]netip.AddrPort{free, netip.MustParseAddrPort(c.second)})
		if err == nil || !strings.Contains(err.Error(), c.want) || len(w.Addrs()) > 0 {
			t.Errorf("%s: %v, want %q; listening on %v", c.second, err, c.want, w.Addrs())
		}
		if c.second == takenTCP.Addr().String() { // its UDP port was opened before it came out that TCP is not free
			pc, err := net.ListenPacket("udp4", c.second)
			if err != nil {
				t.Fatal(err)
			}
			pc.Close()
		}
		if err := w.Listen([]netip.AddrPort{free}); err != nil { // the first address is free again
			t.Errorf("after %s: %v", c.second, err)
		}
		if err := w.Listen([]netip.AddrPort{free}); err == nil {
			t.Error("listens twice")
		}
		w.Close()
	}
	if err := newWorld(t, newState()).Listen(nil); err == nil {
		t.Error("listens on nothing")
	}
	if err := newWorld(t, newState()).Serve(t.Context()); err == nil {
		t.Error("serves without sockets")
	}
}

// Wildcard addresses of both families go together, and the log warns of them.
func TestWildcardAddresses(t *testing.T) {
	w := newWorld(t, newState())
	if err := w.Listen([]netip.AddrPort{netip.MustParseAddrPort("[::]:0")}); err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	four := newWorld(t, newState())
	if err := four.Listen([]netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), w.Addrs()[0].Port())}); err != nil {
		t.Errorf("0.0.0.0 beside [::]: %v", err)
	}
	four.Close()
	if !strings.Contains(w.log.String(), "wildcard") {
		t.Error("no warning")
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	good := newWorld(t, newState()).opts
	for name, spoil := range map[string]func(*server.Options){
		"no state":       func(o *server.Options) { o.State = nil },
		"no signer":      func(o *server.Options) { o.Signer = nil },
		"no clock":       func(o *server.Options) { o.Now = nil },
		"no log":         func(o *server.Options) { o.Log = nil },
		"no metrics":     func(o *server.Options) { o.Metrics = nil },
		"long NSID":      func(o *server.Options) { o.NSID = strings.Repeat("x", 65) },
		"long version":   func(o *server.Options) { o.Version = strings.Repeat("x", 256) },
		"small UDP":      func(o *server.Options) { o.UDPSize = 511 },
		"large UDP":      func(o *server.Options) { o.UDPSize = 65508 },
		"no idle time":   func(o *server.Options) { o.TCPIdle = 0 },
		"no connections": func(o *server.Options) { o.TCPMax = 0 },
		"none a client":  func(o *server.Options) { o.TCPMaxPerClient = 0 },
	} {
		o := good
		spoil(&o)
		if _, err := server.New(o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := server.New(good); err != nil {
		t.Error(err)
	}
}
