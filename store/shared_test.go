package store_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/zone"
)

// shared is an engine of which this node may not have heard the last commits.
type shared struct {
	*enginetest.Memory
	newest func() (uint64, error)
}

func (s *shared) Newest(context.Context) (uint64, error) { return s.newest() }

// An update that commits nothing has seen what was acknowledged before it, or says that this cannot be known; what is wrong with the
// request itself is said in any case.
func TestNothingToCommit(t *testing.T) {
	e := &shared{Memory: enginetest.NewMemory()}
	w := &world{t: t, vault: newVault(t)}
	s, err := store.Start(t.Context(), e, store.Options{Open: w.vault.Open, Metrics: store.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var seen []uint64
	nothing := func(err error) func(*store.State) (zone.Changes, error) {
		return func(v *store.State) (zone.Changes, error) {
			seen = append(seen, v.Revision())
			return zone.Changes{}, err
		}
	}
	puts := 0
	put := func() (uint64, error) { // by another node, while this one is asked
		puts++
		tx, err := store.Encode(zone.Changes{Puts: []zone.Row{&zone.Pool{Name: fmt.Sprint("p", puts)}}}, store.OldestWritten)
		if err != nil {
			return 0, err
		}
		return e.Commit(t.Context(), tx)
	}
	e.newest = put
	refused := fmt.Errorf("%w: refused", zone.ErrNotFound)
	for _, want := range []error{nil, refused} {
		seen = nil
		revision, err := s.Update(t.Context(), nothing(want))
		if !errors.Is(err, want) || len(seen) != 2 || seen[1] <= seen[0] || err == nil && revision != seen[1] {
			t.Errorf("revision %d, %v, planned with %v", revision, err, seen)
		}
	}
	seen = nil
	if _, err := s.UpdateInTerm(t.Context(), 1, nothing(nil)); err != nil || len(seen) != 1 {
		t.Errorf("in a term: %v, planned with %v", err, seen)
	}
	e.newest = func() (uint64, error) { return 0, zone.ErrUnavailable }
	invalid := fmt.Errorf("%w: that", zone.ErrInvalid)
	for err, want := range map[error]error{nil: zone.ErrUnavailable, refused: zone.ErrUnavailable, invalid: zone.ErrInvalid} {
		if _, got := s.Update(t.Context(), nothing(err)); !errors.Is(got, want) {
			t.Errorf("a plan that ends with %v: %v, want %v", err, got, want)
		}
	}
}
