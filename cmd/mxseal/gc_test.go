package main

import (
	"runtime/debug"
	"testing"
)

// While the database is read less garbage is collected, and afterwards as much as before; an operator's own setting stays.
func TestCollectRarely(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(defaultGC))
	for _, c := range []struct{ before, meanwhile int }{{defaultGC, loadGC}, {50, 50}, {1000, 1000}, {-1, -1}} {
		debug.SetGCPercent(c.before)
		stop := collectRarely()
		meanwhile := debug.SetGCPercent(c.before)
		debug.SetGCPercent(meanwhile)
		stop()
		if after := debug.SetGCPercent(defaultGC); meanwhile != c.meanwhile || after != c.before {
			t.Errorf("from %d: %d, then %d; want %d", c.before, meanwhile, after, c.meanwhile)
		}
	}
}
