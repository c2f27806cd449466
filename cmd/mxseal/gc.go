package main

import "runtime/debug"

// The heap's growth between two garbage collections, in percent of what is in use.
const (
	defaultGC = 100
	loadGC    = 400 // while the database is read
)

// collectRarely has the garbage collected less often, until the function that it returns is called. While the database is read hardly
// anything becomes garbage, and to look at all of it again at each doubling takes a fifth of the time. A memory limit counts nevertheless, and
// an operator's own GOGC stays.
func collectRarely() (stop func()) {
	before := debug.SetGCPercent(loadGC)
	if before != defaultGC {
		debug.SetGCPercent(before)
	}
	return func() {
		debug.SetGCPercent(before)
		go debug.FreeOSMemory() // what was read and decoded is a good part of the memory by now, and will not be needed again
	}
}
