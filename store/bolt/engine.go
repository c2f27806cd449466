package bolt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

const (
	maxBatch = 512  // transactions that share one write to the disk
	maxTail  = 1024 // commits that a watcher may be behind
)

// Engine implements [store.Engine].
type Engine struct {
	db       *bbolt.DB
	requests chan request
	closing  chan struct{}
	ended    chan struct{} // closed when the writer has ended

	mu      sync.Mutex // guards what follows
	newest  uint64     // revision
	tail    []store.Commit
	news    chan struct{} // closed and replaced at every change of tail
	failure error         // why there will be no more commits
	broken  bool          // bbolt has panicked in a write and may hold its own locks
	closed  bool
}

type request struct {
	tx    store.Tx
	reply chan<- reply
}

type reply struct {
	revision uint64
	err      error
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
	err = guarded(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) { m, err = readMeta(tx); return err })
	})
	if err == nil {
		err = removeCopies(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), db.Close())
	}
	e := &Engine{db: db, newest: m.Revision,
		requests: make(chan request, maxBatch), closing: make(chan struct{}), ended: make(chan struct{}), news: make(chan struct{})}
	go e.write(m)
	return e, nil
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
	answer := make(chan reply, 1)
	select {
	case e.requests <- request{tx, answer}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-e.ended:
		return 0, e.refusal()
	}
	select {
	case r := <-answer:
		return r.revision, r.err
	case <-e.ended:
		select { // it may have been answered before the end
		case r := <-answer:
			return r.revision, r.err
		default:
			return 0, e.refusal()
		}
	}
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
	defer close(e.ended)
	debug.SetPanicOnFault(true) // a page that cannot be read must not end the program, which answers from memory
	for {
		var all []request
		select {
		case r := <-e.requests:
			all = append(all, r)
		case <-e.closing:
			return
		}
		for len(all) < maxBatch {
			select {
			case r := <-e.requests:
				all = append(all, r)
				continue
			default:
			}
			break
		}
		commits, replies, next, err := e.writeBatch(m, all)
		e.publish(commits, err)
		for i, r := range all {
			r.reply <- replies[i]
		}
		if errors.Is(err, store.ErrUnknown) {
			return
		}
		m = next
	}
}

// writeBatch writes transactions. With an error every reply has it, and nothing was written unless it is
// store.ErrUnknown.
func (e *Engine) writeBatch(m meta, all []request) (commits []store.Commit, replies []reply, next meta, err error) {
	replies = make([]reply, len(all))
	fail := func(err error) ([]store.Commit, []reply, meta, error) {
		for i := range replies {
			replies[i] = reply{err: err}
		}
		return nil, replies, m, err
	}
	defer func() {
		if p := recover(); p != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.broken = true
			commits, replies, next, err = fail(fmt.Errorf("%w: bbolt: %v", store.ErrUnknown, p))
		}
	}()
	tx, err := e.db.Begin(true)
	if err != nil {
		return fail(err)
	}
	defer tx.Rollback() // does nothing after a commit
	b := newBatch(tx, m)
	for i, r := range all {
		commit, err := b.apply(r.tx)
		switch {
		case errors.Is(err, zone.ErrRetry):
			replies[i].err = err
		case err != nil:
			return fail(err)
		default:
			replies[i].revision = commit.Revision
			commits = append(commits, commit)
		}
	}
	if len(commits) == 0 {
		return nil, replies, m, nil
	}
	if err := b.finish(); err != nil {
		return fail(err)
	}
	if err := tx.Commit(); err != nil {
		return fail(fmt.Errorf("%w: %w", store.ErrUnknown, err))
	}
	return commits, replies, b.meta, nil
}

// publish hands commits to the watchers.
func (e *Engine) publish(commits []store.Commit, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(err, store.ErrUnknown) {
		e.failure = err
	}
	e.tail = append(e.tail, commits...)
	e.newest += uint64(len(commits))
	if extra := len(e.tail) - maxTail; extra > 0 {
		e.tail = append([]store.Commit(nil), e.tail[extra:]...)
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
		case <-e.ended:
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

// Lead implements store.Engine: the lock on the file makes its owner the leader. The token is the revision of an empty
// commit, so that two terms have different ones even if nothing was written in between.
func (e *Engine) Lead(ctx context.Context) (uint64, error) { return e.Commit(ctx, store.Tx{}) }

// Backup implements store.Engine: the copy is a database file. It is first made beside the database, because a
// transaction of bbolt that waits for a slow reader makes all writers wait, and checked, because a backup that cannot be
// restored is none. With any of these errors nothing was sent.
func (e *Engine) Backup(w io.Writer) (err error) {
	f, err := os.CreateTemp(filepath.Dir(e.db.Path()), fileName+copySuffix+"*") // of mode 0600
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := e.copyTo(f); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	// From here on only we have the copy: whatever ends us, it goes.
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("send the backup: %w", err)
	}
	return nil
}

// copyTo makes a copy of the database and checks it. It leaves the disk room for commits: one that fails for want of it
// would be the last.
func (e *Engine) copyTo(f *os.File) error {
	err := guarded(func() error {
		return e.db.View(func(tx *bbolt.Tx) error {
			if err := checkRoom(f, tx.Size()+diskReserve); err != nil {
				return err
			}
			_, err := tx.WriteTo(f)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", e.db.Path(), err)
	}
	if _, err := check(f.Name()); err != nil {
		return fmt.Errorf("back up: the copy: %w", err)
	}
	return nil
}

// diskReserve is the room that a backup leaves on the disk, in octets.
const diskReserve = 64 << 20

func checkRoom(f *os.File, need int64) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < need {
		return fmt.Errorf("the data directory has %d octets of free space; a backup needs %d", free, need)
	}
	return nil
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
	<-e.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.broken { // bbolt would wait for a lock that nobody gives back; the end of the process does it
		return nil
	}
	return e.db.Close()
}

// batch applies transactions within one of bbolt's.
type batch struct {
	tx   *bbolt.Tx
	meta meta
}

func newBatch(tx *bbolt.Tx, m meta) *batch {
	b := &batch{tx: tx, meta: m}
	b.meta.Counts = map[zone.Kind]int{}
	for kind, n := range m.Counts {
		b.meta.Counts[kind] = n
	}
	return b
}

// revision returns that of a record, 0 if there is none.
func (b *batch) revision(kind zone.Kind, id string) (uint64, error) {
	bucket := b.tx.Bucket([]byte(kind))
	if bucket == nil {
		return 0, nil
	}
	sealed := bucket.Get([]byte(id))
	if sealed == nil {
		return 0, nil
	}
	revision, _, err := unseal(string(kind), id, sealed)
	if err != nil {
		return 0, fmt.Errorf("%w: record %q in bucket %q: %w", ErrCorrupt, id, kind, err)
	}
	return revision, nil
}

// apply checks the preconditions of a transaction, then writes it. After any error but zone.ErrRetry the batch is not to
// be committed.
func (b *batch) apply(tx store.Tx) (store.Commit, error) {
	for _, w := range tx.Writes {
		if err := b.expect(zone.Ref{Kind: w.Kind, ID: w.ID, Revision: w.Expect}); err != nil {
			return store.Commit{}, err
		}
	}
	for _, ref := range tx.Requires {
		if err := b.expect(ref); err != nil {
			return store.Commit{}, err
		}
	}
	b.meta.Revision++
	for _, w := range tx.Writes {
		if err := b.put(w); err != nil {
			return store.Commit{}, fmt.Errorf("write %q to bucket %q: %w", w.ID, w.Kind, err)
		}
	}
	return store.Commit{Revision: b.meta.Revision, Writes: tx.Writes}, nil
}

func (b *batch) expect(ref zone.Ref) error {
	have, err := b.revision(ref.Kind, ref.ID)
	if err != nil {
		return err
	}
	if have != ref.Revision {
		return fmt.Errorf("%w: %s %s has revision %d, not %d", zone.ErrRetry, ref.Kind, ref.ID, have, ref.Revision)
	}
	return nil
}

func (b *batch) put(w store.Write) error {
	bucket, err := b.tx.CreateBucketIfNotExists([]byte(w.Kind))
	if err != nil {
		return err
	}
	switch {
	case w.Value == nil:
		b.meta.Counts[w.Kind]--
		return bucket.Delete([]byte(w.ID))
	case w.Expect == 0:
		b.meta.Counts[w.Kind]++
	}
	return bucket.Put([]byte(w.ID), seal(string(w.Kind), w.ID, b.meta.Revision, w.Value))
}

// finish writes the meta record.
func (b *batch) finish() error {
	value, err := json.Marshal(b.meta)
	if err != nil {
		return err
	}
	bucket, err := b.tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	return bucket.Put([]byte(metaKey), seal(metaBucket, metaKey, b.meta.Revision, value))
}
