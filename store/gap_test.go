package store_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
)

// gaps is an engine whose commits cannot be followed.
type gaps struct {
	*enginetest.Memory
	loads atomic.Int32
	after time.Duration // for as long they can
}

func (g *gaps) Load(ctx context.Context, yield func(store.Record) error) (uint64, error) {
	g.loads.Add(1)
	return g.Memory.Load(ctx, yield)
}

func (g *gaps) Watch(ctx context.Context, _ uint64, _ func(store.Commit) error) error {
	select {
	case <-time.After(g.after):
		return store.ErrGap
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Who has to load again and again does it less and less often; who had to once does it at once the next time, much later.
func TestGapsThatFollowEachOther(t *testing.T) {
	for _, c := range []struct {
		after, within time.Duration
		loads         int32
	}{
		{time.Millisecond, 20 * time.Second, 1 + 5}, // after 0, 1, 3, 7 and 15 seconds
		{2 * time.Minute, 9 * time.Minute, 1 + 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := &gaps{Memory: enginetest.NewMemory(), after: c.after}
			s, err := store.Start(t.Context(), g, store.Options{Metrics: store.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.within)
			synctest.Wait()
			if n := g.loads.Load(); n != c.loads {
				t.Errorf("in %s, with a gap after %s each: loaded %d times, not %d", c.within, c.after, n, c.loads)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
