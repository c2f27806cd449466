package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// ErrImage means that a node cannot be started from its image.
var ErrImage = errors.New("this node cannot be started from its image")

// Booted is the engine of a node that was started from its image. It takes no changes until etcd can be reached; then it has the node
// take its seat and load everything, and is as an [Engine].
type Booted struct {
	config   Config
	revision uint64    // the image has at least this
	current  time.Time // the image had everything then
	until    time.Duration
	engine   atomic.Pointer[Engine] // nil: etcd was not reached yet
	loaded   atomic.Bool            // the image is not needed any more
	complete chan struct{}          // closed when loaded
}

// bootPause is between attempts to reach etcd.
const bootPause = time.Second

// OpenImage opens the image of the node that Config names. The errors wrap ErrImage.
func OpenImage(c Config) (*Booted, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s, err := readStanding(c)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrImage, err)
	}
	c.Patience = 0
	now := c.Now()
	return &Booted{config: c, revision: s.Revision, current: now.Add(-now.Sub(s.Current)), // with the monotonic clock
		until: min(s.staleAfter, c.StaleAfter), complete: make(chan struct{})}, nil
}

// readStanding returns an error if the node that Config names may not be started from its image now.
func readStanding(c Config) (s standing, err error) {
	path := currentPath(c)
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("there is none in %s that it may be started from; who stops in good order gives its seat, and that, up", c.Dir)
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if s.staleAfter, err = time.ParseDuration(s.StaleAfter); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	if err := s.check(c); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	switch age := c.Now().Sub(s.Current); {
	case age < 0:
		return s, fmt.Errorf("%s: it is of %s, which is in the future: the clock is wrong, or was", path, s.Current.Format(time.RFC3339))
	case age > min(s.staleAfter, c.StaleAfter):
		return s, fmt.Errorf("%s: it is of %s, longer ago than store.etcd.stale_after: the others may have rolled the keys", path, s.Current.Format(time.RFC3339))
	}
	return s, nil
}

// Heard is [Engine.Heard]. Until everything is loaded what counts is the image.
func (b *Booted) Heard() (ago, left time.Duration) {
	if b.loaded.Load() {
		return b.engine.Load().Heard()
	}
	ago = age(b.config.Now(), b.current)
	return ago, max(0, b.until-ago)
}

// FromImage reports whether what the node answers is from the image.
func (b *Booted) FromImage() bool { return !b.loaded.Load() }

// Join takes no seat: the one that the node had is there, or etcd will be reached first.
func (*Booted) Join(context.Context) error { return nil }

// Load implements store.Engine.
func (b *Booted) Load(ctx context.Context, yield func(store.Record) error) (uint64, error) {
	if e := b.engine.Load(); e != nil {
		return e.Load(ctx, yield)
	}
	im, err := readImage(imagePath(b.config), b.config, 0)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrImage, err)
	}
	if im.revision < b.revision {
		err = fmt.Errorf("%w: %s: it ends at revision %d, and the node had revision %d", ErrImage, im.file.Name(), im.revision, b.revision)
		return 0, errors.Join(err, im.close())
	}
	err = im.visit(func(r store.Record) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := store.CheckRecord(b.config.known(), r.Format); err != nil {
			return fmt.Errorf("%w: record %q of kind %q: %w", ErrImage, r.ID, r.Kind, err)
		}
		return yield(r)
	})
	return im.revision, errors.Join(err, im.close())
}

// Watch implements store.Engine. When etcd is reached the error is ErrGap: what happened meanwhile has to be loaded.
func (b *Booted) Watch(ctx context.Context, after uint64, apply func(store.Commit) error) error {
	if e := b.engine.Load(); e != nil {
		return e.Watch(ctx, after, apply)
	}
	for said := ""; ; {
		e, err := b.enter(ctx)
		if err == nil {
			b.engine.Store(e)
			b.config.Log.Info("etcd can be reached: this node has its seat, and loads everything")
			return fmt.Errorf("this node was started from its image: %w", store.ErrGap)
		}
		if text := err.Error(); text != said && ctx.Err() == nil {
			b.config.Log.Warn("this node goes on with its image", "error", err)
			said = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(bootPause):
		}
	}
}

// enter opens the database and takes the seat.
func (b *Booted) enter(ctx context.Context) (*Engine, error) {
	e, err := Open(ctx, b.config)
	if err != nil {
		return nil, err
	}
	if err := e.Join(ctx); err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Stale is [Engine.Stale]. Until everything is loaded what counts is the image: the others wait for the seat that the node had, and then
// for the one that it has taken.
func (b *Booted) Stale() error {
	if e := b.engine.Load(); e != nil {
		err := e.Stale()
		if err == nil && !b.loaded.Swap(true) {
			close(b.complete)
			b.config.Log.Info("everything was loaded: this node goes on without its image")
		}
		if b.loaded.Load() || errors.Is(err, errTaken) || errors.Is(err, store.ErrFormat) {
			return err
		}
	}
	now := b.config.Now()
	if now.Before(b.current) || age(now, b.current) > b.until {
		return errSilent
	}
	return nil
}

// Behind is [Engine.Behind]. Who has not reached etcd does not lead.
func (b *Booted) Behind() (time.Duration, string) {
	if e := b.engine.Load(); e != nil {
		return e.Behind()
	}
	return 0, ""
}

// Settled is [Engine.Settled].
func (b *Booted) Settled() {
	if e := b.engine.Load(); e != nil {
		e.Settled()
	}
}

// Mismatches is [Engine.Mismatches].
func (b *Booted) Mismatches() uint64 {
	if e := b.engine.Load(); e != nil {
		return e.Mismatches()
	}
	return 0
}

// Kept is [Engine.Kept].
func (b *Booted) Kept() time.Time {
	if e := b.engine.Load(); e != nil {
		return e.Kept()
	}
	return b.current.Round(0)
}

// reached returns the engine, or the error of what needs one.
func (b *Booted) reached() (*Engine, error) {
	if e := b.engine.Load(); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("this node was started from its image, and etcd could not be reached yet: %w", zone.ErrUnavailable)
}

// Newest implements store.Shared.
func (b *Booted) Newest(ctx context.Context) (uint64, error) {
	e, err := b.reached()
	if err != nil {
		return 0, err
	}
	return e.Newest(ctx)
}

// Portion implements store.Portioned.
func (b *Booted) Portion() int { return (*Engine)(nil).Portion() }

// Commit implements store.Engine.
func (b *Booted) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	e, err := b.reached()
	if err != nil {
		return 0, err
	}
	return e.Commit(ctx, tx)
}

// Lead implements store.Engine. Who has not loaded everything does not lead.
func (b *Booted) Lead(ctx context.Context) (store.Term, error) {
	select {
	case <-b.complete:
		return b.engine.Load().Lead(ctx)
	case <-ctx.Done():
		return store.Term{}, ctx.Err()
	}
}

// Backup implements store.Engine.
func (b *Booted) Backup(w io.Writer) error {
	e, err := b.reached()
	if err != nil {
		return err
	}
	return e.Backup(w)
}

// Nodes implements store.Cluster.
func (b *Booted) Nodes(ctx context.Context) ([]store.Node, error) {
	e, err := b.reached()
	if err != nil {
		return nil, err
	}
	return e.Nodes(ctx)
}

// Forget implements store.Cluster.
func (b *Booted) Forget(ctx context.Context, name string) error {
	e, err := b.reached()
	if err != nil {
		return err
	}
	return e.Forget(ctx, name)
}

// Close implements store.Engine. Whoever watches has to have ended.
func (b *Booted) Close() error {
	if e := b.engine.Load(); e != nil {
		return e.Close()
	}
	return nil
}
