package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

const (
	largeTime  = 30 * time.Second // that it may take to wait for other large commits and prepare one, while nobody else commits
	largeLease = 15               // seconds; how long nobody commits when the node is gone that prepares one
	// largeRenew is how long the lease is not renewed. It leaves time for a transaction that takes as long as it may, and for the renewal.
	largeRenew = (largeLease-1)*time.Second - callTime - keepTime
	// afterLarge is how long a node waits after a large commit, so that others come in between.
	afterLarge = 20 * time.Millisecond
)

// division is a large commit that is being prepared.
type division struct {
	e      *Engine
	lease  clientv3.LeaseID
	due    <-chan time.Time // the lease is to be renewed
	key    int64            // revision of the key of the large commit
	blocks int
}

// during is [Engine.during], and then renews the lease if that is due. Nothing else does: a node that hangs keeps nobody away for longer
// than the lease lasts. If it ends because this has failed, the key is gone, and the next transaction is not made.
func (d *division) during(ctx context.Context, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	response, err := d.e.during(ctx, d.key, ops...)
	if err != nil {
		return nil, err
	}
	select {
	case <-d.due:
		d.due = time.After(largeRenew)
		ctx, cancel := context.WithTimeout(ctx, keepTime)
		defer cancel()
		_, _ = d.e.client.KeepAliveOnce(ctx, d.lease)
	default:
	}
	return response, nil
}

// divide makes the only commit of a batch, which is too large for one transaction of etcd. Like any other it is made by one transaction or
// not at all; what it has written is read only when everything is there.
func (w *writer) divide(b *batch) (revision uint64, err error) {
	begun, err := w.begin(b, largeTime)
	if err != nil || begun == 0 {
		return 0, err
	}
	written := func(ctx context.Context) (uint64, error) { return w.e.written(ctx, begun) }
	if revision, err = written(w.e.ctx); err != nil {
		revision, err = w.insist(b, err, written)
	}
	select {
	case <-time.After(afterLarge):
	case <-w.e.ctx.Done():
	}
	return revision, err
}

// begin returns the revision at which the commit was made, though not written out. What is not prepared in time is given up.
func (w *writer) begin(b *batch, within time.Duration) (revision uint64, err error) {
	tx := b.requests[0].Tx
	ctx, cancel := context.WithTimeout(w.e.ctx, within)
	defer cancel()
	d, err := w.e.occupy(ctx)
	if err != nil {
		return 0, failed(err)
	}
	defer w.e.abandon(d.lease) // nothing is on it any more if the commit was made
	if err := d.fill(ctx, tx.Writes); err != nil {
		return 0, failed(err)
	}
	if err := w.check(ctx, &d, tx); err != nil {
		return 0, failed(err)
	}
	return w.decide(b, d)
}

// failed is the error of a commit of which nothing was written.
func failed(err error) error {
	switch {
	case errors.Is(err, zone.ErrRetry), errors.Is(err, store.ErrDeposed), errors.Is(err, zone.ErrUnavailable):
		return err
	case refused(err):
		return tooMuch(err)
	}
	return fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
}

// occupy makes the key of the large commit ours.
func (e *Engine) occupy(ctx context.Context) (division, error) {
	for {
		d, other, err := e.tryToOccupy(ctx)
		if err != nil || other == nil {
			return d, err
		}
		e.abandon(d.lease)
		if err := e.giveWay(ctx, other); !errors.Is(err, errRepeat) {
			return d, err
		}
	}
}

// tryToOccupy makes one attempt; other is the key as somebody else has it.
func (e *Engine) tryToOccupy(ctx context.Context) (d division, other *mvccpb.KeyValue, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	due := time.After(largeRenew)
	lease, err := e.client.Grant(ctx, largeLease)
	if err != nil {
		return d, nil, err
	}
	d, key := division{e: e, lease: lease.ID, due: due}, e.config.largeKey()
	response, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, large{}.String(), clientv3.WithLease(d.lease))).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		e.abandon(d.lease)
		return d, nil, err
	}
	if response.Succeeded {
		d.key = response.Header.Revision
		return d, nil, nil
	}
	other = response.Responses[0].GetResponseRange().Kvs[0] // it is there, or the comparison had succeeded
	if clientv3.LeaseID(other.Lease) == d.lease {           // the client has sent it twice
		d.key = other.ModRevision
		return d, nil, nil
	}
	return d, other, nil
}

// giveWay waits until a large commit of somebody else is complete, or given up. The error is errRepeat, or says why that cannot be.
func (e *Engine) giveWay(ctx context.Context, kv *mvccpb.KeyValue) error {
	l, err := readLarge(kv.Value)
	if err == nil && l.Blocks == 0 {
		ctx, cancel := context.WithTimeout(ctx, callTime)
		defer cancel()
		_ = e.vacancy(ctx, e.config.largeKey(), kv.ModRevision) // it is looked again
		return errRepeat
	}
	if err == nil {
		_, err = e.complete(ctx)
	}
	if err != nil { // whatever it is, it is not about what waits here
		return fmt.Errorf("etcd: a large commit cannot be completed: %w: %w", err, zone.ErrUnavailable)
	}
	return errRepeat
}

// fill stores the writes where nobody reads them. They go with the lease if the commit is not made.
func (d *division) fill(ctx context.Context, writes []store.Write) error {
	for _, block := range d.e.blocks(writes) {
		if _, err := d.during(ctx, clientv3.OpPut(d.e.config.blockKey(d.blocks), block, clientv3.WithLease(d.lease))); err != nil {
			return err
		}
		d.blocks++
	}
	return nil
}

// check looks at the preconditions. As nobody else commits meanwhile, what holds goes on to hold; but for the term.
func (w *writer) check(ctx context.Context, d *division, tx store.Tx) error {
	expected := w.e.expectations(tx)
	keys := make([]string, 0, len(expected))
	for key := range expected {
		keys = append(keys, key)
	}
	for some := range slices.Chunk(keys, maxOps) {
		var looks []clientv3.Op
		for range advanceOps { // what etcd does not take here could not be written out either
			looks = append(looks, clientv3.OpGet(w.e.config.largeKey(), clientv3.WithKeysOnly()))
		}
		for _, key := range some {
			looks = append(looks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
		}
		response, err := d.during(ctx, looks...)
		if err != nil {
			return err
		}
		for i, key := range some {
			if have := int64(revisionOf(response.Responses[advanceOps+i])); have != expected[key] {
				return w.unmet(key, expected[key], have)
			}
		}
	}
	return nil
}

// decide makes the commit.
func (w *writer) decide(b *batch, d division) (revision uint64, err error) {
	key, leader, term := w.e.config.largeKey(), w.e.config.leaderKey(), int64(b.requests[0].Tx.Term)
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", d.key)}
	if term != 0 {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(leader), "=", term))
	}
	then := []clientv3.Op{clientv3.OpPut(key, large{Blocks: d.blocks}.String())}
	for n := range d.blocks {
		then = append(then, clientv3.OpPut(w.e.config.blockKey(n), "", clientv3.WithIgnoreValue())) // without the lease
	}
	revision, unmet, err := w.submit(b, ifs, then, []clientv3.Op{clientv3.OpGet(key)})
	switch {
	case unmet == nil:
		return revision, err
	case slices.ContainsFunc(unmet, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key && kv.ModRevision == d.key }):
		return 0, store.ErrDeposed
	}
	return 0, failed(errMoved)
}

// written returns the revision at which the last write of a large commit was made, which this node's last transaction began at another one.
func (e *Engine) written(ctx context.Context, begun uint64) (revision uint64, err error) {
	if _, err := e.complete(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), callTime)
	defer cancel()
	mine, err := e.client.Get(ctx, e.config.writerKey(), clientv3.WithKeysOnly())
	if err != nil {
		return 0, err
	}
	if len(mine.Kvs) == 0 || uint64(mine.Kvs[0].ModRevision) != begun { // what is waited for would never come
		return 0, fmt.Errorf("%w: etcd has lost what it had at revision %d, or another node has the name %q", zone.ErrUncertain, begun, e.config.Node)
	}
	for r := range e.client.Watch(ctx, e.config.largeKey(), clientv3.WithRev(int64(begun)+1), clientv3.WithFilterPut()) {
		switch {
		case r.CompactRevision != 0:
			return 0, fmt.Errorf("%w: etcd has no history of the commit that began at revision %d", zone.ErrUncertain, begun)
		case r.Err() != nil:
			return 0, r.Err()
		case len(r.Events) > 0:
			return uint64(r.Events[0].Kv.ModRevision), nil
		}
	}
	return 0, errors.Join(ctx.Err(), errMoved)
}
