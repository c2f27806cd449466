package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// written is a new database in which something was changed.
func written(t *testing.T, change func(b *batch) error) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := appear(dir, func(path string) error {
		db, err := open(path, empty)
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error {
			b := newBatch(tx, newMeta())
			b.meta.Revision = 1
			return errors.Join(change(b), b.finish())
		})
		return errors.Join(err, db.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// A file of a newer version is not damaged, and not to be restored: the error says what it is.
func TestNewerLayout(t *testing.T) {
	dir := written(t, func(b *batch) error { b.meta.Layout++; return nil })
	if _, err := Open(dir); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "layout 2") {
		t.Errorf("got %v", err)
	}
}

// Nor is a database of a newer format, or one that has a record of such: it is neither opened, nor read, nor restored.
func TestNewerFormat(t *testing.T) {
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrFormat) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	newer := written(t, func(b *batch) error { return b.put(store.WriteFormat(store.Format+1, 0)) })
	_, err := Open(newer)
	refused("a newer database", err)

	record := written(t, func(b *batch) error {
		return b.put(store.Write{Kind: zone.KindPool, ID: "p", Value: []byte("{}"), Format: store.Format + 1})
	})
	e, err := Open(record)
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Load(t.Context(), func(store.Record) error { return nil })
	refused("a newer record", err)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{newer, record} {
		backup, err := os.ReadFile(filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		to := t.TempDir()
		_, err = Restore(to, bytes.NewReader(backup))
		if refused("restored", err); Exists(to) {
			t.Error("there is a database")
		}
	}
}

// The format becomes that of this version when the node leads, and not when the file is opened.
func TestTheFormatIsRaised(t *testing.T) {
	dir := written(t, func(*batch) error { return nil })
	format := func(e *Engine) (format uint8) {
		t.Helper()
		format = 1
		if _, err := e.Load(t.Context(), func(r store.Record) error { format = r.Format; return nil }); err != nil {
			t.Fatal(err)
		}
		return format
	}
	for range 2 {
		e, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		before := format(e)
		for range 2 {
			if _, err := e.Lead(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if after := format(e); after != store.Format || before != 1 && before != after {
			t.Errorf("format %d, then %d", before, after)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
