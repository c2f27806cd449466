package keymgmt

import (
	"slices"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Slot is a place in a goal that a new key takes.
type Slot string

// The slots of a goal.
const (
	SlotKSK     Slot = "ksk"
	SlotZSK     Slot = "zsk"
	SlotCSK     Slot = "csk" // both
	SlotStandby Slot = "standby"
	SlotReserve Slot = "reserve" // of ZSKs, before they take theirs
)

// role returns the role of a key that takes a slot.
func (s Slot) role(p zone.KeyPolicy) Role {
	switch {
	case s == SlotZSK, s == SlotReserve:
		return ZSK
	case s == SlotCSK, p.CSK:
		return CSK
	}
	return KSK
}

// place returns where the private part of such a key is to be.
func (s Slot) place(p zone.KeyPolicy) Place {
	if s == SlotKSK || s == SlotStandby {
		return Place(p.KSKPlace)
	}
	return PlaceHere
}

// reserved returns a key that waits to take a slot, "" if there is none.
func (p *plan) reserved(g *Goal, s Slot) string {
	policy := p.in.Zone.Keys
	i := slices.IndexFunc(g.Reserve, func(id string) bool {
		k := p.find(id)
		return k != nil && k.Role == s.role(policy) && k.Algorithm == policy.Algorithm && k.Place == s.place(policy)
	})
	if i < 0 {
		return ""
	}
	return g.Reserve[i]
}

// lacks says what is missing before slots can be filled, "" if nothing.
func (p *plan) lacks(slots ...Slot) string {
	g := p.in.Chain.clone().Goal
	for _, s := range slots {
		id := p.reserved(&g, s)
		switch {
		case id != "":
			g.spend(id)
		case s.place(p.in.Zone.Keys) == PlaceOffline:
			return "the public key of a new offline KSK"
		case slices.Contains(p.failed.slots, s):
			return "a new key, which could not be made"
		}
	}
	return ""
}

// can reports whether nothing is lacking for slots, or notes what is.
func (p *plan) can(slots ...Slot) bool {
	missing := p.lacks(slots...)
	if missing != "" {
		p.want(missing)
	}
	return missing == ""
}

// spend takes a key out of the reserve.
func (g *Goal) spend(id string) {
	g.Reserve = slices.DeleteFunc(g.Reserve, func(r string) bool { return r == id })
}

// fill puts a key into a slot.
func (g *Goal) fill(s Slot, id string, now time.Time) {
	switch s {
	case SlotStandby:
		g.Standby = id
		return
	case SlotReserve:
		g.Reserve = append(g.Reserve, id)
		return
	case SlotZSK:
		g.ZSK, g.ZSKFrom = id, now
		return
	case SlotCSK:
		g.ZSK, g.ZSKFrom = id, now
	}
	g.KSK, g.KSKFrom = id, now
}

// slots returns what a zone needs by its policy.
func slots(p zone.KeyPolicy) []Slot {
	all := []Slot{SlotKSK, SlotZSK}
	if p.CSK {
		all = []Slot{SlotCSK}
	}
	if p.StandbyKSK {
		all = append(all, SlotStandby)
	}
	return all
}

// start begins what the policy asks for: another wish about the DS, other algorithms or roles, keys in place of old ones; and
// what an operator has asked for meanwhile. One rollover of a role begins when the one before has ended: to finish that one
// is the fastest way to get rid of a key. A ZSK does not wait for a parent that takes its time.
func (p *plan) start() *Step {
	z, g := p.in.Zone, p.in.Chain.Goal
	if g.NoDS != z.Parent.WithdrawDS {
		return p.aim("the policy says whether the parent has a DS", nil, func(g *Goal) { g.NoDS = z.Parent.WithdrawDS })
	}
	ksk, zsk := p.settledKSK(), p.settledZSK()
	if needed, all := p.unlikePolicy(); len(needed) > 0 && (p.can(needed...) || all) {
		free := p.dispensable() && (!all || zsk || !p.remembered(g.ZSK))
		if (ksk && zsk || free) && p.can(needed...) {
			return p.aim("the policy asks for other keys", needed, func(g *Goal) {
				g.Standby, g.Again = "", nil
				g.Reserve = slices.DeleteFunc(g.Reserve, func(id string) bool { return p.algorithm(id) != p.in.Zone.Keys.Algorithm })
			})
		}
		p.want("other keys, which have to wait for the rollover that is on its way")
		return nil
	}
	isCSK := g.KSK == g.ZSK
	switch {
	case ksk && !z.Keys.StandbyKSK && g.Standby != "":
		return p.aim("the policy asks for no standby KSK", nil, func(g *Goal) { g.Standby = "" })
	case ksk && z.Keys.StandbyKSK && g.Standby == "" && p.can(SlotStandby):
		return p.aim("the policy asks for a standby KSK", []Slot{SlotStandby}, nil)
	case ksk && (zsk || !isCSK) && slices.Contains(g.Again, SlotKSK) && p.can(p.renewal(SlotKSK)):
		return p.renew("an operator has asked for it", SlotKSK)
	case zsk && slices.Contains(g.Again, SlotZSK):
		return p.renew("an operator has asked for it", SlotZSK)
	case p.due(g.KSKFrom, z.Keys.KSKLifetime) && ksk && (zsk || !isCSK) && p.confirmed() && p.can(p.renewal(SlotKSK)):
		return p.renew("the lifetime of the key is over", SlotKSK)
	case !isCSK && p.due(g.ZSKFrom, z.Keys.ZSKLifetime) && zsk:
		return p.renew("the lifetime of the key is over", SlotZSK)
	}
	return nil
}

// unlikePolicy returns the slots of keys that are not of the kind that the policy asks for: all of them, or, if it is but
// the place of the KSK, only those that are affected. Other rollovers need not wait until an offline KSK is brought.
func (p *plan) unlikePolicy() (needed []Slot, all bool) {
	if p.otherKeysWanted() {
		return slots(p.in.Zone.Keys), true
	}
	if k := p.find(p.in.Chain.Goal.KSK); k != nil && k.Role == KSK && k.Place != Place(p.in.Zone.Keys.KSKPlace) {
		return slices.DeleteFunc(slots(p.in.Zone.Keys), func(s Slot) bool { return s == SlotZSK }), false
	}
	return nil, false
}

// otherKeysWanted reports whether the policy asks for another algorithm or other roles than the goal has.
func (p *plan) otherKeysWanted() bool {
	g, policy := p.in.Chain.Goal, p.in.Zone.Keys
	return p.algorithm(g.KSK) != policy.Algorithm || p.algorithm(g.ZSK) != policy.Algorithm || (g.KSK == g.ZSK) != policy.CSK
}

// renewal returns the slot that a new key takes when a role is rolled.
func (p *plan) renewal(slot Slot) Slot {
	g := p.in.Chain.Goal
	switch {
	case slot == SlotKSK && g.Standby != "":
		return SlotStandby
	case g.KSK == g.ZSK:
		return SlotCSK
	}
	return slot
}

// renew begins the rollover of one role. A standby KSK takes the place of the KSK, and the new key that of the standby.
func (p *plan) renew(why string, slot Slot) *Step {
	g := p.in.Chain.Goal
	csk := g.KSK == g.ZSK
	asked := func(n *Goal) {
		n.Again = slices.DeleteFunc(slices.Clone(g.Again), func(s Slot) bool { return csk || s == slot })
	}
	return p.aim(why, []Slot{p.renewal(slot)}, func(n *Goal) {
		asked(n)
		if slot == SlotKSK && g.Standby != "" {
			n.KSK, n.KSKFrom, n.Standby = g.Standby, p.now, ""
			if csk {
				n.ZSK, n.ZSKFrom = n.KSK, p.now
			}
		}
	})
}

// aim changes the goal. Slots are filled with keys of the reserve, and the others with keys that are to be made.
func (p *plan) aim(why string, slots []Slot, change func(g *Goal)) *Step {
	s := &Step{Kind: StepGoal, Why: why, Chain: p.in.Chain.clone()}
	g := &s.Chain.Goal
	if change != nil {
		change(g)
	}
	for _, slot := range slots {
		if id := p.reserved(g, slot); id != "" {
			g.spend(id)
			g.fill(slot, id, p.now)
		} else {
			s.Make = append(s.Make, slot)
		}
	}
	return s
}

// due reports whether a key's lifetime is over, and otherwise notes when it will be.
func (p *plan) due(since time.Time, lifetime time.Duration) bool {
	end := since.Add(lifetime)
	p.at(end)
	return !end.After(p.now)
}

// settledKSK reports whether the last rollover of the key that the parent knows has ended: the parent was asked for what the
// goal says, and no other key of ours signs the DNSKEY RRset.
func (p *plan) settledKSK() bool {
	c := p.in.Chain
	signers := c.keySigners(p.find)
	return last(c.DS).same(c.Goal.ds(p.find)) && len(signers) == 1 && signers[0].ID == c.Goal.KSK
}

// dispensable reports whether another KSK may become the goal although the rollover to this one has not ended, and maybe never will:
// it is somewhere else, and no validator can need it, since it was never published, or since the zone is insecure.
func (p *plan) dispensable() bool {
	k, ds := p.find(p.in.Chain.Goal.KSK), alive(p.in.Chain.DS, p.now)
	insecure := len(ds) == 1 && len(ds[0].Keys) == 0 && !ds[0].Seen.IsZero()
	return k != nil && k.Place != PlaceHere && (insecure || !p.remembered(k.ID))
}

// settledZSK reports what settledKSK does of the key that signs the records: no other one does, in any cache, nor is published.
func (p *plan) settledZSK() bool {
	c := p.in.Chain
	signers := alive(c.Signers, p.now)
	return len(signers) == 1 && signers[0].same(c.Goal.signers()) &&
		!slices.ContainsFunc(last(c.Keys).Keys, func(id string) bool {
			k := p.find(id)
			return k != nil && !k.isForeign() && k.Role == ZSK && id != c.Goal.ZSK
		})
}

// settled reports whether the last rollover of a slot has ended, but that caches may know its old key.
func (p *plan) settled(slot Slot) bool {
	if slot == SlotZSK {
		return p.settledZSK()
	}
	g := p.in.Chain.Goal
	return p.settledKSK() && (g.KSK != g.ZSK || p.settledZSK())
}

// over reports whether no rollover of a slot is on its way or queued, and no cache knows a key that one has replaced.
func (p *plan) over(slot Slot) bool {
	g := p.in.Chain.Goal
	return p.settled(slot) && !slices.Contains(g.Again, slot) && !slices.ContainsFunc(p.in.Keys, func(k *KeyRecord) bool {
		return k.Retired.IsZero() && !k.isForeign() && !g.has(k.ID) && (k.Role == ZSK) == (slot == SlotZSK)
	})
}

// confirmed reports whether the parent was seen to have the DS, and caches have no other one.
func (p *plan) confirmed() bool {
	ds := alive(p.in.Chain.DS, p.now)
	if len(ds) == 1 && !ds[0].Seen.IsZero() {
		return true
	}
	p.want("nobody has seen the DS of " + p.names(last(ds).Keys) + " at all servers of the parent")
	return false
}

// want notes what is waited for, if nothing was noted before.
func (p *plan) want(what string) {
	if p.wanted == "" {
		p.wanted = what
	}
}

// restore takes a key out of the trash and makes it the goal of its role.
func (p *plan) restore(k *KeyRecord) *Step {
	return p.aim("a key was brought back from the trash", nil, func(g *Goal) {
		if k.Role.signsKeys() {
			g.KSK, g.KSKFrom = k.ID, p.now
		}
		if k.Role.signsRest() {
			g.ZSK, g.ZSKFrom = k.ID, p.now
		}
	})
}

// remembered reports whether any cache may have anything that a key is in.
func (p *plan) remembered(id string) bool {
	return p.referenced(id) || slices.ContainsFunc(alive(p.in.Chain.Keys, p.now), func(v Version) bool { return v.has(id) })
}
