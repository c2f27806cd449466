package store_test

import (
	"fmt"
	"slices"
	"strings"
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
	apex := zone.MustParseName("x.test.")
	key := func(id string) *keymgmt.KeyRecord { return &keymgmt.KeyRecord{ID: id, Zone: apex} }
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{key("a"), key("b"), key("ab")}}, nil
	})
	if n := len(w.store.State().Keys(apex)); n != 3 {
		t.Fatalf("%d of 3 keys found", n)
	}
	w.must(func(st *store.State) (zone.Changes, error) {
		return zone.Changes{Deletes: []zone.Ref{st.Keys(apex)[0].Ref()}}, nil
	})
	keys := w.store.State().Keys(apex)
	if len(keys) != 2 || slices.ContainsFunc(keys, func(k *keymgmt.KeyRecord) bool { return k.ID == "a" }) {
		t.Errorf("left: %v", keys)
	}
}

// The hosts of an owner are found by its two labels, in all zones, also in those that are gone, and no host of anybody else.
func TestHostsOfAnOwner(t *testing.T) {
	w := newWorld(t)
	long := zone.Owner("a-domain-whose-name-is-longer-than-a-label-can-be." + strings.Repeat("x", 40) + ".example.com")
	var rows []zone.Row
	want := map[zone.Owner]int{}
	put := func(o zone.Owner, apex, label string) {
		rows = append(rows, &zone.Host{Owner: o, Zone: zone.MustParseName(apex), Label: label})
		want[o]++
	}
	for _, apex := range []string{"mx.test.", "gone.test.", "o.mx.test."} {
		put("contoso.com", apex, zone.PlainLabel("contoso.com"))
		put("contoso-com", apex, zone.HashedLabel("contoso-com")) // its plain label is taken
		put("contoso.com.au", apex, zone.PlainLabel("contoso.com.au"))
		put("@contoso-com", apex, zone.HashedLabel("@contoso-com"))
		put(long, apex, zone.HashedLabel(long))
	}
	w.must(func(*store.State) (zone.Changes, error) { return zone.Changes{Puts: rows}, nil })
	for o, n := range want {
		hosts := w.store.State().HostsOf(o)
		if len(hosts) != n || slices.ContainsFunc(hosts, func(h *zone.Host) bool { return h.Owner != o }) {
			t.Errorf("%s has the hosts %v, want %d", o, hosts, n)
		}
	}
	if hosts := w.store.State().HostsOf("contoso"); len(hosts) != 0 {
		t.Errorf("hosts of nobody: %v", hosts)
	}
}

// A value that begins like another one is not the other one.
func TestIndexValuesAreWhole(t *testing.T) {
	w := newWorld(t)
	apex := zone.MustParseName("mx.test.")
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{
			&zone.Host{Owner: "a.com", Zone: apex, Label: "a-com"}, &zone.Host{Owner: "a.com.au", Zone: apex, Label: "a-com-au"},
			&zone.Pool{Name: "p"}, &zone.Pool{Name: "pq"},
		}}, nil
	})
	st := w.store.State()
	if hosts := st.HostsOf("a.com"); len(hosts) != 1 || hosts[0].Label != "a-com" {
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
	old, next := zone.MustParseName("old.test."), zone.MustParseName("next.test.")
	w.must(func(*store.State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{&keymgmt.KeyRecord{ID: "k", Zone: old}}}, nil
	})
	before := w.store.State()
	w.must(func(st *store.State) (zone.Changes, error) {
		k := *st.Keys(old)[0]
		k.Zone = next
		return zone.Changes{Puts: []zone.Row{&k}}, nil
	})
	st := w.store.State()
	if len(st.Keys(old)) != 0 || len(st.Keys(next)) != 1 {
		t.Error("the index has the old value or lacks the new one")
	}
	// A state that somebody still reads stays as it was.
	if len(before.Keys(old)) != 1 || len(before.Keys(next)) != 0 {
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
	apex := func(i int) zone.Name { return zone.MustParseName(fmt.Sprintf("z%d.test.", i%3)) }
	var rows []zone.Row
	for i := range 300 {
		rows = append(rows, &keymgmt.KeyRecord{ID: fmt.Sprintf("key-%d", i), Zone: apex(i)})
	}
	w.must(func(*store.State) (zone.Changes, error) { return zone.Changes{Puts: rows}, nil })
	for i := range 3 {
		keys := w.store.State().Keys(apex(i))
		if len(keys) != 100 || slices.ContainsFunc(keys, func(k *keymgmt.KeyRecord) bool { return k.Zone != apex(i) }) {
			t.Errorf("%s has %d keys", apex(i), len(keys))
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
	tx, err := store.Encode(zone.Changes{Puts: []zone.Row{k}}, store.OldestWritten)
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
