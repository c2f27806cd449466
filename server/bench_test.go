package server_test

import (
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/server"
)

// What one query costs: remembered as an answer; made anew with the signatures in the signer's memory; and in a flood of unknown
// names.
func BenchmarkRespond(b *testing.B) {
	b.Run("remembered", func(b *testing.B) { respond(b, newWorld(b, standard(b, ecdsa), remembering(epoch.New()))) })
	b.Run("made", func(b *testing.B) { respond(b, newWorld(b, standard(b, ecdsa))) })
	b.Run("flood", func(b *testing.B) { flood(b, newWorld(b, standard(b, ecdsa), remembering(epoch.New()))) })
}

func respond(b *testing.B, w *world) {
	for name, q := range map[string]dnstest.Query{
		"positive":    {Name: host, Type: dns.TypeA, DO: true},
		"tlsa":        {Name: "_25._tcp." + host, Type: dns.TypeTLSA, DO: true},
		"unsigned":    {Name: host, Type: dns.TypeA},
		"nodata":      {Name: host, Type: dns.TypeTXT, DO: true},
		"absent":      {Name: "absent.mx.test.", Type: dns.TypeA, DO: true},
		"refused":     {Name: "example.com.", Type: dns.TypeA, DO: true},
		"not-dnssec":  {Name: "absent.mx.test.", Type: dns.TypeA},
		"apex-dnskey": {Name: "mx.test.", Type: dns.TypeDNSKEY, DO: true},
	} {
		b.Run(name, func(b *testing.B) {
			packet := pack(b, q.Message())
			out := make([]byte, 0, 4096)
			b.ReportAllocs()
			for b.Loop() {
				if len(w.Respond(out, packet, server.UDP)) == 0 {
					b.Fatal("no reply")
				}
			}
		})
	}
}

func flood(b *testing.B, w *world) {
	packet := pack(b, dnstest.Query{Name: "0123456789abcdef.mx.test.", Type: dns.TypeA, DO: true}.Message())
	out := make([]byte, 0, 4096)
	random := rand.NewChaCha8([32]byte{})
	var label [8]byte
	b.ReportAllocs()
	for b.Loop() {
		random.Read(label[:])
		hex.Encode(packet[13:29], label[:])
		if len(w.Respond(out, packet, server.UDP)) == 0 {
			b.Fatal("no reply")
		}
	}
}
