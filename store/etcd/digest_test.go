package etcd_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// told returns what a node says of itself.
func told(t *testing.T, c *Cluster, client *clientv3.Client, node string) (said struct {
	Revision uint64
	Digest   string
}) {
	t.Helper()
	found, err := client.Get(t.Context(), config(c, t, "").Prefix+"/node/"+node)
	if err == nil && len(found.Kvs) == 1 {
		err = json.Unmarshal(found.Kvs[0].Value, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	return said
}

// Who has heard of every commit has the digest of who has loaded everything, whatever was written, replaced and deleted.
func TestDigestsOfAllNodesAreAlike(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, admin := join(t, c, "a", time.Now), c.Client()
	watch(t, a)
	seen := map[string]bool{}
	for i, tx := range []func(last uint64) store.Tx{
		func(uint64) store.Tx { return put("x", "1", 0) },
		func(last uint64) store.Tx { return put("x", "2", last) },
		func(last uint64) store.Tx {
			return store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: "x", Expect: last}}}
		},
		func(uint64) store.Tx { return put("x", "1", 0) },
		func(uint64) store.Tx { return largeTx("v") },
		func(uint64) store.Tx { return put("y", "1", 0) },
	} {
		last, err := a.Newest(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		revision, err := a.Commit(t.Context(), tx(last))
		if err != nil {
			t.Fatal(err)
		}
		await(t, "a has it", func() bool { return told(t, c, admin, "a").Revision >= revision })
		node := fmt.Sprint("b", i)
		b := join(t, c, node, time.Now)
		watch(t, b)
		await(t, "b has it", func() bool { return told(t, c, admin, node).Revision >= revision })
		rolled, loaded := told(t, c, admin, "a").Digest, told(t, c, admin, node).Digest
		if rolled != loaded || rolled == "" || seen[rolled] {
			t.Errorf("after commit %d: %q, and loaded %q", i, rolled, loaded)
		}
		seen[rolled] = true
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A node that has something else than another one at the same revision loads everything again; so does the other, as far as they know it
// may be either. Then they have the same, and are content.
func TestNodesThatDiffer(t *testing.T) {
	t.Parallel()
	c, clock, a, b := pair(t)
	admin := c.Client()
	for i := range 3 {
		if _, err := a.Commit(t.Context(), put(fmt.Sprint(i), "1", 0)); err != nil {
			t.Fatal(err)
		}
	}
	_, revision := loadAt(t, b)
	_, ended, stop := watching(t, b, revision)
	time.AfterFunc(time.Minute, stop)
	await(t, "both have told it", func() bool {
		x, y := told(t, c, admin, "a"), told(t, c, admin, "b")
		return x.Digest != "" && x.Digest == y.Digest
	})
	b.Differ()
	if _, err := a.Commit(t.Context(), put("later", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "they differ", func() bool {
		x, y := told(t, c, admin, "a"), told(t, c, admin, "b")
		return x.Revision == y.Revision && x.Digest != y.Digest
	})
	if n := b.Mismatches(); n > 0 {
		t.Errorf("who has loaded a moment ago differs %d times", n)
	}
	clock.Pass(2 * time.Minute)
	if err := <-ended; !errors.Is(err, store.ErrGap) || !strings.Contains(err.Error(), "other records") || b.Mismatches() != 1 {
		t.Errorf("after %d mismatches the watch ended with %v", b.Mismatches(), err)
	}
	if err := b.Stale(); err != nil {
		t.Errorf("it does not answer while it loads: %v", err)
	}
	await(t, "it says that it is loading", func() bool { return told(t, c, admin, "b").Revision == 0 })
	await(t, "the other one has seen it, too", func() bool { return a.Mismatches() == 1 })
	watch(t, b)
	watch(t, a)
	if _, err := b.Commit(t.Context(), put("after", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "they have the same", func() bool {
		x, y := told(t, c, admin, "a"), told(t, c, admin, "b")
		return x.Digest != "" && x.Digest == y.Digest
	})
	time.Sleep(4 * time.Second) // what they had told before is forgotten
	clock.Pass(time.Hour)
	heard := told(t, c, admin, "a")
	time.Sleep(7 * time.Second) // they compare twice
	if a.Mismatches() != 1 || b.Mismatches() != 1 || told(t, c, admin, "a") != heard {
		t.Errorf("%d and %d mismatches", a.Mismatches(), b.Mismatches())
	}
}

// An etcd that was restored from a copy may have come further than a node that was cut off meanwhile.
func TestEtcdGoesBackAndFurther(t *testing.T) {
	t.Parallel()
	for name, further := range map[string]func(t *testing.T, c *Cluster, beyond int64){
		"by what is not ours": bump,
		"and has no history": func(t *testing.T, c *Cluster, beyond int64) {
			bump(t, c, beyond)
			if _, err := c.Client().Compact(t.Context(), beyond); err != nil {
				t.Fatal(err)
			}
		},
		"by commits": func(t *testing.T, c *Cluster, beyond int64) {
			e := open(t, c, "b")
			_, before := loadAt(t, e)
			heard, _, _ := watching(t, e, before)
			defer func() {
				if heard() == 0 || e.Mismatches() > 0 {
					t.Errorf("who was not there before has heard of %d commits, and differs %d times", heard(), e.Mismatches())
				}
			}()
			for i := 0; ; i++ {
				revision, err := e.Commit(t.Context(), put(fmt.Sprint("new", i), "1", 0))
				if err != nil {
					t.Fatal(err)
				}
				if int64(revision) > beyond {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 1)
			create(t, c)
			e, line := openAtCable(t, c)
			if name == "by what is not ours" { // of that a watch does not hear
				if err := e.Join(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			m := c.Members[0]
			_, revision := loadAt(t, e)
			copied := m.copy(t)
			heard, ended, stop := watching(t, e, revision)
			for i := range 20 {
				if _, err := e.Commit(t.Context(), put(fmt.Sprint("lost", i), "1", 0)); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "all is heard", func() bool { return heard() == 20 })
			now, err := c.Client().Get(t.Context(), "x")
			if err != nil {
				t.Fatal(err)
			}
			line.Cut()
			m.restore(t, copied)
			c.Wait()
			further(t, c, now.Header.Revision+20)
			line.Mend()
			time.AfterFunc(30*time.Second, stop)
			if err := <-ended; !errors.Is(err, store.ErrGap) || e.Mismatches() != 1 {
				t.Errorf("after %d mismatches the watch ended with %v", e.Mismatches(), err)
			}
			if err := e.Stale(); err == nil || name == "by what is not ours" && !strings.Contains(err.Error(), "another history") {
				t.Errorf("it answers: %v", err)
			}
			if _, err := e.Commit(t.Context(), put("planned on what is lost", "1", 0)); !errors.Is(err, zone.ErrUnavailable) {
				t.Errorf("it takes a commit: %v", err)
			}
			all, revision := loadAt(t, e)
			for id := range all {
				if strings.HasPrefix(id, "lost") {
					t.Errorf("%s is there", id)
				}
			}
			watching(t, e, revision)
			if name == "by what is not ours" {
				await(t, "it answers again", fresh(e))
			}
		})
	}
}

// bump writes what is not ours until etcd has a revision.
func bump(t *testing.T, c *Cluster, revision int64) {
	t.Helper()
	for client, at := c.Client(), int64(0); at < revision; {
		response, err := client.Put(t.Context(), "of-somebody-else", "x")
		if err != nil {
			t.Fatal(err)
		}
		at = response.Header.Revision
	}
}

// What etcd cannot tell the predecessor of, and what no node has written, is to be loaded. It is no other history: the node goes on
// answering meanwhile.
func TestCommitsWithoutPredecessor(t *testing.T) {
	t.Parallel()
	for name, disturb := range map[string]func(t *testing.T, c *Cluster, last int64) error{
		"compacted": func(t *testing.T, c *Cluster, last int64) error {
			_, err := c.Client().Compact(t.Context(), last)
			return err
		},
		"by hand": func(t *testing.T, c *Cluster, _ int64) error {
			_, err := c.Client().Put(t.Context(), config(c, t, "").Prefix+"/record/"+string(zone.KindPool)+"/x", "\x01{}")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := startCluster(t, 1)
			create(t, c)
			e := join(t, c, "a", time.Now)
			if _, err := e.Commit(t.Context(), put("a", "1", 0)); err != nil {
				t.Fatal(err)
			}
			_, revision := loadAt(t, e)
			last, err := e.Commit(t.Context(), put("b", "1", 0))
			if err == nil {
				err = disturb(t, c, int64(last))
			}
			if err != nil {
				t.Fatal(err)
			}
			_, ended, stop := watching(t, e, revision)
			time.AfterFunc(30*time.Second, stop)
			if err := <-ended; !errors.Is(err, store.ErrGap) {
				t.Errorf("the watch ended with %v", err)
			}
			if n, err := e.Mismatches(), e.Stale(); n > 0 || errors.Is(err, etcd.ErrAstray) {
				t.Errorf("%d mismatches, %v", n, err)
			}
		})
	}
}
