package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
)

// watching has an engine hear of everything after a revision, counts it, and tells at the end why that came.
func watching(t *testing.T, e *etcd.Engine, after uint64) (heard func() int, ended <-chan error, stop func()) {
	t.Helper()
	count, done := make(chan int, 1), make(chan error, 1)
	count <- 0
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		done <- e.Watch(ctx, after, func(store.Commit) error { count <- <-count + 1; return nil })
	}()
	t.Cleanup(cancel)
	return func() int { n := <-count; count <- n; return n }, done, cancel
}

// What has gathered while a node was away may be more than fits into a message.
func TestALargeBacklog(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	_, from := loadAt(t, e)
	value := strings.Repeat("x", 1<<20)
	for i := range 70 { // 64 MiB are the most that a message may have
		if _, err := e.Commit(t.Context(), put(fmt.Sprint(i), value, 0)); err != nil {
			t.Fatal(err)
		}
	}
	heard, _, _ := watching(t, e, from)
	await(t, "all is heard", func() bool { return heard() == 70 })
}

// A history that ends with what is no commit has no gap.
func TestACompactionInAQuietTime(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	_, err := e.Commit(t.Context(), put("a", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	_, last := loadAt(t, e)
	admin := c.Client()
	var later *clientv3.PutResponse
	for range 5 {
		if later, err = admin.Put(t.Context(), "of-somebody-else", "x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := admin.Compact(t.Context(), later.Header.Revision); err != nil {
		t.Fatal(err)
	}
	heard, ended, _ := watching(t, e, last)
	time.Sleep(2 * time.Second) // a commit before the watch has begun would be a gap
	if _, err := e.Commit(t.Context(), put("b", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "the next commit is heard", func() bool {
		select {
		case err := <-ended:
			t.Fatal(err)
		default:
		}
		return heard() == 1
	})
}

// An etcd that was restored from a copy has less than a node that runs on: that node has to load again.
func TestEtcdGoesBack(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := join(t, c, "a", time.Now)
	for range 3 {
		if _, err := e.Commit(t.Context(), put(fmt.Sprint(time.Now().UnixNano()), "1", 0)); err != nil {
			t.Fatal(err)
		}
	}
	_, revision := loadAt(t, e)
	_, ended, _ := watching(t, e, revision)
	await(t, "it is current", fresh(e))
	m := c.Members[0]
	copied := m.copy(t)
	for i := range 20 {
		if _, err := e.Commit(t.Context(), put(fmt.Sprint("lost", i), "1", 0)); err != nil {
			t.Fatal(err)
		}
	}
	m.restore(t, copied)
	select {
	case err := <-ended:
		if !errors.Is(err, store.ErrGap) {
			t.Errorf("the watch ended with %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is not noticed")
	}
	all, revision := loadAt(t, e)
	if len(all) != 3 {
		t.Errorf("%d are there", len(all))
	}
	heard, _, _ := watching(t, e, revision)
	await(t, "it takes commits again", func() bool {
		_, err := e.Commit(t.Context(), put("after", "1", 0))
		return err == nil
	})
	await(t, "it is heard, and the node is current", func() bool { return heard() == 1 && e.Stale() == nil })
}

// That etcd has gone back may be found while there is no watch: one that has ended is begun again a moment later.
func TestEtcdGoesBackBetweenTwoWatches(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	_, revision := loadAt(t, e)
	for range 2 {
		if err := e.GoneBack(); !errors.Is(err, store.ErrGap) {
			t.Fatal(err)
		}
		_, ended, stop := watching(t, e, revision)
		time.AfterFunc(time.Minute, stop)
		if err := <-ended; !errors.Is(err, store.ErrGap) {
			t.Errorf("the watch ended with %v", err)
		}
	}
	heard, _, _ := watching(t, e, revision)
	await(t, "it takes commits again", func() bool {
		_, err := e.Commit(t.Context(), put("after", "1", 0))
		return err == nil
	})
	await(t, "the next one goes on", func() bool { return heard() == 1 })
}

// copy returns the file of a copy of what a member has.
func (m *Member) copy(t *testing.T) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "copy")
	etcdctl(t, "--endpoints", m.Endpoint, "snapshot", "save", file)
	return file
}

// restore starts a member that is alone anew from a copy.
func (m *Member) restore(t *testing.T, file string) {
	t.Helper()
	m.Kill()
	dir := m.argument("--data-dir")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	etcdctl(t, "snapshot", "restore", file, "--name", "m0", "--data-dir", dir, "--initial-cluster", m.argument("--initial-cluster"),
		"--initial-advertise-peer-urls", m.argument("--initial-advertise-peer-urls"))
	m.Run()
}

func (m *Member) argument(name string) string { return m.args[slices.Index(m.args, name)+1] }

func etcdctl(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("etcdctl", args...)
	cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("etcdctl (Debian package etcd-client): %v\n%s", err, out)
	}
}

// Who stops gives up its seat and the lead: nobody has to wait for it.
func TestAStopLeavesNothing(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	for i := range 10 {
		e := join(t, c, fmt.Sprintf("n%d", i), time.Now)
		if _, err := e.Lead(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, what := range []string{"/node/", "/leader"} {
		found, err := c.Client().Get(t.Context(), config(c, t, "").Prefix+what, clientv3.WithPrefix())
		if err != nil || len(found.Kvs) > 0 {
			t.Errorf("%s: %v, %v", what, found.Kvs, err)
		}
	}
}

// A node whose feed has ended is not current, though etcd answers.
func TestAFeedThatHasEnded(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	clock := &fakeClock{now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	e, other := join(t, c, "a", clock.Now), open(t, c, "b")
	_, revision := loadAt(t, e)
	_, ended, stop := watching(t, e, revision)
	await(t, "it is current", fresh(e))
	stop()
	<-ended
	if _, err := other.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	clock.Pass(72*time.Hour + time.Second)
	await(t, "it is not current", staleFor(e, "stale_after"))
	time.Sleep(4 * time.Second) // the seat is renewed meanwhile
	if !staleFor(e, "stale_after")() {
		t.Errorf("later: %v", e.Stale())
	}
}
