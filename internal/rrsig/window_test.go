package rrsig

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

var now = time.Date(2026, 3, 1, 12, 34, 56, 789, time.UTC)

// policies at the edges of what a zone may have, with the largest TTL that goes with each: of tenant data, of keys.
var policies = []struct {
	zone.SignaturePolicy
	ttl, keyTTL uint32
}{
	{zone.SignaturePolicy{Lifetime: 8 * time.Hour, Quantum: time.Hour, Backdate: time.Hour, DNSKEYLifetime: 48 * time.Hour}, 6 * 3600, 35 * 3600},
	{zone.SignaturePolicy{Lifetime: 3602 * time.Second, Quantum: time.Second, Backdate: time.Hour, DNSKEYLifetime: 5000 * time.Second}, 1, 150},
	{zone.SignaturePolicy{Lifetime: 720 * time.Hour, Quantum: 718 * time.Hour, Backdate: 720 * time.Hour, DNSKEYLifetime: 720 * time.Hour}, 3600, 86400},
	{zone.SignaturePolicy{Lifetime: 99991 * time.Second, Quantum: 7919 * time.Second, Backdate: 4001 * time.Second, DNSKEYLifetime: 86399 * time.Second}, 86400, 61200},
}

// At every moment, for every name: signatures that are valid have begun at least the backdate ago, and last for the
// TTL and an hour; windows never go back; and they are multiples of the quantum apart.
func TestWindowProperties(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		p := policies[random.IntN(len(policies))]
		ttl, quantum := p.ttl, p.Quantum
		label := make([]byte, 1+random.IntN(20))
		for i := range label {
			label[i] = byte('a' + random.IntN(26))
		}
		name := zone.MustParseName(string(label) + ".mx.test.")
		at := time.Unix(random.Int64N(1<<34)-1<<20, random.Int64N(1e9))
		w := At(p.SignaturePolicy, name, at)
		if !w.Outlives(ttl, at) {
			t.Fatalf("%s at %d: window %+v does not outlive %d", name, at.Unix(), w, ttl)
		}
		if time.Unix(w.Inception, 0).After(at.Add(-p.Backdate)) {
			t.Fatalf("%s at %d: inception %d is not backdated", name, at.Unix(), w.Inception)
		}
		if w.Start > at.Unix() || at.Unix()-w.Start >= int64(quantum/time.Second) {
			t.Fatalf("%s at %d: start %d", name, at.Unix(), w.Start)
		}
		later := At(p.SignaturePolicy, name, at.Add(time.Duration(random.Int64N(int64(3*quantum)))))
		if d := later.Start - w.Start; d < 0 || d%int64(quantum/time.Second) != 0 {
			t.Fatalf("%s: window moved by %d s", name, d)
		}
	}
}

// The windows of different names begin at different times, those of one name change exactly at their start.
func TestWindowsOfNamesAreSpread(t *testing.T) {
	p := policies[0].SignaturePolicy
	starts := map[int64]bool{}
	for i := range 100 {
		name := zone.MustParseName("host" + string(rune('a'+i/10)) + string(rune('a'+i%10)) + ".mx.test.")
		w := At(p, name, now)
		starts[w.Start] = true
		next := time.Unix(w.Start, 0).Add(p.Quantum)
		if At(p, name, next.Add(-time.Nanosecond)) != w || At(p, name, next) == w {
			t.Errorf("%s: the window does not change at its end", name)
		}
	}
	if len(starts) < 90 {
		t.Errorf("100 names share %d starts", len(starts))
	}
}

// Fields count modulo 2^32 (RFC 4034 §3.1.5): also across the wrap in 2106.
func TestSignatureTimeAcrossTheWrap(t *testing.T) {
	wrap := time.Unix(1<<32, 0)
	for _, at := range []time.Time{now, wrap.Add(-time.Hour), wrap, wrap.Add(time.Hour), wrap.AddDate(200, 0, 0)} {
		for _, d := range []time.Duration{0, -time.Hour, 48 * time.Hour, -30 * 24 * time.Hour, 60 * 24 * time.Hour} {
			want := time.Unix(at.Add(d).Unix(), 0)
			if got := Time(uint32(want.Unix()), at); !got.Equal(want) {
				t.Errorf("at %s: got %s, want %s", at, got, want)
			}
		}
	}
}
