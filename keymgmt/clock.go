package keymgmt

import (
	"errors"
	"time"
)

// Clock reads the time.
type Clock interface{ Read() Reading }

// Reading is what the clock says.
type Reading struct {
	Wall time.Time
	// Mono is the time since some moment, from a clock that nobody sets.
	Mono time.Duration
	// Synchronised is what the system says of the wall clock.
	Synchronised bool
}

var errUnsynchronised = errors.New("the system says that its clock is not synchronised (keys.clock: trusted is for clocks that are kept right from outside)")

var errClockSet = errors.New("the clock was set a moment ago")

// stepTolerance is how far wall clock and monotonic clock may drift apart between two readings. A clock that is
// disciplined is slewed by at most 0.05 %, 1.8 s an hour.
const stepTolerance = 10 * time.Second

// watch compares readings.
type watch struct {
	tolerance time.Duration
	last      Reading
	seen      bool
}

// note makes a reading the one that later ones are compared with.
func (w *watch) note(r Reading) { w.last, w.seen = r, true }

// compare returns what the wall clock would show if nobody had set it since the reading that was noted, and reports whether somebody
// has.
func (w *watch) compare(r Reading) (expected time.Time, stepped bool) {
	expected = w.last.Wall.Add(r.Mono - w.last.Mono)
	return expected, w.seen && r.Wall.Sub(expected).Abs() > w.tolerance
}
