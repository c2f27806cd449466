package etcd

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// large is the value of the key of the large commit, of which there is one at a time. While the key is there nobody commits anything
// else. It is on a lease until the commit is made; then it stays until all writes are where they belong, and whoever finds it goes on.
type large struct {
	Blocks int `json:"blocks"` // that have the writes; 0: the commit is not made yet, and may never be
	Block  int `json:"block"`  // that is being written out
	Done   int `json:"done"`   // so many of its writes were
}

func readLarge(value []byte) (l large, err error) {
	if err := json.Unmarshal(value, &l); err != nil {
		return l, fmt.Errorf("etcd: the key of the large commit: %w", err)
	}
	return l, nil
}

// begins reports whether nothing was written out yet.
func (l large) begins() bool { return l.Block == 0 && l.Done == 0 }

func (l large) String() string {
	text, _ := json.Marshal(l) // there is nothing in it that could fail
	return string(text)
}

func (c Config) blockKey(n int) string { return fmt.Sprintf("%s%d", c.blocksKey(), n) }

// errMoved means that the key of the large commit is not as it was any more.
var errMoved = errors.New("a large commit took too long, or somebody else has gone on with it")

// during does something while the key of the large commit has a revision.
func (e *Engine) during(ctx context.Context, key int64, ops ...clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := e.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(e.config.largeKey()), "=", key)).Then(ops...).Commit()
	if err == nil && !response.Succeeded {
		err = errMoved
	}
	return response, err
}

func (e *Engine) getLarge(ctx context.Context) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return e.client.Get(ctx, e.config.largeKey())
}

// complete writes out the large commit, if one was made, and returns a revision at which none is under way. Several nodes may do it at
// once: each step changes the key of the large commit, and is done by one of them.
func (e *Engine) complete(ctx context.Context) (revision int64, err error) {
	for {
		found, err := e.getLarge(ctx)
		if err != nil {
			return 0, err
		}
		if len(found.Kvs) == 0 {
			return found.Header.Revision, nil
		}
		l, err := readLarge(found.Kvs[0].Value)
		if err != nil || l.Blocks == 0 {
			return found.Header.Revision, err
		}
		if err := e.writeOut(ctx, l, found.Kvs[0].ModRevision); err != nil && !errors.Is(err, errMoved) {
			return 0, err
		}
	}
}

// writeOut takes the steps that are left from where the key of the large commit has a revision.
func (e *Engine) writeOut(ctx context.Context, l large, key int64) error {
	for l.Block < l.Blocks {
		writes, err := e.block(ctx, l, key)
		if err != nil {
			return err
		}
		for block := l.Block; l.Block == block; {
			if l, key, err = e.step(ctx, l, key, writes); err != nil {
				return err
			}
		}
	}
	return nil
}

// block returns the writes of the block that is being written out.
func (e *Engine) block(ctx context.Context, l large, key int64) ([]store.Write, error) {
	response, err := e.during(ctx, key, clientv3.OpGet(e.config.blockKey(l.Block)))
	if err != nil {
		return nil, err
	}
	writes, err := readBlock(response.Responses[0].GetResponseRange().Kvs)
	if err != nil || l.Done >= len(writes) {
		return nil, fmt.Errorf("etcd: block %d of the large commit: %w", l.Block, cmp.Or(err, errDamaged))
	}
	return writes, nil
}

// step makes the next writes of a block, and returns where the large commit is then.
func (e *Engine) step(ctx context.Context, l large, key int64, block []store.Write) (large, int64, error) {
	writes := block[l.Done:min(l.Done+maxOps, len(block))]
	if l.Done += len(writes); l.Done == len(block) {
		l.Block, l.Done = l.Block+1, 0
	}
	response, err := e.during(ctx, key, append(e.puts(writes), e.advance(l)...)...)
	if err != nil {
		return l, 0, err
	}
	return l, response.Header.Revision, nil
}

// advance returns what a step does besides its writes.
func (e *Engine) advance(l large) []clientv3.Op {
	if l.Block < l.Blocks {
		return []clientv3.Op{clientv3.OpPut(e.config.largeKey(), l.String())}
	}
	return []clientv3.Op{clientv3.OpDelete(e.config.largeKey()), clientv3.OpDelete(e.config.blocksKey(), clientv3.WithPrefix()),
		e.sign()}
}

// advanceOps is the largest number of those.
const advanceOps = 3

// puts returns what makes writes.
func (e *Engine) puts(writes []store.Write) (ops []clientv3.Op) {
	for _, w := range writes {
		key := e.recordKey(w.Kind, w.ID)
		if w.Value == nil {
			ops = append(ops, clientv3.OpDelete(key))
		} else {
			ops = append(ops, clientv3.OpPut(key, seal(w)))
		}
	}
	return ops
}

// blocks packs writes into values for etcd. Each has room to spare, so that etcd, which has taken it, takes its writes, too.
func (e *Engine) blocks(writes []store.Write) (blocks []string) {
	for len(writes) > 0 {
		n, octets := 0, 0
		for n < len(writes) && (n == 0 || octets+sizeOf(writes[n]) <= maxOctets) {
			octets += sizeOf(writes[n])
			n++
		}
		b := binary.AppendUvarint(nil, uint64(n))
		for _, w := range writes[:n] {
			b = appendRecord(b, store.Commit{Revision: 1}.Record(w))
		}
		spare := (min(n, maxOps)+2*advanceOps)*(len(e.config.records())+32) + 512
		blocks = append(blocks, string(append(b, make([]byte, spare)...)))
		writes = writes[n:]
	}
	return blocks
}

// readBlock returns the writes of a block.
func readBlock(found []*mvccpb.KeyValue) (writes []store.Write, err error) {
	if len(found) == 0 {
		return nil, errors.New("it is not there")
	}
	c := content{left: found[0].Value}
	for n := c.number(); n > 0 && !c.bad; n-- {
		writes = append(writes, c.write())
	}
	if c.bad {
		err = errDamaged
	}
	return writes, err
}

// sizeOf is about the size of a write in a transaction, in octets.
func sizeOf(w store.Write) int { return len(w.ID) + len(w.Value) + 64 }
