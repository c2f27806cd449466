package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
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
// etcd uses it, is given back: a key that nobody reigns with would keep all others away.
func (e *Engine) stand(ctx context.Context) (term store.Term, revision int64, err error) {
	end := time.After(termTime)
	lease, err := e.client.Grant(ctx, leaseTime)
	if err != nil {
		return term, 0, err
	}
	defer func() {
		if term.Token == 0 {
			e.abandon(lease.ID)
		}
	}()
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
		term = store.Term{Token: uint64(response.Header.Revision), Ended: e.reign(ctx, lease.ID, end)}
		e.tasks.Go(func() { e.listen(term) })
	}
	return term, response.Header.Revision, nil
}

// revoke gives a lease back, if it has not run out by itself.
func (e *Engine) revoke(ctx context.Context, lease clientv3.LeaseID) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_, err := e.client.Revoke(ctx, lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return err
}

// giveBack revokes a lease as soon as etcd can be told. That it runs out by itself is not to be relied on: each election in etcd begins its
// time anew.
func (e *Engine) giveBack(lease clientv3.LeaseID) {
	for e.revoke(e.ctx, lease) != nil && e.ctx.Err() == nil {
		select {
		case <-time.After(time.Second):
		case <-e.ctx.Done():
		}
	}
}

// abandon is giveBack, in the background when the first attempt fails.
func (e *Engine) abandon(lease clientv3.LeaseID) {
	if e.revoke(e.ctx, lease) != nil {
		e.tasks.Go(func() { e.giveBack(lease) })
	}
}

// termTime is how long a term lasts without its lease being renewed. etcd counts from when it hears of a lease, which is after it was asked
// for: so a term is over before another one can begin, also if its end comes in the midst of an attempt to renew the lease.
const (
	keepPeriod = 2 * time.Second // between two attempts
	keepTime   = 3 * time.Second // for one
	termTime   = (leaseTime-1)*time.Second - keepTime
)

// reign returns a channel that is closed when a term is over: ctx is done, or end has come without the lease having been renewed. Then the
// lease is given back as soon as etcd can be told, so that a node can lead at once.
func (e *Engine) reign(ctx context.Context, lease clientv3.LeaseID, end <-chan time.Time) <-chan struct{} {
	ended := make(chan struct{})
	e.tasks.Go(func() {
		e.keep(ctx, lease, end)
		close(ended)
		e.giveBack(lease)
	})
	return ended
}

// keep renews a lease until a term is over.
func (e *Engine) keep(ctx context.Context, lease clientv3.LeaseID, end <-chan time.Time) {
	for {
		select {
		case <-time.After(keepPeriod):
		case <-end:
			return
		case <-ctx.Done():
			return
		case <-e.ctx.Done():
			return
		}
		next := time.After(termTime)
		call, cancel := context.WithTimeout(ctx, keepTime)
		_, err := e.client.KeepAliveOnce(call, lease)
		cancel()
		switch {
		case err == nil:
			end = next
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			return
		}
	}
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
