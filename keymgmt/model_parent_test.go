package keymgmt

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/zone"
)

// parent is the parent zone: several servers, each with instances that learn of changes late.
type parent struct {
	world       *world
	mode        string
	ours        time.Duration // how long our own nodes take to hear of a change
	propagation time.Duration // how long instances of a server take
	ttl         time.Duration // of the DS
	slow        time.Duration // the longest time between two looks at our CDS
	servers     []parentServer
	nextLook    time.Time
	pending     []pendingDS
}

type parentServer struct {
	ds       []string
	old      [][]string // what instances may serve still
	oldUntil []time.Time
	items    map[string]*dnstest.Cached
}

type pendingDS struct {
	at     time.Time
	server int
	ds     []string
}

func (w *world) newParent() parent {
	p := parent{
		mode:        []string{zone.ParentHosted, zone.ParentCheck, zone.ParentCheck, zone.ParentManual}[w.random.IntN(4)],
		ours:        w.between(time.Minute, 2*time.Hour),
		propagation: w.between(time.Minute, 4*time.Hour),
		ttl:         w.between(time.Minute, 48*time.Hour),
		slow:        w.between(2*time.Hour, 24*time.Hour),
		servers:     make([]parentServer, 1+w.random.IntN(4)),
	}
	if w.chance(3) {
		p.slow = w.between(24*time.Hour, 90*24*time.Hour)
	}
	if p.mode == zone.ParentHosted {
		p.servers = p.servers[:1]
		p.ttl = min(p.ttl, 24*time.Hour)
	}
	return p
}

// set changes what one server serves.
func (p *parent) set(i int, ds []string, now time.Time) {
	s := &p.servers[i]
	if slices.Equal(s.ds, ds) {
		return
	}
	s.old, s.oldUntil = append(s.old, s.ds), append(s.oldUntil, now.Add(p.propagation))
	s.ds = slices.Clone(ds)
}

// act lets the parent do what is due: look at our CDS, and change its servers one after another.
func (p *parent) act() {
	w := p.world
	p.pending = slices.DeleteFunc(p.pending, func(c pendingDS) bool {
		if w.now.Before(c.at) {
			return false
		}
		w.note("parent server %d has %d DS records", c.server, len(c.ds))
		p.set(c.server, c.ds, w.now)
		return true
	})
	if p.mode == zone.ParentHosted || !w.up || w.now.Before(p.nextLook) {
		return
	}
	p.nextLook = w.now.Add(w.between(time.Hour, p.slow))
	ks := w.snapshots[w.random.IntN(len(w.snapshots))].ks // any node may be asked
	var ds []string
	if len(ks.Apex()) > 1 {
		ds = slices.DeleteFunc(rdataOf(ks.Apex()[1]), func(d string) bool { return d == deleteCDS })
	} else if !w.lost && w.chance(2) {
		return // nobody does by hand what no CDS RRset asks for
	}
	if p.everywhere(ds) && len(p.pending) == 0 {
		p.confirm()
		return
	}
	p.pending = nil
	for i := range p.servers {
		delay := w.between(0, 2*p.propagation)
		if w.chance(5) {
			delay = w.between(0, 20*24*time.Hour) // some of the parent's servers lag behind for weeks
		}
		p.pending = append(p.pending, pendingDS{w.now.Add(delay), i, ds})
	}
}

func (p *parent) everywhere(ds []string) bool {
	return !slices.ContainsFunc(p.servers, func(s parentServer) bool { return !slices.Equal(s.ds, ds) })
}

// confirm is what the operator of a zone in manual mode does, who looks at the parent too.
func (p *parent) confirm() {
	w := p.world
	if p.mode != zone.ParentManual {
		return
	}
	c := w.store.chains[w.apex]
	if !last(c.DS).Seen.IsZero() {
		return
	}
	wanted := []string{}
	for _, id := range last(c.DS).Keys {
		wanted = append(wanted, w.store.keys[id].DS()...)
	}
	slices.Sort(wanted)
	if !p.everywhere(wanted) {
		return
	}
	keys := last(c.DS).Keys
	if len(keys) == 0 {
		keys = []string{NoKey}
	}
	for _, id := range keys {
		err := w.manager.ConfirmDS(context.Background(), w.apex, id)
		if err != nil && !errors.Is(err, zone.ErrUnavailable) && !w.store.zones[w.apex].Closing {
			w.must(err)
		}
	}
	w.wake = w.now
}

// AskDS implements Parents: some questions are lost.
func (p *parent) AskDS(_ context.Context, _ zone.Name, servers []netip.AddrPort) []ParentAnswer {
	answers := make([]ParentAnswer, len(servers))
	for i := range answers {
		answers[i] = ParentAnswer{Server: servers[i], DS: p.servers[i].ds, TTL: uint32(p.ttl / time.Second)}
		if p.world.chance(20) {
			answers[i] = ParentAnswer{Server: servers[i], Err: errors.New("no answer")}
		}
	}
	return answers
}

// Notify implements Parents: a parent that is told looks soon.
func (*parent) Push(context.Context, zone.Name, netip.AddrPort, string, []string, uint32) error {
	return errors.New("takes no updates")
}

func (p *parent) Notify(context.Context, zone.Name, []netip.AddrPort) (string, error) {
	if p.world.chance(2) {
		return "", errors.New("nobody there")
	}
	p.nextLook = p.world.now
	return "parent", nil
}

// serveDS gives resolvers what any instance of any server serves.
func (w *world) serveDS() (fresh bool) {
	if w.parent.mode == zone.ParentHosted && !w.cutOff.IsZero() {
		fresh = w.resolvers.DS.Serve(w.now, w.parent.servers[0].item(w, w.cutDS))
	}
	for i := range w.parent.servers {
		s := &w.parent.servers[i]
		fresh = w.resolvers.DS.Serve(w.now, s.item(w, s.ds)) || fresh
		for j := len(s.old) - 1; j >= 0; j-- {
			if w.now.After(s.oldUntil[j]) {
				s.old, s.oldUntil = slices.Delete(s.old, j, j+1), slices.Delete(s.oldUntil, j, j+1)
				continue
			}
			fresh = w.resolvers.DS.Serve(w.now, s.item(w, s.old[j])) || fresh
		}
	}
	return fresh
}

func (s *parentServer) item(w *world, ds []string) *dnstest.Cached {
	key := strings.Join(ds, "")
	if s.items == nil || len(s.items) > 1000 {
		s.items = map[string]*dnstest.Cached{}
	}
	if s.items[key] == nil {
		it := w.item("DS", zone.NewRRset(w.apex, zone.TypeDS, uint32(w.parent.ttl/time.Second), ds), nil)
		it.TTL = w.parent.ttl // also of there being none
		s.items[key] = it
	}
	return s.items[key]
}
