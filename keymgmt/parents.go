package keymgmt

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Parents asks the servers of parent zones, and tells them.
type Parents interface {
	// AskDS asks every server for the DS RRset of a zone: an answer for each. What is not an authoritative answer is
	// an error, never "none".
	AskDS(ctx context.Context, child zone.Name, servers []netip.AddrPort) []ParentAnswer
	// Notify tells the parent that there is a new CDS RRset, if it wants to be told (RFC 9859), and returns whom it told.
	Notify(ctx context.Context, child zone.Name, servers []netip.AddrPort) (target string, err error)
	// Push puts the DS RRset of a zone into its parent's with a DNS UPDATE message, signed with the TSIG key of that name.
	// The RDATA is in wire form, the TTL in seconds.
	Push(ctx context.Context, child zone.Name, server netip.AddrPort, key string, ds []string, ttl uint32) error
}

// ParentAnswer is what one server of a parent says.
type ParentAnswer struct {
	Server netip.AddrPort
	DS     []string // RDATA in wire form; empty: there is none
	TTL    uint32   // seconds
	Err    error
}

const (
	// agreements is how often in a row all servers have to give the same answer. One server may have many instances
	// behind its address.
	agreements = 3
	// maxDSTTL bounds what a parent may claim, in seconds: no resolver of note keeps anything for longer than a week.
	maxDSTTL = 7 * 86400
	// maxAsking bounds the zones whose parents are asked at the same time.
	maxAsking = 16
	// Bounds of the time between two looks while a change is waited for, and of the time when none is.
	minLook, maxLook, restingLook = time.Second, 15 * time.Minute, time.Hour
)

// sightings is what was seen at the parent of one zone, and when to look next.
type sightings struct {
	answers  []ParentAnswer // the last ones
	at       time.Time      // of the last look
	agreed   int            // how often in a row all servers have said the same
	unread   bool           // the planner has not seen them yet
	notified time.Time      // since when the DS RRset is wanted that the parent was told of
}

// wantsLook reports whether the servers of a zone's parent are to be asked.
func wantsLook(z *zone.Zone, parent *zone.Zone) bool {
	return parent == nil && z.Parent.Mode == zone.ParentCheck && len(z.Parent.Servers) > 0
}

// lookAtParents asks the parents of all zones for which it is time. It holds no lock while it waits for them.
func (m *Manager) lookAtParents(ctx context.Context, now time.Time) {
	if m.o.Parents == nil {
		return
	}
	view := m.o.Store.View()
	slots := make(chan struct{}, maxAsking)
	var looks sync.WaitGroup
	for z := range view.Zones {
		if !wantsLook(z, zone.HostedParent(view, z)) || now.Before(m.sightingsOf(z.Name).next(z, view.Chain(z.Name))) {
			continue
		}
		slots <- struct{}{}
		looks.Go(func() {
			defer func() { <-slots }()
			m.look(ctx, z, view.Chain(z.Name), now)
		})
	}
	looks.Wait()
}

// sightingsOf returns the entry of a zone.
func (m *Manager) sightingsOf(apex zone.Name) *sightings {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.parents[apex] == nil {
		m.parents[apex] = &sightings{}
	}
	return m.parents[apex]
}

// look asks the servers of one parent. Before that it tells the parent that there is something new, once all nodes of ours
// serve it.
func (m *Manager) look(ctx context.Context, z *zone.Zone, c *Chain, now time.Time) {
	s := m.sightingsOf(z.Name)
	tells := c != nil && (!c.NoCDS || z.Parent.Push.IsValid())
	if tells && last(c.DS).Seen.IsZero() && s.notified != last(c.DS).Since && !now.Before(last(c.DS).Since.Add(z.Keys.PropagationDelay)) {
		if m.tell(ctx, z, c) {
			s.notified = last(c.DS).Since
		}
	}
	answers := m.o.Parents.AskDS(ctx, z.Name, z.Parent.Servers)
	m.mu.Lock()
	defer m.mu.Unlock()
	s.note(answers, now)
	m.o.Metrics.looked(z.Name, answers)
}

// tell tells the parent that another DS RRset is wanted, or puts it there. It reports whether that needs no repetition.
func (m *Manager) tell(ctx context.Context, z *zone.Zone, c *Chain) bool {
	if push := z.Parent.Push; push.IsValid() {
		var ds []string
		find := finder(m.o.Store.View().Keys(z.Name))
		for _, id := range last(c.DS).Keys {
			if k := find(id); k != nil {
				ds = append(ds, k.DS()...)
			}
		}
		if err := m.o.Parents.Push(ctx, z.Name, push, z.Parent.PushKey, ds, uint32(z.Keys.ParentDSTTL/time.Second)); err != nil {
			m.o.Log.Error("the DS was not put into the parent; it will be tried again", "zone", z.Name, "server", push, "error", err)
			return false
		}
		m.o.Log.Info("the DS was put into the parent", "zone", z.Name, "server", push)
		return true
	}
	target, err := m.o.Parents.Notify(ctx, z.Name, z.Parent.Servers)
	if err != nil {
		m.o.Log.Warn("the parent was not told of the new CDS RRset; it will find it by itself", "zone", z.Name, "error", err)
	} else {
		m.o.Log.Info("the parent was told of the new CDS RRset", "zone", z.Name, "target", target)
	}
	return true
}

// next is when to look next.
func (s *sightings) next(z *zone.Zone, c *Chain) time.Time {
	if c != nil && !last(c.DS).Seen.IsZero() && len(alive(c.DS, s.at)) == 1 {
		return s.at.Add(restingLook)
	}
	return s.at.Add(min(max(z.Keys.ParentPropagationDelay/4, minLook), maxLook))
}

// note takes the answers of a look in.
func (s *sightings) note(answers []ParentAnswer, now time.Time) {
	same := len(answers) > 0
	for _, a := range answers {
		same = same && a.Err == nil && slices.Equal(a.DS, answers[0].DS)
	}
	before := s.answers
	switch {
	case !same:
		s.agreed = 0
	case len(before) > 0 && slices.Equal(before[0].DS, answers[0].DS):
		s.agreed++
	default:
		s.agreed = 1
	}
	s.answers, s.at, s.unread = answers, now, true
}

// take returns the last look as the planner wants it, once: what was seen a while ago is no evidence for a step that is
// planned now.
func (s *sightings) take(records []*KeyRecord) Sighting {
	if s == nil || !s.unread {
		return Sighting{}
	}
	s.unread = false
	out := Sighting{Agreed: s.agreed >= agreements}
	for _, a := range s.answers {
		if a.Err == nil {
			out.Sets = append(out.Sets, dsKeys(records, a.DS))
			out.TTL = max(out.TTL, min(a.TTL, maxDSTTL))
		}
	}
	return out
}

// agreedOn checks that every server has the DS of all of ids now, for an operator who says so.
func agreedOn(answers []ParentAnswer, records []*KeyRecord, ids []string) error {
	for _, a := range answers {
		if a.Err != nil {
			return fmt.Errorf("%s: %w", a.Server, a.Err)
		}
		if got := dsKeys(records, a.DS); !slices.Equal(got, ids) {
			return fmt.Errorf("%s has the DS of %d keys, and not of exactly those that are wanted", a.Server, len(got))
		}
	}
	return nil
}
