package store_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

// 64 clients that change one row at the same moment, as a provisioning system does that adds all domains of a tenant at
// once, all succeed. On a real engine: commits that share one write to the disk are where they meet.
func TestManyChangeOneRow(t *testing.T) {
	dir := t.TempDir()
	if err := bolt.Create(dir, &zone.Pool{Name: "default"}); err != nil {
		t.Fatal(err)
	}
	e, err := bolt.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Start(context.Background(), e, store.Options{Open: newVault(t).Open, Metrics: store.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const clients, times = 64, 5
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range times {
				if _, err := s.Update(context.Background(), func(st *store.State) (zone.Changes, error) {
					p := *st.Pool("default")
					p.MXPreference++
					return zone.Changes{Puts: []zone.Row{&p}}, nil
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n := s.State().Pool("default").MXPreference; n != clients*times {
		t.Errorf("%d of %d changes are there", n, clients*times)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// What could be written and not be read again, or not sensibly be written at all, is refused before the commit: it would
// end the feed, and no node would start any more.
func TestWhatCannotBeReadIsNotWritten(t *testing.T) {
	w := provisioned(t)
	before := w.store.State()
	for name, c := range map[string]zone.Changes{
		"an id that JSON changes": {Puts: []zone.Row{&zone.Pool{Name: "\xff"}}},
		"one row twice":           {Puts: []zone.Row{&zone.Pool{Name: "q"}, &zone.Pool{Name: "q"}}},
		"put and deleted":         {Puts: []zone.Row{&zone.Pool{Name: "q", Revision: 9}}, Deletes: []zone.Ref{{Kind: zone.KindPool, ID: "q", Revision: 9}}},
		"deletion of nothing":     {Deletes: []zone.Ref{{Kind: zone.KindPool, ID: "q"}}},
	} {
		if _, err := w.update(func(*store.State) (zone.Changes, error) { return c, nil }); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if w.store.State() != before {
		t.Error("the state has changed")
	}
	w.restart()
}

// The shards of a zone that a state has follow the zones, and older states keep theirs.
func TestShardsFollowTheZones(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	before := w.store.State()
	w.putZone("b.mx.test.", nil)
	w.putZone("a.b.mx.test.", nil)
	w.putPool("default", 7) // a commit without zones takes them over
	st := w.store.State()
	if n := len(before.Shards(apex)); n != 0 {
		t.Errorf("the older state has %d shards", n)
	}
	if n := len(st.Shards(apex)); n != 2 {
		t.Errorf("%d shards", n)
	}
	if n := len(st.Shards(zone.MustParseName("test."))); n != 3 { // not a zone itself
		t.Errorf("%d zones below test.", n)
	}
	w.restart()
	if n := len(w.store.State().Shards(apex)); n != 2 {
		t.Errorf("%d shards after a restart", n)
	}
}
