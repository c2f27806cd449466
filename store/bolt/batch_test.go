package bolt

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

func puts(first, n int, expect uint64) (tx store.Tx) {
	for i := range n {
		tx.Writes = append(tx.Writes, store.Write{Kind: zone.KindPool, ID: fmt.Sprint(first + i), Expect: expect, Value: []byte("{}")})
	}
	return tx
}

func requires(tx store.Tx, id string, revision uint64) store.Tx {
	tx.Requires = append(tx.Requires, zone.Ref{Kind: zone.KindPool, ID: id, Revision: revision})
	return tx
}

// Transactions that are written together have commits in common, up to a number of writes; one that finds another revision than it expects
// is in none, also where the other one is of the same commit.
func TestTransactionsHaveCommitsInCommon(t *testing.T) {
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var got []store.Commit
	err = db.Update(func(tx *bbolt.Tx) error {
		b := newBatch(tx, meta{Revision: 7})
		for _, c := range []struct {
			tx   store.Tx
			want uint64 // 0: to be refused
		}{
			{puts(0, 3, 0), 8},
			{puts(3, maxTogether-3, 0), 8},
			{puts(5, 1, 0), 0},
			{puts(5, 1, 3), 0},
			{puts(100, 1, 0), 9},
			{puts(200, 2*maxTogether, 0), 10}, // larger than what is put together
			{store.Tx{Requires: []zone.Ref{{Kind: zone.KindPool, ID: "100"}}, Writes: puts(101, 1, 0).Writes}, 0},
			{puts(101, 1, 0), 11},
			{requires(puts(102, 1, 0), "100", 9), 11},
			{requires(puts(103, 1, 0), "100", 9), 11},
			{puts(100, 1, 9), 12},                      // what others of the commit rely on
			{requires(puts(104, 1, 0), "100", 12), 13}, // what another one of the commit writes
			{store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: "104", Expect: 13}}}, 14},
			{puts(104, 1, 0), 15}, // is not there any more
			{store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: "long", Value: make([]byte, maxOctetsTogether-100)}}}, 15},
			{puts(105, 1, 0), 15},
			{store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: "too long", Value: make([]byte, 100)}}}, 16},
		} {
			revision, err := b.apply(c.tx)
			if revision != c.want || (c.want == 0) != errors.Is(err, zone.ErrRetry) || c.want != 0 && err != nil {
				t.Errorf("%s and %d others: revision %d, %v; want %d", c.tx.Writes[0].ID, len(c.tx.Writes)-1, revision, err, c.want)
			}
		}
		got = b.commits
		return b.finish()
	})
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	last := map[string]uint64{}
	for i, c := range got {
		if c.Revision != uint64(8+i) {
			t.Errorf("commit %d has revision %d", i, c.Revision)
		}
		for _, w := range c.Writes {
			if last[w.ID] = c.Revision; w.Value == nil {
				last[w.ID] = 0
			}
		}
		sizes = append(sizes, len(c.Writes))
	}
	if want := []int{maxTogether, 1, 2 * maxTogether, 3, 1, 1, 1, 3, 1}; !slices.Equal(sizes, want) {
		t.Errorf("commits have %d writes, want %d", sizes, want)
	}
	for id, want := range last {
		err := db.View(func(tx *bbolt.Tx) error {
			have, err := newBatch(tx, meta{}).revision(zone.KindPool, id)
			if err == nil && have != want {
				err = fmt.Errorf("it has revision %d, not %d", have, want)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
}
