package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/store"
)

// keeper keeps the image of this node in Config.Dir. What the node says at its seat that it has is in the image first: the leader relies
// on it, and the node may be started from the image again. An image that cannot be kept up is made useless before the node goes on.
type keeper struct {
	e       *Engine
	path    string        // of the image
	pending chan struct{} // something is to be made durable
	kept    atomic.Uint64 // what was committed up to here is durable, or need not be: unkept

	mu        sync.Mutex   // guards what follows; not held while the disk is waited for
	out       *imageWriter // nil: none
	revision  uint64       // of the last commit that was written to it
	synced    uint64       // of the last one that is durable
	installed bool         // it has its name
	err       error        // why there will be no image until everything is loaded again

	noting    sync.Mutex // held while the file that says when this node was current is being changed
	noted     time.Time  // it was
	withdrawn bool       // and will not be there any more

	seated     atomic.Bool // only who has a seat may be started again
	compacting atomic.Bool
	current    atomic.Pointer[time.Time] // what the file says; nil: there is none
}

// unkept is kept if no image is.
const unkept = math.MaxUint64

const (
	noteEvery  = 30 * time.Second // how often it is written down that the node is current
	keepEvery  = time.Second
	keepGrowth = 16 << 20 // octets of commits in an image, at least, before it is written anew; or a quarter of it
	keepStride = 1 << 20  // octets of an image that is written anew, between two pauses
	keepPause  = 5 * time.Millisecond
)

// standing says when a node was current: everything that had been committed by then is in its image, which has this revision at least.
type standing struct {
	imageHead
	Revision   uint64    `json:"revision"`
	Current    time.Time `json:"current"`
	StaleAfter string    `json:"stale_after"` // for as long the others count on the node

	staleAfter time.Duration // the same
}

func imagePath(c Config) string   { return filepath.Join(c.Dir, "mxseal-"+c.Node+".image") }
func currentPath(c Config) string { return filepath.Join(c.Dir, "mxseal-"+c.Node+".current") }

func (k *keeper) init(e *Engine) {
	k.e, k.pending, k.path = e, make(chan struct{}, 1), imagePath(e.config)
	if e.config.Dir == "" {
		k.kept.Store(unkept)
	}
}

// Kept returns as of when this node could be started from its image; the zero time if it could not.
func (e *Engine) Kept() time.Time {
	if at := e.keeper.current.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// begin begins the image of a load; nil if there is to be none. It is empty until adopt.
func (k *keeper) begin() *imageWriter {
	if k.e.config.Dir == "" || !k.seated.Load() {
		return nil
	}
	if err := os.MkdirAll(k.e.config.Dir, 0o700); err != nil {
		k.fail(err)
		return nil
	}
	w, err := newImage(k.path, k.e.config)
	if err != nil {
		k.fail(err)
		return nil
	}
	return w
}

// adopt makes an image that has all records the one that is kept. It is made durable by and by.
func (k *keeper) adopt(w *imageWriter, revision uint64) {
	w.end(revision)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replace(w)
	k.revision, k.synced, k.err = revision, 0, nil
	k.kept.Store(0)
	k.wake()
}

// replace is called with mu.
func (k *keeper) replace(w *imageWriter) {
	if old := k.out; old != nil {
		if k.installed {
			_ = old.file.Close()
		} else {
			_ = old.discard()
		}
	}
	k.out, k.installed = w, false
}

// add writes a commit that is about to be applied.
func (k *keeper) add(c store.Commit) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.out != nil {
		k.out.commit(c)
		k.revision = c.Revision
	}
}

func (k *keeper) wake() {
	select {
	case k.pending <- struct{}{}:
	default:
	}
}

// fail gives the image up. The node says that it has more only when it cannot be started from it any more.
func (k *keeper) fail(err error) {
	k.mu.Lock()
	k.replace(nil)
	k.err = err
	k.mu.Unlock()
	k.e.config.Log.Error("no image of this node is kept until it loads everything again: it could not be started without etcd", "error", err)
	k.wake()
}

// attend keeps the image.
func (k *keeper) attend() {
	tick := time.NewTicker(keepEvery)
	defer tick.Stop()
	for {
		select {
		case <-k.pending:
		case <-tick.C:
			k.note()
			k.mu.Lock()
			grown := k.out != nil && k.installed && k.out.size-k.out.base > max(keepGrowth, k.out.base/4)
			k.mu.Unlock()
			if grown && k.compacting.CompareAndSwap(false, true) {
				k.e.tasks.Go(k.compact)
			}
		case <-k.e.ctx.Done():
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.out != nil && k.out.flush() == nil && k.installed {
				_ = k.out.file.Sync() // what is not told yet need not be there
			}
			k.replace(nil)
			return
		}
		k.sync()
		select {
		case <-time.After(tellPause):
		case <-k.e.ctx.Done():
		}
	}
}

// clean removes what a process before this one did not complete.
func (k *keeper) clean() {
	for _, of := range []string{k.path, currentPath(k.e.config)} {
		left, _ := filepath.Glob(of + "-*" + temporary)
		for _, name := range left {
			_ = os.Remove(name)
		}
	}
}

// sync makes durable what was written, and has the seat tell.
func (k *keeper) sync() {
	k.mu.Lock()
	w, revision, installed, failed := k.out, k.revision, k.installed, k.err
	if w == nil || revision == k.synced && installed {
		k.mu.Unlock()
		if failed != nil {
			k.abandon()
		}
		return
	}
	err := w.flush()
	k.mu.Unlock()
	if err == nil {
		err = w.file.Sync()
	}
	k.mu.Lock()
	if k.out != w {
		k.mu.Unlock()
		k.wake() // another one has come meanwhile
		return
	}
	if err == nil && !installed {
		if err = os.Rename(w.file.Name(), k.path); err == nil {
			k.installed = true
			err = syncDir(k.e.config.Dir)
		}
	}
	if err == nil {
		k.synced = revision
		k.kept.Store(revision)
	}
	k.mu.Unlock()
	if err != nil {
		k.fail(err)
		return
	}
	k.e.seat.wake()
}

// abandon lets the seat tell everything, when this node can no longer be started from what is there.
func (k *keeper) abandon() {
	if k.kept.Load() == unkept {
		return
	}
	k.noting.Lock()
	err := k.remove()
	k.noting.Unlock()
	if err != nil {
		if _, refused := readStanding(k.e.config); refused == nil {
			return
		}
	}
	k.mu.Lock()
	if k.err != nil {
		k.kept.Store(unkept)
	}
	k.mu.Unlock()
	k.e.seat.wake()
}

// remove takes the permission to start from the image away.
func (k *keeper) remove() error {
	k.current.Store(nil)
	name := currentPath(k.e.config)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil // also where nothing can be removed
	}
	if err := os.Remove(name); err != nil {
		return err
	}
	return syncDir(k.e.config.Dir)
}

// withdraw is remove for good: the seat is given back, or is somebody else's.
func (k *keeper) withdraw() error {
	if k.e.config.Dir == "" {
		return nil
	}
	k.noting.Lock()
	defer k.noting.Unlock()
	k.withdrawn = true
	return k.remove()
}

// distrust has this node not start from its image until it has written down again that it is current.
func (k *keeper) distrust() {
	k.noting.Lock()
	defer k.noting.Unlock()
	if k.e.config.Dir == "" {
		return
	}
	if err := k.remove(); err != nil {
		k.e.config.Log.Error("this node may be started from an image that is wrong", "error", err)
	}
}

// note writes down when this node was current, if it was. What had been committed by then was applied, so it is in the image by now.
func (k *keeper) note() {
	at, now := k.e.seat.current.Load(), k.e.config.Now()
	if at == nil || now.Sub(k.noted) < min(noteEvery, k.e.config.StaleAfter/8) || k.e.Stale() != nil {
		return
	}
	k.sync()
	k.mu.Lock()
	revision, whole := k.synced, k.out != nil && k.installed && k.synced != 0
	k.mu.Unlock()
	k.noting.Lock()
	defer k.noting.Unlock()
	if !whole || k.withdrawn || k.e.seat.suspect() {
		return
	}
	text, err := json.Marshal(standing{imageHead: imageHead{imageFormat, k.e.config.Prefix, k.e.config.Node}, Revision: revision, Current: at.UTC(),
		StaleAfter: k.e.config.StaleAfter.String()})
	if err == nil {
		err = writeFile(currentPath(k.e.config), text)
	}
	if err != nil {
		k.e.config.Log.Error("it could not be written down that this node is current", "error", err)
	}
	k.noted = now
	if err == nil {
		k.current.Store(at)
	}
}

// compact writes the image anew, with the commits where they belong, while more of them come.
func (k *keeper) compact() {
	defer k.compacting.Store(false)
	k.mu.Lock()
	w := k.out
	if w == nil || !k.installed || w.flush() != nil {
		k.mu.Unlock()
		return
	}
	size, begun := w.size, k.e.config.Now()
	k.mu.Unlock()
	next, err := k.rewrite(w, size)
	if err == nil {
		k.e.config.Log.Info("the image of this node was written anew", "octets", next.base, "took", k.e.config.Now().Sub(begun))
		return
	}
	if next != nil {
		_ = next.discard()
	}
	if k.e.ctx.Err() != nil || errors.Is(err, errOvertaken) {
		return
	}
	k.e.config.Log.Warn("the image of this node could not be written anew; it grows", "error", err)
	select {
	case <-time.After(time.Minute):
	case <-k.e.ctx.Done():
	}
}

// errOvertaken means that everything was loaded again meanwhile.
var errOvertaken = errors.New("there is another image")

func (k *keeper) rewrite(w *imageWriter, size int64) (next *imageWriter, err error) {
	im, err := readImage(k.path, k.e.config, size)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, im.close()) }()
	if next, err = newImage(k.path, k.e.config); err != nil {
		return nil, err
	}
	paused := int64(0)
	err = im.visit(func(r store.Record) error {
		next.record(r)
		if next.size-paused < keepStride {
			return next.err
		}
		paused = next.size
		return errors.Join(next.err, k.rest())
	})
	if err != nil {
		return next, err
	}
	next.end(im.revision)
	if err := errors.Join(next.flush(), next.file.Sync()); err != nil {
		return next, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.out != w {
		return next, errOvertaken
	}
	if err := w.flush(); err != nil {
		return next, err
	}
	im.extend(size, w.size)
	if err := im.commits(next.commit); err != nil {
		return next, err
	}
	if im.revision != k.revision || next.err != nil {
		return next, fmt.Errorf("at revision %d, not %d: %w", im.revision, k.revision, errors.Join(errDamaged, next.err))
	}
	k.replace(next)
	k.wake()
	return next, nil
}

// rest leaves the processor and the disk to others for a moment.
func (k *keeper) rest() error {
	select {
	case <-time.After(keepPause):
		return nil
	case <-k.e.ctx.Done():
		return context.Cause(k.e.ctx)
	}
}
