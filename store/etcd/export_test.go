package etcd

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/mxseal/mxseal/store"
)

// Raise is one attempt to raise the format in a term.
func (e *Engine) Raise(ctx context.Context, term uint64) error {
	r, err := e.nodes(ctx)
	if err == nil {
		e.raise(ctx, term, r)
	}
	return err
}

// LeaveLarge makes a large commit as a node does that ends after some steps of writing it out; with -1 before the commit is made. It
// reports whether there were as many steps.
func (e *Engine) LeaveLarge(ctx context.Context, tx store.Tx, steps int) (bool, error) {
	if steps < 0 {
		d, err := e.occupy(ctx)
		if err != nil {
			return false, err
		}
		return true, d.fill(ctx, tx.Writes)
	}
	if err := e.BeginLarge(tx, largeTime); err != nil {
		return false, err
	}
	found, err := e.getLarge(ctx)
	if err != nil {
		return false, err
	}
	l, err := readLarge(found.Kvs[0].Value)
	for key := found.Kvs[0].ModRevision; err == nil && steps > 0 && l.Block < l.Blocks; steps-- {
		var writes []store.Write
		if writes, err = e.block(ctx, l, key); err == nil {
			l, key, err = e.step(ctx, l, key, writes)
		}
	}
	return steps == 0, err
}

// BeginLarge makes a large commit that must be prepared in some time, and does not write it out.
func (e *Engine) BeginLarge(tx store.Tx, within time.Duration) error {
	w := &writer{e: e}
	if err := w.prepare(); err != nil {
		return err
	}
	_, err := w.begin(&batch{requests: []store.Request{{Tx: tx}}}, within)
	return err
}

// CommitLarge makes a large commit, with a call between the look at its preconditions and the transaction that makes it.
func (e *Engine) CommitLarge(ctx context.Context, tx store.Tx, between func()) error {
	w := &writer{e: e}
	if err := w.prepare(); err != nil {
		return err
	}
	d, err := e.occupy(ctx)
	if err != nil {
		return err
	}
	defer e.abandon(d.lease)
	if err := d.fill(ctx, tx.Writes); err != nil {
		return err
	}
	if err := w.check(ctx, &d, tx); err != nil {
		return err
	}
	between()
	_, err = w.decide(&batch{requests: []store.Request{{Tx: tx}}}, d)
	return err
}

// Written waits for the end of a large commit that began at a revision.
func (e *Engine) Written(ctx context.Context, begun uint64) (uint64, error) {
	return e.written(ctx, begun)
}

// GoneBack has the engine find that etcd has gone back, as by the answer to any call.
func (e *Engine) GoneBack() error { return e.look(&etcdserverpb.ResponseHeader{Revision: 1}, 2) }

// Differ has a node take itself for one that has missed something.
func (e *Engine) Differ() {
	e.trail.mu.Lock()
	defer e.trail.mu.Unlock()
	e.trail.points[len(e.trail.points)-1].digest++
}

// ErrAstray is why a node does not answer whose history is not that of etcd.
var ErrAstray = errAstray
