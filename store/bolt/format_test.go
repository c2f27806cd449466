package bolt

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// A database of a newer version is not damaged, and not to be restored: the error says what it is.
func TestNewerFormat(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	db, err := open(filepath.Join(dir, fileName), existing)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		return (&batch{tx: tx, meta: meta{Format: format + 1, Revision: 1}}).finish()
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); err == nil || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("got %v", err)
	}
}
