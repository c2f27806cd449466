package server_test

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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

// What a query takes that is the first one in a window: with the answer made ahead, and made when it is asked for. ns/op has what
// comes in between, too.
func BenchmarkFirstInWindow(b *testing.B) {
	for _, ahead := range []bool{true, false} {
		name := map[bool]string{true: "ahead", false: "asked"}[ahead]
		b.Run(name, func(b *testing.B) {
			c := newClocked(b)
			packet, out := pack(b, query()), make([]byte, 0, 4096)
			var waited time.Duration
			for b.Loop() {
				for range 2 {
					c.Respond(out, packet, server.UDP)
				}
				next := time.Unix(windowOf(host, c.at).Start, 0).Add(time.Hour)
				if ahead {
					c.pass(time.Second)
					c.Respond(out, packet, server.UDP)
					c.at = next.Add(-time.Minute)
					c.pass(time.Second)
				}
				c.at = next
				asked := time.Now()
				c.Respond(out, packet, server.UDP)
				waited += time.Since(asked)
			}
			b.ReportMetric(float64(waited.Nanoseconds())/float64(b.N), "ns/first")
		})
	}
}

// A pass over answers none of which is due.
func BenchmarkPass(b *testing.B) {
	const answers = 50_000
	c := newClocked(b, func(o *server.Options) { o.CacheSize = 256 << 20 })
	for i := range answers {
		c.mustAsk(b, dnstest.Query{Name: fmt.Sprintf("n%d.mx.test.", i), Type: dns.TypeA}.Message())
	}
	for b.Loop() {
		c.ahead[1].Pass()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/answers, "ns/answer")
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
