package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

const (
	maxBatch = 512 // transactions that share one write to the disk
	maxTail  = 512 // commits that a watcher may be behind, at least: those of a batch
)

// Engine implements [store.Engine].
type Engine struct {
	db      *bbolt.DB
	queue   *store.Queue
	closing chan struct{}

	term  atomic.Uint64
	raise atomic.Pointer[store.Write] // makes the format of this version that of the database; nil if it is

	mu      sync.Mutex // guards what follows
	newest  uint64     // revision
	tail    []store.Commit
	news    chan struct{} // closed and replaced at every change of tail
	failure error         // why there will be no more commits
	broken  bool          // bbolt has panicked in a write and may hold its own locks
	closed  bool
}

// Open opens the database of a directory. The errors wrap those of this package.
func Open(dir string) (*Engine, error) {
	path := filepath.Join(dir, fileName)
	if !Exists(dir) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoData)
	}
	db, err := open(path, existing)
	if err != nil {
		return nil, err
	}
	var m meta
	var raise *store.Write
	err = guarded(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			if m, err = readMeta(tx); err == nil {
				raise, err = checkFormat(tx)
			}
			return err
		})
	})
	if err == nil {
		err = removeCopies(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	e := &Engine{db: db, newest: m.Revision,
		queue: store.NewQueue(maxBatch, store.GatherTime), closing: make(chan struct{}), news: make(chan struct{})}
	e.raise.Store(raise)
	go e.write(m)
	return e, nil
}

// checkFormat makes sure that this version can work with a database, and returns the write that makes its own format that of the
// database; nil if it is.
func checkFormat(tx *bbolt.Tx) (raise *store.Write, err error) {
	format, revision, id := uint8(1), uint64(0), []byte(store.FormatRef(0).ID)
	if bucket := tx.Bucket([]byte(store.KindFormat)); bucket != nil {
		if sealed := bucket.Get(id); sealed != nil {
			revision, format, _, err = unseal(string(store.KindFormat), id, sealed)
		}
	}
	if err == nil {
		err = store.CheckFormat(store.Format, format)
	}
	if err != nil || format == store.Format {
		return nil, err
	}
	return new(store.WriteFormat(store.Format, revision)), nil
}

// Load implements store.Engine.
func (e *Engine) Load(ctx context.Context, yield func(store.Record) error) (uint64, error) {
	m, err := load(ctx, e.db, yield)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", e.db.Path(), err)
	}
	return m.Revision, nil
}

// Commit implements store.Engine. A transaction that was taken up is waited for: what became of it must be told.
func (e *Engine) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := checkTx(tx); err != nil {
		return 0, err
	}
	if tx.Term != 0 && tx.Term != e.term.Load() {
		return 0, store.ErrDeposed
	}
	revision, err := e.queue.Commit(ctx, tx)
	if errors.Is(err, store.ErrClosed) {
		err = e.refusal()
	}
	return revision, err
}

// refusal is the error of a commit that was never taken up.
func (e *Engine) refusal() error {
	if err := e.ending(); !errors.Is(err, store.ErrClosed) {
		return fmt.Errorf("%w, since a commit failed: %v", store.ErrClosed, err)
	}
	return store.ErrClosed
}

// checkTx refuses what must not get into a batch, where it would fail for all who share the write to the disk.
func checkTx(tx store.Tx) error {
	for _, w := range tx.Writes {
		if w.Kind == metaBucket {
			return fmt.Errorf("there can be no record of kind %q", w.Kind)
		}
	}
	return tx.Check()
}

func (e *Engine) ending() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure != nil {
		return e.failure
	}
	return store.ErrClosed
}

// write is the one that writes: it puts the transactions that wait into one of bbolt's, so that they share the wait for
// the disk. While the disk is busy the next ones gather.
func (e *Engine) write(m meta) {
	defer e.queue.End()
	debug.SetPanicOnFault(true) // a page that cannot be read must not end the program, which answers from memory
	for {
		all := e.queue.Next(nil, maxBatch, e.closing)
		if all == nil {
			return
		}
		commits, results, next, err := e.writeBatch(m, all)
		e.publish(commits, err)
		for i, r := range all {
			r.Answer(results[i].revision, results[i].err)
		}
		if errors.Is(err, zone.ErrUncertain) {
			return
		}
		m = next
	}
}

// result is what became of one transaction.
type result struct {
	revision uint64
	err      error
}

// writeBatch writes transactions. With an error every result has it, and nothing was written unless it is
// zone.ErrUncertain.
func (e *Engine) writeBatch(m meta, all []store.Request) (commits []store.Commit, results []result, next meta, err error) {
	results = make([]result, len(all))
	fail := func(err error) ([]store.Commit, []result, meta, error) {
		for i := range results {
			results[i] = result{err: err}
		}
		return nil, results, m, err
	}
	defer func() {
		if p := recover(); p != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.broken = true
			commits, results, next, err = fail(fmt.Errorf("%w: bbolt: %v", zone.ErrUncertain, p))
		}
	}()
	tx, err := e.db.Begin(true)
	if err != nil {
		return fail(err)
	}
	defer tx.Rollback() // does nothing after a commit
	b := newBatch(tx, m)
	for i, r := range all {
		results[i].revision, results[i].err = b.apply(r.Tx)
		if err := results[i].err; err != nil && !errors.Is(err, zone.ErrRetry) {
			return fail(err)
		}
	}
	if len(b.commits) == 0 {
		return nil, results, m, nil
	}
	if err := b.finish(); err != nil {
		return fail(err)
	}
	if err := tx.Commit(); err != nil {
		return fail(fmt.Errorf("%w: %w", zone.ErrUncertain, err))
	}
	return b.commits, results, b.meta, nil
}

// publish hands commits to the watchers.
func (e *Engine) publish(commits []store.Commit, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(err, zone.ErrUncertain) {
		e.failure = err
	}
	e.tail = append(e.tail, commits...)
	e.newest += uint64(len(commits))
	if len(e.tail) > 2*maxTail { // not each time: it is copied, since watchers have parts of it
		e.tail = append(make([]store.Commit, 0, 3*maxTail), e.tail[len(e.tail)-maxTail:]...)
	}
	close(e.news)
	e.news = make(chan struct{})
}

// Watch implements store.Engine. What was committed before the engine was opened cannot be replayed.
func (e *Engine) Watch(ctx context.Context, after uint64, apply func(store.Commit) error) error {
	for {
		commits, news, err := e.since(after)
		if err != nil {
			return err
		}
		for _, c := range commits {
			if err := apply(c); err != nil {
				return err
			}
			after = c.Revision
		}
		if len(commits) > 0 {
			continue
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		case <-e.queue.Ended():
			if commits, _, err := e.since(after); err != nil || len(commits) == 0 {
				return errors.Join(err, e.ending())
			}
		}
	}
}

// since returns the commits after a revision and a channel that is closed when there are more.
func (e *Engine) since(after uint64) ([]store.Commit, <-chan struct{}, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	oldest := e.newest - uint64(len(e.tail)) + 1 // revision of the first of the tail
	if after+1 < oldest || after > e.newest {
		return nil, nil, fmt.Errorf("after revision %d: %w", after, store.ErrGap)
	}
	return slices.Clip(e.tail[after+1-oldest:]), e.news, nil
}

// Lead implements store.Engine: the lock on the file makes its owner the leader. Terms are counted from the opening of the engine
// on, since nobody else can have one of before. If the format cannot be raised, the older one is written until the next start; what the disk
// refuses then ends the feed, too, which is in the log.
func (e *Engine) Lead(ctx context.Context) (store.Term, error) {
	term := store.Term{Token: e.term.Add(1)}
	if raise := e.raise.Swap(nil); raise != nil {
		_, _ = e.Commit(ctx, store.Tx{Writes: []store.Write{*raise}})
	}
	return term, nil
}

// Close ends the writer and closes the file.
func (e *Engine) Close() error {
	e.mu.Lock()
	first := !e.closed
	e.closed = true
	e.mu.Unlock()
	if first {
		close(e.closing)
	}
	<-e.queue.Ended()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken { // bbolt would wait for a lock that nobody gives back; the end of the process does it
		return nil
	}
	return e.db.Close()
}
