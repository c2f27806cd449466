package etcd

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// clocks estimates how far the clocks of other nodes are off. Each node writes the time of its own to a key on the lease of its seat, now
// and then; it is not part of the seat, which is written with every commit and which nobody watches. What is heard of a clock is older by
// as long as it was under way: the true offset is larger than each estimate, and the largest of some is nearest to it.
type clocks struct {
	mu    sync.Mutex
	heard map[string][]time.Duration // by node, the last ones
	told  time.Time                  // owned by the seat
}

const (
	clockEvery = 10 * time.Second
	clocksKept = 8 // of each node
)

func (c Config) clocksKey() string { return c.Prefix + "/clock/" }

// tellClock has the others hear what time it is here.
func (e *Engine) tellClock(ctx context.Context, lease clientv3.LeaseID) {
	now := e.config.Now()
	if now.Sub(e.clocks.told).Abs() < clockEvery {
		return
	}
	if _, err := e.client.Put(ctx, e.config.clocksKey()+e.config.Node, now.UTC().Format(time.RFC3339Nano), clientv3.WithLease(lease)); err == nil {
		e.clocks.told = now
	}
}

// hearClocks hears what time it is elsewhere, until the engine is closed.
func (e *Engine) hearClocks() {
	for e.ctx.Err() == nil {
		for r := range e.client.Watch(clientv3.WithRequireLeader(e.ctx), e.config.clocksKey(), clientv3.WithPrefix()) {
			now := e.config.Now()
			for _, event := range r.Events {
				node := strings.TrimPrefix(string(event.Kv.Key), e.config.clocksKey())
				if event.Type == clientv3.EventTypeDelete {
					e.clocks.forget(node)
				} else if at, err := time.Parse(time.RFC3339Nano, string(event.Kv.Value)); err == nil {
					e.clocks.note(node, at.Sub(now.Round(0)))
				}
			}
		}
		select {
		case <-time.After(watchPause):
		case <-e.ctx.Done():
		}
	}
}

func (c *clocks) forget(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.heard, node)
}

func (c *clocks) note(node string, estimate time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.heard == nil {
		c.heard = map[string][]time.Duration{}
	}
	last := append(c.heard[node], estimate)
	c.heard[node] = last[max(0, len(last)-clocksKept):]
}

// offset returns by how much the clock of a node is fast; nil if nothing was heard of it.
func (c *clocks) offset(node string) *time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.heard[node]) == 0 {
		return nil
	}
	return new(slices.Max(c.heard[node]))
}
