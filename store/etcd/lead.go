package etcd

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// Lead implements store.Engine. The token is the revision that made the key of the leader. The key goes with its lease, and every
// commit of the term requires it.
func (e *Engine) Lead(ctx context.Context) (store.Term, error) {
	for {
		lease, err := e.client.Grant(ctx, leaseTime)
		if err != nil {
			return store.Term{}, fmt.Errorf("etcd: %w", err)
		}
		alive, err := e.client.KeepAlive(e.ctx, lease.ID)
		if err != nil {
			return store.Term{}, fmt.Errorf("etcd: %w", err)
		}
		response, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.config.leaderKey()), "=", 0)).
			Then(clientv3.OpPut(e.config.leaderKey(), e.config.Node, clientv3.WithLease(lease.ID))).Commit()
		if err != nil {
			return store.Term{}, fmt.Errorf("etcd: %w", err)
		}
		if response.Succeeded {
			return store.Term{Token: uint64(response.Header.Revision), Ended: e.reign(ctx, lease.ID, alive)}, nil
		}
		if _, err := e.client.Revoke(ctx, lease.ID); err != nil {
			return store.Term{}, fmt.Errorf("etcd: %w", err)
		}
		if err := e.vacancy(ctx, response.Header.Revision); err != nil {
			return store.Term{}, err
		}
	}
}

// reign returns a channel that is closed when the lease has run out, or etcd was silent for as long. When ctx is done the lease is
// given back, so that another node can lead at once.
func (e *Engine) reign(ctx context.Context, lease clientv3.LeaseID, alive <-chan *clientv3.LeaseKeepAliveResponse) <-chan struct{} {
	ended := make(chan struct{})
	e.terms.Go(func() {
		defer close(ended)
		for {
			select {
			case _, more := <-alive:
				if !more {
					return
				}
			case <-ctx.Done():
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
				defer cancel()
				_, _ = e.client.Revoke(ctx, lease) // else it runs out by itself
				return
			}
		}
	})
	return ended
}

// vacancy waits until nobody leads.
func (e *Engine) vacancy(ctx context.Context, revision int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	for r := range e.client.Watch(ctx, e.config.leaderKey(), clientv3.WithRev(revision+1)) {
		if r.Err() != nil {
			return nil // look again
		}
		for _, event := range r.Events {
			if event.Type == clientv3.EventTypeDelete {
				return nil
			}
		}
	}
	if e.ctx.Err() != nil {
		return store.ErrClosed
	}
	return ctx.Err()
}
