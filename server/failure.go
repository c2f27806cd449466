package server

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/wire"
)

// failed counts and logs why a query cannot be answered, and returns SERVFAIL. The client learns whether to come back
// soon, and nothing else.
func (s *Server) failed(f *fault) reply {
	s.Metrics.failures[f.why].Inc()
	if held, ok := s.failureLog[f.why].allow(s.Now()); ok {
		attrs := []any{"reason", f.why.String(), "not_logged", held}
		if f.zone != "" {
			attrs = append(attrs, "zone", f.zone)
		}
		if f.err != nil {
			attrs = append(attrs, "error", f.err)
		}
		s.Log.Error("query answered SERVFAIL", attrs...)
	}
	e := ede{is: true, code: edeOther, text: "cannot answer now"}
	if f.why == failNotReady {
		e = ede{is: true, code: edeNotReady}
	}
	return reply{rcode: wire.RcodeServFail, outcome: outServFail, ede: e}
}

// panicked counts and logs a panic.
func (s *Server) panicked(p any) {
	s.Metrics.panics.Inc()
	if held, ok := s.panicLog.allow(time.Now()); ok { // the panic may have come from Now
		s.Log.Error("panic while making an answer", "panic", fmt.Sprint(p), "not_logged", held, slog.String("stack", string(debug.Stack())))
	}
}

// logInterval is the time for which one kind of event is logged once at most: hostile packets must not fill disks.
const logInterval = 10 * time.Second

// seldom lets one event in logInterval through and counts those it holds back. The zero value is ready.
type seldom struct {
	mu   sync.Mutex
	last time.Time
	held int
}

// allow reports whether an event may be logged, and how many were not since the last one.
func (s *seldom) allow(now time.Time) (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := now.Sub(s.last); d >= 0 && d < logInterval { // a clock that went back does not silence it
		s.held++
		return 0, false
	}
	held, s.held, s.last = s.held, 0, now
	return held, true
}
