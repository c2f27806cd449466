package server_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// remembering gives a server marks that stay current until the table is raised.
func remembering(table *epoch.Table) func(*server.Options) {
	return func(o *server.Options) { o.Mark = table.Mark }
}

func lookups(t testing.TB, w *world, result string) float64 {
	return counted(t, w.opts.Metrics, `mxseal_dns_answer_cache_lookups_total{result="`+result+`"}`)
}

// questions are of every kind that there is an answer for.
func questions() []dnstest.Query {
	var all []dnstest.Query
	for _, name := range []string{host, "_25._tcp." + host, "_tcp." + host, "mx.test.", "ns1.mx.test.", "absent.mx.test.", "x." + host, "o-v1.mx.test.", "example.com."} {
		for _, typ := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeTLSA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeSOA, dns.TypeDS, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeANY, dns.TypeTXT} {
			for _, do := range []bool{false, true} {
				all = append(all, dnstest.Query{Name: name, Type: typ, DO: do})
			}
		}
	}
	return all
}

// What is remembered is, to the octet, what would be made anew: for each way to ask, with another case, another ID, and room
// that is too small.
func TestRememberedAnswersAreTheSame(t *testing.T) {
	for _, algorithm := range []func(*zone.KeyPolicy){ecdsa, func(p *zone.KeyPolicy) { p.Algorithm, p.CSK = zone.ED25519, true }} {
		s := standard(t, algorithm)
		fresh, w := newWorld(t, s), newWorld(t, s, remembering(epoch.New()))
		for _, q := range questions() {
			for i, change := range []func(m *dns.Msg){
				func(*dns.Msg) {},
				func(*dns.Msg) {},
				func(m *dns.Msg) {
					m.Id++
					m.RecursionDesired = true
					m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
				},
				func(m *dns.Msg) {
					if o := m.IsEdns0(); o != nil {
						o.SetUDPSize(512)
						o.Option = append(o.Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
					}
				},
				func(m *dns.Msg) { m.Extra = nil },
			} {
				m := q.Message()
				change(m)
				for _, via := range []server.Transport{server.UDP, server.TCP} {
					packet := pack(t, m)
					want, got := fresh.Respond(nil, packet, via), w.Respond(nil, packet, via)
					if !bytes.Equal(want, got) {
						t.Fatalf("%s %s, DO %t, change %d: remembered\n%v\nfresh\n%v", q.Name, dns.Type(q.Type), q.DO, i, parse(t, got), parse(t, want))
					}
				}
			}
		}
		if lookups(t, w, "hit") < lookups(t, w, "miss") {
			t.Errorf("%v of %v answers were remembered", lookups(t, w, "hit"), lookups(t, w, "miss"))
		}
	}
}

// A commit that concerns a label or its zone makes its answers be made anew, and no others.
func TestWhatHasChangedIsNotRemembered(t *testing.T) {
	table := epoch.New()
	w := newWorld(t, standard(t, ecdsa), remembering(table))
	apex, above := zone.MustParseName("o-v1.mx.test."), zone.MustParseName("mx.test.")
	q := dnstest.Query{Name: host, Type: dns.TypeA, DO: true}
	other := dnstest.Query{Name: "absent.mx.test.", Type: dns.TypeA, DO: true}
	misses := func() float64 {
		before := lookups(t, w, "miss")
		for _, q := range []dnstest.Query{q, other} {
			m, err := w.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			dnstest.Verify(t, w.keys, q, m, now)
		}
		return lookups(t, w, "miss") - before
	}
	label := zone.MustParseName(host).LabelBelow(apex)
	for i, c := range []struct {
		raise func()
		want  float64
	}{
		{func() {}, 2},
		{func() {}, 0},
		{func() { table.Raise(nil, []*zone.Host{{Zone: apex, Label: label}}) }, 1},
		{func() { table.Raise(nil, []*zone.Host{{Zone: apex, Label: "somebody-else"}}) }, 0},
		{func() { table.Raise([]zone.Name{apex}, nil) }, 1},
		{func() { table.Raise([]zone.Name{above}, nil) }, 1},
		{func() { table.Raise([]zone.Name{apex, above}, nil) }, 2},
	} {
		c.raise()
		if got := misses(); got != c.want {
			t.Errorf("step %d: %v answers were made, want %v", i, got, c.want)
		}
	}
	// When the last tenant goes, so does what was said of it.
	w.loaded.Store(newState())
	table.Raise([]zone.Name{apex}, nil)
	if m := w.mustAsk(t, q.Message()); m.Rcode != dns.RcodeRefused {
		t.Errorf("the zone is gone, and the answer is %v", m)
	}
}

// As time goes by, in steps of minutes and back, every signature that is given out is valid and lasts for the TTL and an hour.
func TestRememberedSignaturesAreInTime(t *testing.T) {
	at := now
	w := newWorld(t, standard(t, ecdsa), remembering(epoch.New()), func(o *server.Options) { o.Now = func() time.Time { return at } })
	queries := []dnstest.Query{{Name: host, Type: dns.TypeA, DO: true}, {Name: "mx.test.", Type: dns.TypeSOA, DO: true}, {Name: "absent.mx.test.", Type: dns.TypeA, DO: true},
		{Name: "mx.test.", Type: dns.TypeDNSKEY, DO: true}}
	for i := range 2000 {
		at = at.Add(7 * time.Minute)
		if i%100 == 99 {
			at = at.Add(-30 * time.Minute) // the clock is set
		}
		for _, q := range queries {
			m, err := w.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			dnstest.Verify(t, w.keys, q, m, at)
			for _, rr := range append(append([]dns.RR{}, m.Answer...), m.Ns...) {
				if sig, ok := rr.(*dns.RRSIG); ok {
					if left := time.Unix(int64(sig.Expiration), 0).Sub(at); left < time.Hour+time.Duration(sig.Hdr.Ttl)*time.Second {
						t.Fatalf("%s: %s has %s left", at, sig, left)
					}
				}
			}
		}
	}
	if hits := lookups(t, w, "hit"); hits < 2000 {
		t.Errorf("only %v answers were remembered", hits)
	}
}

// The memory for answers is bounded, and names that anybody can make up push out no others.
func TestTheMemoryForAnswersIsBounded(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa), remembering(epoch.New()))
	known := dnstest.Query{Name: host, Type: dns.TypeA, DO: true}
	w.mustAsk(t, known.Message())
	for i := range 5000 {
		w.mustAsk(t, dnstest.Query{Name: fmt.Sprintf("absent%d.mx.test.", i), Type: dns.TypeA, DO: i%2 == 0}.Message())
	}
	for names, limit := range map[string]float64{"known": float64(w.opts.CacheSize) * 3 / 4, "unknown": float64(w.opts.CacheSize) / 4} {
		if got := counted(t, w.opts.Metrics, `mxseal_dns_answer_cache_octets{names="`+names+`"}`); got > limit || got == 0 {
			t.Errorf("%v octets for %s names, of %v", got, names, limit)
		}
	}
	if counted(t, w.opts.Metrics, `mxseal_dns_answer_cache_evictions_total{names="unknown"}`) == 0 {
		t.Error("nothing had to make room")
	}
	before := lookups(t, w, "hit")
	w.mustAsk(t, known.Message())
	if lookups(t, w, "hit") != before+1 {
		t.Error("a known name was pushed out")
	}
}
