package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

// sound returns a database file with some hundred records.
func sound(t *testing.T) []byte {
	t.Helper()
	var rows []zone.Row
	for i := range 300 {
		rows = append(rows, pool(fmt.Sprintf("pool-%d", i)))
	}
	b, err := os.ReadFile(filepath.Join(create(t, rows...), "mxseal.db"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// loadFile opens a file as the database of a directory and reads all of it.
func loadFile(t *testing.T, b []byte) (records int, err error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mxseal.db"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := bolt.Open(dir)
	if err != nil {
		return 0, err
	}
	defer e.Close()
	_, err = e.Load(t.Context(), func(r store.Record) error {
		if r.Kind != store.KindFormat {
			records++
		}
		return nil
	})
	return records, err
}

func TestDamage(t *testing.T) {
	b := sound(t)
	if n, err := loadFile(t, b); err != nil || n != 300 {
		t.Fatalf("the sound file: %d records, %v", n, err)
	}
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(b)) }
	record := bytes.Index(b, []byte(`"name":"pool-77"`))
	if record < 0 {
		t.Fatal("the file does not have the record")
	}
	for name, damaged := range map[string][]byte{
		"empty":                {},
		"half a page":          b[:2048],
		"two pages":            b[:8192],
		"half the file":        b[:len(b)/2],
		"not a database":       bytes.Repeat([]byte("mail "), 4000),
		"both headers zero":    change(func(b []byte) []byte { clear(b[:8192]); return b }),
		"all but headers zero": change(func(b []byte) []byte { clear(b[8192:]); return b }),
		"a flipped bit":        change(func(b []byte) []byte { b[record+9] ^= 1; return b }),
	} {
		t.Run(name, func(t *testing.T) {
			n, err := loadFile(t, damaged)
			if !errors.Is(err, bolt.ErrCorrupt) {
				t.Errorf("%d records, %v", n, err)
			}
			dir := filepath.Join(t.TempDir(), "restored")
			if _, err := bolt.Restore(dir, bytes.NewReader(damaged)); !errors.Is(err, bolt.ErrCorrupt) {
				t.Errorf("restore: %v", err)
			}
			if bolt.Exists(dir) {
				t.Error("a damaged backup became a database")
			}
		})
	}
}

// Whatever a few wrong octets do, they are found, or they are in a place that does not matter and everything is there.
func TestRandomDamageLosesNothingSilently(t *testing.T) {
	b := sound(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for range 300 {
		damaged := bytes.Clone(b)
		for range 1 + random.IntN(8) {
			damaged[random.IntN(len(damaged))] ^= byte(1 + random.IntN(255))
		}
		n, err := loadFile(t, damaged)
		switch {
		case err != nil:
			found++
		case n != 300:
			t.Fatalf("%d records and no error", n)
		}
	}
	if found == 0 {
		t.Error("no damage was found in 300 files")
	}
}

// A backup whose transfer breaks off is refused.
func TestTornBackup(t *testing.T) {
	b := sound(t)
	torn := io.MultiReader(bytes.NewReader(b[:len(b)/3]), errReader{})
	dir := filepath.Join(t.TempDir(), "restored")
	if _, err := bolt.Restore(dir, torn); !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	if bolt.Exists(dir) {
		t.Error("a torn backup became a database")
	}
}

var errBroken = errors.New("connection reset")

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, errBroken }
