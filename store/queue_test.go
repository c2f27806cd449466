package store_test

import (
	"runtime"
	"testing"

	"github.com/mxseal/mxseal/store"
)

// Those who are ready to commit when the writer is woken share what it writes, on one core, too.
func TestWhoIsReadyToCommitIsWrittenAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const writers, rounds = 16, 50
	largest := 0
	for range rounds {
		q := store.NewQueue(writers)
		done := make(chan struct{}, writers)
		for range writers {
			go func() {
				_, _ = q.Commit(t.Context(), store.Tx{})
				done <- struct{}{}
			}()
		}
		for left := writers; left > 0; {
			group := q.Next(nil, writers, nil)
			largest = max(largest, len(group))
			left -= len(group)
			for _, r := range group {
				r.Answer(1, nil)
			}
		}
		q.End()
		for range writers {
			<-done
		}
	}
	if largest < writers/2 { // any of the rounds may be disturbed
		t.Errorf("of %d that were ready at most %d were written at once", writers, largest)
	}
}
