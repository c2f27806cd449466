package etcd

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// The format of the database is that of one record. Two transactions keep it from being newer than what a node knows that answers: a seat
// is taken only while the format is the one that was checked, and the format is raised only while the seats are those that were read.

func (c Config) formatKey() string {
	ref := store.FormatRef(0)
	return c.records() + string(ref.Kind) + "/" + ref.ID
}

// known is the newest format that this node knows.
func (c Config) known() uint8 {
	if c.Format != 0 {
		return c.Format
	}
	return store.Format
}

// formatOf returns the format that the record of the format has, if it is there, and the revision of that; else 1 and 0.
func formatOf(found []*mvccpb.KeyValue) (format uint8, revision int64, err error) {
	if len(found) == 0 {
		return 1, 0, nil
	}
	if len(found[0].Value) == 0 {
		return 0, 0, errors.New("the record of the format is damaged")
	}
	return found[0].Value[0], found[0].ModRevision, nil
}

// checkFormat makes sure that this node can work with the format of the database, and returns the revision of that.
func (e *Engine) checkFormat(ctx context.Context) (revision int64, err error) {
	found, err := e.client.Get(ctx, e.config.formatKey())
	if err != nil {
		return 0, err
	}
	format, revision, err := formatOf(found.Kvs)
	if err == nil {
		err = store.CheckFormat(e.config.known(), format)
	}
	return revision, err
}

// raise makes the next format that of the database if all nodes of a roster know it, in a term. If a node has told something since, or
// has taken a seat, nothing is raised: the next roster shows what it was.
func (e *Engine) raise(ctx context.Context, token uint64, r roster) {
	next := r.format + 1
	if next > e.config.known() || slices.ContainsFunc(r.nodes, func(n seated) bool { return n.Format < next }) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := e.client.Txn(ctx).If(
		clientv3.Compare(clientv3.CreateRevision(e.config.leaderKey()), "=", int64(token)),
		clientv3.Compare(clientv3.CreateRevision(e.config.largeKey()), "=", 0), // nothing is committed beside a large commit
		clientv3.Compare(clientv3.ModRevision(e.config.formatKey()), "=", r.formatRevision),
		clientv3.Compare(clientv3.ModRevision(e.config.nodesKey()).WithPrefix(), "<", r.revision+1),
	).Then(
		clientv3.OpPut(e.config.formatKey(), seal(store.WriteFormat(next, 0))),
		e.sign(),
	).Commit()
	if err == nil && response.Succeeded {
		e.config.Log.Info("every node knows a newer format of records: from now on it is written", "format", next)
	}
}
