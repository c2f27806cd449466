package server

import (
	"context"
	"time"

	"github.com/mxseal/mxseal/internal/memo"
	"github.com/mxseal/mxseal/internal/wire"
)

// What making answers ahead may cost. There is one loop for each part of the answer cache.
const (
	lead  = 5 * time.Minute        // before the signatures of an answer come to their end, the next are made
	pause = 5 * time.Second        // between two passes over the cache: much less than lead
	burst = 250 * time.Microsecond // of work without a rest; what a query may have to wait on a single core
	share = 10                     // one in so many parts of a core is the most that a loop takes
)

// ahead makes the answers of one part of the cache again before their signatures come to their end, if they are in use: they were
// asked for after they were made. So no query waits for a signature because the time has come, and those that change in the same
// second, such as all denials of a zone when the signature of its SOA does, are made in the minutes before, as the budget has room
// for them. It belongs to one goroutine.
//
// An answer that is made ahead is, to the octet, the one that would be made at its time: the signer is asked with that time, and
// the mark is that of a state which has not changed since. If it changes afterwards, both are void.
type ahead struct {
	s       *Server
	part    *memo.Table[answer]
	metrics *partMetrics
	slot    int // of the part, to go on with
	r       responder
	query   []byte
	out     []byte
}

func (s *Server) newAhead(part *memo.Table[answer], m *partMetrics) *ahead {
	return &ahead{s: s, part: part, metrics: m, r: responder{s: s}, out: make([]byte, 0, 4096)}
}

// run works and rests in turns until ctx is done.
func (a *ahead) run(ctx context.Context) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(a.work())
		}
	}
}

// work goes on with the pass over the cache for a burst, or a little longer if one answer takes longer, and returns for how long to
// rest.
func (a *ahead) work() (rest time.Duration) {
	begin := a.s.Now()
	now := begin
	a.slot = a.part.Scan(a.slot, func(key string, e *answer, used bool) bool {
		a.visit(key, e, used, now.Unix())
		now = a.s.Now()
		return now.Sub(begin) < burst
	})
	if a.slot == 0 {
		return pause
	}
	return (share - 1) * now.Sub(begin)
}

// visit makes the next answer when it is time, and puts it in the place of the last one when that is over.
func (a *ahead) visit(key string, e *answer, used bool, now int64) {
	switch {
	case e.next != nil:
		if e.at(now) == e.next {
			a.s.answers.put([]byte(key), []byte(e.next.records), *e.next, now)
		}
	case used && e.isCurrent(now) && e.span.Until-now < int64(lead/time.Second):
		next := a.after(key, e)
		if next == nil {
			return // whoever asks then will see why
		}
		both := *e
		both.next = next
		a.part.Put(key, both, len(e.records)+len(next.records)+answerSize, now)
		a.metrics.ahead.Inc()
	}
}

// after makes the answer to a question for the second after the span of the last one; nil if it cannot be made from the state that
// the last one was made from.
func (a *ahead) after(key string, last *answer) (next *answer) {
	defer func() {
		if p := recover(); p != nil {
			a.s.panicked(p)
			next = nil
		}
	}()
	r := &a.r
	r.now = time.Unix(last.span.Until+1, 0)
	name, typ, flags := splitKey(key)
	a.query = appendQuery(a.query[:0], name, typ, flags)
	if r.q.Parse(a.query) != wire.Accept { // cannot be: it was one
		return nil
	}
	re, fault := r.fromState()
	if fault != nil || !re.cacheable || re.mark != last.mark {
		return nil
	}
	r.start(a.out, TCP)
	if !r.addRecords(&re) {
		return nil
	}
	records, counts := r.b.Records()
	made := re.remembered(counts)
	made.records = string(records)
	return &made
}
