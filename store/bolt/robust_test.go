package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

// A second process that opens the file while the first one writes is told so, and not that the file is damaged: what it
// would see of a write that is half done looks like it.
func TestOpenWhileAnotherProcessWrites(t *testing.T) {
	var rows []zone.Row // enough for a walk through the file to take longer than a write
	for i := range 20000 {
		rows = append(rows, pool(strconv.Itoa(i)))
	}
	dir := create(t, rows...)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	if _, err := io.ReadFull(out, make([]byte, 256)); err != nil { // it is writing
		t.Error(err)
	}
	read := make(chan struct{})
	go func() { defer close(read); io.Copy(io.Discard, out) }()
	for range 8 {
		wg.Go(func() {
			if _, err := bolt.Open(dir); !errors.Is(err, bolt.ErrInUse) || errors.Is(err, bolt.ErrCorrupt) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-read
	if err := child.Wait(); err == nil {
		t.Error("the process ended by itself")
	}
}

// What one client asks for in error does not fail the commits that share its write to the disk, and leaves a file that
// can be loaded.
func TestNonsenseHarmsNobody(t *testing.T) {
	dir := create(t, pool("first"))
	e := open(t, dir)
	twice := put("twice")
	twice.Writes = append(twice.Writes, twice.Writes[0])
	bad := []store.Tx{
		put(""), put("with a \x00"), twice,
		{Writes: []store.Write{{Kind: zone.KindPool, ID: "absent"}}},
		{Writes: []store.Write{{Kind: "meta", ID: "x", Value: []byte("{}")}}},
		{Writes: []store.Write{{ID: "x", Value: []byte("{}")}}},
	}
	var wg sync.WaitGroup
	for i := range 240 {
		wg.Go(func() {
			_, err := e.Commit(t.Context(), put(strconv.Itoa(i)))
			if err != nil {
				t.Errorf("a good commit: %v", err)
			}
			if _, err := e.Commit(t.Context(), bad[i%len(bad)]); err == nil || errors.Is(err, zone.ErrRetry) {
				t.Errorf("bad commit %d: %v", i%len(bad), err)
			}
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(ids(t, open(t, dir))); n != 241 {
		t.Errorf("%d records", n)
	}
}

// gated is a reader of a backup that takes nothing until its gate is open.
type gated struct {
	once    sync.Once
	reached chan struct{}
	gate    chan struct{}
}

func (g *gated) Write(b []byte) (int, error) {
	g.once.Do(func() { close(g.reached) })
	<-g.gate
	return len(b), nil
}

// A slow reader of a backup does not hold up writers, even if the file has to grow.
func TestSlowBackupHoldsNobodyUp(t *testing.T) {
	dir := create(t)
	e := open(t, dir)
	grow := func(prefix string) {
		for i := range 60 {
			w := store.Write{Kind: zone.KindPool, ID: prefix + strconv.Itoa(i), Value: bytes.Repeat([]byte{'x'}, 1<<16)}
			if _, err := e.Commit(context.Background(), store.Tx{Writes: []store.Write{w}}); err != nil {
				t.Error(err)
			}
		}
	}
	grow("before")
	reader := &gated{reached: make(chan struct{}), gate: make(chan struct{})}
	sent := make(chan error, 1)
	go func() { sent <- e.Backup(reader) }()
	<-reader.reached
	grown := make(chan struct{})
	go func() { defer close(grown); grow("after"); grow("long after") }()
	select {
	case <-grown:
	case <-time.After(60 * time.Second): // hours, in the real case
		t.Error("writers wait for the reader of a backup")
	}
	close(reader.gate)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	<-grown
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the directory has %v, %v", files, err)
	}
}

// A backup of a damaged file is an error before anything is sent: it would be found out when it is needed.
func TestNoBackupOfDamage(t *testing.T) {
	dir := create(t, pool("pool-77"))
	e := open(t, dir)
	path := filepath.Join(dir, "mxseal.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, []byte(`"name":"pool-77"`)) + 9
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt([]byte{b[at] ^ 1}, int64(at))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	var sent bytes.Buffer
	if err := e.Backup(&sent); !errors.Is(err, bolt.ErrCorrupt) || sent.Len() > 0 {
		t.Errorf("%d octets sent, %v", sent.Len(), err)
	}
}

func TestCopiesOfKilledBackupsGo(t *testing.T) {
	dir := create(t, pool("a"))
	if err := os.WriteFile(filepath.Join(dir, "mxseal.db.copy-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("the directory has %v, %v", files, err)
	}
}

// faultDir is the variable that makes TestFileCutUnderUs the process whose file is cut.
const faultDir = "MXSEAL_TEST_FAULT_DIR"

// When pages can no longer be read while the program runs, that is an error. The program goes on: it answers from memory.
func TestFileCutUnderUs(t *testing.T) {
	if dir := os.Getenv(faultDir); dir != "" {
		cutAndGoOn(dir)
	}
	var rows []zone.Row
	for i := range 3000 {
		rows = append(rows, pool(strconv.Itoa(i)))
	}
	child := exec.Command(os.Args[0], "-test.run=^TestFileCutUnderUs$")
	child.Env = append(os.Environ(), faultDir+"="+create(t, rows...))
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v: %.2000s", err, out)
	}
}

// cutAndGoOn ends with 0 if every call has returned an error, and Close has returned.
func cutAndGoOn(dir string) {
	e, err := bolt.Open(dir)
	if err != nil {
		fmt.Println("open:", err)
		os.Exit(1)
	}
	if err := os.Truncate(filepath.Join(dir, "mxseal.db"), 8192); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, loading := e.Load(context.Background(), func(store.Record) error { return nil })
	_, committing := e.Commit(context.Background(), put("x"))
	_, later := e.Commit(context.Background(), put("y"))
	copying := e.Backup(io.Discard)
	fmt.Println("load:", loading, "\ncommit:", committing, "\nlater:", later, "\nbackup:", copying, "\nclose:", e.Close())
	if !errors.Is(loading, bolt.ErrCorrupt) || !errors.Is(committing, zone.ErrUncertain) || copying == nil ||
		!errors.Is(later, zone.ErrUnavailable) || errors.Is(later, zone.ErrUncertain) {
		os.Exit(1)
	}
	os.Exit(0)
}

// Files that bbolt has written are never called damaged, whatever was written: values of many pages, deletions that empty
// pages, lists of free pages of all lengths.
func TestSoundFilesAreSound(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	dir := create(t)
	have := map[string]uint64{} // revisions by ids
	for range 25 {
		e := open(t, dir)
		if all := ids(t, e); len(all) != len(have) {
			t.Fatalf("%d records, want %d", len(all), len(have))
		}
		for range 8 {
			var tx store.Tx
			written := map[string]bool{}
			for range 1 + random.IntN(60) {
				id := strconv.Itoa(random.IntN(400))
				if written[id] {
					continue
				}
				w := store.Write{Kind: zone.KindPool, ID: id, Expect: have[id]}
				if have[id] == 0 || random.IntN(2) == 0 {
					w.Value = make([]byte, random.IntN(1<<random.IntN(16)))
				}
				tx.Writes, written[id] = append(tx.Writes, w), true
			}
			revision, err := e.Commit(t.Context(), tx)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range tx.Writes {
				if have[w.ID] = revision; w.Value == nil {
					delete(have, w.ID)
				}
			}
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whichever page is lost, it is noticed, or it had nothing in it.
func TestEveryPageLost(t *testing.T) {
	b := sound(t)
	const size = 4096
	lost := 0
	for at := 2 * size; at+size <= len(b); at += size {
		damaged := bytes.Clone(b)
		clear(damaged[at : at+size])
		n, err := loadFile(t, damaged)
		switch {
		case errors.Is(err, bolt.ErrCorrupt):
			lost++
		case err != nil || n != 300:
			t.Errorf("page %d: %d records, %v", at/size, n, err)
		}
	}
	if lost < 10 {
		t.Errorf("only %d lost pages were noticed", lost)
	}
}

// What was committed before the file was opened cannot be replayed, and that is said at once.
func TestWatchFromBeforeOpening(t *testing.T) {
	dir := create(t)
	e := open(t, dir)
	for i := range 5 {
		if _, err := e.Commit(t.Context(), put(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = open(t, dir)
	for _, after := range []uint64{2, 7} { // the newest is 6
		if err := e.Watch(t.Context(), after, func(store.Commit) error { return nil }); !errors.Is(err, store.ErrGap) {
			t.Errorf("after %d: %v", after, err)
		}
	}
}

func TestCloseByMany(t *testing.T) {
	e := open(t, create(t))
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What killed backups and restores have left goes away, and nothing else.
func TestLeftoversAreRemoved(t *testing.T) {
	dir := create(t)
	for _, name := range []string{"mxseal.db.copy-1", "mxseal.db.new-1", "mxseal.db.mine", "admin.token"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, dir)
	if err := e.Backup(io.Discard); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if want := []string{"admin.token", "mxseal.db", "mxseal.db.mine"}; !slices.Equal(names, want) {
		t.Errorf("the directory has %q, want %q", names, want)
	}
}
