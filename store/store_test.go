package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/zone"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	enginetest.Contract(t, func(*testing.T) store.Engine { return enginetest.NewMemory() })
}

// What Update has acknowledged is in the next State, and after a restart.
func TestReadYourWrites(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	check := func() {
		t.Helper()
		st := w.store.State()
		h := st.Host(apex, "contoso-com")
		switch {
		case st.Revision() != 3:
			t.Errorf("revision %d", st.Revision())
		case st.Pool("default") == nil || st.Zone(apex) == nil || st.Tenant("acme") == nil || h == nil:
			t.Error("a row is missing")
		case st.Pool("default").Revision != 1 || st.Zone(apex).Revision != 2 || h.Revision != 3:
			t.Error("a row has a wrong revision")
		case len(st.HostsOf("contoso.com")) != 1 || len(st.Keys(apex)) != 2 || st.KeySet(apex) == nil:
			t.Error("an index or the key set is wrong")
		}
		if a := zone.Lookup(st, st, h.Name(), zone.TypeA); a.Outcome != zone.Positive {
			t.Errorf("outcome %d", a.Outcome)
		}
	}
	check()
	w.restart()
	check()
}

func TestManyReadTheirWrites(t *testing.T) {
	w := provisioned(t)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := range 25 {
				id := fmt.Sprintf("t%d-%d", c, i)
				if _, err := w.update(putTenant(id, "", zone.Domain(id+".com"))); err != nil {
					t.Error(err)
				}
				if w.store.State().Tenant(id) == nil {
					t.Errorf("%s is not there", id)
				}
			}
		})
	}
	wg.Wait()
	if n := w.store.State().Revision(); n != 3+16*25 {
		t.Errorf("revision %d", n)
	}
}

func TestRefusalsChangeNothing(t *testing.T) {
	w := provisioned(t)
	before := w.store.State()
	refused := errors.New("refused")
	if _, err := w.update(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{&zone.Pool{Name: "x"}}}, refused
	}); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	revision, err := w.update(func(*store.State) (zone.Changes, error) { return zone.Changes{}, nil })
	if err != nil || revision != before.Revision() {
		t.Errorf("empty changes: revision %d, %v", revision, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := w.store.Update(ctx, putTenant("late", "")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if w.store.State() != before {
		t.Error("the state has changed")
	}
}

// A plan that has lost against another one is made again, on the state that has the other one.
func TestPlanAgain(t *testing.T) {
	w := provisioned(t)
	plans := 0
	w.must(func(st *store.State) (zone.Changes, error) {
		if plans++; plans == 1 {
			w.putPool("default", 2)
		}
		old := st.Pool("default")
		p := *old
		p.MXPreference++
		return zone.Changes{Puts: []zone.Row{&p}}, nil
	})
	p := w.store.State().Pool("default")
	if plans != 2 || p.MXPreference != 11 || p.Hosts[0].Addresses[0].String() != "192.0.2.2" {
		t.Errorf("%d plans; the pool is %+v", plans, p)
	}
}

func TestPlansAreMadeAgainOnlySoOften(t *testing.T) {
	w := provisioned(t)
	n := byte(2)
	_, err := w.update(func(st *store.State) (zone.Changes, error) {
		p := *st.Pool("default")
		w.putPool("default", n)
		n++
		return zone.Changes{Puts: []zone.Row{&p}}, nil
	})
	if !errors.Is(err, zone.ErrRetry) {
		t.Errorf("got %v", err)
	}
}

// Two tenants that want one domain in two zones at the same moment: the hosts are different rows, and still only one
// gets it.
func TestOneOwnerOneHost(t *testing.T) {
	for round := range 20 {
		w := newWorld(t)
		w.putPool("default", 1)
		w.putZone("a.test.", nil)
		w.putZone("b.test.", nil)
		var wg sync.WaitGroup
		errs := make([]error, 2)
		state := w.store.State()
		for i, apex := range []string{"a.test.", "b.test."} {
			wg.Go(func() {
				first := true
				_, errs[i] = w.update(func(st *store.State) (zone.Changes, error) {
					if first { // both plan on the same state
						first, st = false, state
					}
					return putTenant(fmt.Sprintf("t%d", i), apex, "contoso.com")(st)
				})
			})
		}
		wg.Wait()
		won := slices.Index(errs, nil)
		if won < 0 || errs[1-won] == nil || !errors.Is(errs[1-won], zone.ErrConflict) {
			t.Fatalf("round %d: %v", round, errs)
		}
		if hosts := w.store.State().HostsOf("contoso.com"); len(hosts) != 1 || hosts[0].Tenant != fmt.Sprintf("t%d", won) {
			t.Fatalf("round %d: hosts %v", round, hosts)
		}
	}
}

// When commits can no longer be followed everything is loaded again: who committed sees it, nothing that was remembered is
// current, and changes go on.
func TestAGapInTheFeed(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	mark := w.store.Mark(apex, "contoso-com")
	w.engine.LoseNext()
	w.must(putTenant("next", "", "next.com"))
	if st := w.store.State(); st.Tenant("next") == nil || st.Tenant("acme") == nil || st.KeySet(apex) == nil {
		t.Error("the state lacks something")
	}
	if mark.Current() {
		t.Error("what was remembered before is still current")
	}
	w.must(putTenant("another", "", "another.com"))
	if w.store.State().Tenant("another") == nil {
		t.Error("the feed does not go on")
	}
}

// Nothing that was remembered of a zone is current when it has gone in the gap.
func TestAZoneThatGoesInAGap(t *testing.T) {
	w := provisioned(t)
	w.putZone("b.test.", nil)
	apex := zone.MustParseName("b.test.")
	w.must(closeZone(apex))
	mark := w.store.Mark(apex, "contoso-com")
	w.engine.LoseNext()
	w.must(deleteZone(apex))
	if w.store.State().Zone(apex) != nil || mark.Current() {
		t.Error("the zone is there, or what was remembered of it is still current")
	}
}

// An update of a leader is committed in its term, and refused in another one.
func TestUpdatesOfATerm(t *testing.T) {
	w := provisioned(t)
	first, err := w.engine.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	update := func(term uint64) error {
		_, err := w.store.UpdateInTerm(t.Context(), term, func(st *store.State) (zone.Changes, error) {
			p := *st.Pool("default")
			p.MXPreference++
			return zone.Changes{Puts: []zone.Row{&p}}, nil
		})
		return err
	}
	if err := update(first.Token); err != nil {
		t.Error(err)
	}
	if _, err := w.engine.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.store.State().Revision()
	if err := update(first.Token); !errors.Is(err, store.ErrDeposed) || w.store.State().Revision() != before {
		t.Errorf("in the next term: %v, at revision %d after %d", err, w.store.State().Revision(), before)
	}
}

// Keys that are sealed under a key-encryption key that this node does not have are opened when it gets it.
func TestKeysThatOpenLater(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	both := keymgmt.Sources{KEK: "env:NEW", Earlier: []string{"env:KEK"}, Lookup: func(name string) (string, bool) {
		return strings.Repeat(map[string]string{"NEW": "77", "KEK": "5a"}[name], 32), true
	}}
	leader, err := keymgmt.OpenVault(both)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := leader.Reseal(w.store.State().Keys(apex), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := store.Encode(zone.Changes{Puts: rows}, store.OldestWritten)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.engine.Commit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	w.putPool("other", 9)
	if w.store.State().KeySet(apex) != nil {
		t.Fatal("they open without")
	}
	mark := w.store.Mark(apex, "")
	w.vault = leader
	w.store.OpenKeys()
	if w.store.State().KeySet(apex) == nil || mark.Current() {
		t.Error("they do not open")
	}
}

// A failed commit has been written, or has not. Either way nothing is published that was not acknowledged, and after a
// restart the state is one of the two.
func TestFailedCommits(t *testing.T) {
	for name, c := range map[string]struct {
		fail enginetest.Failure
		goOn bool // without a restart
		has  bool // after a restart
	}{
		"not written": {enginetest.NotWritten, true, false},
		"written":     {enginetest.Written, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := provisioned(t)
			w.engine.FailNext(c.fail)
			if _, err := w.update(putTenant("lost", "", "lost.com")); !errors.Is(err, enginetest.ErrDisk) {
				t.Errorf("got %v", err)
			}
			if w.store.State().Tenant("lost") != nil {
				t.Error("was published")
			}
			_, err := w.update(putTenant("next", "", "next.com"))
			if (err == nil) != c.goOn {
				t.Errorf("the next one: %v", err)
			}
			if !c.goOn && !errors.Is(err, zone.ErrUnavailable) {
				t.Errorf("the next one: %v", err)
			}
			if !c.goOn {
				<-w.store.Done()
				if err := w.store.Err(); !errors.Is(err, zone.ErrUncertain) {
					t.Errorf("the feed ended with %v", err)
				}
				if !strings.Contains(w.log.String(), "no changes until a restart") {
					t.Errorf("the log does not tell: %s", w.log.String())
				}
			}
			w.restart()
			st := w.store.State()
			if (st.Tenant("lost") != nil) != c.has {
				t.Errorf("after a restart: %v", st.Tenant("lost"))
			}
			w.must(putTenant("later", "", "later.com"))
		})
	}
}

// Keys that do not open are found before the commit, not after.
func TestBadKeysAreNotCommitted(t *testing.T) {
	w := provisioned(t)
	before := w.store.State()
	apex := zone.MustParseName("mx.test.")
	_, err := w.update(func(st *store.State) (zone.Changes, error) {
		k := *st.Keys(apex)[0]
		k.Sealed = slices.Clone(k.Sealed)
		k.Sealed[20] ^= 1
		return zone.Changes{Puts: []zone.Row{&k}}, nil
	})
	if err == nil || !strings.Contains(err.Error(), "mx.test.") {
		t.Errorf("got %v", err)
	}
	_, err = w.update(func(st *store.State) (zone.Changes, error) {
		return zone.Changes{Deletes: []zone.Ref{st.Keys(apex)[0].Ref()}}, nil
	})
	if err == nil {
		t.Error("a key that the zone needs was deleted")
	}
	if w.store.State() != before {
		t.Error("the state has changed")
	}
}

// A damaged key, or a key-encryption key that is another one, stops the start.
func TestStartNeedsAllKeys(t *testing.T) {
	w := provisioned(t)
	w.store.Close()
	w.engine = w.engine.Reopen()
	other, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return strings.Repeat("77", 32), true }})
	if err != nil {
		t.Fatal(err)
	}
	w.vault = other
	if _, err := w.tryStart(); !errors.Is(err, keymgmt.ErrKEK) || !strings.Contains(err.Error(), "mx.test.") {
		t.Errorf("got %v", err)
	}
}

func closeZone(apex zone.Name) func(*store.State) (zone.Changes, error) {
	return func(st *store.State) (zone.Changes, error) {
		c, _, err := zone.PlanCloseZone(st, apex, nil)
		return c, err
	}
}

func deleteZone(apex zone.Name) func(*store.State) (zone.Changes, error) {
	return func(st *store.State) (zone.Changes, error) {
		c, _, err := zone.PlanDeleteZone(st, apex)
		for _, k := range st.Keys(apex) {
			c.Deletes = append(c.Deletes, k.Ref())
		}
		c.Deletes = append(c.Deletes, st.Chain(apex).Ref())
		return c, err
	}
}

func TestZoneDeletedAndCreatedAgain(t *testing.T) {
	w := provisioned(t)
	w.putZone("b.test.", nil)
	apex := zone.MustParseName("b.test.")
	first := w.store.State().KeySet(apex)
	w.must(closeZone(apex))
	w.must(deleteZone(apex))
	if st := w.store.State(); st.Zone(apex) != nil || st.KeySet(apex) != nil || len(st.Keys(apex)) != 0 {
		t.Error("the zone is still there")
	}
	w.putZone("b.test.", nil)
	if set := w.store.State().KeySet(apex); set == nil || set.DS().RData(0) == first.DS().RData(0) {
		t.Error("the new zone has no keys, or the old ones")
	}
}

// A change of the chain makes the key set anew; one that does not fit the keys, or that they have not signed, is refused.
func TestKeySetFollowsTheChain(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	z, c := *w.store.State().Zone(apex), *w.store.State().Chain(apex)
	c.Stock.TTL = 600
	stock, err := w.vault.SignAhead(&z, &c, w.store.State().Keys(apex), now)
	if err != nil {
		t.Fatal(err)
	}
	put := func(*store.State) (zone.Changes, error) { return zone.Changes{Puts: []zone.Row{&c}}, nil }
	if _, err := w.update(put); err == nil {
		t.Error("took a chain with signatures over another TTL")
	}
	c.Stock = stock
	w.must(put)
	if ttl := w.store.State().Apex(apex)[0].TTL(); ttl != 600 {
		t.Errorf("the DNSKEY TTL is %d", ttl)
	}
}

// The feed goes on when the keys of a zone cannot be opened: that zone has none, the others are served.
func TestFeedSurvivesBadKeys(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	k := *w.store.State().Keys(apex)[0]
	k.Sealed = nil
	tx, err := store.Encode(zone.Changes{Puts: []zone.Row{&k}}, store.OldestWritten)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := w.engine.Commit(t.Context(), tx) // as another node would
	if err != nil {
		t.Fatal(err)
	}
	if w.putPool("other", 9) != revision+1 {
		t.Error("a gap")
	}
	st := w.store.State()
	if st.KeySet(apex) != nil || st.Apex(apex) != nil {
		t.Error("the zone still has keys")
	}
	if a := zone.Lookup(st, st, apex, zone.TypeSOA); a.Outcome != zone.NoKeys {
		t.Errorf("outcome %d", a.Outcome)
	}
	if !strings.Contains(w.log.String(), "mx.test.") {
		t.Errorf("the log does not tell: %s", w.log.String())
	}
}
