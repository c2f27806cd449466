//go:build !race

package keymgmt

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// usualSeed is that of the world which every run of the tests looks at: what a change breaks must not depend on luck, and what it has
// not broken neither.
const usualSeed = 20260101

// seeds returns the random worlds to look at. `make soak` asks for hundreds that nobody has seen before.
func seeds(t *testing.T) (first, end uint64) {
	if text := os.Getenv("MXSEAL_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return seed, seed + 1
	}
	if text := os.Getenv("MXSEAL_SEEDS"); text != "" {
		number, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		first = uint64(time.Now().UnixNano())
		return first, first + number
	}
	return usualSeed, usualSeed + 1
}

// Ten years of random policies, rollovers, emergencies, crashes, downtimes, clock steps and slow parents: no resolver, with
// whatever it may have in its cache, calls any answer bogus in any minute. When it is quiet at last, every rollover ends.
func TestTenYears(t *testing.T) {
	first, end := seeds(t)
	for seed := first; seed < end; seed++ {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			w := newWorld(t, seed)
			w.run(10, true)
			t.Logf("%d combinations of cached answers, revision %d", w.resolvers.Combinations, w.store.revision)
			w.settle()
		})
	}
}

// settle lets what is on its way end.
func (w *world) settle() {
	w.offset, w.synced, w.parent.slow, w.cutOff = 0, true, 2*time.Hour, time.Time{}
	w.downUntil = w.now
	spec := w.store.zones[w.apex].ZoneSpec
	spec.Keys.ZSKLifetime, spec.Keys.KSKLifetime = 20*365*24*time.Hour, 20*365*24*time.Hour
	w.must(w.store.put(w.apex, spec, w.now))
	w.run(1, false)
	p := w.plan()
	for _, k := range w.store.Keys(w.apex) {
		if use := p.useOf(k); use == "incoming" || use == "outgoing" {
			w.t.Errorf("%s\nafter a quiet year %s is %s: %s", w.story(), k, use, p.status().Wanted)
		}
	}
	if !p.confirmed() || !p.settledKSK() || !p.settledZSK() || p.otherKeysWanted() {
		w.t.Errorf("%s\na rollover has not ended in a quiet year; confirmed %t, settled %t %t, others wanted %t\n%s", w.story(),
			p.confirmed(), p.settledKSK(), p.settledZSK(), p.otherKeysWanted(), p.describe())
	}
}
