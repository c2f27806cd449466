package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/zone"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashDir) != "" {
		commitUntilKilled(os.Getenv(crashDir))
	}
	goleak.VerifyTestMain(m)
}

// pool is a row.
func pool(name string) *zone.Pool { return &zone.Pool{Name: name, TLSAPorts: []uint16{25}} }

// create makes a database with some rows.
func create(t *testing.T, rows ...zone.Row) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := bolt.Create(dir, rows...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, dir string) *bolt.Engine {
	t.Helper()
	e, err := bolt.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ids returns the ids of all pools.
func ids(t *testing.T, e store.Engine) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	_, err := e.Load(t.Context(), func(r store.Record) error {
		if r.Kind == zone.KindPool {
			all[r.ID] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func put(id string) store.Tx {
	return store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: id, Value: []byte(`{}`)}}}
}

func TestContract(t *testing.T) {
	enginetest.Contract(t, func(t *testing.T) store.Engine { return open(t, create(t)) })
}

func TestNoDatabaseIsMadeByOpening(t *testing.T) {
	dir := t.TempDir()
	if _, err := bolt.Open(dir); !errors.Is(err, bolt.ErrNoData) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the directory has %v, %v", left, err)
	}
}

func TestCreateReplacesNothing(t *testing.T) {
	dir := create(t, pool("a"))
	if err := bolt.Create(dir, pool("b")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	e := open(t, dir)
	if all := ids(t, e); !all["a"] || all["b"] {
		t.Errorf("the database has %v", all)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("the directory has %v, %v", files, err)
	}
	info, err := files[0].Info()
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestOneProcessAtATime(t *testing.T) {
	dir := create(t)
	open(t, dir)
	if _, err := bolt.Open(dir); !errors.Is(err, bolt.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestCommitsSurviveClosing(t *testing.T) {
	dir := create(t, pool("first"))
	e := open(t, dir)
	for i := range 10 {
		if _, err := e.Commit(t.Context(), put(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, dir)
	if all := ids(t, e); len(all) != 11 || !all["first"] || !all["9"] {
		t.Errorf("the database has %v", all)
	}
	if revision, err := e.Commit(t.Context(), put("next")); err != nil || revision != 12 {
		t.Errorf("revision %d, %v", revision, err)
	}
}

// Commits of the past are not kept: who missed some has to load again.
func TestWatchFromThePastIsAGap(t *testing.T) {
	dir := create(t)
	e := open(t, dir)
	for i := range 3000 {
		if _, err := e.Commit(t.Context(), put(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	after := errors.New("a commit after the gap")
	err := e.Watch(t.Context(), 1, func(store.Commit) error { return after })
	if !errors.Is(err, store.ErrGap) {
		t.Errorf("got %v", err)
	}
}

// A backup that is made while others write has everything that was acknowledged before it began, and is consistent.
func TestBackupWhileWriting(t *testing.T) {
	e := open(t, create(t))
	ctx, stop := context.WithCancel(t.Context())
	var acknowledged sync.Map // revisions by id
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				id := fmt.Sprintf("%d-%d", w, i)
				revision, err := e.Commit(context.WithoutCancel(ctx), put(id))
				if err != nil {
					t.Error(err)
				}
				acknowledged.Store(id, revision)
			}
		})
	}
	type backup struct {
		revision uint64
		ids      map[string]bool
	}
	var backups []backup
	for range 5 {
		before := map[string]bool{}
		acknowledged.Range(func(id, _ any) bool { before[id.(string)] = true; return true })
		var copied bytes.Buffer
		if err := e.Backup(&copied); err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(t.TempDir(), "restored")
		revision, err := bolt.Restore(dir, &copied)
		if err != nil {
			t.Fatal(err)
		}
		all := ids(t, open(t, dir))
		for id := range before {
			if !all[id] {
				t.Errorf("%s was acknowledged before the backup and is not in it", id)
			}
		}
		backups = append(backups, backup{revision, all})
	}
	stop()
	wg.Wait()
	for _, b := range backups {
		acknowledged.Range(func(id, revision any) bool {
			if b.ids[id.(string)] != (revision.(uint64) <= b.revision) {
				t.Errorf("%s has revision %d, and is in the backup of revision %d: %v", id, revision, b.revision, b.ids[id.(string)])
			}
			return true
		})
	}
}

func TestRestoreReplacesNothing(t *testing.T) {
	e := open(t, create(t, pool("a")))
	var copied bytes.Buffer
	if err := e.Backup(&copied); err != nil {
		t.Fatal(err)
	}
	dir := create(t, pool("b"))
	if _, err := bolt.Restore(dir, &copied); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if all := ids(t, open(t, dir)); !all["b"] || all["a"] {
		t.Errorf("the database has %v", all)
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			dir := b.TempDir()
			if err := bolt.Create(dir); err != nil {
				b.Fatal(err)
			}
			e := open(b, dir)
			var wg sync.WaitGroup
			next := make(chan int)
			for range clients {
				wg.Go(func() {
					for i := range next {
						if _, err := e.Commit(context.Background(), put(strconv.Itoa(i))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for i := 0; b.Loop(); i++ {
				next <- i
			}
			close(next)
			wg.Wait()
		})
	}
}
