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
)

// role returns the role of a key that takes a slot.
func (s Slot) role(p zone.KeyPolicy) Role {
	switch {
	case s == SlotZSK:
		return ZSK
	case s == SlotCSK, p.CSK:
		return CSK
	}
	return KSK
}

// fill puts a key into a slot.
func (g *Goal) fill(s Slot, id string, now time.Time) {
	switch s {
	case SlotStandby:
		g.Standby = id
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
	ksk, zsk := p.settledKSK(), p.settledZSK()
	isCSK := g.KSK == g.ZSK
	switch {
	case g.NoDS != z.Parent.WithdrawDS:
		return p.aim("the policy says whether the parent has a DS", nil, func(g *Goal) { g.NoDS = z.Parent.WithdrawDS })
	case p.otherKeysWanted():
		if ksk && zsk {
			return p.aim("the policy asks for other keys", slots(z.Keys), func(g *Goal) { g.Standby, g.Again = "", nil })
		}
		p.want("other keys, which have to wait for the rollover that is on its way")
	case ksk && !z.Keys.StandbyKSK && g.Standby != "":
		return p.aim("the policy asks for no standby KSK", nil, func(g *Goal) { g.Standby = "" })
	case ksk && z.Keys.StandbyKSK && g.Standby == "":
		return p.aim("the policy asks for a standby KSK", []Slot{SlotStandby}, nil)
	case ksk && (zsk || !isCSK) && slices.Contains(g.Again, SlotKSK):
		return p.renew("an operator has asked for it", SlotKSK)
	case zsk && slices.Contains(g.Again, SlotZSK):
		return p.renew("an operator has asked for it", SlotZSK)
	case p.due(g.KSKFrom, z.Keys.KSKLifetime) && ksk && (zsk || !isCSK) && p.confirmed():
		return p.renew("the lifetime of the key is over", SlotKSK)
	case !isCSK && p.due(g.ZSKFrom, z.Keys.ZSKLifetime) && zsk:
		return p.renew("the lifetime of the key is over", SlotZSK)
	}
	return nil
}

// otherKeysWanted reports whether the policy asks for another algorithm or other roles than the goal has.
func (p *plan) otherKeysWanted() bool {
	g, policy := p.in.Chain.Goal, p.in.Zone.Keys
	return p.algorithm(g.KSK) != policy.Algorithm || p.algorithm(g.ZSK) != policy.Algorithm || (g.KSK == g.ZSK) != policy.CSK
}

// renew begins the rollover of one role. A standby KSK takes the place of the KSK, and the new key that of the standby.
func (p *plan) renew(why string, slot Slot) *Step {
	g := p.in.Chain.Goal
	csk := g.KSK == g.ZSK
	asked := func(n *Goal) {
		n.Again = slices.DeleteFunc(slices.Clone(g.Again), func(s Slot) bool { return csk || s == slot })
	}
	if slot == SlotKSK && g.Standby != "" {
		return p.aim(why, []Slot{SlotStandby}, func(n *Goal) {
			asked(n)
			n.KSK, n.KSKFrom, n.Standby = g.Standby, p.now, ""
			if csk {
				n.ZSK, n.ZSKFrom = n.KSK, p.now
			}
		})
	}
	if csk {
		slot = SlotCSK
	}
	return p.aim(why, []Slot{slot}, asked)
}

// aim changes the goal. With an offline KSK a goal only changes in a ceremony.
func (p *plan) aim(why string, make []Slot, change func(g *Goal)) *Step {
	c := p.in.Chain.clone()
	if change != nil {
		change(&c.Goal)
	}
	return &Step{Kind: StepGoal, Why: why, Chain: c, Make: make}
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

// settledZSK reports the same of the key that signs the records: no other one does, in any cache, nor is published.
func (p *plan) settledZSK() bool {
	c := p.in.Chain
	signers := alive(c.Signers, p.now)
	return len(signers) == 1 && signers[0].same(c.Goal.signers()) &&
		!slices.ContainsFunc(last(c.Keys).Keys, func(id string) bool {
			k := p.find(id)
			return k != nil && !k.isForeign() && k.Role == ZSK && id != c.Goal.ZSK
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
