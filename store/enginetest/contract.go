package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

const kind = zone.KindPool

func put(name string, expect uint64, value string) store.Write {
	return store.Write{Kind: kind, ID: name, Expect: expect, Value: []byte(value)}
}

func remove(name string, expect uint64) store.Write {
	return store.Write{Kind: kind, ID: name, Expect: expect}
}

func ref(name string, revision uint64) zone.Ref {
	return zone.Ref{Kind: kind, ID: name, Revision: revision}
}

// Contract checks what store.Engine promises. open returns an engine without records, whose revision may be any.
func Contract(t *testing.T, open func(t *testing.T) store.Engine) {
	for name, check := range map[string]func(*testing.T, store.Engine){
		"revisions increase":                 numbers,
		"all or nothing":                     allOrNothing,
		"preconditions":                      preconditions,
		"the feed has every commit in order": feed,
		"only one of two that meet":          conflict,
		"a feed that cannot be followed":     unfollowed,
		"nonsense":                           nonsense,
		"commits of many records":            large,
		"terms":                              terms,
		"closed":                             closed,
		"cancelled":                          cancelled,
		"formats":                            formats,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func commit(t *testing.T, e store.Engine, writes ...store.Write) uint64 {
	t.Helper()
	revision, err := e.Commit(t.Context(), store.Tx{Writes: writes})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// records returns what an engine has of the kind: "name=value@revision".
func records(t *testing.T, e store.Engine) (all []string, revision uint64) {
	t.Helper()
	revision, err := e.Load(t.Context(), func(r store.Record) error {
		if r.Kind == kind {
			all = append(all, fmt.Sprintf("%s=%s@%d", r.ID, r.Value, r.Revision))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, revision
}

func expect(t *testing.T, e store.Engine, want ...string) {
	t.Helper()
	if got, _ := records(t, e); !slices.Equal(got, want) {
		t.Errorf("the engine has %q, want %q", got, want)
	}
}

func numbers(t *testing.T, e store.Engine) {
	_, before := records(t, e)
	a := commit(t, e, put("b", 0, "1"), put("a", 0, "2"))
	b := commit(t, e, put("a", a, "3"))
	c := commit(t, e, remove("b", a))
	if a <= before || b <= a || c <= b {
		t.Errorf("revisions %d, %d, %d after %d", a, b, c, before)
	}
	expect(t, e, fmt.Sprintf("a=3@%d", b))
	if _, now := records(t, e); now < c {
		t.Errorf("load at %d, want %d", now, c)
	}
}

func allOrNothing(t *testing.T, e store.Engine) {
	a := commit(t, e, put("a", 0, "1"))
	_, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("b", 0, "2"), put("a", a+7, "3")}})
	if !errors.Is(err, zone.ErrRetry) {
		t.Errorf("got %v", err)
	}
	expect(t, e, fmt.Sprintf("a=1@%d", a))
	commit(t, e, put("c", 0, "4"))
}

func preconditions(t *testing.T, e store.Engine) {
	a := commit(t, e, put("a", 0, "1"))
	for name, c := range map[string]struct {
		tx   store.Tx
		good bool
	}{
		"there is one already":         {store.Tx{Writes: []store.Write{put("a", 0, "2")}}, false},
		"there is none":                {store.Tx{Writes: []store.Write{put("x", a, "2")}}, false},
		"delete what is not there":     {store.Tx{Writes: []store.Write{remove("x", a)}}, false},
		"delete another version":       {store.Tx{Writes: []store.Write{remove("a", a+1)}}, false},
		"requires another version":     {store.Tx{Requires: []zone.Ref{ref("a", a+1)}, Writes: []store.Write{put("y", 0, "2")}}, false},
		"requires what is not there":   {store.Tx{Requires: []zone.Ref{ref("x", a)}, Writes: []store.Write{put("y", 0, "2")}}, false},
		"requires absence of what is":  {store.Tx{Requires: []zone.Ref{ref("a", 0)}, Writes: []store.Write{put("y", 0, "2")}}, false},
		"requires this version":        {store.Tx{Requires: []zone.Ref{ref("a", a)}, Writes: []store.Write{put("z1", 0, "2")}}, true},
		"requires absence of the rest": {store.Tx{Requires: []zone.Ref{ref("x", 0)}, Writes: []store.Write{put("z2", 0, "2")}}, true},
	} {
		if _, err := e.Commit(t.Context(), c.tx); (err == nil) != c.good || err != nil && !errors.Is(err, zone.ErrRetry) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func feed(t *testing.T, e store.Engine) {
	_, start := records(t, e)
	const commits, writers = 200, 8
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan store.Commit, commits)
	ended := make(chan error, 1)
	go func() { ended <- e.Watch(ctx, start, func(c store.Commit) error { seen <- c; return nil }) }()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range commits / writers {
				if _, err := e.Commit(ctx, store.Tx{Writes: []store.Write{put(fmt.Sprintf("%d-%d", w, i), 0, "v")}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	names := map[string]bool{}
	for last := start; len(names) < commits; {
		c := <-seen
		if c.Revision <= last {
			t.Fatalf("revision %d of the feed comes after %d", c.Revision, last)
		}
		last = c.Revision
		for _, w := range c.Writes {
			if names[w.ID] {
				t.Fatalf("%s comes twice", w.ID)
			}
			names[w.ID] = true
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the feed ended with %v", err)
	}
}

func conflict(t *testing.T, e store.Engine) {
	a := commit(t, e, put("a", 0, "0"))
	const writers = 16
	var won sync.Map
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			_, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("a", a, fmt.Sprint(w))}})
			switch {
			case err == nil:
				won.Store(w, true)
			case !errors.Is(err, zone.ErrRetry):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := 0
	won.Range(func(any, any) bool { count++; return true })
	if count != 1 {
		t.Errorf("%d of %d writers won", count, writers)
	}
}

func closed(t *testing.T, e store.Engine) {
	ended := make(chan error, 1)
	_, start := records(t, e)
	go func() { ended <- e.Watch(t.Context(), start, func(store.Commit) error { return nil }) }()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("the feed ended with %v", err)
	}
	if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("a", 0, "1")}}); !errors.Is(err, store.ErrClosed) {
		t.Errorf("commit: %v", err)
	}
}

func cancelled(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.Watch(ctx, 0, func(store.Commit) error { return nil }); err == nil {
		t.Error("a feed that nobody wants goes on")
	}
}

func unfollowed(t *testing.T, e store.Engine) {
	_, start := records(t, e)
	commit(t, e, put("a", 0, "1"))
	commit(t, e, put("b", 0, "1"))
	broken := errors.New("broken")
	calls := 0
	err := e.Watch(t.Context(), start, func(store.Commit) error { calls++; return broken })
	if !errors.Is(err, broken) || calls != 1 {
		t.Errorf("%d calls, then %v", calls, err)
	}
}

func nonsense(t *testing.T, e store.Engine) {
	a := commit(t, e, put("a", 0, "1"))
	for name, writes := range map[string][]store.Write{
		"no id":                    {put("", 0, "2")},
		"no kind":                  {{ID: "x", Value: []byte("2")}},
		"twice":                    {put("x", 0, "2"), put("x", 0, "3")},
		"put and removed":          {put("a", a, "2"), remove("a", a)},
		"removal of what is not":   {remove("x", 0)},
		"an id with a zero octet":  {put("x\x00y", 0, "2")},
		"an id without a good end": {put(strings.Repeat("x", 1<<16), 0, "2")},
	} {
		if _, err := e.Commit(t.Context(), store.Tx{Writes: writes}); err == nil || errors.Is(err, zone.ErrRetry) || errors.Is(err, zone.ErrUncertain) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	expect(t, e, fmt.Sprintf("a=1@%d", a))
}

func formats(t *testing.T, e store.Engine) {
	_, start := records(t, e)
	var want []string
	for i, format := range []uint8{0, store.OldestWritten, store.Format} {
		w := put(fmt.Sprint(i), 0, "1")
		w.Format = format
		commit(t, e, w)
		want = append(want, fmt.Sprint(w.ID, ": ", max(1, format)))
	}
	var loaded []string
	if _, err := e.Load(t.Context(), func(r store.Record) error {
		if r.Kind == kind {
			loaded = append(loaded, fmt.Sprint(r.ID, ": ", max(1, r.Format)))
		}
		return nil
	}); err != nil || !slices.Equal(loaded, want) {
		t.Errorf("loaded %q, want %q: %v", loaded, want, err)
	}
	var heard []string
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := e.Watch(ctx, start, func(c store.Commit) error {
		for _, w := range c.Writes {
			heard = append(heard, fmt.Sprint(w.ID, ": ", max(1, w.Format)))
		}
		if len(heard) == len(want) {
			cancel()
		}
		return nil
	})
	if slices.Sort(heard); !errors.Is(err, context.Canceled) || !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q: %v", heard, want, err)
	}
	w := put("newer", 0, "1")
	w.Format = store.Format + 1
	if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{w}}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("of a format that is not known: %v", err)
	}
}

func terms(t *testing.T, e store.Engine) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first, err := e.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("a", 0, "1")}, Term: first.Token}); err != nil {
		t.Error(err)
	}
	cancel()
	second, err := e.Lead(t.Context())
	if err != nil || second.Token <= first.Token {
		t.Fatalf("token %d after %d, %v", second.Token, first.Token, err)
	}
	for _, term := range []uint64{first.Token, second.Token + 1} {
		if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("b", 0, "1")}, Term: term}); !errors.Is(err, store.ErrDeposed) {
			t.Errorf("a commit of term %d in term %d: %v", term, second.Token, err)
		}
	}
	if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{put("c", 0, "1")}, Term: second.Token}); err != nil {
		t.Error(err)
	}
}

// large commits are as others, and the feed has what a load has.
func large(t *testing.T, e store.Engine) {
	_, start := records(t, e)
	const n = 5000
	one, other, old := commit(t, e, put("one", 0, "1")), commit(t, e, put("other", 0, "1")), commit(t, e, put("x0", 0, "old"))
	tx := store.Tx{Requires: []zone.Ref{ref("one", one), ref("absent", 0)}, Writes: []store.Write{remove("other", other), put("x0", old, "0")}}
	for i := 1; i < n; i++ {
		tx.Writes = append(tx.Writes, put(fmt.Sprintf("x%d", i), 0, strings.Repeat("v", i%400)+fmt.Sprint(i)))
	}
	tx.Writes = append(tx.Writes, put("last", 0, strings.Repeat("long ", 1<<18)))
	for name, wrong := range map[string]func(tx *store.Tx){
		"another version of what is required": func(tx *store.Tx) { tx.Requires = []zone.Ref{ref("one", one+1)} },
		"there is one already":                func(tx *store.Tx) { tx.Writes = append(slices.Clone(tx.Writes), put("one", 0, "2")) },
		"there is none":                       func(tx *store.Tx) { tx.Writes = append(slices.Clone(tx.Writes), put("none", one, "2")) },
	} {
		bad := tx
		wrong(&bad)
		if _, err := e.Commit(t.Context(), bad); !errors.Is(err, zone.ErrRetry) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if all, _ := records(t, e); len(all) != 3 || all[2] != fmt.Sprintf("x0=old@%d", old) {
		t.Errorf("commits that were refused have left %d records", len(all))
	}
	revision, err := e.Commit(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Commit(t.Context(), tx); !errors.Is(err, zone.ErrRetry) {
		t.Errorf("a second time: %v", err)
	}
	after := commit(t, e, put("after", 0, "1"), put("last", revision, "short"), remove("one", one))
	fed := feedUpTo(t, e, start, after, len(tx.Writes))
	if loaded, _ := records(t, e); !slices.Equal(loaded, fed) {
		t.Errorf("the feed has %d records, and a load %d", len(fed), len(loaded))
	}
}

// feedUpTo returns the records as the feed has them after a revision, as records does. One commit must have so many writes.
func feedUpTo(t *testing.T, e store.Engine, start, end uint64, most int) (all []string) {
	t.Helper()
	have, found, done := map[string]store.Record{}, false, errors.New("done")
	err := e.Watch(t.Context(), start, func(c store.Commit) error {
		for _, w := range c.Writes {
			r := c.Record(w)
			if r.Revision > c.Revision || r.Revision != 0 && r.Revision <= have[w.ID].Revision {
				t.Errorf("%s has revision %d in commit %d, after %d", w.ID, r.Revision, c.Revision, have[w.ID].Revision)
			}
			have[w.ID] = r
		}
		found = found || len(c.Writes) == most
		if c.Revision >= end {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) || !found {
		t.Errorf("the feed ended with %v; a commit of %d writes: %t", err, most, found)
	}
	for _, name := range slices.Sorted(maps.Keys(have)) {
		if r := have[name]; r.Revision != 0 {
			all = append(all, fmt.Sprintf("%s=%s@%d", r.ID, r.Value, r.Revision))
		}
	}
	return all
}
