package bolt

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// Whatever is in a file, the walk ends with an answer; and what it lets pass, bbolt can read.
func FuzzPages(f *testing.F) {
	dir := f.TempDir()
	if err := Create(dir, &zone.Pool{Name: "a"}, &zone.Zone{Name: zone.MustParseName("mx.test.")}); err != nil {
		f.Fatal(err)
	}
	sound, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sound)
	f.Add(sound[:8192])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if walkPages(bytes.NewReader(b), int64(len(b))) != nil {
			return
		}
		path := filepath.Join(t.TempDir(), fileName)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := open(path, copied)
		if err != nil {
			return
		}
		defer db.Close()
		_, _ = load(t.Context(), db, func(store.Record) error { return nil }) // an error is an answer too
	})
}
