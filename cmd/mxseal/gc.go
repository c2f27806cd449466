package main

import "runtime/debug"

// loadGC is the heap's growth between two garbage collections while the database is read, in percent of what is in use.
const loadGC = 400

// collectRarely has the garbage collected less often, until the function that it returns is called. While the database is read hardly
// anything becomes garbage, and to look at all of it again at each doubling is a quarter of the time. A memory limit counts nevertheless, and
// so does a setting (GOGC) that collects even less.
func collectRarely() (stop func()) {
	before := debug.SetGCPercent(loadGC)
	if before < 0 || before > loadGC {
		debug.SetGCPercent(before)
	}
	return func() {
		debug.SetGCPercent(before)
		go debug.FreeOSMemory() // what was read and decoded is a good part of the memory by now, and will not be needed again
	}
}
