package keymgmt

import (
	"fmt"
	"time"
)

// All waiting times rely on every node answering with what was committed within the zone's propagation delay, or not at all (Dprp of
// RFC 7583 §2). Where several nodes share a database that may become wrong: one of them may be cut off, and go on answering. As
// long as that may be so no step is made, and the waiting times stand still.

// Nodes are those that answer with what is committed.
type Nodes interface {
	// Behind returns for how long some node may have been answering without what was committed since, at worst since the last call,
	// and names such nodes; none if they have not been asked yet, or have everything by now.
	Behind() (time.Duration, string)
	// Settled notes that what the last Behind has told was acted on, durably. Another leader goes on from there.
	Settled()
}

// mostBehind is for how long a node may be behind before waiting times stand still. It is less than a zone's propagation delay mostly is,
// since that may have been less when the times were noted; for zones whose delay is less still, see Manager.delay.
const mostBehind = 10 * time.Second

// judgeNodes decides whether steps may be made, as far as other nodes are concerned. When they may again, all waiting times are
// longer by the time for which they could not be relied on.
func (m *Manager) judgeNodes(r Reading) {
	if m.o.Nodes == nil {
		return
	}
	m.delay = min(m.delay, m.leastDelay())
	behind, who := m.o.Nodes.Behind()
	if late := behind - m.delay; late > 0 {
		if m.stoodStill.IsZero() {
			m.stoodStill = r.Wall.Add(-late)
			m.o.Log.Warn("no key changes while a node may be answering with what was replaced", "nodes", who, "since", r.Wall.Add(-behind))
		}
		m.hold(whyBehind(who, behind.Round(time.Second)))
		return
	}
	if m.stoodStill.IsZero() {
		return
	}
	m.moveAll(m.stoodStill, r.Wall)
	m.o.Log.Info("all nodes answer with what was committed; the waiting times of the keys go on", "stood still since", m.stoodStill)
	m.stoodStill = time.Time{}
}

func whyBehind(who string, behind time.Duration) error {
	if who == "" {
		return fmt.Errorf("not all nodes have said yet that they have everything, since %s ago; as a rule that takes seconds", behind)
	}
	return fmt.Errorf("%s may be answering with what was replaced up to %s ago; if it is gone for good, say so: mxseal node forget", who, behind)
}

// settle has the next leader go on from what was judged, when nothing of it is left to be written.
func (m *Manager) settle() {
	if m.o.Nodes != nil && m.stoodStill.IsZero() && len(m.moves) == 0 {
		m.o.Nodes.Settled()
	}
}

// hold keeps steps from being made. The first reason is kept.
func (m *Manager) hold(why error) {
	if m.holding == nil {
		m.holding = why
	}
}

// leastDelay is the smallest propagation delay of all zones.
func (m *Manager) leastDelay() time.Duration {
	least := never
	for z := range m.o.Store.View().Zones {
		least = min(least, z.Keys.PropagationDelay)
	}
	return least
}
