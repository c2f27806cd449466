package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// hostRecord is that of a host as it was written at a revision.
func hostRecord(owner, apex string, revision uint64) store.Record {
	return store.Record{Kind: zone.KindHost, ID: owner + "." + apex, Revision: revision,
		Value: fmt.Appendf(nil, `{"owner":%q,"zone":%q,"label":%q,"dane":true}`, "domain:"+owner, apex, owner)}
}

// Of the hosts of one owner the one that was written last stays that. What was written at once is not torn apart.
func TestInOrder(t *testing.T) {
	all := []store.Record{
		{Kind: zone.KindPool, ID: "p", Revision: 90, Value: []byte("{}")},
		hostRecord("a", "mx1.test.", 30), hostRecord("a", "mx2.test.", 20), hostRecord("a", "mx3.test.", 25),
		hostRecord("b", "mx1.test.", 80),
		hostRecord("c", "mx1.test.", 5), hostRecord("c", "mx2.test.", 5),
		hostRecord("d", "mx1.test.", 3), hostRecord("d", "mx2.test.", 4),
	}
	var got []string
	err := store.InOrder(func(yield func(store.Record) error) error {
		for _, r := range all {
			if err := yield(r); err != nil {
				return err
			}
		}
		return nil
	}, func(r store.Record) error { got = append(got, r.ID); return nil }, func() error { got = append(got, "-"); return nil })
	want := "p a.mx2.test. b.mx1.test. c.mx1.test. c.mx2.test. d.mx1.test. - a.mx3.test. d.mx2.test. - a.mx1.test."
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("%v, %v, want %s", err, got, want)
	}
}

func TestInOrderFails(t *testing.T) {
	broken := errors.New("broken")
	fine := func(store.Record) error { return nil }
	none := func() error { return nil }
	visit := func(records ...store.Record) func(func(store.Record) error) error {
		return func(yield func(store.Record) error) error {
			for _, r := range records {
				if err := yield(r); err != nil {
					return err
				}
			}
			return nil
		}
	}
	two := visit(hostRecord("a", "mx1.test.", 1), hostRecord("a", "mx2.test.", 2))
	fail := func(store.Record) error { return broken }
	for i, err := range []error{
		store.InOrder(func(func(store.Record) error) error { return broken }, fine, none),
		store.InOrder(two, fail, none), store.InOrder(two, fine, func() error { return broken }),
		store.InOrder(visit(store.Record{Kind: zone.KindPool, ID: "p"}), fail, none),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if err := store.InOrder(visit(store.Record{Kind: zone.KindHost, ID: "a.mx.test.", Value: []byte("{")}), fine, none); err == nil {
		t.Error("a host that cannot be read was passed on")
	}
}

// A sum is the same whatever the order of kinds and the revisions, and another one for everything else.
func TestSum(t *testing.T) {
	record := func(kind zone.Kind, id, value string, revision uint64) store.Record {
		return store.Record{Kind: kind, ID: id, Revision: revision, Value: []byte(value)}
	}
	digest := func(records ...store.Record) string {
		var s store.Sum
		for _, r := range records {
			s.Add(r)
		}
		if s.Records != len(records) {
			t.Errorf("%d records, want %d", s.Records, len(records))
		}
		return s.Digest()
	}
	base := digest(record("a", "1", "x", 1), record("a", "2", "y", 2), record("b", "1", "z", 3))
	if other := digest(record("b", "1", "z", 9), record("a", "1", "x", 8), record("a", "2", "y", 7)); other != base {
		t.Error("kinds in another order, other revisions: another digest")
	}
	seen := []string{base}
	for _, other := range []string{
		digest(), digest(record("a", "1", "x", 1), record("a", "2", "y", 2)), digest(record("a", "1", "x", 1), record("a", "2", "z", 2), record("b", "1", "z", 3)),
		digest(record("a", "1x", "", 1), record("a", "2", "y", 2), record("b", "1", "z", 3)),
		digest(record("a", "1", "x", 1), record("b", "2", "y", 2), record("b", "1", "z", 3)),
		digest(record("a", "1", "x", 1), record("c", "2", "y", 2), record("b", "1", "z", 3)),
	} {
		if slices.Contains(seen, other) {
			t.Errorf("the same digest %s", other)
		}
		seen = append(seen, other)
	}
}
