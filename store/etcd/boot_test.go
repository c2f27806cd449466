package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// settle opens a node that keeps an image, and hears of everything.
func settle(t *testing.T, c *Cluster, node string) (*etcd.Engine, etcd.Config) {
	t.Helper()
	cfg := config(c, t, node)
	cfg.StaleAfter, cfg.Version, cfg.Dir = 20*time.Second, "v1", t.TempDir()
	e, err := etcd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	watch(t, e)
	await(t, node+" could be started from its image", func() bool { return !e.Kept().IsZero() })
	return e, cfg
}

// crashed is a copy of what a node would find if it were killed now.
func crashed(t *testing.T, c etcd.Config) etcd.Config {
	t.Helper()
	from := c.Dir
	c.Dir = t.TempDir()
	for _, kind := range []string{".current", ".image"} { // what is being written meanwhile has other names
		name := "mxseal-" + c.Node + kind
		text, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(c.Dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// What a node tells the others that it has it has, too, when it is started from its image.
func TestANodeIsStartedWithWhatItHasTold(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, cfg := settle(t, c, "a")
	for i := range 30 {
		revision, err := a.Commit(t.Context(), put(fmt.Sprint(i), "x", 0))
		if err != nil {
			t.Fatal(err)
		}
		await(t, "it is told", func() bool {
			nodes, err := a.Nodes(t.Context())
			return err == nil && len(nodes) == 1 && nodes[0].Revision >= revision
		})
		b, err := etcd.OpenImage(crashed(t, cfg))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if has, err := b.Load(t.Context(), func(store.Record) error { n++; return nil }); err != nil || has < revision || n != i+1 {
			t.Fatalf("%d of %d records at revision %d of %d: %v", n, i+1, has, revision, err)
		}
	}
}

// A node that is started from its image takes no changes, and goes on as any other when etcd is there.
func TestANodeThatIsStartedWithoutEtcd(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, cfg := settle(t, c, "a")
	if _, err := a.Commit(t.Context(), put("x", "1", 0)); err != nil {
		t.Fatal(err)
	}
	await(t, "it is told", func() bool {
		nodes, err := a.Nodes(t.Context())
		return err == nil && nodes[0].Revision >= 1
	})
	c.Members[0].Kill()
	if err := a.Close(); err != nil { // in good order, but nobody hears of it
		t.Fatal(err)
	}
	if _, err := etcd.Open(t.Context(), cfg); !errors.Is(err, etcd.ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	b, err := etcd.OpenImage(cfg)
	if err != nil {
		t.Fatal(err)
	}
	revision, err := b.Load(t.Context(), func(store.Record) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Stale(); err != nil || !b.FromImage() {
		t.Errorf("it does not answer: %v", err)
	}
	if _, err := b.Commit(t.Context(), put("y", "1", 0)); !errors.Is(err, zone.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Nodes(t.Context()); !errors.Is(err, zone.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if _, err := b.Newest(t.Context()); !errors.Is(err, zone.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	gap := make(chan error, 1)
	go func() { gap <- b.Watch(t.Context(), revision, nil) }()
	c.Members[0].Run()
	c.Wait()
	if err := <-gap; !errors.Is(err, store.ErrGap) {
		t.Fatalf("got %v", err)
	}
	t.Cleanup(func() { b.Close() })
	if revision, err = b.Load(t.Context(), func(store.Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Watch(ctx, revision, func(store.Commit) error { return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	await(t, "it goes on without its image", func() bool { return b.Stale() == nil && !b.FromImage() })
	if _, err := b.Commit(t.Context(), put("y", "1", 0)); err != nil {
		t.Error(err)
	}
}

// Who gives the seat up is not started from the image, and an image is not answered from for too long.
func TestANodeThatMayNotBeStartedWithoutEtcd(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, cfg := settle(t, c, "a")
	killed := crashed(t, cfg)
	clock := &fakeClock{now: time.Now().Add(time.Second)}
	killed.Now = clock.Now
	b, err := etcd.OpenImage(killed)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.OpenImage(cfg); !errors.Is(err, etcd.ErrImage) {
		t.Errorf("got %v", err)
	}
	clock.Pass(cfg.StaleAfter - 10*time.Second)
	if err := b.Stale(); err != nil {
		t.Error(err)
	}
	clock.Pass(11 * time.Second)
	if err := b.Stale(); err == nil {
		t.Error("it answers for longer than store.etcd.stale_after")
	}
	left, err := filepath.Glob(filepath.Join(cfg.Dir, "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Who is to have little patience gives up before who is not, also where nobody refuses the connection, and with a password, too.
func TestLittlePatience(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	c.Members[0].Signal(syscall.SIGSTOP)
	defer c.Members[0].Signal(syscall.SIGCONT)
	plain := config(c, t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	patient := make(chan error, 1)
	go func(cfg etcd.Config) { _, err := etcd.Open(ctx, cfg); patient <- err }(plain)
	plain.Patience = 200 * time.Millisecond
	password := plain
	password.User, password.Password = "node", "secret"
	for name, cfg := range map[string]etcd.Config{"plain": plain, "password": password} {
		if _, err := etcd.Open(t.Context(), cfg); !errors.Is(err, etcd.ErrUnreachable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case err := <-patient:
		t.Errorf("as soon as with little patience: %v", err)
	default:
	}
	cancel()
}
