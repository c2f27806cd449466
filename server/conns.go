package server

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// connTable knows the open TCP connections and keeps their numbers within limits. It has entries for open
// connections only, so it is as bounded as they are.
type connTable struct {
	max, maxPerClient int
	stopping          atomic.Bool

	mu     sync.Mutex // guards the following fields
	open   map[net.Conn]netip.Addr
	counts map[netip.Addr]int
}

func (t *connTable) init(total, perClient int) {
	t.max, t.maxPerClient = total, perClient
	t.open, t.counts = map[net.Conn]netip.Addr{}, map[netip.Addr]int{}
}

// add takes a connection in and reports whether it may be served, and if not, because of which limit.
func (t *connTable) add(c net.Conn, client netip.Addr) (reached limit, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case len(t.open) >= t.max || t.stopping.Load():
		return limitTotal, false
	case t.counts[client] >= t.maxPerClient:
		return limitClient, false
	}
	t.open[c] = client
	t.counts[client]++
	return 0, true
}

func (t *connTable) remove(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	client := t.open[c]
	delete(t.open, c)
	if t.counts[client]--; t.counts[client] <= 0 {
		delete(t.counts, client)
	}
}

// stop makes all connections end after the queries that have been read. Who sets a read deadline later must look at
// stopping afterwards.
func (t *connTable) stop() {
	t.stopping.Store(true)
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		c.SetReadDeadline(longAgo())
	}
}

// close closes all connections.
func (t *connTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.open {
		c.Close()
	}
}
