package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// Engine implements [store.Engine].
type Engine struct {
	config     Config
	client     *clientv3.Client
	queue      *store.Queue
	ctx        context.Context // ends at Close
	close      context.CancelFunc
	tasks      sync.WaitGroup                     // besides the writer
	away       atomic.Bool                        // etcd does not answer: commits are refused
	rewind     atomic.Pointer[context.CancelFunc] // ends the present watch
	gap        atomic.Pointer[error]              // why everything is to be loaded again, and no watch has ended with that yet
	trail      trail
	mismatches atomic.Uint64
	seat       seat
	heard      heard
	keeper     keeper
	clocks     clocks
}

// Open opens the database in a cluster that can be reached. The errors wrap those of this package.
func Open(ctx context.Context, c Config) (*Engine, error) {
	client, err := dial(c)
	if err != nil {
		return nil, err
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := checkMeta(ctx, client, c); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	e := &Engine{config: c, client: client, queue: store.NewQueue(maxWaiting, store.GatherTime)}
	e.seat.e, e.seat.advanced = e, make(chan struct{}, 1)
	e.keeper.init(e)
	e.ctx, e.close = context.WithCancel(context.Background())
	w := &writer{e: e}
	go w.run()
	if c.User != "" {
		e.tasks.Go(e.expectPassword)
	}
	return e, nil
}

// expectPassword warns if etcd does not ask for the password that this node has: then it asks nobody for one.
func (e *Engine) expectPassword() {
	ctx, cancel := context.WithTimeout(e.ctx, callTime)
	defer cancel()
	if _, err := e.client.Authenticate(ctx, e.config.User, e.config.Password); errors.Is(err, rpctypes.ErrAuthNotEnabled) {
		e.config.Log.Warn("etcd asks nobody for a password, though there is store.etcd.user: enable its authentication (etcdctl auth enable)")
	}
}

// pageSize is how many records a load asks for at a time, at most: fewer if they do not fit into a message. For each page etcd counts all
// keys that are left, which with small ones is most of the time of a load.
const pageSize = 20000

// Load implements store.Engine. What it visits is the image of this node, too.
func (e *Engine) Load(ctx context.Context, yield func(store.Record) error) (revision uint64, err error) {
	e.gap.Store(nil) // that is mended
	w := e.keeper.begin()
	revision, last, err := e.load(ctx, func(r store.Record) error {
		if w != nil {
			w.record(r)
		}
		return yield(r)
	})
	switch {
	case err == nil && w != nil:
		e.keeper.adopt(w, revision)
	case w != nil:
		_ = w.discard()
	}
	if err == nil {
		e.trail.load(last, revision)
	}
	return revision, err
}

// load returns the revision that the records are of, and the last commit before it.
func (e *Engine) load(ctx context.Context, yield func(store.Record) error) (revision uint64, last point, err error) {
	at, err := e.complete(ctx)
	if err != nil {
		return 0, last, fmt.Errorf("etcd: load: %w", err)
	}
	commit, err := e.page(ctx, e.config.lastKey(), []clientv3.OpOption{clientv3.WithRev(at)})
	if err != nil {
		return 0, last, fmt.Errorf("etcd: load: %w", err)
	}
	last.link = linkOf(commit.Kvs...)
	from, end := e.config.records(), clientv3.GetPrefixRangeEnd(e.config.records())
	for size := int64(pageSize); ; {
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(size), clientv3.WithRev(at)}
		page, err := e.page(ctx, from, options)
		if tooLarge(err) && size > 1 {
			size /= 2
			continue
		}
		if err != nil {
			return 0, last, fmt.Errorf("etcd: load %s: %w", from, err)
		}
		for _, kv := range page.Kvs {
			if key := string(kv.Key); key == e.config.lastKey() || key == e.config.largeKey() { // no records
				continue
			}
			r, err := e.record(kv)
			if err != nil {
				return 0, last, err
			}
			if err := yield(r); err != nil {
				return 0, last, err
			}
			last.digest += digestOf(kv)
		}
		if !page.More {
			return uint64(at), last, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// Newest implements store.Shared: etcd answers it by a quorum.
func (e *Engine) Newest(ctx context.Context) (uint64, error) {
	if e.away.Load() {
		return 0, errAway
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	last, err := e.client.Get(ctx, e.config.lastKey())
	if err != nil {
		return 0, fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
	}
	return linkOf(last.Kvs...).revision, nil
}

func (e *Engine) page(ctx context.Context, from string, options []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return e.client.Get(ctx, from, options...)
}

func (e *Engine) recordKey(kind zone.Kind, id string) string {
	return e.config.records() + string(kind) + "/" + id
}

// identify is the inverse of recordKey. Kinds have no slash, ids may.
func (e *Engine) identify(key []byte) (kind zone.Kind, id string, err error) {
	k, id, found := strings.Cut(strings.TrimPrefix(string(key), e.config.records()), "/")
	if !found || k == "" || id == "" {
		return "", "", fmt.Errorf("etcd has a key %q that is no record's", key)
	}
	return zone.Kind(k), id, nil
}

func (e *Engine) record(kv *mvccpb.KeyValue) (store.Record, error) {
	kind, id, err := e.identify(kv.Key)
	if err != nil {
		return store.Record{}, err
	}
	if len(kv.Value) == 0 {
		return store.Record{}, fmt.Errorf("record %q of kind %q is damaged", id, kind)
	}
	if err := store.CheckRecord(e.config.known(), kv.Value[0]); err != nil {
		return store.Record{}, fmt.Errorf("record %q of kind %q: %w", id, kind, err)
	}
	return store.Record{Kind: kind, ID: id, Revision: uint64(kv.ModRevision), Value: kv.Value[1:], Format: kv.Value[0]}, nil
}

// seal makes what etcd has of a record.
func seal(w store.Write) string { return string([]byte{max(1, w.Format)}) + string(w.Value) }

// watchPause is how long a watch waits before it begins again.
const watchPause = 200 * time.Millisecond

// Watch implements store.Engine. While etcd cannot be reached it waits; a member that has lost the others it leaves.
func (e *Engine) Watch(ctx context.Context, after uint64, apply func(store.Commit) error) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	e.trail.begin(after, e.config.Now())
	e.seat.trust()
	e.seat.advance(after)
	for said := ""; ; {
		why, err := e.follow(ctx, &after, apply)
		if err != nil {
			return err
		}
		if text := fmt.Sprint(why); why != nil && text != said && ctx.Err() == nil {
			e.config.Log.Warn("the watch of etcd has ended, and is begun again", "error", why)
			said = text
		}
		select {
		case <-time.After(watchPause):
		case <-ctx.Done(): // also when the engine is closed
			if e.ctx.Err() != nil {
				return store.ErrClosed
			}
			return ctx.Err()
		}
	}
}

// follow is one watch. Without an error another one can go on after the last commit that was applied; why says why this one has ended.
func (e *Engine) follow(ctx context.Context, after *uint64, apply func(store.Commit) error) (why, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.rewind.Store(&cancel)
	if gap := e.gap.Swap(nil); gap != nil { // found before there was a watch to end
		return nil, *gap
	}
	f := feed{e: e}
	// In fragments: what has gathered while this node was away may be more than fits into a message.
	events := e.client.Watch(ctx, e.config.records(), clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithFragment(), clientv3.WithRev(int64(*after)+1))
	for more := true; more; {
		var r clientv3.WatchResponse
		select {
		case r, more = <-events:
		case <-f.late:
			f.help(ctx)
		}
		if r.CompactRevision != 0 {
			return nil, e.bridge(ctx, after, r.CompactRevision)
		}
		if r.Err() != nil {
			return r.Err(), nil
		}
		commits, err := f.take(r.Events)
		if errors.Is(err, store.ErrFormat) { // nobody raises the format while this node has its seat
			e.seat.give(err)
		}
		if err != nil {
			return nil, err
		}
		for _, c := range commits {
			if c.Revision <= *after { // a member that had to catch up with the others may tell again what it has told
				continue
			}
			if err := e.follows(c); err != nil {
				return nil, err
			}
			e.keeper.add(c.Commit)
			if err := apply(c.Commit); err != nil {
				return nil, err
			}
			e.trail.add(c)
			*after = c.Revision
			e.seat.advance(c.Revision)
		}
	}
	if gap := e.gap.Swap(nil); gap != nil {
		return nil, *gap
	}
	return nil, nil
}

// bridge goes on where etcd has no history any more, if there was no commit in what is missing.
func (e *Engine) bridge(ctx context.Context, after *uint64, compacted int64) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := e.client.Txn(ctx).Then(clientv3.OpGet(e.config.lastKey()), clientv3.OpGet(e.config.largeKey())).Commit()
	if err == nil && revisionOf(response.Responses[1]) == 0 {
		had, known := e.trail.at(*after)
		switch last := linkOf(response.Responses[0].GetResponseRange().Kvs...); {
		case known && last == had.link:
			*after = uint64(response.Header.Revision)
			return nil
		case known && last.revision <= had.revision:
			return e.astray(otherLast(had.link, last))
		}
	}
	return fmt.Errorf("after revision %d: etcd has no history before %d: %w", *after, compacted, store.ErrGap)
}

// look compares the revision of an answer with what this node had before it asked: an etcd that was restored from a copy has less, and
// goes on from there. A watch finds that with the next commit, which may be late. What was heard since may well be newer than the answer.
func (e *Engine) look(header *etcdserverpb.ResponseHeader, have uint64) error {
	if uint64(header.GetRevision()) < have {
		gap := e.astray(fmt.Errorf("etcd has gone back from revision %d to %d: %w", have, header.GetRevision(), store.ErrGap))
		e.part(gap)
		return gap
	}
	return nil
}

// Close ends the writer and the connection. Whoever calls Lead has to have ended.
func (e *Engine) Close() error {
	e.close()
	<-e.queue.Ended()
	e.tasks.Wait() // they give leases back, and finish the image
	return e.client.Close()
}

// FromImage is [Booted.FromImage]: what this one has is from etcd.
func (*Engine) FromImage() bool { return false }
