package keymgmt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// View is what the manager reads.
type View interface {
	zone.View
	// Keys returns the keys of a zone.
	Keys(apex zone.Name) []*KeyRecord
	// Chain returns the chain of a zone, nil if there is none.
	Chain(apex zone.Name) *Chain
	// Tokens visits all tokens, until yield returns false.
	Tokens(yield func(*Token) bool)
}

// Store is where the manager reads and writes. Update is that of the store: the plan is made again if what it relied on
// has changed, and what it returned is durable and served when Update returns nil.
type Store interface {
	View() View
	Update(ctx context.Context, plan func(View) (zone.Changes, error)) error
}

// Options are what a Manager needs. All are needed, but for Parents and Nodes.
type Options struct {
	Store   Store
	Vault   *Vault
	Clock   Clock
	Parents Parents // asks the parents' servers; nil if nobody does
	Nodes   Nodes   // nil where there is one
	Log     *slog.Logger
	Metrics *Metrics
}

// Manager carries out the steps of all rollovers: it is the only writer of chains, and of keys once a zone exists. Each
// step is durable before it is served, and is planned anew from what is durable: there is nothing to resume.
type Manager struct {
	o       Options
	planner planner
	watch   *watch
	poke    chan struct{}

	mu      sync.Mutex // one step at a time; guards what follows
	holding error      // why no step is made
	// When waiting times began to stand still, by the present clock; zero while they go on.
	stoodStill time.Time
	delay      time.Duration         // for how long nodes may be behind
	moves      map[zone.Name][]*move // of noted times, that are still to be written
	parents    map[zone.Name]*sightings
	failing    map[zone.Name]error
	known      map[zone.Name]bool // the zones at the last tick
	// Keys in the token whose step could not be written: the next attempt takes them, so that they do not fill it.
	unused map[zone.Name][]*KeyRecord
}

// NewManager makes a Manager; Run sets it going.
func NewManager(o Options) *Manager {
	return &Manager{
		o: o, planner: newPlanner(), watch: &watch{tolerance: stepTolerance}, poke: make(chan struct{}, 1),
		delay: mostBehind, moves: map[zone.Name][]*move{}, parents: map[zone.Name]*sightings{}, failing: map[zone.Name]error{}, unused: map[zone.Name][]*KeyRecord{},
	}
}

// idle is the longest time without a look at the state: what a zone's policy says may have changed.
const idle = time.Minute

// never is the pause when nothing will be due.
const never = time.Duration(math.MaxInt64)

// Run makes steps as they are due, whether or not anybody asks questions, until ctx is done.
func (m *Manager) Run(ctx context.Context) error {
	m.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-m.poke:
		}
		timer.Reset(min(m.Tick(ctx), idle))
	}
}

// begin forgets what another leader may have changed since: times were noted by another clock, and nodes have been heard.
func (m *Manager) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watch.seen, m.stoodStill, m.delay = false, time.Time{}, mostBehind
	clear(m.moves)
}

// Wake makes Run look at once: a policy has changed.
func (m *Manager) Wake() {
	select {
	case m.poke <- struct{}{}:
	default: // it is about to look anyway
	}
}

// Tick makes all steps of all zones that are due, and returns how long nothing more will be.
func (m *Manager) Tick(ctx context.Context) time.Duration {
	m.lookAtParents(ctx, m.o.Clock.Read().Wall)
	return m.CatchUp(ctx)
}

// CatchUp is Tick without asking anybody: a server that starts does not wait for the servers of a parent.
func (m *Manager) CatchUp(ctx context.Context) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.o.Clock.Read()
	m.judge(ctx, r)
	pause := never
	if !m.stoodStill.IsZero() {
		pause = lookAgain
	}
	if err := m.reseal(ctx); err != nil {
		m.fail(ctx, zone.Root, err)
		pause = retryAfter
	} else {
		delete(m.failing, zone.Root)
	}
	known := map[zone.Name]bool{}
	for z := range m.o.Store.View().Zones {
		known[z.Name] = true
		pause = min(pause, m.tickZone(ctx, z, r.Wall))
	}
	for apex := range m.known {
		if !known[apex] {
			delete(m.parents, apex)
			delete(m.failing, apex)
			m.destroyUnused(apex)
			m.o.Metrics.forget(apex)
		}
	}
	m.known = known
	return max(pause, shortest)
}

// judge decides whether steps may be made now.
func (m *Manager) judge(ctx context.Context, r Reading) {
	before := m.holding
	m.holding = nil
	m.judgeClock(r)
	m.judgeNodes(r)
	if err := m.writeMoves(ctx); err != nil {
		m.hold(fmt.Errorf("times that were noted could not be moved: %w", err))
	}
	m.settle()
	m.tellHolding(before)
}

// lookAgain is the pause while nodes have to be waited for.
const lookAgain = time.Second

// shortest keeps a mistake from turning into a busy loop.
const shortest = 100 * time.Millisecond

// maxSteps bounds the steps of one zone in one tick; the longest way from any state to any goal has far fewer.
const maxSteps = 32

func (m *Manager) tickZone(ctx context.Context, z *zone.Zone, now time.Time) time.Duration {
	pause := never
	seen := m.parents[z.Name]
	sighting := seen.take(m.o.Store.View().Keys(z.Name))
	var p *plan
	var failed failures
	var failure error
	for range maxSteps {
		var step *Step
		var err error
		step, p, err = m.advance(ctx, z.Name, sighting, failed)
		if err != nil {
			failure = also(failure, err)
		}
		if step == nil || err != nil && ctx.Err() != nil {
			break
		}
		if err != nil { // what can do without it goes on; above all, the key sets have to be signed again
			failed = failed.with(step)
			continue
		}
		m.o.Log.Info("keys", "zone", z.Name, "step", step.Kind, "why", step.Why)
		m.destroy(step, p)
		m.o.Metrics.steps.Inc()
	}
	if failure != nil {
		m.fail(ctx, z.Name, failure)
		pause = retryAfter
	} else {
		delete(m.failing, z.Name)
	}
	m.o.Metrics.report(z.Name, p)
	if p != nil && !p.wake.IsZero() {
		pause = min(pause, p.wake.Sub(now))
	}
	if seen != nil && p != nil {
		pause = min(pause, seen.next(z, p.in.Chain).Sub(now))
	}
	return pause
}

// also adds an error to those of before, unless it says the same.
func also(before, err error) error {
	switch {
	case before == nil:
		return err
	case strings.Contains(before.Error(), err.Error()):
		return before
	}
	return fmt.Errorf("%w; %w", before, err)
}

// destroy removes keys from the token that have left the trash.
func (m *Manager) destroy(step *Step, p *plan) {
	var keys []*KeyRecord
	for _, id := range step.Purge {
		keys = append(keys, p.find(id))
	}
	m.o.Vault.DestroyAll(keys, m.o.Log)
}

// destroyUnused removes the keys of a zone that is gone that never became its own.
func (m *Manager) destroyUnused(apex zone.Name) {
	m.o.Vault.DestroyAll(m.unused[apex], m.o.Log)
	delete(m.unused, apex)
}

// reseal brings keys and tokens under the present key-encryption key.
func (m *Manager) reseal(ctx context.Context) error {
	sealed := 0
	err := m.o.Store.Update(ctx, func(v View) (zone.Changes, error) {
		rows, err := resealed(v, m.o.Vault)
		sealed = len(rows)
		return zone.Changes{Puts: rows}, err
	})
	if err == nil && sealed > 0 {
		m.o.Metrics.resealed.Add(float64(sealed))
		m.o.Log.Info("everything is sealed under the present key-encryption key", "kek", m.o.Vault.KEK(), "rows", sealed)
	}
	return err
}

// resealed returns the rows that a vault has to seal anew. The error is about one that it cannot open.
func resealed(view View, vault *Vault) ([]zone.Row, error) {
	var keys []*KeyRecord
	var tokens []*Token
	for z := range view.Zones {
		keys = append(keys, view.Keys(z.Name)...)
	}
	for t := range view.Tokens {
		tokens = append(tokens, t)
	}
	return vault.Reseal(keys, tokens)
}

// ReloadKEKs replaces the key-encryption keys of the vault, or leaves it as it is: also when the new ones cannot open everything
// that the earlier ones have sealed.
func (m *Manager) ReloadKEKs(s Sources) error {
	next, err := OpenVault(s)
	if err != nil {
		return err
	}
	if _, err := resealed(m.o.Store.View(), next); err != nil {
		return fmt.Errorf("%w; the key that has sealed it must be in keys.earlier_keks", err)
	}
	m.o.Vault.sealers.Store(next.sealers.Load()) // those that were tried: the sources may say something else by now
	m.Wake()
	return nil
}

// retryAfter is the pause after a failure that was not ours, of a disk or of a token.
const retryAfter = 5 * time.Second

func (m *Manager) fail(ctx context.Context, apex zone.Name, err error) {
	if ctx.Err() != nil {
		return // we are being stopped
	}
	if before := m.failing[apex]; before == nil || before.Error() != err.Error() {
		m.o.Log.Error("a step of the keys has failed; it will be tried again", "zone", apex, "error", err)
	}
	m.failing[apex] = err
	m.o.Metrics.failures.Inc()
}

// advance makes the next step of a zone if one is due. Nothing is done while the clock is not to be trusted but what
// needs no clock to be safe: to sign the key sets again.
func (m *Manager) advance(ctx context.Context, apex zone.Name, sighting Sighting, failed failures) (step *Step, p *plan, err error) {
	err = m.o.Store.Update(ctx, func(v View) (zone.Changes, error) {
		step, p = nil, nil
		in, ok := m.input(v, apex, sighting)
		if !ok {
			return zone.Changes{}, nil
		}
		// Read anew for each step: what it replaces is served until now, not until the tick began.
		now, err := m.now()
		if err != nil || len(m.moves[apex]) > 0 {
			return zone.Changes{}, err
		}
		p = m.planner.on(in, now)
		p.doubt = errors.Is(m.holding, errUnsynchronised)
		p.failed = failed
		step = p.next()
		if step == nil {
			return zone.Changes{}, nil
		}
		if m.holding != nil && step.Kind != StepAdopt {
			if step = p.resign(); step == nil || slices.Contains(failed.kinds, step.Kind) {
				step = nil
				return zone.Changes{}, nil
			}
			step.Besides = p.doubt
		}
		return m.changes(p, step)
	})
	m.forgetUsed(apex)
	return step, p, err
}

// now reads the clock for a step. It must not have been set since it was judged.
func (m *Manager) now() (time.Time, error) {
	r := m.o.Clock.Read()
	if _, stepped := m.watch.compare(r); stepped && m.holding == nil {
		return time.Time{}, errClockSet
	}
	return r.Wall, nil
}

// forgetUsed forgets the keys in the token that have been written after all.
func (m *Manager) forgetUsed(apex zone.Name) {
	if left := m.unused[apex]; len(left) > 0 {
		written := finder(m.o.Store.View().Keys(apex))
		m.unused[apex] = slices.DeleteFunc(left, func(k *KeyRecord) bool { return written(k.ID) != nil })
	}
}

// input collects what a plan depends on; false if the zone is gone.
func (m *Manager) input(v View, apex zone.Name, sighting Sighting) (Input, bool) {
	z := v.Zone(apex)
	if z == nil {
		return Input{}, false
	}
	in := Input{Zone: z, Parent: zone.HostedParent(v, z), Chain: v.Chain(apex), Parents: sighting}
	for _, k := range v.Keys(apex) {
		if k.ZoneID == z.ID {
			in.Keys = append(in.Keys, k)
		}
	}
	if in.Chain != nil && in.Chain.ZoneID != z.ID {
		in.Chain = nil
	}
	return in, len(in.Keys) > 0
}

// changes is what a step writes: the chain, new keys, keys that retire or go. It all depends on the zone's row, and on its
// parent's, as they were when the step was planned.
func (m *Manager) changes(p *plan, step *Step) (zone.Changes, error) {
	var c zone.Changes
	if step.Kind == StepPublish || step.Kind == StepAskDS || step.Kind == StepNoCDS {
		c.Puts = append(c.Puts, p.in.Zone.NextSerial())
	} else {
		c.Requires = append(c.Requires, p.in.Zone.Ref())
	}
	if p.in.Parent != nil {
		c.Requires = append(c.Requires, p.in.Parent.Ref())
	}
	z, keys := p.in.Zone, slices.Clone(p.in.Keys)
	made, err := m.generate(z, step.Make, keys, p.now)
	if err != nil {
		return zone.Changes{}, err
	}
	for i, k := range made {
		step.Chain.Goal.fill(step.Make[i], k.ID, p.now)
		c.Puts = append(c.Puts, k)
	}
	for _, k := range step.Add {
		c.Puts = append(c.Puts, k)
	}
	for _, id := range step.Retire {
		k := *p.find(id)
		k.Retired = p.now
		c.Puts = append(c.Puts, &k)
	}
	if step.Unretire != "" {
		k := *p.find(step.Unretire)
		k.Retired = time.Time{}
		c.Puts = append(c.Puts, &k)
	}
	for _, id := range step.Purge {
		c.Deletes = append(c.Deletes, p.find(id).Ref())
	}
	if step.Resign {
		stock, err := m.o.Vault.SignAhead(z, step.Chain, keys, p.now)
		if err != nil {
			return zone.Changes{}, fmt.Errorf("sign the key sets: %w", err)
		}
		if step.Besides {
			stock = stock.besides(step.Chain.Stock)
		}
		step.Chain.Stock = stock
	}
	if step.Kind != StepRestock {
		step.Chain.note(Event{At: p.now, Kind: step.Kind, Why: step.Why})
	}
	c.Puts = append(c.Puts, step.Chain)
	return c, nil
}

// generate makes keys, or takes those in the token that are left from an attempt that has failed.
func (m *Manager) generate(z *zone.Zone, slots []Slot, existing []*KeyRecord, now time.Time) ([]*KeyRecord, error) {
	made := make([]*KeyRecord, len(slots))
	for i, slot := range slots {
		left := m.unused[z.Name]
		at := slices.IndexFunc(left, func(k *KeyRecord) bool {
			return slot.place(z.Keys) == PlaceToken && k.ZoneID == z.ID && k.Role == slot.role(z.Keys) && k.Algorithm == z.Keys.Algorithm &&
				!slices.ContainsFunc(append(existing, made[:i]...), func(o *KeyRecord) bool { return o.ID == k.ID })
		})
		if at >= 0 {
			made[i] = left[at]
			continue
		}
		fresh, err := m.o.Vault.generate(z, []Slot{slot}, append(existing, made[:i]...), now)
		if err != nil {
			return nil, err
		}
		made[i] = fresh[0]
		if made[i].Place == PlaceToken {
			m.unused[z.Name] = append(left, made[i])
		}
	}
	return made, nil
}

// judgeClock decides whether steps may be made. After the clock was set, times that were noted before mean something else;
// what was left of them by the monotonic clock is then left by the new time. At a start nothing is known but that it is not
// earlier than what was noted last: what is left is then overestimated.
func (m *Manager) judgeClock(r Reading) {
	if !r.Synchronised { // nor is anything noted, which a step would have to change
		m.hold(errUnsynchronised)
		return
	}
	if !m.watch.seen {
		m.watch.note(r)
		m.moveFuture(r.Wall)
		return
	}
	expected, stepped := m.watch.compare(r)
	m.watch.note(r)
	if !stepped {
		return
	}
	m.o.Metrics.clockSteps.Inc()
	m.o.Log.Warn("the clock was set; all waiting times of the keys are moved with it", "is", r.Wall, "expected", expected)
	m.moveAll(expected, r.Wall)
	if !m.stoodStill.IsZero() {
		m.stoodStill = m.stoodStill.Add(r.Wall.Sub(expected))
	}
}

// tellHolding says why no steps are made, when that has just become so.
func (m *Manager) tellHolding(before error) {
	m.o.Metrics.hold(m.holding != nil)
	if m.holding != nil && before == nil {
		m.o.Log.Error("no key changes for now", "error", m.holding)
	}
}
