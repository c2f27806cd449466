package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// imageOf is an engine that was never connected, with an image of some records.
func imageOf(t testing.TB, records int) (*Engine, map[string]string) {
	t.Helper()
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	e := &Engine{config: Config{Prefix: "/p", Node: "a", Dir: t.TempDir(), StaleAfter: time.Hour, Now: func() time.Time { return at }}}
	e.config.Log = slog.New(slog.DiscardHandler)
	e.seat.e, e.seat.advanced = e, make(chan struct{}, 1)
	e.keeper.init(e)
	e.keeper.seated.Store(true)
	e.ctx, e.close = context.WithCancel(context.Background())
	t.Cleanup(func() {
		e.close()
		e.keeper.attend()
	})
	model, w := map[string]string{}, e.keeper.begin()
	for i := range records {
		r := store.Record{Kind: zone.KindPool, ID: fmt.Sprintf("r%06d", i), Revision: uint64(i + 1), Value: fmt.Appendf(nil, `{"value": %d}`, i)}
		w.record(r)
		model[r.ID] = fmt.Sprintf("%d %s", r.Revision, r.Value)
	}
	e.keeper.adopt(w, uint64(records+1))
	e.keeper.sync()
	e.seat.current.Store(&at)
	e.seat.applied.Store(uint64(records + 1))
	e.keeper.note()
	if e.Kept() != at || e.keeper.err != nil {
		t.Fatalf("kept as of %v: %v", e.Kept(), e.keeper.err)
	}
	return e, model
}

// change commits something by chance.
func (e *Engine) change(random *rand.Rand, model map[string]string) {
	c := store.Commit{Revision: e.keeper.revision + 1 + random.Uint64N(3)}
	for range 1 + random.IntN(3) {
		w := store.Write{Kind: zone.KindPool, ID: fmt.Sprintf("r%06d%.*s", random.IntN(200), random.IntN(2), "x")}
		at := c.Revision
		if random.IntN(3) > 0 {
			w.Value = fmt.Appendf(nil, `{"at": %d}`, c.Revision)
			if random.IntN(3) == 0 { // the commit was written in steps
				at--
				w.Revision = at
			}
		}
		delete(model, w.ID)
		if w.Value != nil {
			model[w.ID] = fmt.Sprintf("%d %s", at, w.Value)
		}
		c.Writes = append(c.Writes, w)
	}
	e.keeper.add(c)
}

// boot reads what a node would start with.
func boot(c Config) (map[string]string, uint64, error) {
	b, err := OpenImage(c)
	if err != nil {
		return nil, 0, err
	}
	defer b.Close()
	got, last := map[string]string{}, ""
	revision, err := b.Load(context.Background(), func(r store.Record) error {
		if r.ID <= last {
			return fmt.Errorf("%q comes after %q", r.ID, last)
		}
		last = r.ID
		got[r.ID] = fmt.Sprintf("%d %s", r.Revision, r.Value)
		return nil
	})
	return got, revision, err
}

func expectBoot(t *testing.T, e *Engine, want map[string]string) {
	t.Helper()
	got, revision, err := boot(e.config)
	if err != nil || revision != e.keeper.revision || !maps.Equal(got, want) {
		t.Errorf("revision %d of %d, %d of %d records: %v", revision, e.keeper.revision, len(got), len(want), err)
	}
}

// What a node has applied is told when it is in the image.
func TestWhatIsNotInTheImageIsNotTold(t *testing.T) {
	t.Parallel()
	e, model := imageOf(t, 10)
	for range 10 {
		before := e.keeper.revision
		e.change(rand.New(rand.NewPCG(before, 0)), model)
		e.seat.advance(e.keeper.revision)
		if has := e.seat.has(); has != before {
			t.Errorf("told up to %d, and the image is of %d", has, before)
		}
		e.keeper.sync()
		if has := e.seat.has(); has != e.keeper.revision {
			t.Errorf("told up to %d, and the image is of %d", has, e.keeper.revision)
		}
	}
}

// Whatever is committed is in the image, also when it is written anew.
func TestImageHasEverything(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	e, model := imageOf(t, 100)
	expectBoot(t, e, model)
	for range 20 {
		for range random.IntN(30) {
			e.change(random, model)
		}
		e.keeper.sync()
		if e.keeper.kept.Load() != e.keeper.revision {
			t.Fatalf("kept up to %d, not %d", e.keeper.kept.Load(), e.keeper.revision)
		}
		expectBoot(t, e, model)
		if random.IntN(2) > 0 {
			e.keeper.compact()
			for range random.IntN(5) {
				e.change(random, model)
			}
		}
	}
	// Commits that come while the image is written anew.
	e.keeper.sync()
	e.keeper.mu.Lock()
	w, size := e.keeper.out, e.keeper.out.size
	e.keeper.mu.Unlock()
	for range 50 {
		e.change(random, model)
	}
	if _, err := e.keeper.rewrite(w, size); err != nil {
		t.Fatal(err)
	}
	e.change(random, model)
	e.keeper.sync()
	expectBoot(t, e, model)
	left, err := os.ReadDir(e.config.Dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%v, %v", left, err)
	}
	for _, file := range left {
		if info, err := file.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", file.Name(), info.Mode())
		}
	}
}

func TestImageThatIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(t *testing.T, c *Config)
		why    string
	}{
		"another node":           {func(_ *testing.T, c *Config) { renameImage(c, "b") }, `of the node "a"`},
		"another prefix":         {func(_ *testing.T, c *Config) { c.Prefix = "/q" }, `under "/p"`},
		"too old":                {later(time.Hour + time.Second), "longer ago than store.etcd.stale_after"},
		"from the future":        {later(-time.Second), "in the future"},
		"too old by now":         {func(_ *testing.T, c *Config) { later(time.Minute)(nil, c); c.StaleAfter = 30 * time.Second }, "longer ago"},
		"the others are shorter": {func(_ *testing.T, c *Config) { later(2*time.Hour)(nil, c); c.StaleAfter = 3 * time.Hour }, "longer ago"},
		"given up":               {func(_ *testing.T, c *Config) { _ = os.Remove(currentPath(*c)) }, "in good order"},
		"no image":               {func(_ *testing.T, c *Config) { _ = os.Remove(imagePath(*c)) }, "no such file"},
		"another format": {func(t *testing.T, c *Config) {
			text, err := readFile(currentPath(*c))
			if err == nil {
				err = writeFile(currentPath(*c), []byte(strings.Replace(string(text), `"format":2`, `"format":3`, 1)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "has format 3"},
		"a newer record": {func(t *testing.T, c *Config) {
			w, err := newImage(imagePath(*c), *c)
			if err != nil {
				t.Fatal(err)
			}
			w.record(store.Record{Kind: zone.KindPool, ID: "x", Revision: 1, Value: []byte("{}"), Format: store.Format})
			w.end(100)
			w.commit(store.Commit{Revision: 101, Writes: []store.Write{{Kind: zone.KindPool, ID: "y", Value: []byte("{}"), Format: store.Format + 1}}})
			if err := errors.Join(w.flush(), w.file.Close(), os.Rename(w.file.Name(), imagePath(*c))); err != nil {
				t.Fatal(err)
			}
		}, fmt.Sprintf("has format %d, and this version reads", store.Format+1)},
		"an older image": {func(t *testing.T, c *Config) {
			var s standing
			text, err := readFile(currentPath(*c))
			if err = errors.Join(err, json.Unmarshal(text, &s)); err != nil {
				t.Fatal(err)
			}
			s.Revision++
			if text, err = json.Marshal(s); err == nil {
				err = writeFile(currentPath(*c), text)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "the node had revision"},
	} {
		t.Run(name, func(t *testing.T) {
			e, _ := imageOf(t, 10)
			config := e.config
			c.change(t, &config)
			if _, _, err := boot(config); !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func later(d time.Duration) func(*testing.T, *Config) {
	return func(_ *testing.T, c *Config) {
		at := c.Now().Add(d)
		c.Now = func() time.Time { return at }
	}
}

// renameImage gives the files of a node to another one.
func renameImage(c *Config, node string) {
	from := *c
	c.Node = node
	_ = os.Rename(imagePath(from), imagePath(*c))
	_ = os.Rename(currentPath(from), currentPath(*c))
}

// However the files are damaged, that is found, or everything is there.
func TestImageThatIsDamaged(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	e, model := imageOf(t, 12)
	for range 8 {
		e.change(random, model)
	}
	e.keeper.sync()
	e.keeper.noted = time.Time{}
	e.keeper.note()
	for _, path := range []string{imagePath(e.config), currentPath(e.config)} {
		sound, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		refuse := func(what string, damaged []byte) {
			t.Helper()
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, _, err := boot(e.config); !errors.Is(err, ErrImage) {
				t.Errorf("%s: %s: %v", path, what, err)
			}
		}
		for i := range sound {
			damaged := append([]byte{}, sound...)
			damaged[i] ^= 1 << random.IntN(8)
			refuse(fmt.Sprintf("a flipped bit in octet %d", i), damaged)
			refuse(fmt.Sprintf("the first %d octets", i), sound[:i])
		}
		refuse("octets at the end", append(append([]byte{}, sound...), "x23456789012345"...))
		if err := os.WriteFile(path, sound, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What was being written when the node was killed nobody relies on.
	sound, err := os.ReadFile(imagePath(e.config))
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"x", strings.Repeat("\x00", 7), strings.Repeat("\x00", 5000)} {
		if err := os.WriteFile(imagePath(e.config), append(append([]byte{}, sound...), tail...), 0o600); err != nil {
			t.Fatal(err)
		}
		expectBoot(t, e, model)
	}
}

// An image that cannot be kept up is made useless before the node says that it has more.
func TestImageThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	e, model := imageOf(t, 10)
	before := e.keeper.kept.Load()
	_ = e.keeper.out.file.Close() // as if the disk were gone
	e.change(rand.New(rand.NewPCG(0, 0)), model)
	e.keeper.sync()
	if kept := e.keeper.kept.Load(); kept != before {
		t.Errorf("kept up to %d, not %d, while the node could be started from the image", kept, before)
	}
	e.keeper.sync()
	if kept := e.keeper.kept.Load(); kept != unkept || !e.Kept().IsZero() {
		t.Errorf("kept up to %d as of %v", kept, e.Kept())
	}
	if _, _, err := boot(e.config); !errors.Is(err, ErrImage) {
		t.Errorf("got %v", err)
	}
}
