package server_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

func TestReady(t *testing.T) {
	s := standard(t, ecdsa)
	shard := zone.MustParseName("o-v1.mx.test.")
	of := func(typ zone.Type, apex string, f func([]string) []string) func(*world) {
		return func(w *world) {
			w.signer.spoil = func(set zone.RRset, sigs []string) []string {
				if set.Type() == typ && set.Name().Within(zone.MustParseName(apex)) {
					return f(sigs)
				}
				return sigs
			}
		}
	}
	flipped := func(sigs []string) []string {
		return []string{sigs[0][:len(sigs[0])-1] + string([]byte{sigs[0][len(sigs[0])-1] ^ 1})}
	}
	for _, c := range []struct {
		name  string
		state *state
		spoil func(w *world)
		want  string // part of the error; empty: ready
	}{
		{"healthy", s, nil, ""},
		{"no zones", newState(), nil, ""},
		{"not loaded", nil, nil, "not loaded"},
		{"no keys", s.with(func(s *state) { s.Ring = s.Ring.Without(shard) }), nil, "zone o-v1.mx.test.: no usable keys"},
		{"cannot sign", s, func(w *world) {
			w.signer.before = func(set zone.RRset) error {
				if set.Type() == zone.TypeNSEC && set.Name().Within(shard) {
					return errors.New("out of order")
				}
				return nil
			}
		}, "zone o-v1.mx.test.: out of order"},
		{"wrong signature", s, of(zone.TypeNSEC, "apex.test.", flipped), "zone apex.test.: verify"},
		{"no signature", s, of(zone.TypeNSEC, "apex.test.", func([]string) []string { return nil }), "zone apex.test.: verify"},
		{"wrong signature of the keys", s, of(zone.TypeDNSKEY, "apex.test.", flipped), "zone apex.test.: verify apex.test. DNSKEY"},
		{"wrong signature in answers", s, of(zone.TypeSOA, "test.", flipped), "verify apex.test. SOA"},
		{"unsigned answers", s, of(zone.TypeSOA, "test.", func([]string) []string { return nil }), "ask for the SOA"},
	} {
		w := newWorld(t, s)
		w.loaded.Store(c.state)
		if c.spoil != nil {
			c.spoil(w)
		}
		err := w.Ready()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if n := counted(t, w.opts.Metrics, `mxseal_dns_responses_total{outcome="noerror",transport="probe"}`); (n > 0) != (c.state != nil && len(c.state.zones) > 0 && c.name != "unsigned answers") {
			t.Errorf("%s: asked %v times", c.name, n)
		}
	}
}

// Of many zones, each is looked at sooner or later, and never too many in one call.
func TestReadyTakesTurns(t *testing.T) {
	s := newState()
	const zones = 2*server.MaxProbes + 5
	for i := range zones {
		s.addZone(fmt.Sprintf("z%03d.test.", i), func(*zone.Zone) {})
	}
	s.makeKeys(t)
	w := newWorld(t, s)
	seen := map[zone.Name]int{}
	w.signer.before = func(set zone.RRset) error {
		if set.Type() == zone.TypeNSEC {
			seen[set.Name().Parent()]++
		}
		return nil
	}
	for call := 1; call <= 3; call++ {
		if err := w.Ready(); err != nil {
			t.Fatal(err)
		}
		if want := min(zones, call*server.MaxProbes); len(seen) != want {
			t.Errorf("%d zones after %d calls, want %d", len(seen), call, want)
		}
	}
	// One zone loses its keys: the calls that look at it say so, although the others are in between.
	lost := zone.MustParseName("z050.test.")
	w.loaded.Store(s.with(func(s *state) { s.Ring = s.Ring.Without(lost) }))
	failed := 0
	for range 6 {
		if err := w.Ready(); err != nil && strings.Contains(err.Error(), lost.String()) {
			failed++
		}
	}
	if failed < 2 || failed == 6 {
		t.Errorf("%d of 6 calls found the zone without keys", failed)
	}
}

// The one reply that is parsed here is our own, and still: no form of it may panic or pass for a good one.
func TestReadSOA(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	apex := zone.MustParseName("mx.test.")
	good := w.Respond(nil, server.SOAQuery(apex), server.TCP)
	set, sigs, err := server.ReadSOA(good, apex)
	if err != nil || set.Len() != 1 || set.RData(0) != w.state.zones[apex].SOA().RData(0) || len(sigs) != 1 {
		t.Fatalf("%v, %d signatures, %v", set, len(sigs), err)
	}
	const opt = 11
	for n := range len(good) - opt {
		if _, _, err := server.ReadSOA(good[:n], apex); err == nil {
			t.Errorf("%d of %d octets pass", n, len(good))
		}
	}
	for _, at := range []int{2, 3, 6, 7} { // flags, RCODE and counts
		bad := append([]byte{}, good...)
		bad[at] ^= 3
		if _, _, err := server.ReadSOA(bad, apex); err == nil {
			t.Errorf("octet %d changed: passes", at)
		}
	}
}
