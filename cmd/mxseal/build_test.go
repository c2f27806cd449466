package main

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/zone"
)

// Keys are written in the term of this node: not without one, and not when it is over, also if this node does not know that yet.
func TestKeysAreWrittenInATerm(t *testing.T) {
	e := enginetest.NewMemory()
	s, err := store.Start(t.Context(), e, store.Options{Metrics: store.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var term atomic.Uint64
	expect := func(when string, want error) {
		t.Helper()
		before := s.State().Revision()
		err := keyStore{s, &term}.Update(t.Context(), func(keymgmt.View) (zone.Changes, error) {
			p := zone.Pool{Name: "a"}
			if old := s.State().Pool("a"); old != nil {
				p = *old
			}
			return zone.Changes{Puts: []zone.Row{&p}}, nil
		})
		if !errors.Is(err, want) || (s.State().Revision() > before) != (want == nil) {
			t.Errorf("%s: %v, at revision %d after %d", when, err, s.State().Revision(), before)
		}
	}
	expect("before the first term", zone.ErrUnavailable)
	first, err := e.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	term.Store(first.Token)
	expect("in a term", nil)
	if _, err := e.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("in that of somebody else", store.ErrDeposed)
}
