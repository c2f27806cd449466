package etcd_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// fakeClock stands still.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// join opens an engine that takes a seat.
func join(t *testing.T, c *Cluster, node string, now func() time.Time) *etcd.Engine {
	t.Helper()
	cfg := config(c, t, node)
	cfg.Now, cfg.StaleAfter, cfg.Version = now, 72*time.Hour, "v1"
	e, err := etcd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return e
}

// watch has an engine hear of everything from now on.
func watch(t *testing.T, e *etcd.Engine) {
	t.Helper()
	_, revision := loadAt(t, e)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = e.Watch(ctx, revision, func(store.Commit) error { return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// pair is two nodes on a clock that stands still, of which only the first one hears anything.
func pair(t *testing.T) (c *Cluster, clock *fakeClock, a, b *etcd.Engine) {
	t.Helper()
	c = startCluster(t, 1)
	create(t, c)
	clock = &fakeClock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	a, b = join(t, c, "a", clock.Now), join(t, c, "b", clock.Now)
	watch(t, a)
	return c, clock, a, b
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func staleFor(e *etcd.Engine, why string) func() bool {
	return func() bool { err := e.Stale(); return err != nil && strings.Contains(err.Error(), why) }
}

func fresh(e *etcd.Engine) func() bool { return func() bool { return e.Stale() == nil } }

// The leader knows for how long a node has not heard, and who. A node that is said to be gone is not waited for; if it is not
// gone, it answers again when it has heard everything.
func TestANodeThatDoesNotHear(t *testing.T) {
	t.Parallel()
	_, clock, a, b := pair(t)
	if _, err := a.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	behind := func(e *etcd.Engine, least time.Duration) func() bool {
		return func() bool { d, _ := e.Behind(); return d >= least }
	}
	heard := func() bool { d, _ := a.Behind(); return d == 0 }
	if _, err := a.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "all but b have heard", func() bool { _, who := a.Behind(); return who == "b" })
	clock.Pass(time.Hour)
	if !behind(a, time.Hour)() {
		t.Error("an hour later b is not behind")
	}
	if err := a.Forget(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	await(t, "b takes its seat again, and owes", staleFor(b, "not all arrived"))
	watch(t, b)
	await(t, "b answers", fresh(b))
	await(t, "all have heard", heard)
	nodes, err := b.Nodes(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].Name != "a" || !nodes[0].Leads || nodes[1].Leads || nodes[1].Version != "v1" || nodes[1].Revision == 0 {
		t.Errorf("%+v, %v", nodes, err)
	}
}

// Who leads next does not believe that everybody has heard: it goes on from what the one before has written, also if everybody hears
// before it asks for the first time.
func TestTheNextLeaderKnowsSinceWhen(t *testing.T) {
	t.Parallel()
	c, clock, a, b := pair(t)
	ctx, resign := context.WithCancel(t.Context())
	term, err := a.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "all but b have heard", func() bool { _, who := a.Behind(); return who == "b" })
	clock.Pass(time.Hour)
	a.Settled()
	a.Behind() // what is told after that is not settled
	heardKey := config(c, t, "a").Prefix + "/heard"
	await(t, "it is written", func() bool {
		found, err := c.Client().Get(t.Context(), heardKey)
		return err == nil && len(found.Kvs) == 1
	})
	resign()
	<-term.Ended
	clock.Pass(time.Hour)
	if _, err := b.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	watch(t, b)
	await(t, "b has heard", fresh(b))
	time.Sleep(time.Second) // and the leader has asked
	if d, _ := b.Behind(); d < 2*time.Hour {
		t.Errorf("the next leader knows of %s", d)
	}
	await(t, "nobody is behind any more", func() bool { d, _ := b.Behind(); return d == 0 })
}

// When all have heard again, and that was acted on, the next leader is to know at once: it would have the keys wait for the same time again.
func TestTheNextLeaderDoesNotWaitAgain(t *testing.T) {
	t.Parallel()
	c, clock, a, b := pair(t)
	if _, err := a.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "all but b have heard", func() bool { _, who := a.Behind(); return who == "b" })
	clock.Pass(time.Hour)
	watch(t, b)
	await(t, "nobody is behind any more", func() bool { d, _ := a.Behind(); return d == 0 })
	a.Settled()
	await(t, "it is written", func() bool {
		found, err := c.Client().Get(t.Context(), config(c, t, "a").Prefix+"/heard")
		return err == nil && len(found.Kvs) == 1 && string(found.Kvs[0].Value) == clock.Now().Format(time.RFC3339Nano)
	})
}

// A node that does not hear of etcd answers for a while, and then no more until it has heard.
func TestStale(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	clock := &fakeClock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	a := join(t, c, "a", clock.Now)
	if ago, left := open(t, c, "b").Heard(); ago < 72*time.Hour || left != 0 {
		t.Errorf("who has no seat heard everything %s ago, and answers for %s", ago, left)
	}
	watch(t, a)
	await(t, "it answers", fresh(a))
	c.Members[0].Signal(syscall.SIGSTOP)
	clock.Pass(72 * time.Hour)
	if err := a.Stale(); err != nil {
		t.Error(err)
	}
	if ago, left := a.Heard(); ago != 72*time.Hour || left != 0 {
		t.Errorf("it heard everything %s ago, and answers for %s", ago, left)
	}
	clock.Pass(time.Second)
	if !staleFor(a, "stale_after")() {
		t.Errorf("after 72 hours: %v", a.Stale())
	}
	c.Members[0].Signal(syscall.SIGCONT)
	await(t, "it answers again", fresh(a))
}

// The others count on a node for longer than it answers without having heard.
func TestASeatOutlastsItsNode(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	join(t, c, "a", time.Now)
	client := c.Client()
	found, err := client.Get(t.Context(), config(c, t, "a").Prefix+"/node/a")
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	lease, err := client.TimeToLive(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease))
	if err != nil {
		t.Fatal(err)
	}
	if granted := time.Duration(lease.GrantedTTL) * time.Second; granted <= 72*time.Hour {
		t.Errorf("the seat goes after %s, and the node answers for 72 h", granted)
	}
}

// What a node has heard of it has when it is applied, and not before: its answers are those of before until then.
func TestANodeHasWhatItHasApplied(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	other := open(t, c, "b")
	_, before := loadAt(t, other)
	if _, err := other.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	a := join(t, c, "a", time.Now) // it owes that
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := a.Watch(ctx, before, func(store.Commit) error {
		if !staleFor(a, "not all arrived")() {
			t.Errorf("it has what is being applied: %v", a.Stale())
		}
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || a.Stale() != nil {
		t.Errorf("the watch has ended with %v; what was applied is missing: %v", err, a.Stale())
	}
}

// A node that has everything says so in a revision that no other one is beyond, whether it heard of it or loaded it.
func TestRevisionsOfNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a := join(t, c, "a", time.Now)
	watch(t, a)
	first, err := a.Commit(t.Context(), put("x", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	b := join(t, c, "b", time.Now) // after the commit, and after its seat there were other revisions
	_, loaded := loadAt(t, b)
	if loaded <= first {
		t.Fatalf("loaded at %d, not after %d", loaded, first)
	}
	nodes := func() []store.Node {
		t.Helper()
		all, err := a.Nodes(t.Context())
		if err != nil || len(all) != 2 {
			t.Fatalf("%+v, %v", all, err)
		}
		return all
	}
	await(t, "a has what b has loaded", func() bool { return nodes()[0].Revision >= loaded })
	if all := nodes(); all[1].Revision != 0 || all[1].Silent > 5*time.Second {
		t.Errorf("b, which loads, is %+v", all[1])
	}
	watch(t, b)
	await(t, "both have the same", func() bool { all := nodes(); return all[0].Revision == all[1].Revision })
	if _, err := b.Commit(t.Context(), put("x", "2", first)); err != nil {
		t.Fatal(err)
	}
	await(t, "both have the same again", func() bool { all := nodes(); return all[0].Revision == all[1].Revision && all[0].Revision > loaded })
	if err := a.Forget(t.Context(), "c"); !errors.Is(err, zone.ErrNotFound) {
		t.Errorf("an unknown node: %v", err)
	}
}

// Two processes with one name: the one that came first answers no more.
func TestOneNameTwice(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	first := join(t, c, "a", time.Now)
	watch(t, first)
	await(t, "the first answers", fresh(first))
	second := join(t, c, "a", time.Now)
	watch(t, second)
	await(t, "the first gives way", staleFor(first, "store.etcd.node"))
	await(t, "the second answers", fresh(second))
}
