package keymgmt

import (
	"fmt"
	"slices"
	"time"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// Input is all that the next step of a zone's keys depends on, besides the time.
type Input struct {
	Zone    *zone.Zone
	Parent  *zone.Zone   // the enclosing zone if it is ours: then we serve the DS ourselves
	Keys    []*KeyRecord // all of the zone, retired ones included
	Chain   *Chain       // nil for keys of a version that had no chains
	Parents Sighting     // what the servers of the parent say; empty if nobody asks them
}

// Sighting is what the servers of the parent were seen to serve.
type Sighting struct {
	Sets [][]string // each DS RRset that any of them served, as dsKeys gives it
	// Agreed means that all of them have answered with the same RRset, as often as is asked for.
	Agreed bool
	TTL    uint32 // the largest, seconds
}

// Step is a change of a chain that is to be written, and only then served.
type Step struct {
	Kind  StepKind
	Why   string       // in words, for the log and for key explain
	Chain *Chain       // as it is to be, but for its stock, and for the ids of keys that are to be made
	Make  []Slot       // new keys and what they become in the goal
	Add   []*KeyRecord // keys that were brought
	// Resign means that the stock has to be made anew.
	Resign bool
	// Besides keeps what was in the stock: the clock may be wrong.
	Besides bool
	Retire  []string // keys that go to the trash
	Purge   []string // keys that leave it for good
	// Unretire is a key that comes back from it.
	Unretire string
}

// StepKind says what kind of change a step is.
type StepKind string

// The kinds of steps.
const (
	StepAdopt    StepKind = "adopt"    // a chain is made for keys that have none
	StepGoal     StepKind = "start"    // a rollover begins: keys are made, or the goal changes
	StepPublish  StepKind = "publish"  // the DNSKEY RRset changes
	StepSign     StepKind = "sign"     // other keys sign the records
	StepAskDS    StepKind = "ask-ds"   // the parent is asked for another DS RRset, by CDS and CDNSKEY
	StepNoCDS    StepKind = "no-cds"   // the parent is asked for nothing any more: somebody has to remove the DS
	StepSeeDS    StepKind = "see-ds"   // the parent was seen to have changed
	StepRetire   StepKind = "retire"   // keys that nobody remembers go to the trash
	StepPurge    StepKind = "purge"    // keys leave the trash
	StepRestock  StepKind = "restock"  // the key sets are signed for a further while
	StepReserve  StepKind = "reserve"  // keys are made, or brought, that nobody uses yet
	StepCeremony StepKind = "ceremony" // an offline key has signed key sets
)

// trashRetention is how long retired keys can be brought back.
const trashRetention = 30 * 24 * time.Hour

// maxVersions bounds what a parent can make us remember by serving ever other DS RRsets. No parent in its senses comes near.
const maxVersions = 64

// planner decides on steps. Its fields are what makes them safe; tests take one away and see that it is missed.
type planner struct {
	keysCached    func(in Input, now time.Time) time.Time // when the last cache has forgotten the DNSKEY RRset that is replaced at now
	recordsCached func(in Input, now time.Time) time.Time // the same of records that are signed by other keys from now on
	dsCached      func(in Input, now time.Time) time.Time // the same of a DS RRset that the parent no longer serves at now
	check         func(c *Chain, algorithm algorithmOf, now time.Time) *conflict
	believes      func(s Sighting) bool                                  // that the parent has what it was seen to have
	windows       func(in Input, c *Chain, now time.Time) []rrsig.Window // for which the key sets of a chain can be signed
}

func newPlanner() planner {
	return planner{
		keysCached: keysCached, recordsCached: recordsCached, dsCached: dsCached,
		check:    (*Chain).check,
		believes: func(s Sighting) bool { return s.Agreed },
		windows:  signableWindows,
	}
}

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }

// keysCached is Dprp + TTLkey of RFC 7583 §3.2: the last node serves the RRset until it has heard, and a cache keeps it
// for the TTL with which it was served.
func keysCached(in Input, now time.Time) time.Time {
	return now.Add(in.Zone.Keys.PropagationDelay + seconds(max(in.Chain.Stock.TTL, in.Zone.TTL.DNSKEY)))
}

// recordsCached is Dprp + TTLsig; TTLs that were larger a while ago are remembered by the zone.
func recordsCached(in Input, now time.Time) time.Time {
	return later(now.Add(in.Zone.Keys.PropagationDelay+in.Zone.TTL.Signed()), in.Zone.Legacy.SignedUntil)
}

// dsCached is DprpP + TTLds; of a parent of ours both are known, and its larger TTLs of a while ago.
func dsCached(in Input, now time.Time) time.Time {
	if in.Parent != nil {
		ttl := max(in.Parent.TTL.NS, in.Chain.DSTTL) // the latter of a parent that was not ours
		return later(now.Add(in.Parent.Keys.PropagationDelay+seconds(ttl)), in.Parent.Legacy.SignedUntil)
	}
	p := in.Zone.Keys
	return now.Add(p.ParentPropagationDelay + max(p.ParentDSTTL, seconds(in.Chain.DSTTL), seconds(in.Parents.TTL)))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// plan is one planning: an input at a time.
type plan struct {
	planner
	in        Input
	now       time.Time
	find      func(id string) *KeyRecord
	algorithm algorithmOf
	wake      time.Time // the earliest time at which more can be done; zero if only an event changes anything
	blocked   *conflict // what the first thing that is wanted waits for
	wanted    string    // what that is
	ceremony  bool      // an offline key has to sign first
	doubt     bool      // the clock may be wrong
	failed    failures
}

// failures is what could not be carried out: the planner looks for what else there is to do.
type failures struct {
	kinds []StepKind
	slots []Slot // of keys that could not be made
}

// with adds a step that has failed. One that makes keys is planned without them first.
func (f failures) with(s *Step) failures {
	if fresh := slices.DeleteFunc(slices.Clone(s.Make), func(slot Slot) bool { return slices.Contains(f.slots, slot) }); len(fresh) > 0 {
		f.slots = append(f.slots, fresh...)
	} else {
		f.kinds = append(f.kinds, s.Kind)
	}
	return f
}

func (p planner) on(in Input, now time.Time) *plan {
	find := finder(in.Keys)
	return &plan{planner: p, in: in, now: now.UTC(), find: find,
		algorithm: func(id string) zone.Algorithm { return algorithmIn(find, id) }}
}

// next returns the next step, nil if nothing is to be done now; then wake, blocked and wanted say what comes.
//
// The order matters for speed, not for safety: every change has passed check.
func (p *plan) next() *Step {
	if p.in.Chain == nil {
		return &Step{Kind: StepAdopt, Why: "the keys of the zone get a chain of trust", Chain: newChain(p.in.Zone, p.in.Keys, false, p.now), Resign: true}
	}
	moves := []func() *Step{p.seeDS, p.start, p.signMore, p.publish, p.askDS, p.sign, p.retire, p.purge, p.restock}
	if p.in.Zone.Closing { // a deletion may have been interrupted: the zone is answered for until it is repeated
		moves = []func() *Step{p.resign}
	}
	for _, move := range moves {
		if s := move(); s != nil && !slices.Contains(p.failed.kinds, s.Kind) {
			return s
		}
	}
	return nil
}

// at notes a time at which there may be more to do.
func (p *plan) at(t time.Time) {
	if t.After(p.now) && (p.wake.IsZero() || t.Before(p.wake)) {
		p.wake = t
	}
}

// try returns the chain with a change if that is safe; else it notes what is in the way.
func (p *plan) try(wanted string, change func(c *Chain)) *Chain {
	c := p.in.Chain.clone()
	change(c)
	x := p.check(c, p.algorithm, p.now)
	if x == nil {
		return c
	}
	p.at(x.until)
	if p.blocked == nil || p.blocked.until.IsZero() && !x.until.IsZero() { // what comes first is of more interest
		p.blocked, p.wanted = x, wanted
	}
	return nil
}

// seeDS takes in what the parent was seen to serve.
func (p *plan) seeDS() *Step {
	if p.in.Parent != nil {
		return p.seeOwn()
	}
	s := p.in.Parents
	c := p.in.Chain.clone()
	changed := false
	for _, set := range s.Sets { // what nobody has asked for may be in caches too
		if now := alive(c.DS, p.now); len(now) < maxVersions && !slices.ContainsFunc(now, func(v Version) bool { return v.same(set) }) {
			c.DS = slices.Insert(now, len(now)-1, Version{Keys: set, Since: p.now})
			changed = true
		}
	}
	if s.TTL > c.DSTTL {
		c.DSTTL, changed = s.TTL, true
	}
	if p.believes(s) && len(s.Sets) > 0 && c.dsSeen(s.Sets[0], p.now, p.dsCached(p.in, p.now)) {
		changed = true
	}
	if !changed {
		return nil
	}
	return &Step{Kind: StepSeeDS, Why: "the servers of the parent have the DS of " + p.names(s.Sets[0]), Chain: c}
}

// seeOwn: what we ask a parent of ours for, it has.
func (p *plan) seeOwn() *Step {
	c := p.in.Chain.clone()
	wanted := last(c.DS)
	c.DS = slices.DeleteFunc(c.DS, func(v Version) bool { return v.same(wanted.Keys) && v.Since != wanted.Since })
	seen := false
	for i := range c.DS {
		v := &c.DS[i]
		switch {
		case i == len(c.DS)-1:
			seen = seen || v.Seen.IsZero()
			v.Seen = later(v.Seen, v.Since)
		case v.Until.IsZero():
			v.Until, seen = p.dsCached(p.in, p.now), true
		}
	}
	if !seen {
		return nil
	}
	return &Step{Kind: StepSeeDS, Why: "the parent is a zone of ours, and has the DS of " + p.names(wanted.Keys), Chain: c}
}

// signMore lets keys of a new algorithm sign before their DNSKEYs are published (RFC 6781 §4.1.4).
func (p *plan) signMore() *Step {
	now := last(p.in.Chain.Signers).Keys
	more := slices.Clone(now)
	for _, id := range p.in.Chain.Goal.signers() {
		if !slices.ContainsFunc(now, func(k string) bool { return p.algorithm(k) == p.algorithm(id) }) {
			more = append(more, id)
		}
	}
	if len(more) == len(now) || len(more) > maxSignatures {
		return nil
	}
	c := p.try("records are to be signed in the new algorithm too", func(c *Chain) {
		c.Signers = replace(c.Signers, ordered(more), p.now, p.recordsCached(p.in, p.now))
	})
	if c == nil {
		return nil
	}
	return &Step{Kind: StepSign, Why: "records are signed in the new algorithm too, before its keys are published", Chain: c}
}

// publish changes the DNSKEY RRset: to that of the goal, or, while others are still needed, to that and them.
func (p *plan) publish() *Step {
	c := p.in.Chain
	goal := c.Goal.keys(p.find)
	needed := slices.DeleteFunc(slices.Clone(last(c.Keys).Keys), func(id string) bool { return !p.referenced(id) })
	for _, keys := range [][]string{goal, ordered(append(needed, goal...))} {
		if last(c.Keys).same(keys) {
			return nil
		}
		next := p.try("the DNSKEY RRset is to become "+p.names(keys), func(c *Chain) {
			c.Keys = replace(c.Keys, keys, p.now, p.keysCached(p.in, p.now))
		})
		if next != nil && next.checkPresent(p.find) == nil && p.signable(next) {
			return &Step{Kind: StepPublish, Why: "the DNSKEY RRset becomes " + p.names(keys), Chain: next, Resign: true}
		}
	}
	return nil
}

// referenced reports whether some cache may need a key to validate something.
func (p *plan) referenced(id string) bool {
	in := func(v Version) bool { return v.has(id) }
	return slices.ContainsFunc(alive(p.in.Chain.DS, p.now), in) || slices.ContainsFunc(alive(p.in.Chain.Signers, p.now), in)
}

// askDS publishes another CDS RRset. From then on the parent may have it.
//
// To have no DS is wanted also when the KSK that would have to sign so is lost. Then the CDS RRset goes, which no KSK has to sign:
// the parent must not be asked for the DS of a key that is to go. What leaves the DNSKEY RRset still waits until the DS is seen to
// be gone, and forgotten.
func (p *plan) askDS() *Step {
	now := p.in.Chain
	goal := now.Goal.ds(p.find)
	if last(now.DS).same(goal) && !now.NoCDS {
		return nil
	}
	c := p.try("the parent is to be asked for the DS of "+p.names(goal), func(c *Chain) {
		if c.NoCDS = false; !last(c.DS).same(goal) {
			c.DS = replace(c.DS, goal, p.now, time.Time{})
		}
	})
	switch {
	case c == nil:
		return nil
	case p.signable(c) && !slices.Contains(p.failed.kinds, StepAskDS):
		return &Step{Kind: StepAskDS, Why: "the parent is asked for the DS of " + p.names(goal), Chain: c, Resign: true}
	case now.NoCDS || !now.Goal.NoDS:
		return nil
	}
	c.NoCDS = true
	return &Step{Kind: StepNoCDS, Why: "no DS is wanted, and no CDS RRset is signed that says so: there is none any more", Chain: c}
}

// sign changes the keys that sign records to those of the goal.
func (p *plan) sign() *Step {
	goal := p.in.Chain.Goal.signers()
	if last(p.in.Chain.Signers).same(goal) {
		return nil
	}
	c := p.try("records are to be signed by "+p.names(goal), func(c *Chain) {
		c.Signers = replace(c.Signers, goal, p.now, p.recordsCached(p.in, p.now))
	})
	if c == nil || c.checkPresent(p.find) != nil {
		return nil
	}
	return &Step{Kind: StepSign, Why: "records are signed by " + p.names(goal), Chain: c}
}

// retire sends keys to the trash that are in no cache and not part of the goal.
func (p *plan) retire() *Step {
	c := p.in.Chain
	var ids []string
	for _, k := range p.in.Keys {
		if k.Retired.IsZero() && !c.Goal.has(k.ID) && !p.remembered(k.ID) {
			ids = append(ids, k.ID)
		}
	}
	p.expiries()
	if len(ids) == 0 {
		return nil
	}
	next := c.clone()
	next.DS, next.Keys, next.Signers = alive(c.DS, p.now), alive(c.Keys, p.now), alive(c.Signers, p.now)
	return &Step{Kind: StepRetire, Why: "no cache remembers " + p.names(ids), Chain: next, Retire: ids}
}

// expiries notes when caches forget.
func (p *plan) expiries() {
	for _, history := range [][]Version{p.in.Chain.DS, p.in.Chain.Keys, p.in.Chain.Signers} {
		for _, v := range history {
			p.at(v.Until)
		}
	}
}

// purge removes keys from the trash.
func (p *plan) purge() *Step {
	var ids []string
	for _, k := range p.in.Keys {
		if k.Retired.IsZero() {
			continue
		}
		if due := k.Retired.Add(trashRetention); !due.After(p.now) {
			ids = append(ids, k.ID)
		} else {
			p.at(due)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	return &Step{Kind: StepPurge, Why: "the retention time of " + p.names(ids) + " is over", Chain: p.in.Chain.clone(), Purge: ids}
}

// restock has the key sets signed for a further while when half of the stock is used up, when there is nothing in it for the
// present time (the clock was wrong when it was made), or when the policy has another TTL for them.
func (p *plan) restock() *Step {
	if s := p.resign(); s != nil {
		return s
	}
	ttl := p.in.Zone.TTL.DNSKEY
	if p.in.Chain.Stock.TTL == ttl {
		return nil
	}
	c := p.in.Chain.clone()
	c.Stock.TTL = ttl
	c.Keys = replace(c.Keys, last(c.Keys).Keys, p.now, p.keysCached(p.in, p.now)) // caches keep the one with the other TTL
	if !p.signable(c) {
		return nil
	}
	return &Step{Kind: StepRestock, Why: "the key sets get another TTL", Chain: c, Resign: true}
}

// resign is restock without a change of what is served: nothing has to be waited for, and the clock may be wrong.
func (p *plan) resign() *Step {
	stock := &p.in.Chain.Stock
	due := stock.End().Add(-p.in.Zone.Signature.Stock() / 2)
	doubtful := stock.Doubtful && !p.doubt
	if due.After(p.now) && stock.at(p.now) != nil && !doubtful {
		p.at(due)
		return nil
	}
	fresh := Stock{TTL: stock.TTL}
	for _, w := range p.windows(p.in, p.in.Chain, p.now) {
		fresh.Periods = append(fresh.Periods, periodOf(w))
	}
	if fresh.at(p.now) == nil || stock.at(p.now) != nil && !fresh.End().After(stock.End()) && !doubtful {
		p.ceremony = true
		return nil
	}
	return &Step{Kind: StepRestock, Why: "the key sets are signed for the time to come", Chain: p.in.Chain.clone(), Resign: true}
}

// ceremonyWanted is what is waited for when an offline key has not signed what is to be published.
const ceremonyWanted = "signatures of the offline KSK, from a ceremony (mxseal key export-request)"

// leastStock is for how long the signatures of a key set must last when it is published, unless those of the one before
// end sooner: who has the offline KSK needs the time for another ceremony. Sets that were not foreseen to be wanted this late
// would end within hours.
const leastStock = ceremonySlack / 2

// signable reports whether the key sets of a chain can be signed from the present time on.
func (p *plan) signable(c *Chain) bool {
	s := Stock{TTL: c.Stock.TTL}
	for _, w := range p.windows(p.in, c, p.now) {
		s.Periods = append(s.Periods, periodOf(w))
	}
	least := p.now.Add(min(leastStock, p.in.Zone.Signature.Stock()/2))
	if s.at(p.now) == nil || s.End().Before(least) && s.End().Before(p.in.Chain.Stock.End()) {
		p.ceremony = true
		return false
	}
	return true
}

// names names keys for people.
func (p *plan) names(ids []string) string {
	text := ""
	for _, id := range ids {
		if text != "" {
			text += ", "
		}
		switch k := p.find(id); {
		case k != nil && len(k.PublicKey) == 0: // imagined
			text += "a new " + string(k.Role)
		case k != nil:
			text += fmt.Sprintf("%s %d", k.Role, k.KeyTag)
		default:
			text += id
		}
	}
	if text == "" {
		return "no key"
	}
	return text
}
