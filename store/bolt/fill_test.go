package bolt_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

// A database that was filled has the records with their revisions, and goes on from there.
func TestFill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	const n = 25_000
	err := bolt.Fill(t.Context(), dir, func(_ context.Context, yield func(store.Record) error) (uint64, error) {
		for i := range n {
			if err := yield(store.Record{Kind: zone.KindPool, ID: fmt.Sprintf("%05d", i), Revision: uint64(n - i), Value: []byte("{}")}); err != nil {
				return 0, err
			}
		}
		return n + 7, yield(store.Record{Kind: zone.KindTenant, ID: "x", Revision: 3, Value: []byte("{}")})
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := bolt.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	got := 0
	revision, err := e.Load(t.Context(), func(r store.Record) error {
		if r.Kind == zone.KindPool && r.Revision != uint64(n-got) || r.Kind == zone.KindTenant && r.Revision != 3 {
			t.Errorf("%+v", r)
		}
		if r.Kind == zone.KindPool {
			got++
		}
		return nil
	})
	if err != nil || revision != n+7 || got != n {
		t.Fatalf("revision %d, %d records, %v", revision, got, err)
	}
	if revision, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{{Kind: zone.KindTenant, ID: "x", Expect: 3, Value: []byte("1")}}}); err != nil || revision != n+8 {
		t.Errorf("the next commit: %d, %v", revision, err)
	}
}

// A database that cannot be filled does not appear, and one that is there stays.
func TestFillFails(t *testing.T) {
	broken := errors.New("broken")
	one := func(r store.Record, err error) func(context.Context, func(store.Record) error) (uint64, error) {
		return func(_ context.Context, yield func(store.Record) error) (uint64, error) {
			return 1, errors.Join(yield(r), err)
		}
	}
	good := store.Record{Kind: zone.KindPool, ID: "p", Revision: 1, Value: []byte("{}")}
	dir := t.TempDir()
	if err := bolt.Fill(t.Context(), dir, one(good, broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := bolt.Fill(t.Context(), dir, one(store.Record{Kind: zone.KindPool, Value: []byte("{}")}, nil)); err == nil {
		t.Error("a record without id was written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := bolt.Fill(t.Context(), dir, one(good, nil)); err != nil {
		t.Fatal(err)
	}
	if err := bolt.Fill(t.Context(), dir, one(good, nil)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
}
