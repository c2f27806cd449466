package keymgmt

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// refuse says no to a request, with the field and the rule.
func refuse(kind error, field, rule string, args ...any) error {
	return &zone.RefusedError{Kind: kind, FieldError: zone.FieldError{Field: field, Rule: fmt.Sprintf(rule, args...)}}
}

// Roll begins the rollover of a role now: "ksk" or "zsk"; of a CSK either means both. While one of the same role is on its
// way it is refused, unless it is an emergency: then it begins as soon as that one has ended. The safe intervals are kept in
// an emergency too: an answer that is bogus helps nobody. It returns what is to come.
func (m *Manager) Roll(ctx context.Context, apex zone.Name, role Role, emergency bool) (Rollover, error) {
	if err := m.request(ctx, apex, func(p *plan) (*Step, error) { return p.roll(role, emergency) }); err != nil {
		return Rollover{}, err
	}
	return m.rollover(apex, m.o.Clock.Read().Wall, func(p *plan) (Rollover, error) { return p.rollover(role), nil })
}

// DryRun returns what would come of a rollover if it began now. Nothing is changed.
func (m *Manager) DryRun(apex zone.Name, role Role, emergency bool, now time.Time) (Rollover, error) {
	return m.rollover(apex, now, func(p *plan) (Rollover, error) {
		step, err := p.roll(role, emergency)
		if err != nil {
			return Rollover{}, err
		}
		if step == nil { // it was asked for before
			return p.rollover(role), nil
		}
		first := Event{At: p.now, Kind: step.Kind, Why: step.Why}
		return Rollover{Steps: append([]Event{first}, p.stepsOf(p.slotOf(role), imagine(p.in, step, p.now), p.now)...)}, nil
	})
}

// Rollover is what is to come of a rollover that was asked for, until it has ended.
type Rollover struct {
	Steps []Event
	// Queued says what an emergency waits for that begins after the present rollover; empty if none does.
	Queued string
}

// rollover finds out what is to come in a zone.
func (m *Manager) rollover(apex zone.Name, now time.Time, tell func(p *plan) (Rollover, error)) (Rollover, error) {
	in, ok := m.input(m.o.Store.View(), apex, Sighting{})
	if !ok || in.Chain == nil {
		return Rollover{}, refuse(zone.ErrNotFound, "zone", "there is no zone %s", apex)
	}
	if in.Zone.Closing {
		return Rollover{}, errClosing()
	}
	return tell(m.planner.on(in, now))
}

// rollover tells what is to come of the last rollover of a role.
func (p *plan) rollover(role Role) Rollover {
	slot := p.slotOf(role)
	r := Rollover{Steps: p.stepsOf(slot, p.in, p.now)}
	if slices.Contains(p.in.Chain.Goal.Again, slot) {
		r.Queued = fmt.Sprintf("an emergency rollover of the %s is queued; it begins when the present one has ended%s", role, p.earliest())
	}
	return r
}

// slotOf returns the slot that is rolled with a role: of a CSK always that of the KSK.
func (p *plan) slotOf(role Role) Slot {
	if g := p.in.Chain.Goal; role == ZSK && g.KSK != g.ZSK {
		return SlotZSK
	}
	return SlotKSK
}

// roll checks a request for a rollover, and plans its first step.
func (p *plan) roll(role Role, emergency bool) (*Step, error) {
	g, slot := p.in.Chain.Goal, p.slotOf(role)
	switch {
	case role == CSK && g.KSK != g.ZSK:
		return nil, refuse(zone.ErrInvalid, "role", "the zone has no CSK; roll its ksk or its zsk")
	case !role.known():
		return nil, refuse(zone.ErrInvalid, "role", "must be ksk or zsk")
	case slot == SlotKSK && p.lacks(p.renewal(slot)) != "":
		return nil, refuse(zone.ErrConflict, "role", "what is lacking is %s: mxseal key add", p.lacks(p.renewal(slot)))
	}
	settled := (p.settled(slot) || slot == SlotKSK && p.dispensable()) && !p.otherKeysWanted() // all keys are about to be replaced; one of them alone must not be
	switch {
	case settled && emergency:
		return p.renew("an operator asks for it: an emergency", slot), nil
	case settled:
		return p.renew("an operator asks for it", slot), nil
	case !emergency:
		return nil, refuse(zone.ErrConflict, "role", "the last rollover has not ended%s; an emergency would begin right after it", p.earliest())
	case slices.Contains(g.Again, slot):
		return nil, nil
	}
	return p.aim("an operator asks for another rollover after the present one: an emergency", nil, func(g *Goal) { g.Again = append(g.Again, slot) }), nil
}

// earliest says when what is waited for can happen.
func (p *plan) earliest() string {
	if p.next() != nil {
		return ", and a step of it is due now"
	}
	switch {
	case p.ceremony:
		return " (" + ceremonyWanted + ")"
	case p.blocked != nil && !p.blocked.until.IsZero():
		return fmt.Sprintf(" (%s: not before %s, because %s)", p.wanted, p.blocked.until.UTC().Format(time.RFC3339), p.blocked.why)
	case last(p.in.Chain.DS).Seen.IsZero():
		return " (nobody has seen the DS of " + p.names(last(p.in.Chain.DS).Keys) + " at all servers of the parent)"
	case !p.wake.IsZero():
		return " (not before " + p.wake.UTC().Format(time.RFC3339) + ")"
	}
	return ""
}

// NoKey is what ConfirmDS takes in place of a key when the parent is to have no DS.
const NoKey = "none"

// ConfirmDS notes what an operator says: that all servers of the parent have the DS of a key, and none that is not wanted. When
// it is said of every key of the DS RRset that is wanted, or that there is none if none is, the rollover goes on. Where the
// zone's policy names the servers they are asked, and have to say so too.
func (m *Manager) ConfirmDS(ctx context.Context, apex zone.Name, key string) error {
	if err := m.checkConfirmation(ctx, apex); err != nil {
		return err
	}
	return m.request(ctx, apex, func(p *plan) (*Step, error) {
		wanted := last(p.in.Chain.DS)
		if key == NoKey {
			if err := p.noDSConfirmable(wanted); err != nil {
				return nil, err
			}
			return p.confirm(wanted), nil
		}
		k, err := p.named(key)
		if err != nil {
			return nil, err
		}
		if err := p.confirmable(k, wanted); err != nil {
			return nil, err
		}
		return p.confirm(wanted, k.ID), nil
	})
}

// named returns the key that somebody names by its id or by its key tag, which no two keys of a zone have in common.
func (p *plan) named(key string) (*KeyRecord, error) {
	for _, k := range p.in.Keys {
		if k.ID == key || strconv.Itoa(int(k.KeyTag)) == key {
			return k, nil
		}
	}
	return nil, refuse(zone.ErrNotFound, "key", "the zone has no key %s", key)
}

// confirm notes keys; when all are, the DS RRset is seen.
func (p *plan) confirm(wanted Version, ids ...string) *Step {
	confirmed := ordered(append(slices.Clone(wanted.Confirmed), ids...))
	if wanted.same(confirmed) {
		p.in.Parents = Sighting{Sets: [][]string{wanted.Keys}, Agreed: true}
		return p.seeDS()
	}
	c := p.in.Chain.clone()
	c.DS[len(c.DS)-1].Confirmed = confirmed
	return &Step{Kind: StepSeeDS, Why: "an operator says that the parent has the DS of " + p.names(ids), Chain: c}
}

func (p *plan) errHosted() error {
	if p.in.Parent == nil {
		return nil
	}
	return refuse(zone.ErrConflict, "key", "the parent is a zone of this server, which sees to the DS itself")
}

// noDSConfirmable checks that the parent was asked to have no DS.
func (p *plan) noDSConfirmable(wanted Version) error {
	if len(wanted.Keys) > 0 {
		return refuse(zone.ErrConflict, "key", "must be one: the parent is to have the DS of %s%s", p.names(wanted.Keys), p.earliest())
	}
	return p.errHosted()
}

// confirmable checks that a key's DS is what the parent was asked for.
func (p *plan) confirmable(k *KeyRecord, wanted Version) error {
	switch {
	case !k.Role.signsKeys():
		return refuse(zone.ErrInvalid, "key", "a %s has no DS", k.Role)
	case p.in.Parent != nil:
		return p.errHosted()
	case !k.Retired.IsZero():
		return refuse(zone.ErrConflict, "key", "is retired: the parent is not to have its DS")
	case !wanted.has(k.ID):
		return refuse(zone.ErrConflict, "key", "the parent is not to have its DS%s", p.earliest())
	}
	return nil
}

func (m *Manager) checkConfirmation(ctx context.Context, apex zone.Name) error {
	v := m.o.Store.View()
	in, ok := m.input(v, apex, Sighting{})
	if !ok || in.Chain == nil || m.o.Parents == nil || len(in.Zone.Parent.Servers) == 0 || in.Parent != nil {
		return nil // what is wrong with the rest is said later
	}
	err := agreedOn(m.o.Parents.AskDS(ctx, apex, in.Zone.Parent.Servers), in.Keys, last(in.Chain.DS).Keys)
	if err != nil {
		return refuse(zone.ErrConflict, "key", "the servers of the parent do not confirm it: %s", err)
	}
	return nil
}

// Restore takes a key out of the trash: it becomes the goal of its role, as a new key does in a rollover.
func (m *Manager) Restore(ctx context.Context, apex zone.Name, key string) error {
	return m.request(ctx, apex, func(p *plan) (*Step, error) {
		k, err := p.named(key)
		switch {
		case err != nil:
			return nil, err
		case k.Retired.IsZero():
			return nil, refuse(zone.ErrConflict, "key", "is not in the trash")
		case !p.settledKSK() || !p.settledZSK() || p.otherKeysWanted():
			return nil, refuse(zone.ErrConflict, "key", "a rollover is on its way%s", p.earliest())
		case k.isForeign():
			return nil, refuse(zone.ErrConflict, "key", "is that of another signer; add it again")
		case k.Algorithm != p.in.Zone.Keys.Algorithm || (k.Role == CSK) != p.in.Zone.Keys.CSK || k.Role == KSK && k.Place != Place(p.in.Zone.Keys.KSKPlace):
			return nil, refuse(zone.ErrConflict, "key", "is a %s %s, which the zone's policy does not ask for", k.Algorithm, k.Role)
		}
		s := p.restore(k)
		s.Unretire = k.ID
		return s, nil
	})
}

const closingHolds = "a deletion of the zone is on its way, or was interrupted; repeat it, or set the zone to keep it"

func errClosing() error { return refuse(zone.ErrConflict, "zone", "%s", closingHolds) }

// request makes a step that somebody asks for, unless no steps are made for now.
func (m *Manager) request(ctx context.Context, apex zone.Name, make func(p *plan) (*Step, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	// Nothing is written, which a node that does not lead is told it cannot.
	if err := m.o.Store.Update(ctx, func(View) (zone.Changes, error) { return zone.Changes{}, nil }); err != nil {
		return err
	}
	if m.judge(ctx, m.o.Clock.Read()); m.holding != nil {
		return refuse(zone.ErrUnavailable, "keys", "are not changed for now: %s", m.holding)
	}
	return m.applyLocked(ctx, apex, func(p *plan) (*Step, error) {
		if p.in.Zone.Closing {
			return nil, errClosing()
		}
		return make(p)
	})
}

// apply makes a step that somebody asks for, and has the manager look for what follows.
func (m *Manager) apply(ctx context.Context, apex zone.Name, make func(p *plan) (*Step, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applyLocked(ctx, apex, make)
}

func (m *Manager) applyLocked(ctx context.Context, apex zone.Name, make func(p *plan) (*Step, error)) error {
	if len(m.moves[apex]) > 0 {
		return refuse(zone.ErrUnavailable, "keys", "are not changed until times that were noted are moved")
	}
	err := m.o.Store.Update(ctx, func(v View) (zone.Changes, error) {
		if z := v.Zone(apex); z == nil {
			return zone.Changes{}, refuse(zone.ErrNotFound, "zone", "there is no zone %s", apex)
		}
		in, ok := m.input(v, apex, Sighting{})
		if !ok || in.Chain == nil {
			return zone.Changes{}, refuse(zone.ErrConflict, "zone", "the zone has no keys")
		}
		p := m.planner.on(in, m.o.Clock.Read().Wall)
		step, err := make(p)
		if err != nil || step == nil {
			return zone.Changes{}, err
		}
		return m.changes(p, step)
	})
	m.forgetUsed(apex)
	m.Wake()
	return err
}
