package keymgmt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// world is one zone, the nodes that serve it, its parent with all of its servers, and all resolvers, over years, minute by
// minute. Everything random comes from one seed.
type world struct {
	t      testing.TB
	random *rand.Rand
	apex   zone.Name
	log    strings.Builder

	now       time.Time     // the true time
	offset    time.Duration // what our clock shows more
	synced    bool
	boot      time.Time // true time at which the monotonic clock was 0
	store     *memory
	manager   *Manager
	planner   planner // of every manager
	tolerance func(m *Manager)
	up        bool
	downUntil time.Time
	wake      time.Time // true time

	snapshots []*snapshot // what nodes serve; the last one is the newest
	behind    func() (time.Duration, string)
	cutOff    time.Time     // when some node heard last of anything; zero if all hear
	healed    time.Time     // when it hears again
	cutDS     []string      // what it has of a hosted parent
	worst     time.Duration // for how long a node was behind that hears again
	unsettled time.Time     // up to when all had heard, by what the manager was told and has not acted on yet
	parent    parent
	offline   []*KeyRecord // what the custodian has
	responses []*Response  // of the last ceremonies
	lost      bool         // he has lost all keys, and the zone goes insecure until it does not need them any more
	resolvers *dnstest.Population

	begun, ended map[string]int // rollovers
}

// snapshot is what nodes serve between two commits.
type snapshot struct {
	z        *zone.Zone
	ks       *KeySet
	replaced time.Time // zero: newest
	period   *Period
	keys     *dnstest.Cached
	windows  [2]rrsig.Window
	data     [2]*dnstest.Cached
}

const (
	hostData = 0 // in the TTL of hosts
	nsData   = 1 // in that of name servers
)

// newWorld makes a zone with a random policy.
func newWorld(t testing.TB, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 7)), apex: zone.MustParseName("o-v1.mx.test."),
		now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), synced: true, planner: newPlanner(), tolerance: func(*Manager) {},
		resolvers: dnstest.NewPopulation(), begun: map[string]int{}, ended: map[string]int{}}
	w.behind = w.sinceCutOff
	v, err := vaultOf(testKEK(byte(seed)))
	if err != nil {
		t.Fatal(err)
	}
	w.store = newMemory(v)
	w.store.committed = w.publish
	w.parent = w.newParent()
	if w.parent.mode == zone.ParentHosted {
		spec := zone.DefaultZoneSpec(zone.MustParseName("mx.test."))
		spec.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
		spec.TTL.NS = uint32(w.parent.ttl / time.Second)
		spec.Keys.PropagationDelay, spec.Signature.Lifetime = w.parent.propagation, 48*time.Hour
		w.must(w.store.put(zone.MustParseName("mx.test."), spec, w.now))
		clear(w.store.chains) // its own keys are not what is looked at
		clear(w.store.keys)
	}
	w.must(w.store.put(w.apex, w.newPolicy(), w.now))
	w.note("parent: %s, %d servers, propagation %s, DS TTL %s; nodes hear within %s; policy %+v", w.parent.mode, len(w.parent.servers), w.parent.propagation, w.parent.ttl, w.parent.ours, w.store.zones[w.apex].Keys)
	w.start()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("%s\n%s: %v", w.story(), w.now, err)
	}
}

func (w *world) note(format string, args ...any) {
	fmt.Fprintf(&w.log, "%s  %s\n", w.now.Format(time.DateTime), fmt.Sprintf(format, args...))
}

// story is the end of what has happened.
func (w *world) story() string {
	lines := strings.Split(w.log.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// between returns a time of whole minutes.
func (w *world) between(least, most time.Duration) time.Duration {
	return least.Truncate(time.Minute) + time.Duration(w.random.Int64N(int64((most-least)/time.Minute)+1))*time.Minute
}

// chance is true once in n times.
func (w *world) chance(n int) bool { return w.random.IntN(n) == 0 }

// newPolicy is random, but safe: the zone's rules see to that.
func (w *world) newPolicy() zone.ZoneSpec {
	s := zone.DefaultZoneSpec(w.apex)
	s.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	ttl := func() uint32 {
		return uint32(w.between(time.Minute, 24*time.Hour)/time.Second) / uint32(1+w.random.IntN(20)) / 60 * 60
	}
	s.TTL = zone.TTLs{Host: max(60, ttl()), Negative: 60, DNSKEY: max(60, ttl()), NS: max(60, ttl())}
	s.Signature.Quantum = w.between(6*time.Hour, 72*time.Hour)
	s.Signature.Lifetime = s.Signature.Quantum + 26*time.Hour
	s.Signature.DNSKEYLifetime = w.between(4*24*time.Hour, 20*24*time.Hour)
	s.Signature.DNSKEYStock = s.Signature.DNSKEYLifetime + w.between(0, 30*24*time.Hour)
	s.Keys.Algorithm = []zone.Algorithm{zone.ECDSAP256SHA256, zone.ED25519}[w.random.IntN(2)]
	s.Keys.CSK, s.Keys.StandbyKSK = w.chance(4), w.chance(4)
	if !s.Keys.CSK && w.chance(3) {
		s.Keys.KSKPlace = zone.KSKOffline
	}
	s.Keys.PropagationDelay = w.parent.ours
	s.Keys.ParentPropagationDelay = w.parent.propagation
	s.Keys.ParentDSTTL = w.parent.ttl
	if w.parent.mode != zone.ParentManual { // an operator may be wrong; what was seen counts
		s.Keys.ParentDSTTL = time.Second * time.Duration(1+w.random.Int64N(int64(w.parent.ttl/time.Second)))
	}
	s.Keys.ZSKLifetime = w.between(8*24*time.Hour, 60*24*time.Hour)
	s.Keys.KSKLifetime = w.between(20*24*time.Hour, 400*24*time.Hour)
	s.Parent = zone.ParentPolicy{Mode: w.parent.mode, WithdrawDS: w.chance(12)}
	if w.parent.mode == zone.ParentCheck {
		for i := range w.parent.servers {
			s.Parent.Servers = append(s.Parent.Servers, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53))
		}
	}
	return s
}

// clock is what our program reads.
func (w *world) Read() Reading {
	return Reading{Wall: w.now.Add(w.offset), Mono: w.now.Sub(w.boot), Synchronised: w.synced}
}

// start starts the program, as after a crash: all it knows is in the store.
func (w *world) start() {
	if !w.unsettled.IsZero() {
		w.worst = max(w.worst, w.now.Sub(w.unsettled))
	}
	w.boot = w.now.Add(-w.between(0, 1000*time.Hour))
	w.manager = NewManager(Options{Store: w.store, Vault: w.store.vault, Clock: w, Parents: &w.parent, Nodes: modelNodes{w}, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics()})
	w.manager.planner = w.planner
	w.tolerance(w.manager)
	w.parent.world = w
	if !w.up && w.cutOff.IsZero() { // while only this node was away others went on with what they had heard
		w.snapshots = nil
	}
	w.up = true
	z := w.store.zones[w.apex]
	ks, err := w.store.vault.Open(z, w.store.Keys(w.apex), w.store.chains[w.apex])
	w.must(err)
	w.publish(z, ks)
	w.tick()
	w.custodian()
}

func (w *world) tick() {
	pause := w.manager.Tick(context.Background())
	w.must(errors.Join(w.manager.failing[w.apex]))
	w.wake = w.now.Add(max(time.Minute, min(pause, 1000*time.Hour)).Truncate(time.Minute))
}

// publish makes a commit the newest snapshot; nodes that have not heard serve the one before for a while.
func (w *world) publish(z *zone.Zone, ks *KeySet) {
	if z.Name != w.apex {
		return
	}
	if n := len(w.snapshots); n > 0 {
		w.snapshots[n-1].replaced = w.now
	}
	w.snapshots = append(w.snapshots, &snapshot{z: z, ks: ks})
	if w.parent.mode == zone.ParentHosted {
		w.parent.set(0, rdataOf(ks.DS()), w.now)
	}
}

// minute lets one minute go by, and everybody look something up.
func (w *world) minute() {
	w.now = w.now.Add(time.Minute)
	if !w.cutOff.IsZero() && !w.now.Before(w.healed) {
		w.worst = max(w.worst, w.now.Sub(w.cutOff))
		w.cutOff = time.Time{}
		w.note("all nodes hear again")
	}
	if !w.up && !w.now.Before(w.downUntil) {
		w.note("starts")
		w.start()
	}
	if w.up && !w.now.Before(w.wake) {
		w.tick()
	}
	if w.up && w.now.Truncate(24*time.Hour).Equal(w.now) {
		w.custodian()
	}
	w.parent.act()
	fresh := w.serveDS()
	if w.up {
		fresh = w.serveZone() || fresh
	}
	r := w.resolvers
	r.Forget(w.now)
	if fresh {
		if err := r.Check(); err != nil {
			w.t.Fatalf("%s\n%s: %v\n%s", w.story(), w.now, err, w.plan().describe())
		}
	}
}

// plan is what the planner would be given, if it were asked now.
func (w *world) plan() *plan {
	z := w.store.zones[w.apex]
	return w.planner.on(Input{Zone: z, Parent: w.store.zones[w.apex.Parent()], Keys: w.store.Keys(w.apex), Chain: w.store.chains[w.apex]}, w.now.Add(w.offset))
}

// sinceCutOff is what the program is told of other nodes.
func (w *world) sinceCutOff() (time.Duration, string) {
	behind := w.worst
	w.worst = 0
	if !w.cutOff.IsZero() {
		behind = max(behind, w.now.Sub(w.cutOff))
	}
	return behind, "ns2"
}

// modelNodes is what the manager is told.
type modelNodes struct{ w *world }

func (n modelNodes) Behind() (time.Duration, string) {
	behind, who := n.w.behind()
	if since := n.w.now.Add(-behind); behind > 0 && (n.w.unsettled.IsZero() || since.Before(n.w.unsettled)) {
		n.w.unsettled = since
	}
	return behind, who
}

func (n modelNodes) Settled() { n.w.unsettled = time.Time{} }

// stale is what the node serves that hears nothing; nil if that is nothing old.
func (w *world) stale() *snapshot {
	if !w.cutOff.IsZero() {
		for _, s := range w.snapshots {
			if !s.replaced.Before(w.cutOff) {
				return s
			}
		}
	}
	return nil
}

// serveZone gives resolvers what nodes serve; with hosted parents this is also where the DS comes from.
func (w *world) serveZone() (fresh bool) {
	w.snapshots = slices.DeleteFunc(w.snapshots, func(s *snapshot) bool {
		return !s.replaced.IsZero() && w.now.After(s.replaced.Add(s.z.Keys.PropagationDelay)) && s != w.stale()
	})
	for _, s := range w.snapshots {
		if keys := w.keysOf(s); keys != nil {
			fresh = w.resolvers.Keys.Serve(w.now, keys) || fresh
		}
		fresh = w.resolvers.Data.Serve(w.now, w.dataOf(s, hostData), w.dataOf(s, nsData)) || fresh
	}
	return fresh
}

// keysOf returns the DNSKEY RRset of a snapshot with the signatures of the moment.
func (w *world) keysOf(s *snapshot) *dnstest.Cached {
	at := w.now.Add(w.offset)
	period := s.ks.stock.at(at)
	if period == nil && (!s.replaced.IsZero() || w.lost) {
		return nil // SERVFAIL: not bogus, and gone in a moment, or what is lost for good
	}
	if period == nil {
		w.t.Fatalf("%s\n%s: no signatures of the DNSKEY RRset are left\n%s", w.story(), w.now, w.plan().describe())
	}
	if s.period != period {
		sigs, _ := s.ks.Stocked(zone.TypeDNSKEY, at)
		s.period, s.keys = period, w.item("DNSKEY", s.ks.Apex()[0], sigs)
	}
	w.inPeriod(s.keys)
	return s.keys
}

// dataOf returns a record of the zone, signed as the signer does.
func (w *world) dataOf(s *snapshot, which int) *dnstest.Cached {
	name, ttl := zone.MustParseName("contoso-com.o-v1.mx.test."), s.z.TTL.Host
	if which == nsData {
		name, ttl = w.apex, s.z.TTL.NS
	}
	window := rrsig.At(s.z.Signature, name, w.now.Add(w.offset))
	if s.data[which] == nil || s.windows[which] != window {
		set := zone.NewRRset(name, zone.TypeA, ttl, []string{"\xc0\x00\x02\x01"})
		var sigs []string
		for _, k := range s.ks.SigningKeys(w.apex, zone.TypeA) {
			data := rrsig.AppendData(nil, w.apex, set, window)
			rrsig.SetKey(data, k.Algorithm(), k.Tag())
			sig, err := k.AppendSignature(slices.Clone(rrsig.Head(data, w.apex)), data, new(sha256.Sum256(data)))
			w.must(err)
			sigs = append(sigs, string(sig))
		}
		s.windows[which], s.data[which] = window, w.item("data", set, sigs)
	}
	w.inPeriod(s.data[which])
	return s.data[which]
}

func (w *world) item(what string, set zone.RRset, sigs []string) *dnstest.Cached {
	rrs, err := dnstest.SignedRecords(set, sigs)
	w.must(err)
	return dnstest.NewCached(what, rrs, set.TTL())
}

// inPeriod checks that signatures that are served now are valid now, and for the TTL.
func (w *world) inPeriod(it *dnstest.Cached) {
	for _, sig := range it.Sigs {
		if int64(sig.Inception) > w.now.Unix() || int64(sig.Expiration) < w.now.Add(it.TTL).Unix() {
			w.t.Fatalf("%s\n%s: served, and not valid for the TTL: %s", w.story(), w.now, sig)
		}
	}
}

// describe writes a chain for people.
func (p *plan) describe() string {
	var b strings.Builder
	c := p.in.Chain
	fmt.Fprintf(&b, "goal: keys %s, DS %s, signers %s\n", p.names(c.Goal.keys(p.find)), p.names(c.Goal.ds(p.find)), p.names(c.Goal.signers()))
	for what, h := range map[string][]Version{"DS": c.DS, "DNSKEY": c.Keys, "signers": c.Signers} {
		for _, v := range h {
			fmt.Fprintf(&b, "%s: %s since %s until %s seen %s\n", what, p.names(v.Keys), v.Since, v.Until, v.Seen)
		}
	}
	step := p.next()
	fmt.Fprintf(&b, "next: %+v\nwanted %q, blocked %+v, wake %s\n", step, p.wanted, p.blocked, p.wake)
	for _, e := range c.Log {
		fmt.Fprintf(&b, "%s %s: %s\n", e.At, e.Kind, e.Why)
	}
	return b.String()
}
