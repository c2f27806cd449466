package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// heard is what the leader knows of what the nodes have heard. It is written down now and then: who leads next goes on from there.
type heard struct {
	mu       sync.Mutex
	progress progress      // of all nodes
	worst    time.Duration // for how long some node did not have everything, since that was asked last
	missing  []string      // nodes that did not have everything when that was asked last
	written  time.Time     // up to when the next leader knows that all nodes had everything; zero: nothing was written
	told     time.Time     // what Behind has said that all nodes have everything up to
	settled  time.Time     // the same, when nothing was left to do about what had been said before
}

// progress is how far somebody has come who may always be a little behind.
type progress struct {
	all time.Time // what was committed before then he has
	// What the last commit was at some time: who has it by now has all of then.
	owed  uint64
	asked time.Time
}

// note takes in what he has, and what the last commit is, as of now, and returns all.
func (p *progress) note(now time.Time, has, last uint64) time.Time {
	if has >= p.owed {
		if !p.asked.IsZero() {
			p.all = p.asked
		}
		p.owed, p.asked = last, now
	}
	if has >= last {
		p.all = now
	}
	return p.all
}

const (
	askEvery   = 250 * time.Millisecond
	writeEvery = 10 * time.Second // by so much settled may be ahead of what is written
)

// Behind returns for how long a node may have been answering without what was committed since, at worst since it was called last, and
// names the nodes that were behind when they were asked last, if any was. It is for the leader; a node that is gone counts until its lease ends, or [Engine.Forget].
func (e *Engine) Behind() (time.Duration, string) {
	e.heard.mu.Lock()
	defer e.heard.mu.Unlock()
	now := e.config.Now()
	behind := max(e.heard.worst, now.Sub(e.heard.progress.all))
	e.heard.worst, e.heard.told = 0, now.Add(-behind)
	return behind, strings.Join(e.heard.missing, ", ")
}

// Settled notes that what the last Behind has told was acted on, durably. Only then it is written down for the next leader, who would
// not act on it otherwise.
func (e *Engine) Settled() {
	e.heard.mu.Lock()
	defer e.heard.mu.Unlock()
	e.heard.settled = e.heard.told
}

// begin takes over what the leader before had written.
func (h *heard) begin(text string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress, h.missing, h.written, h.worst = progress{all: now}, nil, time.Time{}, 0
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.Before(now) {
		h.progress.all = now.Add(-now.Sub(at)) // with the monotonic clock
		h.written = h.progress.all
	}
	h.told, h.settled = h.progress.all, h.progress.all
}

// note takes in an answer to a question of now.
func (h *heard) note(now time.Time, nodes []seated, last uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	least := uint64(math.MaxUint64)
	h.missing = nil
	for _, n := range nodes {
		least = min(least, n.Revision)
		if n.Revision < h.progress.owed {
			h.missing = append(h.missing, n.Name)
		}
	}
	before := h.progress.all
	if h.progress.note(now, least, last); h.progress.all != before {
		h.worst = max(h.worst, now.Sub(before))
	}
}

// unwritten returns what is to be written down, the zero time if nothing. After a standstill that is at once: the next leader would
// have the keys wait for it once more.
func (h *heard) unwritten() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.settled.Sub(h.written) < writeEvery {
		return time.Time{}
	}
	h.written = h.settled
	return h.settled
}

// listen asks what all nodes have, until a term is over.
func (e *Engine) listen(term store.Term) {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-term.Ended:
			return
		}
		now := e.config.Now()
		r, err := e.nodes(e.ctx)
		if err != nil {
			continue // nothing was heard
		}
		e.heard.note(now, r.nodes, r.last.revision)
		e.raise(e.ctx, term.Token, r)
		if at := e.heard.unwritten(); !at.IsZero() {
			e.writeHeard(term.Token, at)
		}
	}
}

// writeHeard fails when the term is over, and need not succeed: who leads next is then more careful than is needed.
func (e *Engine) writeHeard(token uint64, at time.Time) {
	ctx, cancel := context.WithTimeout(e.ctx, callTime)
	defer cancel()
	_, _ = e.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.config.leaderKey()), "=", int64(token))).
		Then(clientv3.OpPut(e.config.heardKey(), at.UTC().Format(time.RFC3339Nano))).Commit()
}

// seated is a node with the lease of its seat.
type seated struct {
	store.Node
	lease clientv3.LeaseID
	told  claim
}

// roster is all nodes that may answer, at one revision.
type roster struct {
	nodes          []seated
	revision       int64
	last           link  // the last commit
	format         uint8 // of the database
	formatRevision int64 // of the record of that; 0: there is none
}

func (e *Engine) nodes(ctx context.Context) (r roster, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := e.client.Txn(ctx).Then(clientv3.OpGet(e.config.nodesKey(), clientv3.WithPrefix()),
		clientv3.OpGet(e.config.lastKey()), clientv3.OpGet(e.config.leaderKey()), clientv3.OpGet(e.config.formatKey())).Commit()
	if err != nil {
		return r, fmt.Errorf("etcd: %w", err)
	}
	r.revision, r.last = response.Header.Revision, linkOf(response.Responses[1].GetResponseRange().Kvs...)
	if r.format, r.formatRevision, err = formatOf(response.Responses[3].GetResponseRange().Kvs); err != nil {
		return r, fmt.Errorf("etcd: %w", err)
	}
	leads := ""
	for _, kv := range response.Responses[2].GetResponseRange().Kvs {
		leads = string(kv.Value)
	}
	for _, kv := range response.Responses[0].GetResponseRange().Kvs {
		var c claim
		if err := json.Unmarshal(kv.Value, &c); err != nil {
			return r, fmt.Errorf("etcd: %s: %w", kv.Key, err)
		}
		name := strings.TrimPrefix(string(kv.Key), e.config.nodesKey())
		node := store.Node{Name: name, Version: c.Version, Format: max(1, c.Format), Since: c.Since, Revision: c.Revision, Leads: name == leads}
		if c.Revision != 0 && c.Revision >= r.last.revision {
			node.Revision = uint64(response.Header.Revision) // between the two nothing was committed
		}
		r.nodes = append(r.nodes, seated{node, clientv3.LeaseID(kv.Lease), c})
	}
	return r, nil
}

// Nodes implements store.Cluster.
func (e *Engine) Nodes(ctx context.Context) ([]store.Node, error) {
	found, err := e.nodes(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	nodes := make([]store.Node, 0, len(found.nodes))
	for _, n := range found.nodes {
		left, err := e.client.TimeToLive(ctx, n.lease)
		switch {
		case err != nil:
			return nil, fmt.Errorf("etcd: %w", err)
		case left.GrantedTTL == 0:
			continue // gone meanwhile
		}
		// After an election in etcd leases last longer than they were granted for.
		n.Silent = max(0, time.Duration(left.GrantedTTL-left.TTL)*time.Second)
		if n.Offset = e.clocks.offset(n.Name); n.Name == e.config.Node {
			n.Offset = new(time.Duration(0))
		}
		nodes = append(nodes, n.Node)
	}
	return nodes, nil
}

// Forget implements store.Cluster.
func (e *Engine) Forget(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	found, err := e.client.Get(ctx, e.config.nodesKey()+name)
	switch {
	case err != nil:
		return fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
	case len(found.Kvs) == 0:
		return &zone.RefusedError{Kind: zone.ErrNotFound, FieldError: zone.FieldError{Field: "node", Rule: "is none of the cluster"}}
	}
	if _, err := e.client.Revoke(ctx, clientv3.LeaseID(found.Kvs[0].Lease)); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
	}
	return nil
}
