package server_test

import (
	"encoding/binary"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/wire"
	"github.com/mxseal/mxseal/server"
)

// checkReply sends any octets and checks all that must be true of the reply of a server in good health.
func checkReply(t *testing.T, w *world, packet []byte, via server.Transport) {
	t.Helper()
	reply := w.Respond(nil, packet, via)
	if len(packet) < 12 || packet[2]&0x80 != 0 {
		if len(reply) > 0 {
			t.Errorf("query %x: a reply that is not due: %x", packet, reply)
		}
		return
	}
	var q wire.Query
	q.Parse(packet)
	m := parse(t, reply)
	switch {
	case m.Id != binary.BigEndian.Uint16(packet) || !m.Response || m.Opcode != int(packet[2]>>3&0xf):
		t.Errorf("query %x: not its reply:\n%s", packet, m)
	case m.Rcode == dns.RcodeServerFailure: // panics too
		t.Errorf("query %x: a failure:\n%s\n%s", packet, m, w.log)
	case via == server.UDP && len(reply) > min(int(q.UDPSize), w.opts.UDPSize):
		t.Errorf("query %x: a reply of %d octets", packet, len(reply))
	case m.Truncated && via == server.TCP:
		t.Errorf("query %x: truncated over TCP", packet)
	case m.Truncated || m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		checkEmpty(t, m)
	default:
		name, _, err := dns.UnpackDomainName(packet, 12)
		if err != nil {
			t.Fatalf("query %x is answered: %v", packet, err)
		}
		asked := dnstest.Query{Name: name, Type: q.Type, DO: q.DO, CO: q.CO}
		if q.HasEDNS {
			asked.Size = q.UDPSize
		}
		dnstest.Verify(t, w.keys, asked, m, now)
	}
}

// Any octets: no panic, and a reply that is one to them, signed well.
func FuzzRespond(f *testing.F) {
	w := newWorld(f, standard(f, ecdsa))
	for _, q := range []dnstest.Query{
		{Name: "acme.o-v1.mx.test.", Type: dns.TypeA, DO: true},
		{Name: "_25._tcp.acme.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true, CO: true},
		{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true},
		{Name: "o-v1.mx.test.", Type: dns.TypeDS, DO: true},
		{Name: "mx.test.", Type: dns.TypeDNSKEY},
		{Name: "ABSENT.mx.test.", Type: dns.TypeRRSIG},
		{Name: "absent.mx.test.", Type: dns.TypeANY, Size: 512},
		{Name: "example.com.", Type: dns.TypeMX},
	} {
		f.Add(pack(f, q.Message()), false)
	}
	tsig := query().SetTsig("key.example.", dns.HmacSHA256, 300, now.Unix())
	f.Add(pack(f, tsig), true)
	f.Add([]byte{0xab, 0xcd, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 0x0c, 0, 1, 0, 1}, true)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		via := server.UDP
		if tcp {
			via = server.TCP
		}
		checkReply(t, w, packet, via)
	})
}
