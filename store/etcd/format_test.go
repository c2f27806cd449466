package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
)

// knowing is a node whose program knows formats up to one. It has no seat yet.
func knowing(t *testing.T, c *Cluster, node string, format uint8) (*etcd.Engine, error) {
	t.Helper()
	cfg := config(c, t, node)
	cfg.Now, cfg.StaleAfter, cfg.Version, cfg.Format = time.Now, 72*time.Hour, "v", format
	e, err := etcd.Open(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { e.Close() })
	}
	return e, err
}

// seat is knowing with a seat.
func seat(t *testing.T, c *Cluster, node string, format uint8) *etcd.Engine {
	t.Helper()
	e, err := knowing(t, c, node, format)
	if err == nil {
		err = e.Join(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// formatOf is the format of the database under a prefix.
func formatOf(t *testing.T, client *clientv3.Client, prefix string) uint8 {
	t.Helper()
	found, err := client.Get(t.Context(), prefix+"/record/formats/database")
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Kvs) == 0 {
		return 1
	}
	return found.Kvs[0].Value[0]
}

// asOldest makes a database that has records of the first format alone.
func asOldest(t *testing.T, c *Cluster) (client *clientv3.Client, prefix string) {
	t.Helper()
	create(t, c)
	client, prefix = c.Client(), config(c, t, "").Prefix
	if _, err := client.Delete(t.Context(), prefix+"/record/formats/database"); err != nil {
		t.Fatal(err)
	}
	return client, prefix
}

// The format is raised when every node knows the next one, one by one, in the term of the leader: a node that cannot be heard of counts, and
// so does one of a version that did not say what it knows. Then versions that do not know it are refused, and so are those too new.
func TestTheFormatIsRaisedWhenAllKnowIt(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	client, prefix := asOldest(t, c)
	lost := prefix + "/node/lost"
	if _, err := client.Put(t.Context(), lost, `{"run":"x","version":"v0","since":"2030-01-01T00:00:00Z","revision":1}`); err != nil {
		t.Fatal(err)
	}
	a, old := seat(t, c, "a", 2), seat(t, c, "b", 1)
	watch(t, a)
	term, err := a.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stays := func(format uint8, why string, token uint64) {
		t.Helper()
		for range 20 {
			if err := a.Raise(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		}
		if got := formatOf(t, client, prefix); got != format {
			t.Fatalf("%s, and the format is %d", why, got)
		}
	}
	stays(1, "two do not know another one", term.Token)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	stays(1, "a node that was lost does not know another one", term.Token)
	if _, err := client.Delete(t.Context(), lost); err != nil {
		t.Fatal(err)
	}
	await(t, "it is raised", func() bool { return formatOf(t, client, prefix) == 2 })

	for format, why := range map[uint8]string{1: "start a newer version", 4: "run a version in between first"} {
		if _, err := knowing(t, c, "c", format); !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), "has format 2") || !strings.Contains(err.Error(), why) {
			t.Errorf("a version that knows %d: %v", format, err)
		}
	}
	seat(t, c, "c", 3)
	stays(2, "only one knows another one", term.Token)
	nodes, err := a.Nodes(t.Context())
	if err != nil || len(nodes) != 2 || nodes[0].Format != 2 || nodes[1].Format != 3 {
		t.Errorf("%+v, %v", nodes, err)
	}
}

// Who does not lead any more raises nothing.
func TestTheFormatIsRaisedInATerm(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	client, prefix := asOldest(t, c)
	a, old := seat(t, c, "a", 2), seat(t, c, "b", 1)
	ctx, resign := context.WithCancel(t.Context())
	term, err := a.Lead(ctx)
	if err != nil {
		t.Fatal(err)
	}
	resign()
	<-term.Ended
	if err := errors.Join(old.Close(), a.Raise(t.Context(), term.Token)); err != nil {
		t.Fatal(err)
	}
	if got := formatOf(t, client, prefix); got != 1 {
		t.Errorf("the format is %d, and nobody leads", got)
	}
	if term, err = a.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "it is raised", func() bool { return formatOf(t, client, prefix) == 2 })
}

// However the two meet: either an old node has its seat, or the format is a newer one than it knows.
func TestTheSeatAndTheFormatRace(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	client, prefix := asOldest(t, c)
	format, guard := prefix+"/record/formats/database", prefix+"/node/old" // which keeps the format as it is until a round begins
	begin := func() {
		t.Helper()
		_, err := client.Put(t.Context(), guard, "{}")
		if err == nil {
			_, err = client.Delete(t.Context(), format)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	begin()
	a := seat(t, c, "a", 2)
	term, err := a.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random, seated := rand.New(rand.NewPCG(seed, 0)), 0
	const rounds = 60
	for range rounds {
		begin()
		b, err := knowing(t, c, "b", 1)
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		early, late := time.Duration(random.IntN(3000))*time.Microsecond, time.Duration(random.IntN(3000))*time.Microsecond
		both.Go(func() {
			time.Sleep(early)
			if _, err := client.Delete(t.Context(), guard); err != nil {
				t.Error(err)
			}
			for range 20 {
				if err := a.Raise(t.Context(), term.Token); err != nil {
					t.Error(err)
				}
			}
		})
		time.Sleep(late)
		err = b.Join(t.Context())
		both.Wait()
		switch format := formatOf(t, client, prefix); {
		case err == nil && format == 1:
			seated++
		case !errors.Is(err, store.ErrFormat) || format != 2:
			t.Errorf("a node that knows format 1 in a database of format %d: %v", format, err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the node was there first in %d of %d rounds", seated, rounds)
}

// A node that has lost its seat, though it answers, finds that the format is one that it does not know: it answers no more.
func TestANodeThatIsOvertakenAnswersNoMore(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	client, prefix := asOldest(t, c)
	a, b := seat(t, c, "a", 2), seat(t, c, "b", 1)
	watch(t, a)
	watch(t, b)
	await(t, "b answers", fresh(b))
	term, err := a.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it is raised without b", func() bool {
		_ = a.Forget(t.Context(), "b")
		_ = a.Raise(t.Context(), term.Token)
		return formatOf(t, client, prefix) == 2
	})
	await(t, "b answers no more", staleFor(b, "start a newer version"))
}

// While a database is being restored its format may be missing. A node that takes that for too old a one waits: it answers as long as it
// may, and takes its seat when the format is there.
func TestAFormatThatIsMissingForAMoment(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	client, prefix := asOldest(t, c)
	format, place := prefix+"/record/formats/database", prefix+"/node/a"
	if _, err := client.Put(t.Context(), format, "\x02{}"); err != nil {
		t.Fatal(err)
	}
	a := seat(t, c, "a", 3)
	watch(t, a)
	await(t, "it answers", fresh(a))
	for _, key := range []string{format, place} {
		if _, err := client.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(4 * time.Second) // it looks for its seat every three
	if _, err := client.Put(t.Context(), format, "\x02{}"); err != nil {
		t.Fatal(err)
	}
	await(t, "it has its seat", func() bool {
		found, err := client.Get(t.Context(), place)
		return err == nil && len(found.Kvs) == 1
	})
	if err := a.Stale(); err != nil {
		t.Error(err)
	}
}

// A record of a newer format is an error, and not left out, wherever it is met; and the node answers no more.
func TestANewerRecordIsNotLeftOut(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a := seat(t, c, "a", store.Format)
	_, revision := loadAt(t, a)
	key := config(c, t, "").Prefix + "/record/pools/x"
	if _, err := c.Client().Put(t.Context(), key, string(rune(store.Format+1))+"{}"); err != nil {
		t.Fatal(err)
	}
	nothing := func(store.Record) error { return nil }
	if _, err := a.Load(t.Context(), nothing); !errors.Is(err, store.ErrFormat) {
		t.Errorf("loaded: %v", err)
	}
	if err := a.Backup(&bytes.Buffer{}); !errors.Is(err, store.ErrFormat) {
		t.Errorf("backed up: %v", err)
	}
	if err := a.Watch(t.Context(), revision, func(store.Commit) error { return nil }); !errors.Is(err, store.ErrFormat) {
		t.Errorf("heard: %v", err)
	}
	if err := a.Stale(); !errors.Is(err, store.ErrFormat) {
		t.Errorf("it answers: %v", err)
	}
}

// A backup says the format of its records, and one that has a newer one is not restored.
func TestFormatsInBackups(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	line := func(format int) string {
		return fmt.Sprintf(`{"kind":"pools","id":"x","revision":7,"value":{"a":1},"format":%d}`+"\n"+`{"records":1}`, format)
	}
	if _, err := etcd.Restore(t.Context(), config(c, t, ""), strings.NewReader(line(store.Format+1))); !errors.Is(err, store.ErrFormat) {
		t.Errorf("restored: %v", err)
	}
	if exists, err := etcd.Exists(t.Context(), config(c, t, "")); err != nil || exists {
		t.Errorf("there is a database: %v", err)
	}
	for format := range store.Format + 1 { // without one it is 1
		c := startCluster(t, 1)
		if _, err := etcd.Restore(t.Context(), config(c, t, ""), strings.NewReader(line(format))); err != nil {
			t.Fatal(err)
		}
		e, err := knowing(t, c, "a", max(1, uint8(format)))
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := e.Backup(&out); err != nil || !strings.Contains(out.String(), fmt.Sprintf(`"format":%d`, max(1, format))) {
			t.Errorf("%v: %s", err, out.String())
		}
	}
}

// A node tells how far the clocks of others are off, within the time that it takes to hear of them, and its own is right.
func TestClocks(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	a := join(t, c, "a", time.Now)
	join(t, c, "b", func() time.Time { return time.Now().Add(time.Hour) })
	var nodes []store.Node
	await(t, "a has heard of the clock of b", func() bool {
		var err error
		nodes, err = a.Nodes(t.Context())
		return err == nil && len(nodes) == 2 && nodes[1].Offset != nil
	})
	if *nodes[0].Offset != 0 || *nodes[1].Offset > time.Hour || *nodes[1].Offset < 59*time.Minute {
		t.Errorf("the clocks are off by %s and %s", nodes[0].Offset, nodes[1].Offset)
	}
}
