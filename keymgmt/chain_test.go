package keymgmt

import (
	"slices"
	"testing"
	"time"
)

// A DS RRset that the parent was asked for, and then for another one, it may still take while it has the one before: the key of it is needed for
// as long. One that the parent was seen to have, or has gone past, comes no more.
func TestAWithdrawnDSMayStillCome(t *testing.T) {
	asked := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := asked.Add(48 * time.Hour)
	until := now.Add(time.Hour)
	instead := asked.Add(24 * time.Hour) // when the third one was asked for
	for name, c := range map[string]struct {
		there  string
		seen   time.Time // the second one, at the parent
		until  time.Time
		second time.Time // when nobody has that any more
	}{
		"the parent has the first one":                       {"first", time.Time{}, until, instead.Add(parentMemory)},
		"the parent has the first one, for caches very long": {"first", time.Time{}, instead.Add(parentMemory + time.Hour), instead.Add(parentMemory + time.Hour)},
		"the parent has the first one again":                 {"first", asked.Add(time.Hour), until, until},
		"the parent has the last one":                        {"third", time.Time{}, until, until},
	} {
		chain := Chain{DS: []Version{{Keys: []string{"first"}, Seen: asked}, {Keys: []string{"second"}, Since: asked, Seen: c.seen}, {Keys: []string{"third"}, Since: instead}}}
		if !chain.dsSeen([]string{c.there}, now, c.until) {
			t.Errorf("%s: that was no news", name)
		}
		second := slices.IndexFunc(chain.DS, func(v Version) bool { return v.has("second") })
		if got := chain.DS[second].Until; !got.Equal(c.second) {
			t.Errorf("%s: the second one is forgotten at %s, want %s", name, got, c.second)
		}
	}
}
