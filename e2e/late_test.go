package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/cable"
	"github.com/mxseal/mxseal/zone"
)

// lateWorld is two nodes on an etcd. What they send to it can be late.
type lateWorld struct {
	etcd  *etcd
	nodes []*server
	lines map[*server]*cable.Cable // of each node to etcd
}

func startLate(t *testing.T) *lateWorld {
	t.Helper()
	w := &lateWorld{etcd: startEtcd(t, 1), lines: map[*server]*cable.Cable{}}
	w.etcd.reached = map[int]string{}
	lines := make([]*cable.Cable, 2)
	for i := range lines {
		lines[i] = must[*cable.Cable](t)(cable.Lay(fmt.Sprintf("%s:2379", newSite().loopback()), strings.TrimPrefix(w.etcd.url(0, 2379), "http://")))
		t.Cleanup(lines[i].Close)
		w.etcd.reached[i] = "http://" + lines[i].Addr
	}
	w.nodes = startNodes(t, w.etcd, len(lines))
	for i, s := range w.nodes {
		w.lines[s] = lines[i]
	}
	return w
}

// roll has the leader begin a rollover, and stand still when it has sent the step. That gets to etcd after what happens meanwhile, and before
// the node continues.
func (w *lateWorld) roll(t *testing.T, role string, meanwhile func(others []*server)) error {
	t.Helper()
	led, others := leader(t, w.nodes)
	line, result := w.lines[led], make(chan error, 1)
	line.Hold()
	go func() {
		_, err := led.RollKey(t.Context(), apex, api.RollRequest{Role: role})
		result <- err
	}()
	await(t, "the leader sends a step", func() error {
		if !line.Holds(chainKeys) {
			return errors.New("it has not")
		}
		return nil
	})
	time.Sleep(time.Second) // it may be sent in several parts
	led.halt()
	meanwhile(others)
	if err := line.Release(); err != nil {
		t.Fatal(err)
	}
	w.etcd.history(t) // by then etcd has done what it was sent before
	led.resume()
	return <-result
}

// TestAStepThatIsLate: a leader stands still when it has sent a step of the keys. That gets to etcd when another node leads, which has not
// made any yet: all that the step relies on is as it was, but for the term. etcd must refuse it.
//
// In TestDisasters nothing has to be refused for that: a leader that continues makes no step, since its term is over by its own clock, and it has
// heard of no node for as long.
func TestAStepThatIsLate(t *testing.T) {
	t.Parallel()
	w := startLate(t)
	must[*api.Zone](t)(w.nodes[0].PutZone(t.Context(), apex, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}}))
	if err := w.roll(t, "zsk", func([]*server) {}); err != nil {
		t.Errorf("the step is late, and the node leads still: %v", err)
	}
	await(t, "the next key is published, after which nothing happens for a while", func() error {
		if n := len(w.nodes[0].keys(t, apex)[zone.MustParseName(apex)]); n != 3 {
			return fmt.Errorf("%d keys", n)
		}
		return nil
	})
	err := w.roll(t, "ksk", func(others []*server) {
		must[*api.Pool](t)(others[0].PutPool(t.Context(), pool, examplePool("192.0.2.10", 1))) // until all have heard of it nobody makes steps
		leader(t, others)
	})
	if t.Logf("the step is late, and another node leads: %v", err); err == nil {
		t.Error("it was made")
	}
	if _, _, err := stepsByNode(w.etcd.history(t)); err != nil {
		t.Fatal(err)
	}
	next, _ := leader(t, w.nodes)
	await(t, "a rollover begins", func() error {
		_, err := next.RollKey(t.Context(), apex, api.RollRequest{Role: "ksk"})
		return err
	})
	expectOneWriter(t, w.etcd)
}
