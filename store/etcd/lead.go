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
		term, revision, err := e.stand(ctx)
		if err != nil {
			return store.Term{}, fmt.Errorf("etcd: %w", err)
		}
		if term.Token != 0 {
			return term, nil
		}
		if err := e.vacancy(ctx, e.config.leaderKey(), revision); err != nil {
			return store.Term{}, err
		}
	}
}

// stand makes one attempt. Without a term somebody led at a revision. A lease that is not used, or of which it is not known whether
// etcd uses it, is not kept alive: a key that nobody reigns with would keep all others away.
func (e *Engine) stand(ctx context.Context) (term store.Term, revision int64, err error) {
	lease, err := e.client.Grant(ctx, leaseTime)
	if err != nil {
		return term, 0, err
	}
	keep, giveUp := context.WithCancel(e.ctx)
	defer func() {
		if term.Token == 0 {
			giveUp()
			e.revoke(ctx, lease.ID)
		}
	}()
	alive, err := e.client.KeepAlive(keep, lease.ID)
	if err != nil {
		return term, 0, err
	}
	response, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(e.config.leaderKey()), "=", 0)).
		Then(clientv3.OpPut(e.config.leaderKey(), e.config.Node, clientv3.WithLease(lease.ID)), clientv3.OpGet(e.config.heardKey())).Commit()
	if err != nil {
		return term, 0, err
	}
	if response.Succeeded {
		written := ""
		for _, kv := range response.Responses[1].GetResponseRange().Kvs {
			written = string(kv.Value)
		}
		e.heard.begin(written, e.config.Now())
		term = store.Term{Token: uint64(response.Header.Revision), Ended: e.reign(ctx, giveUp, lease.ID, alive)}
		e.tasks.Go(func() { e.listen(term) })
	}
	return term, response.Header.Revision, nil
}

// revoke gives a lease back. If that fails it runs out by itself.
func (e *Engine) revoke(ctx context.Context, lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, _ = e.client.Revoke(ctx, lease)
}

// reign returns a channel that is closed when the lease has run out, or etcd was silent for as long. When ctx is done the lease is
// given back, so that another node can lead at once.
func (e *Engine) reign(ctx context.Context, giveUp func(), lease clientv3.LeaseID, alive <-chan *clientv3.LeaseKeepAliveResponse) <-chan struct{} {
	ended := make(chan struct{})
	e.tasks.Go(func() {
		defer close(ended)
		defer giveUp()
		for {
			select {
			case _, more := <-alive:
				if !more {
					if e.ctx.Err() != nil {
						e.revoke(ctx, lease)
					}
					return
				}
			case <-ctx.Done():
				e.revoke(ctx, lease)
				return
			}
		}
	})
	return ended
}

// vacancy waits until a key is gone that was there at a revision. Without error it may be there all the same.
func (e *Engine) vacancy(ctx context.Context, key string, revision int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	for r := range e.client.Watch(clientv3.WithRequireLeader(ctx), key, clientv3.WithRev(revision+1)) {
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
