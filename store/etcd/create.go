package etcd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// Create makes a database in a cluster that has none (else ErrExists), with some rows.
func Create(ctx context.Context, c Config, rows ...zone.Row) error {
	tx, err := store.First(rows)
	if err != nil {
		return err
	}
	return Fill(ctx, c, func(yield func(store.Record) error) error {
		for _, w := range tx.Writes {
			if err := yield(store.Record{Kind: w.Kind, ID: w.ID, Value: w.Value, Format: w.Format}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Fill is Create with all records that a function visits, which get revisions anew (see [store.InOrder]). The database is there when
// all of them are: interrupted before that, it can be called again.
func Fill(ctx context.Context, c Config, records func(yield func(store.Record) error) error) error {
	client, err := dial(c)
	if err != nil {
		return err
	}
	defer client.Close()
	f := &filling{ctx: ctx, client: client, e: &Engine{config: c}}
	if err := f.begin(); err != nil {
		return err
	}
	if err := store.InOrder(records, f.add, f.send); err != nil {
		return err
	}
	if err := f.send(); err != nil {
		return err
	}
	value, err := json.Marshal(meta{Layout: layout, ID: rand.Text()})
	if err != nil {
		return err
	}
	return f.do(clientv3.OpPut(c.metaKey(), string(value)))
}

type filling struct {
	ctx    context.Context
	client *clientv3.Client
	e      *Engine
	mark   string // value of the key that says who fills
	ops    []clientv3.Op
	octets int
}

// begin takes away what an interrupted attempt has left, and keeps one that is not interrupted from going on.
func (f *filling) begin() error {
	mark := rand.Text()
	err := f.do(clientv3.OpDelete(f.e.config.records(), clientv3.WithPrefix()), clientv3.OpPut(f.e.config.fillingKey(), mark))
	f.mark = mark
	return err
}

func (f *filling) add(r store.Record) error {
	w := store.Write{Kind: r.Kind, ID: r.ID, Value: r.Value, Format: r.Format}
	if err := (store.Tx{Writes: []store.Write{w}}).Check(); err != nil {
		return err
	}
	if f.octets+len(r.Value) > maxOctets || len(f.ops) == maxOps {
		if err := f.send(); err != nil {
			return err
		}
	}
	f.octets += len(r.ID) + len(r.Value) + 64
	f.ops = append(f.ops, clientv3.OpPut(f.e.recordKey(r.Kind, r.ID), seal(w)))
	return nil
}

func (f *filling) send() error {
	ops := f.ops
	f.ops, f.octets = nil, 0
	if len(ops) == 0 {
		return nil
	}
	return f.do(ops...)
}

// do writes if there is no database.
func (f *filling) do(ops ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(f.ctx, callTime)
	defer cancel()
	key := f.e.config.metaKey()
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	if f.mark != "" {
		ifs = append(ifs, clientv3.Compare(clientv3.Value(f.e.config.fillingKey()), "=", f.mark))
	}
	response, err := f.client.Txn(ctx).If(ifs...).Then(ops...).Else(clientv3.OpGet(key)).Commit()
	switch {
	case err != nil:
		return fmt.Errorf("etcd: %w", err)
	case !response.Succeeded && len(response.Responses[0].GetResponseRange().Kvs) == 0:
		return fmt.Errorf("etcd under %s: somebody else makes a database there now", f.e.config.Prefix)
	case !response.Succeeded:
		return fmt.Errorf("etcd under %s: %w", f.e.config.Prefix, ErrExists)
	}
	return nil
}
