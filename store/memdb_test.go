package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// The traps of go-memdb, and that we do not fall into them.

// An index is not unique because it is said to be so: two rows with one value must both be found, and removing one must
// not remove the other.
func TestRowsThatShareAnIndexValue(t *testing.T) {
	w := newWorld(t)
	host := func(label string) *zone.Host {
		return &zone.Host{Owner: "contoso.com", Zone: zone.MustParseName("mx.test."), Label: label}
	}
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{host("a"), host("b"), host("ab")}}, nil
	})
	if n := len(w.store.State().HostsOf("contoso.com")); n != 3 {
		t.Fatalf("%d of 3 hosts found", n)
	}
	w.must(func(st *store.State) (zone.Changes, error) {
		return zone.Changes{Deletes: []zone.Ref{st.Host(zone.MustParseName("mx.test."), "a").Ref()}}, nil
	})
	hosts := w.store.State().HostsOf("contoso.com")
	if len(hosts) != 2 || slices.ContainsFunc(hosts, func(h *zone.Host) bool { return h.Label == "a" }) {
		t.Errorf("left: %v", hosts)
	}
}

// A value that begins like another one is not the other one.
func TestIndexValuesAreWhole(t *testing.T) {
	w := newWorld(t)
	apex := zone.MustParseName("mx.test.")
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{
			&zone.Host{Owner: "a.com", Zone: apex, Label: "1"}, &zone.Host{Owner: "a.com.au", Zone: apex, Label: "2"},
			&zone.Pool{Name: "p"}, &zone.Pool{Name: "pq"},
		}}, nil
	})
	st := w.store.State()
	if hosts := st.HostsOf("a.com"); len(hosts) != 1 || hosts[0].Label != "1" {
		t.Errorf("hosts of a.com: %v", hosts)
	}
	if p := st.Pool("p"); p == nil || p.Name != "p" {
		t.Errorf("pool p: %v", p)
	}
	if st.Pool("pqr") != nil || st.Pool("") != nil {
		t.Error("a pool that is not there was found")
	}
}

// A change of an indexed value leaves nothing behind under the old one.
func TestIndexFollowsTheRow(t *testing.T) {
	w := newWorld(t)
	apex := zone.MustParseName("mx.test.")
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{&zone.Host{Owner: "old.com", Zone: apex, Label: "x"}}}, nil
	})
	before := w.store.State()
	w.must(func(st *store.State) (zone.Changes, error) {
		h := *st.Host(apex, "x")
		h.Owner = "new.com"
		return zone.Changes{Puts: []zone.Row{&h}}, nil
	})
	st := w.store.State()
	if len(st.HostsOf("old.com")) != 0 || len(st.HostsOf("new.com")) != 1 {
		t.Error("the index has the old value or lacks the new one")
	}
	// A state that somebody still reads stays as it was.
	if before.Host(apex, "x").Owner != "old.com" || len(before.HostsOf("old.com")) != 1 || len(before.HostsOf("new.com")) != 0 {
		t.Error("a state has changed under its readers")
	}
}

// Rows are what the feed has brought: who keeps the row that a plan wrote and changes it, changes nothing.
func TestRowsAreNotShared(t *testing.T) {
	w := newWorld(t)
	mine := &zone.Pool{Name: "p", MXPreference: 1}
	w.must(func(*store.State) (zone.Changes, error) { return zone.Changes{Puts: []zone.Row{mine}}, nil })
	mine.MXPreference = 99
	if got := w.store.State().Pool("p").MXPreference; got != 1 {
		t.Errorf("the preference is %d", got)
	}
}

// go-memdb appends the primary key to what an index returns: the slice must have no room that belongs to others.
func TestManyRowsUnderOneValue(t *testing.T) {
	w := newWorld(t)
	apex := zone.MustParseName("mx.test.")
	var rows []zone.Row
	for i := range 300 {
		rows = append(rows, &zone.Host{Owner: zone.Owner(fmt.Sprintf("owner-%d", i%3)), Zone: apex, Label: fmt.Sprintf("label-%d", i)})
	}
	w.must(func(*store.State) (zone.Changes, error) { return zone.Changes{Puts: rows}, nil })
	for i := range 3 {
		for _, h := range w.store.State().HostsOf(zone.Owner(fmt.Sprintf("owner-%d", i))) {
			if h.Owner != zone.Owner(fmt.Sprintf("owner-%d", i)) {
				t.Fatalf("%s is listed under owner-%d", h.Owner, i)
			}
		}
		if n := len(w.store.State().HostsOf(zone.Owner(fmt.Sprintf("owner-%d", i)))); n != 100 {
			t.Errorf("owner-%d has %d hosts", i, n)
		}
	}
}

func TestVisits(t *testing.T) {
	w := newWorld(t)
	w.putPool("default", 1)
	w.putZone("mx.test.", nil)
	w.putZone("b.mx.test.", nil)
	w.putZone("a.mx.test.", nil)
	w.putZone("xmx.test.", nil)
	for _, id := range []string{"b", "a", "c", "ab"} {
		w.must(putTenant(id, "mx.test."))
	}
	st := w.store.State()
	ids := func(after string) (all []string) {
		st.Tenants(after, func(t *zone.Tenant) bool { all = append(all, t.ID); return len(all) < 3 })
		return all
	}
	for after, want := range map[string][]string{"": {"a", "ab", "b"}, "a": {"ab", "b", "c"}, "aa": {"ab", "b", "c"}, "b": {"c"}, "c": nil} {
		if got := ids(after); !slices.Equal(got, want) {
			t.Errorf("after %q: %v", after, got)
		}
	}
	var shards []string
	for _, z := range st.Shards(zone.MustParseName("mx.test.")) {
		shards = append(shards, z.Name.String())
	}
	if !slices.Equal(shards, []string{"a.mx.test.", "b.mx.test."}) {
		t.Errorf("shards: %v", shards)
	}
}

// Errors name rows and never print them: a row may have a sealed key or the hash of a token.
func TestErrorsDoNotPrintRows(t *testing.T) {
	w := newWorld(t)
	k := &keymgmt.KeyRecord{ID: "k", Zone: zone.MustParseName("mx.test."), Sealed: []byte("very secret")}
	tx, err := store.Encode(zone.Changes{Puts: []zone.Row{k}})
	if err != nil {
		t.Fatal(err)
	}
	tx.Writes[0].ID = "another"
	if _, err := w.engine.Commit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	<-w.store.Done()
	if err := w.store.Err(); err == nil {
		t.Error("a row under a foreign id was accepted")
	} else if text := err.Error(); slices.Contains([]string{"", "<nil>"}, text) || len(text) > 300 {
		t.Errorf("the error is %q", text)
	}
}
