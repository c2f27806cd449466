package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// maxPlans bounds how often one update is planned. Each time another commit has changed what it relied on.
const maxPlans = 32

// retryPatience is how long a plan that was overtaken waits for the state that has overtaken it.
const retryPatience = 10 * time.Millisecond

// Options are what a Store needs besides its engine. All are needed.
type Options struct {
	// Open unseals the keys of a zone and makes its key set; the chain may be nil. See keymgmt.Vault.
	Open    func(z *zone.Zone, records []*keymgmt.KeyRecord, chain *keymgmt.Chain) (*keymgmt.KeySet, error)
	Log     *slog.Logger
	Metrics *Metrics
}

// Store is the state of a node and the way to change it. Safe for concurrent use.
type Store struct {
	o      Options
	engine Engine
	state  atomic.Pointer[State] // replaced by the feed alone
	epochs *epoch.Table
	stop   context.CancelFunc
	done   chan struct{} // closed when the feed has ended
	turn   chan struct{} // holds one entry while an update makes its plan again

	feed   sync.Mutex // held while the state is made and published
	writer *writer    // guarded by feed

	mu      sync.Mutex    // guards what follows
	arrived chan struct{} // closed and replaced at every new state
	served  uint64        // its revision, when no answer of the state before is current any more
	err     error         // why the feed has ended
}

// Start loads everything from an engine, opens the keys of every zone and follows the feed from there. The store owns the
// engine from then on; if Start fails, the caller still does.
func Start(ctx context.Context, e Engine, o Options) (*Store, error) {
	s := &Store{o: o, engine: e, epochs: epoch.New(), done: make(chan struct{}), turn: make(chan struct{}, 1), arrived: make(chan struct{})}
	w, err := s.load(ctx, strict)
	if err != nil {
		return nil, err
	}
	s.writer = w
	s.state.Store(w.last)
	s.served = w.last.revision
	o.Metrics.revision.Set(float64(w.last.revision))
	o.Metrics.writable.Set(1)
	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	go s.follow(ctx)
	return s, nil
}

// load reads everything.
func (s *Store) load(ctx context.Context, how strictness) (*writer, error) {
	l := newLoader(s.o, how)
	revision, err := s.engine.Load(ctx, l.add)
	if err != nil {
		l.stop()
		return nil, fmt.Errorf("load: %w", err)
	}
	return l.finish(revision)
}

// State returns the newest state.
func (s *Store) State() *State { return s.state.Load() }

// Mark returns the present epochs of a label in a zone, or of the zone itself if the label is empty. Take it before
// the State.
func (s *Store) Mark(apex zone.Name, label string) epoch.Mark { return s.epochs.Mark(apex, label) }

// ForgetAnswers makes every mark that was taken until now a past one, though nothing has changed.
func (s *Store) ForgetAnswers() {
	var zones []zone.Name
	for _, z := range s.State().sorted {
		zones = append(zones, z.Name)
	}
	s.epochs.Raise(zones, nil)
}

// Done is closed when the store hears of no more commits; Err then says why, and is nil after Close.
func (s *Store) Done() <-chan struct{} { return s.done }

// Err returns why the feed has ended.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// follow makes what the feed brings the state.
func (s *Store) follow(ctx context.Context) {
	defer close(s.done)
	err := s.watch(ctx)
	for pause := time.Duration(0); errors.Is(err, ErrGap) && ctx.Err() == nil; {
		s.o.Log.Warn("the feed has a gap; everything is loaded again", "revision", s.State().Revision(), "in", pause, "error", err)
		if err = s.reload(ctx, pause); err != nil {
			break
		}
		calm := time.After(maxReloadPause)
		err = s.watch(ctx)
		select {
		case <-calm:
			pause = 0
		default:
			pause = longer(pause)
		}
	}
	if errors.Is(err, context.Canceled) {
		return
	}
	s.o.Metrics.writable.Set(0)
	s.o.Log.Error("the engine has failed: no changes until a restart; answers go on from the last state", "revision", s.State().Revision(), "error", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// watch applies commits until there are none any more.
func (s *Store) watch(ctx context.Context) error {
	return s.engine.Watch(ctx, s.State().Revision(), func(c Commit) error {
		s.feed.Lock()
		defer s.feed.Unlock()
		state, zones, hosts, err := s.writer.apply(c)
		if err != nil {
			return fmt.Errorf("apply revision %d: %w", c.Revision, err)
		}
		s.publish(state, zones, hosts)
		return nil
	})
}

// publish makes a state the newest one.
func (s *Store) publish(state *State, zones []zone.Name, hosts []*zone.Host) {
	s.state.Store(state) // before the epochs: see there
	s.epochs.Raise(zones, hosts)
	s.o.Metrics.revision.Set(float64(state.revision))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served = state.revision
	close(s.arrived)
	s.arrived = make(chan struct{})
}

// The pauses between attempts to load again, and before it is done once more soon after it was.
const (
	reloadPause    = time.Second
	maxReloadPause = time.Minute
)

func longer(pause time.Duration) time.Duration { return min(max(2*pause, reloadPause), maxReloadPause) }

// reload replaces the state by what the engine has, after a pause and as soon as it has an answer. Until then answers go on from the last one.
func (s *Store) reload(ctx context.Context, pause time.Duration) error {
	s.o.Metrics.reloads.Inc()
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		w, err := s.load(ctx, tolerant)
		if err == nil {
			s.replace(w)
			return nil
		}
		s.o.Log.Warn("the state cannot be loaded again yet", "error", err)
		pause = longer(pause)
	}
}

// replace makes a state that was loaded the newest one, even if its revision is not.
func (s *Store) replace(w *writer) {
	s.feed.Lock()
	defer s.feed.Unlock()
	var zones []zone.Name
	for _, state := range []*State{s.State(), w.last} {
		for _, z := range state.sorted {
			zones = append(zones, z.Name)
		}
	}
	s.writer = w
	s.publish(w.last, zones, nil)
}

// OpenKeys opens the key sets of zones that could not be opened when they came: there may be other key-encryption keys now.
func (s *Store) OpenKeys() {
	s.feed.Lock()
	defer s.feed.Unlock()
	if state, zones := s.writer.openMissing(); len(zones) > 0 {
		s.publish(state, zones, nil)
	}
}

// Update runs plan on the newest state and commits what it returns. When it returns without error, the commit is durable
// and State has it. If what the plan relied on has changed meanwhile, the plan is made again; in the end the error is
// zone.ErrRetry. Errors of plan are returned as they are. Empty changes are not committed. Where nothing is committed, the plan has
// nevertheless seen all that was acknowledged before, by any node: who is told that a tenant is revoked already can rely on it. A plan
// must not wait for another update.
func (s *Store) Update(ctx context.Context, plan func(*State) (zone.Changes, error)) (revision uint64, err error) {
	return s.UpdateInTerm(ctx, 0, plan)
}

// UpdateInTerm is Update that commits nothing once the term of a leader is over: the error is ErrDeposed then.
func (s *Store) UpdateInTerm(ctx context.Context, term uint64, plan func(*State) (zone.Changes, error)) (revision uint64, err error) {
	var mine, current bool
	defer func() {
		if mine {
			<-s.turn
		}
	}()
	for range maxPlans {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		state := s.State()
		changes, err := plan(state)
		if err != nil || changes.IsEmpty() {
			if !current && term == 0 { // who leads looks again soon
				newest, unknown := s.newest(ctx)
				if unknown != nil {
					return 0, cmp.Or(invalid(err), unknown)
				}
				if current = true; state.Revision() < newest {
					continue
				}
			}
			if err != nil {
				return 0, err
			}
			return state.Revision(), s.reach(state.Revision())
		}
		revision, err := s.commit(ctx, state, changes, term)
		if !errors.Is(err, zone.ErrRetry) {
			return revision, err
		}
		s.o.Metrics.retries.Inc()
		if !mine {
			if err := s.takeTurn(ctx); err != nil {
				return 0, err
			}
			mine = true
		}
		if err := s.newerThan(ctx, state); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("planned %d times: %w", maxPlans, zone.ErrRetry)
}

// invalid returns the error of a plan if it does not depend on what the plan has seen.
func invalid(err error) error {
	if errors.Is(err, zone.ErrInvalid) {
		return err
	}
	return nil
}

// newest waits until the state has all that was acknowledged, by any node, before the call, and returns a revision up to there.
func (s *Store) newest(ctx context.Context) (uint64, error) {
	shared, is := s.engine.(Shared)
	if !is {
		return 0, nil // what was acknowledged is in the state
	}
	revision, err := shared.Newest(ctx)
	if err != nil {
		return 0, err
	}
	if err := s.reach(revision); err != nil {
		return 0, fmt.Errorf("%w: %v", zone.ErrUnavailable, err)
	}
	return revision, nil
}

// takeTurn waits until no other update makes its plan again; who has the turn gives it back with a receive. Of the plans
// that change one row and meet in one write to the disk only one can win. Without turns all others would meet again, and
// the last ones give up, on a slow disk more than on a fast one.
func (s *Store) takeTurn(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-s.done:
		return s.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ended is the error of an update that the feed will not bring.
func (s *Store) ended() error {
	return fmt.Errorf("the feed has ended: %w", errors.Join(s.Err(), ErrClosed))
}

// newerThan waits for the state that has what a plan did not know of. It is most often on its way; a little later the plan
// is made again all the same, so that no mistake in a plan makes its caller wait for ever.
func (s *Store) newerThan(ctx context.Context, old *State) error {
	s.mu.Lock()
	arrived := s.arrived
	s.mu.Unlock()
	if s.State() != old {
		return nil
	}
	patience := time.NewTimer(retryPatience)
	defer patience.Stop()
	select {
	case <-arrived:
	case <-patience.C:
	case <-s.done:
		return s.ended()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// commit does what can fail, then the durable write, then waits for it to come back.
func (s *Store) commit(ctx context.Context, state *State, changes zone.Changes, term uint64) (uint64, error) {
	tx, err := Encode(changes, state.format)
	if err != nil {
		return 0, err
	}
	if err := checkKeys(state, changes, s.o.Open); err != nil {
		return 0, err
	}
	select {
	case <-s.done: // what is written now nobody here would hear of
		return 0, s.ended()
	default:
	}
	tx.Term = term
	revision, err := s.engine.Commit(ctx, tx)
	if err != nil {
		if !errors.Is(err, zone.ErrRetry) {
			s.o.Metrics.failures.Inc()
		}
		return 0, err
	}
	s.o.Metrics.commits.Inc()
	return revision, s.reach(revision)
}

// reachPatience is how long a commit that is durable is waited for until it is served.
const reachPatience = 16 * time.Second

// reach waits until a revision that is durable is served, also by who remembers answers. It does not give up when the client goes away: the
// answer would be wrong.
func (s *Store) reach(revision uint64) error {
	late := time.NewTimer(reachPatience)
	defer late.Stop()
	for {
		s.mu.Lock()
		arrived, served := s.arrived, s.served
		s.mu.Unlock()
		if served >= revision {
			return nil
		}
		select {
		case <-arrived:
		case <-s.done:
			if s.State().Revision() >= revision { // nothing is published any more
				return nil
			}
			return fmt.Errorf("revision %d is durable, but this node stops before it answers from it", revision)
		case <-late.C:
			return fmt.Errorf("%w: revision %d is durable, but this node does not answer from it yet", zone.ErrUncertain, revision)
		}
	}
}

// Portion returns how many rows an update should change, if the caller has the choice.
func (s *Store) Portion() int {
	if p, is := s.engine.(Portioned); is {
		return p.Portion()
	}
	return math.MaxInt
}

// Backup writes a copy of the newest state, in the form of the engine.
func (s *Store) Backup(w io.Writer) error { return s.engine.Backup(w) }

// Close ends the feed and closes the engine.
func (s *Store) Close() error {
	s.stop()
	<-s.done
	return s.engine.Close()
}
