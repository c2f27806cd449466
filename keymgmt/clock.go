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

// stepTolerance is how far wall clock and monotonic clock may drift apart between two readings. A clock that is
// disciplined is slewed by at most 0.05 %, 1.8 s an hour.
const stepTolerance = 10 * time.Second

// watch compares readings.
type watch struct {
	tolerance time.Duration
	last      Reading
	seen      bool
}

// compare reports whether the wall clock was set since the reading before, and what it would show if it had not been. The
// first reading is compared with the latest time that was noted before the program began.
func (w *watch) compare(r Reading, latest func() time.Time) (expected time.Time, stepped bool) {
	before, seen := w.last, w.seen
	w.last, w.seen = r, true
	if !seen {
		expected = latest()
		return expected, expected.Sub(r.Wall) > w.tolerance
	}
	expected = before.Wall.Add(r.Mono - before.Mono)
	return expected, r.Wall.Sub(expected).Abs() > w.tolerance
}

// unsettled makes the next reading be compared with what this one should have been.
func (w *watch) unsettled(expected time.Time) { w.last.Wall = expected }
