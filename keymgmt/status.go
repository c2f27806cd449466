package keymgmt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// KeyStatus is a key as operators want to see it.
type KeyStatus struct {
	*KeyRecord
	// Use is what the key is at present: ksk, zsk or csk; standby; reserve; foreign; incoming, outgoing; retired.
	Use string
	// What caches may hold. RRSIG is of the records, not of the key sets.
	DNSKEY, RRSIG, DS State
	Since             time.Time // of the youngest of these states
}

// Event is a step that was made, or that will be.
type Event struct {
	At   time.Time `json:"at"`
	Kind StepKind  `json:"kind"`
	Why  string    `json:"why"`
	// Waits says that the time is not known, since the parent decides; At is then the earliest time.
	Waits bool `json:"waits,omitempty"`
}

// Status is all that can be said about the keys of a zone.
type Status struct {
	Zone    *zone.Zone
	Hosted  bool // the parent is a zone of ours
	Keys    []KeyStatus
	Wanted  string    // what is waited for
	Because string    // why it has to wait
	ToDo    string    // what somebody has to do at the parent, who does it by hand
	Until   time.Time // until when; zero if that is not known, or nothing is waited for
	Holding string    // why no step is made at all
	Failing string    // what went wrong with the last step
	Overdue time.Duration
	Stock   time.Time // until when the key sets are signed ahead
	DSSeen  time.Time // when the DS that is wanted was seen
	Parents []ParentAnswer
	Looked  time.Time
	Past    []Event
	Coming  []Event
}

// recordState is the state of one record of a key.
type recordState struct {
	record string
	state  State
	since  time.Time
}

// statesOf returns the states of a key's records that its role has.
func (p *plan) statesOf(k *KeyRecord) []recordState {
	c := p.in.Chain
	states := []recordState{{"dnskey", stateIn(c.Keys, k.ID, p.now), sinceOf(c.Keys, k.ID)}}
	if k.Role.signsRest() && !k.isForeign() {
		states = append(states, recordState{"rrsig", stateIn(c.Signers, k.ID, p.now), sinceOf(c.Signers, k.ID)})
	}
	if k.Role.signsKeys() {
		ds := stateIn(c.DS, k.ID, p.now)
		if ds == Omnipresent && last(c.DS).Seen.IsZero() {
			ds = Rumoured // wanted, and seen by nobody
		}
		states = append(states, recordState{"ds", ds, sinceOf(c.DS, k.ID)})
	}
	return states
}

// sinceOf is when a key was last put into, or taken out of, what is published.
func sinceOf(history []Version, id string) (since time.Time) {
	in := false
	for _, v := range history {
		if v.has(id) != in {
			in, since = !in, v.Since
		}
	}
	return since
}

// useOf says what a key is at present.
func (p *plan) useOf(k *KeyRecord) string {
	c, g := p.in.Chain, p.in.Chain.Goal
	switch {
	case !k.Retired.IsZero():
		return "retired"
	case k.isForeign():
		return "foreign"
	case slices.Contains(g.Reserve, k.ID):
		return "reserve"
	case k.ID == g.Standby:
		return "standby"
	case !g.has(k.ID):
		return "outgoing"
	case k.Role.signsRest() && !last(c.Signers).has(k.ID), k.Role.signsKeys() && !last(c.DS).has(k.ID) && !g.NoDS:
		return "incoming"
	}
	return string(k.Role)
}

// status describes the keys of a zone.
func (p *plan) status() Status {
	s := Status{Zone: p.in.Zone, Hosted: p.in.Parent != nil, Overdue: p.overdue(), Stock: p.in.Chain.Stock.End(), DSSeen: last(p.in.Chain.DS).Seen, Past: p.in.Chain.Log}
	for _, k := range p.in.Keys {
		ks := KeyStatus{KeyRecord: k, Use: p.useOf(k)}
		for _, r := range p.statesOf(k) {
			switch r.record {
			case "dnskey":
				ks.DNSKEY = r.state
			case "rrsig":
				ks.RRSIG = r.state
			case "ds":
				ks.DS = r.state
			}
			ks.Since = later(ks.Since, r.since)
		}
		switch {
		case !k.Retired.IsZero():
			ks.Since = k.Retired
		case ks.Since.IsZero():
			ks.Since = k.Created
		}
		s.Keys = append(s.Keys, ks)
	}
	slices.SortFunc(s.Keys, func(a, b KeyStatus) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	if step := p.next(); step == nil {
		s.Wanted = p.wanted
		switch {
		case p.ceremony: // more can be done about that than about anything else
			s.Wanted = ceremonyWanted
		case p.blocked != nil:
			s.Because, s.Until = p.blocked.why, p.blocked.until
		}
	}
	s.ToDo = p.toDo()
	if n := unknownIn(alive(p.in.Chain.DS, p.now)); n > 0 { // above all else
		s.Wanted = fmt.Sprintf("the parent to give up %d DS records of keys that the zone does not have; without another DS no validator accepts an answer", n)
	}
	return s
}

// toDo says what somebody has to do for the parent to have the DS that is wanted, "" if nothing or nobody has to.
func (p *plan) toDo() string {
	wanted, apex, policy := last(p.in.Chain.DS), p.in.Zone.Name, p.in.Zone.Parent
	switch {
	case p.in.Parent != nil || !wanted.Seen.IsZero():
		return ""
	case policy.Mode != zone.ParentManual && p.in.Chain.NoCDS && !policy.Push.IsValid():
		return "remove the DS records from the parent; no CDS RRset asks for that, since the KSK has not signed one"
	case policy.Mode != zone.ParentManual:
		return ""
	case len(wanted.Keys) == 0:
		return fmt.Sprintf("remove the DS records from the parent; when none of its servers has any: mxseal key confirm-ds %s %s", apex, NoKey)
	}
	var confirm []string
	for _, id := range wanted.Keys {
		if k := p.find(id); k != nil && !slices.Contains(wanted.Confirmed, id) {
			confirm = append(confirm, fmt.Sprintf("mxseal key confirm-ds %s %d", apex, k.KeyTag))
		}
	}
	return fmt.Sprintf("put exactly the DS records that \"mxseal zone ds %s\" shows into the parent; when all of its servers have them: %s", apex, strings.Join(confirm, " && "))
}

func unknownIn(ds []Version) (n int) {
	for _, v := range ds {
		for _, id := range v.Keys {
			if strings.HasPrefix(id, unknownMark) {
				n++
			}
		}
	}
	return n
}

// Status describes the keys of a zone, with the steps to come; false if there is no such zone.
func (m *Manager) Status(apex zone.Name, now time.Time) (Status, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, ok := m.input(m.o.Store.View(), apex, Sighting{})
	if !ok || in.Chain == nil {
		return Status{}, false
	}
	s := m.planner.on(in, now).status()
	s.Coming = m.planner.forecast(in, now)
	switch {
	case m.holding != nil:
		s.Holding = m.holding.Error()
	case in.Zone.Closing:
		s.Holding = closingHolds
	}
	if err := m.failing[apex]; err != nil {
		s.Failing = err.Error()
	}
	if seen := m.parents[apex]; seen != nil {
		s.Parents, s.Looked = seen.answers, seen.at
	}
	return s, true
}
