package dnstest_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
)

// serveOnce answers one exchange on loopback by sending back what came, as a response.
func serveOnce(t *testing.T, network string) string {
	t.Helper()
	asResponse := func(packet []byte) []byte { packet[2] |= 0x80; return packet }
	if network == "udp" {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		go func() {
			buf := make([]byte, 4096)
			if n, from, err := pc.ReadFrom(buf); err == nil {
				pc.WriteTo(asResponse(buf[:n]), from)
			}
		}()
		return pc.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		length := make([]byte, 2)
		if _, err := io.ReadFull(conn, length); err != nil {
			return
		}
		packet := make([]byte, binary.BigEndian.Uint16(length))
		if _, err := io.ReadFull(conn, packet); err == nil {
			conn.Write(append(length, asResponse(packet)...))
		}
	}()
	return l.Addr().String()
}

func TestClientExchangesOverUDPAndTCP(t *testing.T) {
	q := dnstest.Query{Name: "x.mx.test.", Type: dns.TypeA, DO: true, CO: true}
	for _, network := range []string{"udp", "tcp"} {
		c := dnstest.Client{Addr: serveOnce(t, network), Net: network, Timeout: 5 * time.Second}
		m, err := c.Ask(q)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if !m.Response || m.Question[0].Name != q.Name || !m.IsEdns0().Do() || !m.IsEdns0().Co() || m.RecursionDesired {
			t.Errorf("%s: %s", network, m)
		}
	}
}

func TestAskRefusesWhatIsNotItsAnswer(t *testing.T) {
	q := dnstest.Query{Name: "mx.test.", Type: dns.TypeA}
	broken := errors.New("broken")
	for want, exchange := range map[string]func([]byte) ([]byte, error){
		"broken": func([]byte) ([]byte, error) { return nil, broken },
		"parse":  func(p []byte) ([]byte, error) { return p[:5], nil },
		"id":     func(p []byte) ([]byte, error) { p[0] ^= 1; return p, nil },
	} {
		if _, err := q.Ask(exchange); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
