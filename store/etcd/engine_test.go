package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(c *Cluster, t *testing.T, node string) etcd.Config {
	return etcd.Config{Endpoints: c.Endpoints(), Prefix: "/" + strings.ReplaceAll(t.Name(), " ", "-"), Node: node, Now: time.Now}
}

func create(t *testing.T, c *Cluster) {
	t.Helper()
	if err := etcd.Create(t.Context(), config(c, t, "")); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, c *Cluster, node string) *etcd.Engine {
	t.Helper()
	e, err := etcd.Open(t.Context(), config(c, t, node))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func put(id, value string, expect uint64) store.Tx {
	return store.Tx{Writes: []store.Write{{Kind: zone.KindPool, ID: id, Value: []byte(value), Expect: expect}}}
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	enginetest.Contract(t, func(t *testing.T) store.Engine {
		create(t, c)
		return open(t, c, "a")
	})
}

func TestNoDatabaseIsMadeByOpening(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	if _, err := etcd.Open(t.Context(), config(c, t, "a")); !errors.Is(err, etcd.ErrNoData) {
		t.Errorf("got %v", err)
	}
	create(t, c)
	if err := etcd.Create(t.Context(), config(c, t, "a")); !errors.Is(err, etcd.ErrExists) {
		t.Errorf("got %v", err)
	}
}

// A watcher that comes after a compaction is told so.
func TestHistoryThatWasCompacted(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	first, err := e.Commit(t.Context(), put("a", "1", 0))
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Commit(t.Context(), put("a", "2", first))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client().Compact(t.Context(), int64(second)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Watch(ctx, first-1, func(store.Commit) error { t.Error("called"); return nil }); !errors.Is(err, store.ErrGap) {
		t.Errorf("got %v", err)
	}
}

// A watcher hears of the first commit after a revision, also if that has the next one.
func TestTheNextRevisionIsHeard(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	var made, heard []uint64
	for _, id := range []string{"a", "b", "c"} {
		revision, err := e.Commit(t.Context(), put(id, "1", 0))
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, revision)
	}
	if made[1] != made[0]+1 {
		t.Fatalf("revisions %d", made)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := e.Watch(ctx, made[0], func(c store.Commit) error {
		if heard = append(heard, c.Revision); c.Revision >= made[2] {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || !slices.Equal(heard, made[1:]) {
		t.Errorf("heard %d of %d: %v", heard, made, err)
	}
}

func lead(ctx context.Context, t *testing.T, e *etcd.Engine) store.Term {
	t.Helper()
	term, err := e.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return term
}

// expectTerms has each of some engines refuse a transaction of a term that is over, and the last of them make it in the present one.
func expectTerms(t *testing.T, tx store.Tx, over, present store.Term, engines ...*etcd.Engine) {
	t.Helper()
	tx.Term = over.Token
	for _, e := range engines {
		if _, err := e.Commit(t.Context(), tx); !errors.Is(err, store.ErrDeposed) {
			t.Errorf("in a term that is over: %v", err)
		}
	}
	tx.Term = present.Token
	if _, err := engines[len(engines)-1].Commit(t.Context(), tx); err != nil {
		t.Error(err)
	}
}

// Two nodes lead one after the other, and what the first one wrote in its term is refused in the next.
func TestTermsOfTwoNodes(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a, b := open(t, c, "a"), open(t, c, "b")
	ctx, resign := context.WithCancel(t.Context())
	first := lead(ctx, t, a)
	next := make(chan store.Term, 1)
	go func() {
		term, err := b.Lead(t.Context())
		if err != nil {
			t.Error(err)
		}
		next <- term
	}()
	tx := put("x", "1", 0)
	tx.Term = first.Token
	if _, err := a.Commit(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	select {
	case <-next:
		t.Fatal("two lead")
	default:
	}
	resign()
	second := <-next
	<-first.Ended
	expectTerms(t, put("y", "1", 0), first, second, a, b)
}

// While members of a cluster are killed, stopped and started, clients of two nodes commit. Each commit that was said to be durable
// is there, each that was said not to be written is not, and a watcher has seen exactly what is there. Of some it may not be known, if the
// cluster takes long to recover.
func TestNothingIsLostWhenMembersFail(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	create(t, c)
	const clients, faults = 8, 6
	nodes := []*etcd.Engine{open(t, c, "a"), open(t, c, "b")}
	_, start := loadAt(t, nodes[0])
	var wg sync.WaitGroup
	var mu sync.Mutex
	durable, not, unknown := map[string]bool{}, map[string]bool{}, map[string]bool{}
	stop := make(chan struct{})
	for client := range clients {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("%d-%d", client, i)
				_, err := nodes[client%2].Commit(context.Background(), put(id, "v", 0))
				mu.Lock()
				switch {
				case err == nil:
					durable[id] = true
				case errors.Is(err, zone.ErrUncertain):
					unknown[id] = true
				default:
					not[id] = true
				}
				mu.Unlock()
				if err != nil {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	for i := range faults {
		m := c.Members[i%3]
		if i%2 == 0 {
			m.Kill()
			time.Sleep(500 * time.Millisecond)
			m.Run()
		} else {
			m.Signal(syscall.SIGSTOP)
			time.Sleep(1500 * time.Millisecond)
			m.Signal(syscall.SIGCONT)
		}
		time.Sleep(500 * time.Millisecond)
	}
	close(stop)
	wg.Wait()
	c.Wait()
	all, end := loadAt(t, nodes[0])
	for id := range durable {
		if all[id] == "" {
			t.Errorf("%s was acknowledged, and is lost", id)
		}
	}
	for id := range not {
		if all[id] != "" {
			t.Errorf("%s was refused, and is there", id)
		}
	}
	for id := range all {
		if !durable[id] && !unknown[id] {
			t.Errorf("%s is there, and nobody knows of it", id)
		}
	}
	if len(durable) == 0 || len(unknown) > clients*faults {
		t.Errorf("%d acknowledged, and of %d nothing is known", len(durable), len(unknown))
	}
	seen := map[string]bool{}
	done := errors.New("done")
	err := nodes[1].Watch(t.Context(), start, func(c store.Commit) error {
		for _, w := range c.Writes {
			seen[w.ID] = true
		}
		if c.Revision >= end || len(seen) == len(all) {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) || len(seen) != len(all) {
		t.Errorf("a watcher saw %d of %d, %v", len(seen), len(all), err)
	}
	t.Logf("%d acknowledged, %d refused, %d unknown", len(durable), len(not), len(unknown))
}

func loadAt(t *testing.T, e store.Engine) (all map[string]string, revision uint64) {
	t.Helper()
	all = map[string]string{}
	revision, err := e.Load(t.Context(), func(r store.Record) error { all[r.ID] = string(r.Value); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return all, revision
}

// Of the hosts of one owner the one that was written last is also that after a restore, whatever their ids are.
func TestOrderOfHosts(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	host := func(i int, apex string) {
		t.Helper()
		value := fmt.Appendf(nil, `{"owner":"domain:%d","zone":%q,"label":"h%d","dane":true}`, i, apex, i)
		if _, err := e.Commit(t.Context(), store.Tx{Writes: []store.Write{{Kind: zone.KindHost, ID: fmt.Sprintf("h%d.%s", i, apex), Value: value}}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 200 {
		apexes := []string{"mx1.test.", "mx2.test."}
		if i%2 == 0 {
			slices.Reverse(apexes)
		}
		for _, apex := range apexes {
			host(i, apex)
		}
	}
	latest := func(e store.Engine) map[string]string { // apex by label
		found, revision := map[string]string{}, map[string]uint64{}
		if _, err := e.Load(t.Context(), func(r store.Record) error {
			if label, apex, _ := strings.Cut(r.ID, "."); r.Revision > revision[label] {
				found[label], revision[label] = apex, r.Revision
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return found
	}
	var backup bytes.Buffer
	if err := e.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	other := config(c, t, "a")
	other.Prefix += "-restored"
	if _, err := etcd.Restore(t.Context(), other, &backup); err != nil {
		t.Fatal(err)
	}
	restored, err := etcd.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if got, want := latest(restored), latest(e); !maps.Equal(got, want) || len(want) != 200 {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e := open(t, c, "a")
	for i := range 300 {
		if _, err := e.Commit(t.Context(), put(fmt.Sprintf("%03d", i), fmt.Sprintf(`{"n":%d}`, i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	var backup bytes.Buffer
	if err := e.Backup(&backup); err != nil {
		t.Fatal(err)
	}
	other := config(c, t, "a")
	other.Prefix = "/restored"
	for name, damaged := range map[string]string{"no end": backup.String()[:backup.Len()-14], "a line is missing": strings.SplitN(backup.String(), "\n", 2)[1], "nothing": ""} {
		if _, err := etcd.Restore(t.Context(), other, strings.NewReader(damaged)); err == nil {
			t.Errorf("%s: restored", name)
		}
		if _, err := etcd.Open(t.Context(), other); !errors.Is(err, etcd.ErrNoData) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if n, err := etcd.Restore(t.Context(), other, &backup); err != nil || n != 300 {
		t.Fatalf("%d records, %v", n, err)
	}
	restored, err := etcd.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	before, _ := loadAt(t, e)
	after, _ := loadAt(t, restored)
	if !maps.Equal(before, after) {
		t.Error("it has other records")
	}
}

// Who has a password for an etcd that asks nobody for one is warned.
func TestAPasswordThatIsNotAskedFor(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	name := filepath.Join(t.TempDir(), "log")
	log, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	node := config(c, t, "a")
	node.User, node.Password, node.Log = "node", "secret", slog.New(slog.NewTextHandler(log, nil))
	e, err := etcd.Open(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	await(t, "it is warned", func() bool {
		text, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(text), "asks nobody for a password")
	})
}

// A user who may read and write what is under the prefix, and nothing else, is enough for a node.
func TestUserOfEtcd(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	admin := c.Client()
	node := config(c, t, "a")
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(admin.RoleAdd(t.Context(), "node"))
	must(admin.RoleGrantPermission(t.Context(), "node", node.Prefix+"/", node.Prefix+"0", clientv3.PermissionType(clientv3.PermReadWrite)))
	must(admin.UserAdd(t.Context(), "node", "secret"))
	must(admin.UserGrantRole(t.Context(), "node", "node"))
	must(admin.UserAdd(t.Context(), "root", "other"))
	must(admin.UserGrantRole(t.Context(), "root", "root"))
	must(admin.AuthEnable(t.Context()))
	if err := etcd.Create(t.Context(), node); err == nil {
		t.Error("a database was made without a password")
	}
	node.User, node.Password = "node", "secret"
	if err := etcd.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	e, err := etcd.Open(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	term, err := e.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tx := put("a", "1", 0)
	tx.Term = term.Token
	if _, err := e.Commit(t.Context(), tx); err != nil {
		t.Error(err)
	}
	if _, err := e.Commit(t.Context(), largeTx("v")); err != nil {
		t.Error(err)
	}
	if all, _ := loadAt(t, e); len(all) != 1+len(largeTx("v").Writes) {
		t.Errorf("it has %d records", len(all))
	}
	elsewhere := node
	elsewhere.Prefix = "/elsewhere"
	if err := etcd.Create(t.Context(), elsewhere); err == nil {
		t.Error("a database was made where the user may not write")
	}
	root, err := clientv3.New(clientv3.Config{Endpoints: node.Endpoints, Username: "root", Password: "other"})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	must(root.UserChangePassword(t.Context(), "node", "secret")) // ends the tokens that the user has, as a restart of all members may
	if _, err := e.Commit(t.Context(), put("b", "1", 0)); err != nil {
		t.Errorf("with a token that etcd has forgotten: %v", err)
	}
}
