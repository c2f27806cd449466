package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// largeTx writes some hundred records into two blocks.
func largeTx(value string) (tx store.Tx) {
	for i := range 300 {
		tx.Writes = append(tx.Writes, put(fmt.Sprint(i), value, 0).Writes...)
	}
	tx.Writes = append(tx.Writes, put("large", value+strings.Repeat("x", 1<<20), 0).Writes...)
	return tx
}

// listening hears of every commit after a revision.
type listening struct {
	mu      sync.Mutex
	commits []store.Commit
}

func listen(t *testing.T, e store.Engine, after uint64) *listening {
	l := &listening{}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = e.Watch(ctx, after, func(c store.Commit) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.commits = append(l.commits, c)
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return l
}

// sizes are the numbers of writes of the commits.
func (l *listening) sizes() (all []int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.commits {
		all = append(all, len(c.Writes))
	}
	return all
}

// records are what the commits lead to.
func (l *listening) records() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]uint64{}
	for _, c := range l.commits {
		for _, w := range c.Writes {
			all[w.ID] = c.Record(w).Revision
		}
	}
	return all
}

// revisions returns what a load finds.
func revisions(t *testing.T, e store.Engine) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	if _, err := e.Load(t.Context(), func(r store.Record) error { all[r.ID] = r.Revision; return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// expectNothingLeft looks for what only large commits have.
func expectNothingLeft(t *testing.T, c *Cluster) {
	t.Helper()
	prefix := config(c, t, "").Prefix
	for _, key := range []string{"/record/large", "/block/"} {
		found, err := c.Client().Get(t.Context(), prefix+key, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil || len(found.Kvs) > 0 {
			t.Errorf("%d keys %s are left, %v", len(found.Kvs), key, err)
		}
	}
}

// A node that ends while it writes a large commit out leaves it to whoever comes next: a commit, a load, or somebody who only watches.
// All have it whole or not at all, and the feed has it as one.
func TestALargeCommitThatIsLeft(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	tx := largeTx("v")
	all := len(tx.Writes)
	for how, next := range map[string]func(t *testing.T, e *etcd.Engine){
		"commit": func(t *testing.T, e *etcd.Engine) {
			if _, err := e.Commit(t.Context(), put("7", "w", 0)); !errors.Is(err, zone.ErrRetry) {
				t.Errorf("what the large commit has written is not there: %v", err)
			}
		},
		"large commit": func(t *testing.T, e *etcd.Engine) {
			if _, err := e.Commit(t.Context(), tx); !errors.Is(err, zone.ErrRetry) {
				t.Errorf("what the large commit has written is not there: %v", err)
			}
		},
		"load":  func(t *testing.T, e *etcd.Engine) { revisions(t, e) },
		"watch": func(*testing.T, *etcd.Engine) {},
	} {
		for steps := range 5 {
			t.Run(fmt.Sprint(how, " after ", steps), func(t *testing.T) {
				t.Parallel()
				create(t, c)
				a, b := open(t, c, "a"), open(t, c, "b")
				_, start := loadAt(t, b)
				heard := listen(t, b, start)
				if enough, err := a.LeaveLarge(t.Context(), tx, steps); err != nil || !enough {
					t.Fatalf("%t, %v", enough, err)
				}
				a.Close()
				next(t, b)
				await(t, "the commit is heard", func() bool { return slices.Equal(heard.sizes(), []int{all}) })
				if loaded := revisions(t, b); len(loaded) != all || !maps.Equal(loaded, heard.records()) {
					t.Errorf("%d are there, or have other revisions than in the feed", len(loaded))
				}
				expectNothingLeft(t, c)
			})
		}
	}
}

// A large commit that was not made vanishes when its node does not go on with it. Until then others wait to commit, but not to read.
func TestALargeCommitThatIsGivenUp(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, b := open(t, c, "a"), open(t, c, "b")
	_, start := loadAt(t, b)
	heard := listen(t, b, start)
	if _, err := a.LeaveLarge(t.Context(), largeTx("v"), -1); err != nil {
		t.Fatal(err)
	}
	if all, _ := loadAt(t, b); len(all) != 0 {
		t.Errorf("%d are there before the commit is made", len(all))
	}
	select {
	case o := <-committing(b, put("7", "w", 0)):
		if o.err != nil {
			t.Error(o.err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not vanish")
	}
	await(t, "the other commit is heard", func() bool { return slices.Equal(heard.sizes(), []int{1}) })
	expectNothingLeft(t, c)
}

// A large commit that its node has given up keeps nobody waiting when its lease does not run out, as in an etcd that holds elections all the time.
func TestALeaseThatDoesNotRunOut(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e, line := openAtCable(t, c)
	direct := c.Client()
	key := config(c, t, "").Prefix + "/record/large"
	changes := direct.Watch(t.Context(), key)
	tx := largeTx("v")
	for i := range 8 { // it takes a while to prepare
		tx.Writes = append(tx.Writes, put(fmt.Sprint("large", i), strings.Repeat("x", 1<<20), 0).Writes...)
	}
	result := committing(e, tx)
	lease := clientv3.LeaseID((<-changes).Events[0].Kv.Lease)
	line.Cut()
	if o := <-result; !errors.Is(o.err, zone.ErrUnavailable) {
		t.Errorf("the commit: %v", o.err)
	}
	line.Mend()
	await(t, "the lease is given back", func() bool {
		_, err := direct.KeepAliveOnce(t.Context(), lease)
		return errors.Is(err, rpctypes.ErrLeaseNotFound)
	})
	expectNothingLeft(t, c)
}

// Whatever answer of etcd is lost, a large commit is told as made, and is there, or as not made, and is not.
func TestAnswersOfALargeCommitThatAreLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	made, not := 0, 0
	for change := range 6 { // of the key of the large commit: it is taken, the commit is made, and written out
		t.Run(fmt.Sprint(change), func(t *testing.T) {
			create(t, c)
			e, line := openAtCable(t, c)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			changes := c.Client().Watch(ctx, config(c, t, "").Prefix+"/record/large")
			result := committing(e, largeTx("v"))
			for range change + 1 {
				<-changes
			}
			line.CutAnswers()
			time.Sleep(200 * time.Millisecond) // some are on their way
			line.Mend()
			o := <-result
			loaded := revisions(t, open(t, c, "b"))
			switch there := len(loaded) == len(largeTx("v").Writes)+1; {
			case o.err == nil && there && o.revision == loaded["large"]:
				made++
			case errors.Is(o.err, zone.ErrUnavailable) && len(loaded) == 1:
				not++
			default:
				t.Errorf("%d are there, the last at %d: %d, %v", len(loaded), loaded["large"], o.revision, o.err)
			}
			if _, err := e.Commit(t.Context(), put("after", "1", 0)); err != nil {
				t.Error(err)
			}
			expectNothingLeft(t, c)
		})
	}
	t.Logf("%d made, %d not made", made, not)
}

// Large commits of two nodes, and small ones, come one after the other. Who loads meanwhile finds each whole or not at all.
func TestLargeCommitsAmongOthers(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	nodes := []*etcd.Engine{open(t, c, "a"), open(t, c, "b")}
	_, start := loadAt(t, nodes[0])
	feeds := []*listening{listen(t, nodes[0], start), listen(t, nodes[1], start)}
	const rounds, small = 6, 40
	var working sync.WaitGroup
	for n, e := range nodes {
		working.Go(func() {
			for round := 0; round < rounds; {
				tx, have := largeTx(fmt.Sprint(n, " ", round)), revisions(t, e)
				for i := range tx.Writes {
					tx.Writes[i].Expect = have[tx.Writes[i].ID]
				}
				switch _, err := e.Commit(t.Context(), tx); {
				case err == nil:
					round++
				case !errors.Is(err, zone.ErrRetry):
					t.Errorf("round %d of %d: %v", round, n, err)
					return
				}
			}
		})
		working.Go(func() {
			for i := range small {
				if _, err := e.Commit(t.Context(), put(fmt.Sprint("small ", n, " ", i), "x", 0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	for loads, ended := 0, false; !ended; loads++ {
		select {
		case <-done:
			ended = true
		default:
		}
		all, _ := loadAt(t, nodes[loads%2])
		values := map[string]int{}
		for id, value := range all {
			if !strings.HasPrefix(id, "small") {
				values[strings.TrimRight(value, "x")]++
			}
		}
		if len(values) > 1 {
			t.Fatalf("a load has records of several commits: %v", values)
		}
	}
	for i, feed := range feeds {
		await(t, "all is heard", func() bool { return maps.Equal(feed.records(), revisions(t, nodes[i])) })
		count := map[int]int{}
		for _, size := range feed.sizes() {
			count[min(size, 3)]++
		}
		if count[3] != 2*rounds {
			t.Errorf("of %d large commits %d were heard", 2*rounds, count[3])
		}
	}
}

// manyLooks needs 60 transactions of etcd that look at its preconditions.
func manyLooks() store.Tx {
	tx := put("slow", "1", 0)
	for i := range 60 * 120 {
		tx.Requires = append(tx.Requires, zone.Ref{Kind: zone.KindPool, ID: fmt.Sprint(i)})
	}
	return tx
}

// manyBlocks needs 24 that store a block.
func manyBlocks() store.Tx {
	tx := put("slow", "1", 0)
	for i := range 24 {
		tx.Writes = append(tx.Writes, put(fmt.Sprint(i), strings.Repeat("x", 600<<10), 0).Writes...)
	}
	return tx
}

// leaseOfLarge says for how many seconds the lease goes on of a large commit that is being prepared, if there is one.
func leaseOfLarge(t *testing.T, c *Cluster) func() (left int64, is bool) {
	client, key := c.Client(), config(c, t, "").Prefix+"/record/large"
	return func() (int64, bool) {
		t.Helper()
		found, err := client.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if len(found.Kvs) == 0 || found.Kvs[0].Lease == 0 {
			return 0, false
		}
		lease, err := client.TimeToLive(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease))
		if err != nil {
			t.Fatal(err)
		}
		if lease.TTL < 0 { // it has just ended
			return 0, false
		}
		return lease.TTL, true
	}
}

// The lease of a large commit is renewed while its node goes on with it: to prepare it may take longer than the lease lasts by itself.
func TestALargeCommitThatIsSlow(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	for name, tx := range map[string]store.Tx{"looks": manyLooks(), "blocks": manyBlocks()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			create(t, c)
			e, line := openAtCable(t, c)
			line.Slow(200 * time.Millisecond)
			begun := make(chan error, 1)
			go func() { begun <- e.BeginLarge(tx, time.Hour) }()
			lease, least := leaseOfLarge(t, c), int64(math.MaxInt64)
			await(t, "the lease is renewed", func() bool {
				select {
				case err := <-begun:
					t.Fatalf("the lease was not renewed: %v", err)
				default:
				}
				left, is := lease()
				if is {
					least = min(least, left)
				}
				return is && left > least
			})
			line.Slow(0)
			if err := <-begun; err != nil {
				t.Fatal(err)
			}
			if all, _ := loadAt(t, e); all["slow"] != "1" {
				t.Error("it is not there")
			}
			expectNothingLeft(t, c)
		})
	}
}

// A large commit is given up when it takes too long to prepare it, or its node is closed. Others need not wait for the end of the lease.
func TestALargeCommitThatIsTooSlow(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	for name, end := range map[string]func(t *testing.T, e *etcd.Engine){
		"time": func(t *testing.T, e *etcd.Engine) {
			if err := e.BeginLarge(manyLooks(), time.Second); !errors.Is(err, zone.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		},
		"node": func(t *testing.T, e *etcd.Engine) {
			made := committing(e, manyLooks())
			client, blocks := c.Client(), config(c, t, "").Prefix+"/block/"
			await(t, "a block is stored", func() bool {
				found, err := client.Get(t.Context(), blocks, clientv3.WithPrefix(), clientv3.WithCountOnly())
				return err == nil && found.Count > 0
			})
			e.Close()
			if o := <-made; o.err == nil {
				t.Error("it was made")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			create(t, c)
			e, line := openAtCable(t, c)
			line.Slow(100 * time.Millisecond)
			end(t, e)
			lease, last := leaseOfLarge(t, c), int64(math.MaxInt64)
			await(t, "it is given up", func() bool {
				left, is := lease()
				if is {
					last = left
				}
				return !is
			})
			if last < 1 {
				t.Error("it was given up only when its lease ended")
			}
			expectNothingLeft(t, c)
			if all, _ := loadAt(t, open(t, c, "b")); len(all) != 1 {
				t.Errorf("%d are there", len(all))
			}
		})
	}
}

// A large commit of a term that is over is refused, also if the term ends while the commit is being prepared.
func TestALargeCommitOfATermThatIsOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e, tx := open(t, c, "a"), largeTx("v")
	ctx, resign := context.WithCancel(t.Context())
	first := lead(ctx, t, e)
	resign()
	ctx, resign = context.WithCancel(t.Context())
	second := lead(ctx, t, e)
	tx.Term = second.Token
	var third store.Term
	err := e.CommitLarge(t.Context(), tx, func() {
		resign()
		third = lead(t.Context(), t, e)
	})
	if !errors.Is(err, store.ErrDeposed) {
		t.Errorf("of a term that ends meanwhile: %v", err)
	}
	expectTerms(t, tx, first, third, e)
}

// A watcher that comes after a compaction in the middle of a large commit is told so, and finds everything when it loads.
func TestACompactionWithinALargeCommit(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, b := open(t, c, "a"), open(t, c, "b")
	before, err := b.Commit(t.Context(), put("before", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	tx := largeTx("v")
	if _, err := a.LeaveLarge(t.Context(), tx, 2); err != nil {
		t.Fatal(err)
	}
	admin := c.Client()
	now, err := admin.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Compact(t.Context(), now.Header.Revision); err != nil {
		t.Fatal(err)
	}
	for _, after := range []uint64{before, uint64(now.Header.Revision) - 1} {
		if err := b.Watch(t.Context(), after, func(store.Commit) error { t.Error("called"); return nil }); !errors.Is(err, store.ErrGap) {
			t.Errorf("got %v", err)
		}
	}
	if all := revisions(t, b); len(all) != len(tx.Writes)+1 {
		t.Errorf("%d are there", len(all))
	}
}

// An etcd that was restored from a copy of before a large commit began has not got to its revision yet, or has something else there: its
// end is not waited for.
func TestALargeCommitThatEtcdHasLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	past, err := e.Commit(t.Context(), put("a", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	last, err := e.Commit(t.Context(), put("b", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	for _, begun := range []uint64{past, last + 1000} {
		if _, err := e.Written(t.Context(), begun); !errors.Is(err, zone.ErrUncertain) {
			t.Errorf("begun at %d, when the last commit has %d: %v", begun, last, err)
		}
	}
}

// What etcd does not take in parts either is refused with the setting that it does not fit, before anything is written.
func TestTooMuchForOneCommit(t *testing.T) {
	t.Parallel()
	few := startCluster(t, 1, "--max-txn-ops", "64")
	c := startCluster(t, 1)
	together := largeTx("v")
	together.Writes = append(together.Writes, put("larger", strings.Repeat("x", 3<<20), 0).Writes...)
	var conditions store.Tx
	for i := range 200 {
		conditions.Requires = append(conditions.Requires, zone.Ref{Kind: zone.KindPool, ID: fmt.Sprint(i)})
	}
	for name, try := range map[string]struct {
		cluster *Cluster
		tx      store.Tx
		setting string
	}{
		"nothing to write":      {c, conditions, "--max-txn-ops"},
		"one record":            {c, put("larger", strings.Repeat("x", 3<<20), 0), "--max-request-bytes"},
		"among others":          {c, together, "--max-request-bytes"},
		"fewer than by default": {few, largeTx("v"), "--max-txn-ops"},
	} {
		t.Run(name, func(t *testing.T) {
			create(t, try.cluster)
			e := open(t, try.cluster, "a")
			if _, err := e.Commit(t.Context(), try.tx); !errors.Is(err, etcd.ErrTooMany) || !strings.Contains(err.Error(), try.setting) {
				t.Errorf("got %v", err)
			}
			if _, err := e.Commit(t.Context(), put("small", "x", 0)); err != nil {
				t.Error(err)
			}
			if all, _ := loadAt(t, e); len(all) != 1 {
				t.Errorf("the engine has %v", all)
			}
			expectNothingLeft(t, try.cluster)
		})
	}
}

// Where etcd takes more than by default, what fits is one transaction of its own.
func TestALargeCommitThatFits(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, "--max-txn-ops", "8192")
	create(t, c)
	e := open(t, c, "a")
	var tx store.Tx
	for i := range 5000 {
		tx.Writes = append(tx.Writes, put(fmt.Sprint(i), "x", 0).Writes...)
	}
	revision, err := e.Commit(t.Context(), tx)
	if err != nil {
		t.Fatal(err)
	}
	all := revisions(t, e)
	for id, have := range all {
		if have != revision {
			t.Fatalf("%s has revision %d, not %d", id, have, revision)
		}
	}
	if len(all) != 5000 {
		t.Errorf("%d are there", len(all))
	}
}
