package store_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/store"
)

// Those who are ready to commit when the writer is woken share what it writes, on one core, too.
func TestWhoIsReadyToCommitIsWrittenAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const writers, rounds = 16, 50
	largest := 0
	for range rounds {
		q := store.NewQueue(writers, 0)
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

// A writer waits for as many as there were last: not for more, and not for ever. It does not wait when it is to end, or has some that it
// could not take before.
func TestWhoCameTogetherIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room, gather, write = 8, 10 * time.Millisecond, 4 * time.Millisecond
		q := store.NewQueue(room, gather)
		defer q.End()
		commit := func(n int) {
			for range n {
				go func() { _, _ = q.Commit(t.Context(), store.Tx{}) }()
			}
			synctest.Wait()
		}
		var got []store.Request
		writing := write
		expect := func(what string, waiting []store.Request, closing <-chan struct{}, n int, took time.Duration) {
			t.Helper()
			time.Sleep(writing)
			begun := time.Now()
			got = q.Next(waiting, room, closing)
			if waited := time.Since(begun); len(got) != n || waited != took {
				t.Errorf("%s: %d after %s, want %d after %s", what, len(got), waited, n, took)
			}
		}

		commit(1)
		expect("one", nil, nil, 1, 0)
		commit(1)
		expect("one after the other", nil, nil, 1, 0)
		commit(3)
		expect("three", nil, nil, 3, 0)
		commit(1)
		time.AfterFunc(write+write/2, func() { commit(3) })
		expect("as many as last", nil, nil, 3, write/2)
		expect("what is left over, when the others do not come again", nil, nil, 1, write)
		commit(1)
		expect("one again", nil, nil, 1, 0)
		commit(3)
		expect("three again", nil, nil, 3, 0)
		expect("some that are there already", got[:1], nil, 1, 0)
		commit(3)
		expect("three once more", nil, nil, 3, 0)
		writing = time.Minute
		commit(1)
		expect("one after a write that took long", nil, nil, 1, gather)
		writing = write
		commit(3)
		expect("three for the last time", nil, nil, 3, 0)
		commit(1)
		closing := make(chan struct{})
		time.AfterFunc(write+write/2, func() { close(closing) })
		expect("until the end", nil, closing, 1, write/2)
	})
}
