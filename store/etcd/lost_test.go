package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/internal/cable"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// openAtCable opens an engine that reaches etcd by a cable.
func openAtCable(t *testing.T, c *Cluster) (*etcd.Engine, *cable.Cable) {
	t.Helper()
	line, err := cable.Lay("127.0.0.1:0", strings.TrimPrefix(c.Members[0].Endpoint, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(line.Close)
	cfg := config(c, t, "a")
	cfg.Endpoints, cfg.StaleAfter = []string{"http://" + line.Addr}, 72*time.Hour
	e, err := etcd.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if _, err := e.Commit(t.Context(), put("before", "1", 0)); err != nil {
		t.Fatal(err)
	}
	return e, line
}

type outcome struct {
	revision uint64
	err      error
}

func committing(e *etcd.Engine, tx store.Tx) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		revision, err := e.Commit(context.Background(), tx)
		done <- outcome{revision, err}
	}()
	return done
}

// A commit that etcd has made, and whose answer is lost, is told as made; one that never got there is told as not made, and is
// not made later.
func TestAnswersThatAreLost(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e, line := openAtCable(t, c)
	direct := c.Client()
	key := config(c, t, "a").Prefix + "/record/" + string(zone.KindPool) + "/"

	line.CutAnswers()
	made := committing(e, put("made", "1", 0))
	var found *clientv3.GetResponse
	await(t, "etcd has the commit", func() bool {
		var err error
		found, err = direct.Get(t.Context(), key+"made")
		return err == nil && len(found.Kvs) == 1
	})
	line.Mend()
	if o := <-made; o.err != nil || o.revision != uint64(found.Kvs[0].ModRevision) {
		t.Errorf("what was made at %d: %d, %v", found.Kvs[0].ModRevision, o.revision, o.err)
	}

	line.Cut()
	lost := committing(e, put("lost", "1", 0))
	time.Sleep(500 * time.Millisecond) // it is under way
	line.Mend()
	o := <-lost
	all, _ := loadAt(t, e)
	if there := all["lost"] != ""; there != (o.err == nil) || o.err != nil && !errors.Is(o.err, zone.ErrUnavailable) {
		t.Errorf("what never got there is there: %t, %v", there, o.err)
	}
	if _, err := e.Commit(t.Context(), put("after", "1", 0)); err != nil {
		t.Error(err)
	}
}

// A term is over for its leader before it is for etcd, so that no two take themselves for the leader. When etcd can be told, it is over there
// at once.
func TestATermEndsBeforeItsLease(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1)
	create(t, c)
	e, line := openAtCable(t, c)
	term, err := e.Lead(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leads := func() bool {
		found, err := c.Client().Get(t.Context(), config(c, t, "a").Prefix+"/leader")
		if err != nil {
			t.Fatal(err)
		}
		return len(found.Kvs) == 1
	}
	line.Cut()
	<-term.Ended
	if !leads() {
		t.Error("another node could lead before the term had ended")
	}
	line.Mend()
	await(t, "the lease is given back", func() bool { return !leads() })
}
