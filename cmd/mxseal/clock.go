package main

import (
	"time"

	"github.com/mxseal/mxseal/keymgmt"
)

// systemClock is the clock of the machine.
type systemClock struct {
	start   time.Time // with its monotonic reading
	trusted bool
}

func newSystemClock(trusted bool) systemClock { return systemClock{time.Now(), trusted} }

// Read implements keymgmt.Clock.
func (c systemClock) Read() keymgmt.Reading {
	now := time.Now()
	return keymgmt.Reading{Wall: now.Round(0), Mono: now.Sub(c.start), Synchronised: c.trusted || synchronised()}
}
