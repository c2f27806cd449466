package store

import (
	"context"
	"runtime"
	"time"
)

// Queue hands the transactions of many callers to the one goroutine of an engine that writes.
type Queue struct {
	requests chan Request
	ended    chan struct{} // closed when the writer has ended
	gather   time.Duration
	together int       // transactions that the writer had last
	taken    time.Time // then
}

// GatherTime is for how long engines wait for others at most, before they write what has come.
const GatherTime = 10 * time.Millisecond

// Request is a transaction that waits for its answer.
type Request struct {
	Tx     Tx
	answer chan<- outcome
}

type outcome struct {
	revision uint64
	err      error
}

// NewQueue makes a queue in which a number of transactions have room, and which waits for others for some time.
func NewQueue(room int, gather time.Duration) *Queue {
	return &Queue{requests: make(chan Request, room), ended: make(chan struct{}), gather: gather}
}

// Answer says what became of the transaction. It is called once at most.
func (r Request) Answer(revision uint64, err error) { r.answer <- outcome{revision, err} }

// Commit waits for the answer to a transaction. One that was taken up is waited for however long it takes: what became of it
// must be told. If the writer ends without an answer, nothing was written, and the error is ErrClosed.
func (q *Queue) Commit(ctx context.Context, tx Tx) (uint64, error) {
	answer := make(chan outcome, 1)
	select {
	case q.requests <- Request{tx, answer}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-q.ended:
		return 0, ErrClosed
	}
	select {
	case o := <-answer:
		return o.revision, o.err
	case <-q.ended:
		select { // it may have been answered before the end
		case o := <-answer:
			return o.revision, o.err
		default:
			return 0, ErrClosed
		}
	}
}

// Next is for the writer: it waits for a transaction, and appends it to waiting with others that have come, up to most in all. It
// waits for none if there are some, and returns none when closing. Whoever is about to commit gets to do so first: the one that comes first
// wakes the writer, which otherwise would run before all others that are ready, and write each alone.
//
// It waits for as many as there were last, for as long as those took to write at most. To make something durable is what costs most, and many
// come at their own pace while somebody provisions in bulk. Who is alone, and sends the next when one is answered, waits for nobody; who has
// a slow one beside him is twice as slow at worst.
func (q *Queue) Next(waiting []Request, most int, closing <-chan struct{}) []Request {
	took := time.Since(q.taken)
	if len(waiting) == 0 {
		select {
		case r := <-q.requests:
			waiting = append(waiting, r)
		case <-closing:
			return nil
		}
		runtime.Gosched()
		waiting = q.await(q.More(waiting, most), min(q.together, most), min(q.gather, took), closing)
	} else {
		waiting = q.More(waiting, most)
	}
	q.together, q.taken = len(waiting), time.Now()
	return waiting
}

// await appends what comes to waiting until there are enough, the time is up, or closing.
func (q *Queue) await(waiting []Request, enough int, long time.Duration, closing <-chan struct{}) []Request {
	if len(waiting) >= enough {
		return waiting
	}
	end := time.NewTimer(long)
	defer end.Stop()
	for len(waiting) < enough {
		select {
		case r := <-q.requests:
			waiting = append(waiting, r)
		case <-end.C:
			return waiting
		case <-closing:
			return waiting
		}
	}
	return waiting
}

// More appends what has come to waiting, up to most in all, and waits for nothing.
func (q *Queue) More(waiting []Request, most int) []Request {
	for len(waiting) < most {
		select {
		case r := <-q.requests:
			waiting = append(waiting, r)
		default:
			return waiting
		}
	}
	return waiting
}

// End is called by the writer when it answers no more.
func (q *Queue) End() { close(q.ended) }

// Ended is closed then.
func (q *Queue) Ended() <-chan struct{} { return q.ended }
