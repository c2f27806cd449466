package server_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/signer"
	"github.com/mxseal/mxseal/zone"
)

var now = time.Date(2026, 3, 1, 12, 34, 56, 0, time.UTC)

// state is a namespace in maps. Rows are added before it is served and not changed afterwards.
type state struct {
	*keymgmt.Ring
	zones   map[zone.Name]*zone.Zone
	pools   map[string]*zone.Pool
	tenants map[string]*zone.Tenant
	hosts   map[zone.Name]*zone.Host
	// withoutDS: no zone wants its DS published yet.
	withoutDS bool
}

func newState() *state {
	return &state{zones: map[zone.Name]*zone.Zone{}, pools: map[string]*zone.Pool{}, tenants: map[string]*zone.Tenant{},
		hosts: map[zone.Name]*zone.Host{}}
}

func (s *state) Zone(apex zone.Name) *zone.Zone    { return s.zones[apex] }
func (s *state) Pool(name string) *zone.Pool       { return s.pools[name] }
func (s *state) Tenant(id string) *zone.Tenant     { return s.tenants[id] }
func (s *state) HostsOf(zone.Owner) []*zone.Host   { return nil }
func (s *state) Pools(yield func(*zone.Pool) bool) { each(s.pools, "", yield) }

func (s *state) Host(apex zone.Name, label string) *zone.Host {
	name, err := apex.Child(label)
	if err != nil {
		return nil
	}
	return s.hosts[name]
}

func (s *state) DS(apex zone.Name) zone.RRset {
	if s.withoutDS {
		return zone.RRset{}
	}
	return s.Ring.DS(apex)
}

func (s *state) Tenants(after string, yield func(*zone.Tenant) bool) { each(s.tenants, after, yield) }

func (s *state) Zones(yield func(*zone.Zone) bool) {
	for _, z := range s.sorted() {
		if !yield(z) {
			return
		}
	}
}

func (s *state) Shards(apex zone.Name) (below []*zone.Zone) {
	for _, z := range s.sorted() {
		if z.Name != apex && z.Name.Within(apex) {
			below = append(below, z)
		}
	}
	return below
}

func (s *state) sorted() []*zone.Zone {
	return slices.SortedFunc(maps.Values(s.zones), func(a, b *zone.Zone) int { return zone.CompareNames(a.Name, b.Name) })
}

func each[K cmp.Ordered, T any](rows map[K]*T, after K, yield func(*T) bool) {
	for _, k := range slices.Sorted(maps.Keys(rows)) {
		if k > after && !yield(rows[k]) {
			return
		}
	}
}

// with returns a copy in which a change was made.
func (s *state) with(change func(*state)) *state {
	c := &state{s.Ring, maps.Clone(s.zones), maps.Clone(s.pools), maps.Clone(s.tenants), maps.Clone(s.hosts), s.withoutDS}
	change(c)
	return c
}

func (s *state) addZone(apex string, edit func(*zone.Zone)) *zone.Zone {
	name := zone.MustParseName(apex)
	z := &zone.Zone{Name: name, ID: "id-" + apex, ZoneSpec: zone.DefaultZoneSpec(name), Serial: 7}
	z.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	edit(z)
	s.zones[name] = z
	return z
}

func (s *state) addPool(name string, tlsa int, addresses ...string) {
	p := &zone.Pool{Name: name, MXPreference: 10, TLSAPorts: []uint16{25, 465}}
	for i, a := range addresses {
		p.Hosts = append(p.Hosts, zone.MailServer{Name: fmt.Sprint("in", i), Addresses: []netip.Addr{netip.MustParseAddr(a)}})
	}
	for i := range tlsa {
		p.TLSA = append(p.TLSA, zone.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte(strings.Repeat(string(rune('a'+i)), 32))})
	}
	s.pools[name] = loaded(p)
}

// loaded is a pool as it comes from the store, beyond the limits of zone.NewPool where a test needs that.
func loaded(p *zone.Pool) *zone.Pool {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	p = &zone.Pool{}
	if err := json.Unmarshal(b, p); err != nil {
		panic(err)
	}
	return p
}

// addHost makes a tenant of its own for a host.
func (s *state) addHost(apex *zone.Zone, label, pool string, edit func(*zone.Tenant, *zone.Host)) {
	t := &zone.Tenant{ID: label, Pool: pool, Zone: apex.Name, DANE: true, State: zone.Active}
	h := &zone.Host{Zone: apex.Name, Label: label, Tenant: label, DANE: true}
	edit(t, h)
	s.tenants[t.ID], s.hosts[h.Name()] = t, h
}

func asIs(*zone.Tenant, *zone.Host) {}

func nameserver(name string, addresses ...string) zone.Nameserver {
	ns := zone.Nameserver{Name: zone.MustParseName(name)}
	for _, a := range addresses {
		ns.Addresses = append(ns.Addresses, netip.MustParseAddr(a))
	}
	return ns
}

// standard has one of everything. policy chooses the keys of all zones.
func standard(t testing.TB, policy func(*zone.KeyPolicy)) *state {
	t.Helper()
	s := newState()
	parent := s.addZone("mx.test.", func(z *zone.Zone) {
		z.Nameservers = []zone.Nameserver{nameserver("ns1.mx.test.", "192.0.2.53", "2001:db8::53"), nameserver("ns.deep.mx.test.", "192.0.2.54"),
			nameserver("ns.example.net.")}
	})
	shard := s.addZone("o-v1.mx.test.", func(z *zone.Zone) { z.Parent.Mode, z.DrainPool = zone.ParentHosted, "drain" })
	s.addZone("apex.test.", func(z *zone.Zone) {
		z.Nameservers = []zone.Nameserver{nameserver("apex.test.", "192.0.2.55", "2001:db8::55")}
	})
	s.addPool("default", 2, "192.0.2.1", "192.0.2.2", "2001:db8::1")
	s.addPool("drain", 1, "192.0.2.99")
	s.addPool("six", 0, "2001:db8::6")
	s.addPool("large", 30, "192.0.2.1")
	s.addHost(parent, "above", "default", asIs)
	s.addHost(shard, "acme", "default", asIs)
	s.addHost(shard, "large", "large", asIs)
	s.addHost(shard, "six", "six", asIs)
	s.addHost(shard, "plain", "default", func(t *zone.Tenant, _ *zone.Host) { t.DANE = false })
	s.addHost(shard, "domain-plain", "default", func(_ *zone.Tenant, h *zone.Host) { h.DANE = false })
	s.addHost(shard, "drained", "default", func(t *zone.Tenant, _ *zone.Host) { t.State = zone.Suspended })
	s.addHost(shard, "revoked", "default", func(t *zone.Tenant, _ *zone.Host) { t.State = zone.Revoked })
	s.addHost(shard, "released", "default", func(_ *zone.Tenant, h *zone.Host) { h.Tenant = "" })
	s.addHost(shard, strings.Repeat("l", 63), "default", asIs)
	for _, z := range s.zones {
		policy(&z.Keys)
	}
	s.makeKeys(t)
	return s
}

func ecdsa(*zone.KeyPolicy) {}

// makeKeys gives every zone keys.
func (s *state) makeKeys(t testing.TB) {
	t.Helper()
	vault, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return strings.Repeat("5a", 32), true }})
	if err != nil {
		t.Fatal(err)
	}
	for _, z := range s.sorted() {
		keys, err := vault.NewZone(z, nil, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		ks, err := vault.Open(z, keys.Keys, keys.Chain)
		if err != nil {
			t.Fatal(err)
		}
		s.Ring = s.Ring.With(ks)
	}
}

// trusted returns the keys for the checks.
func (s *state) trusted(t testing.TB) dnstest.Keys {
	t.Helper()
	var sets []zone.RRset
	for apex := range s.zones {
		sets = append(sets, s.Apex(apex)...)
	}
	keys, err := dnstest.KeysOf(sets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// testSigner is the real signer as the server wants it, with hooks to spoil it.
type testSigner struct {
	*signer.Signer
	before func(set zone.RRset) error                   // before a signature is made
	spoil  func(set zone.RRset, sigs []string) []string // after it
}

func (s *testSigner) Sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, at time.Time) ([]string, rrsig.Span, error) {
	if s.before != nil {
		if err := s.before(set); err != nil {
			return nil, rrsig.Span{}, err
		}
	}
	signed, err := s.Signer.Sign(ks, z, set, at)
	if s.spoil != nil {
		signed.Sigs = s.spoil(set, signed.Sigs)
	}
	return signed.Sigs, signed.Span, err
}

func (s *testSigner) Verify(ks *keymgmt.KeySet, set zone.RRset, sigs []string, at time.Time) error {
	return signer.Verify(ks, signer.Signed{RRset: set, Sigs: sigs}, at)
}

// staleMarks are those of states that change all the time: no answer is given twice.
func staleMarks() func(apex zone.Name, label string) epoch.Mark {
	table := epoch.New()
	return func(apex zone.Name, label string) epoch.Mark {
		mark := table.Mark(apex, label)
		table.Raise([]zone.Name{apex}, nil)
		return mark
	}
}

// world is a server without sockets, and what it is made of.
type world struct {
	*server.Server
	state  *state
	keys   dnstest.Keys
	signer *testSigner
	log    *logBuffer
	opts   server.Options
	loaded atomic.Pointer[state]
}

func newWorld(t testing.TB, s *state, edit ...func(*server.Options)) *world {
	t.Helper()
	w := &world{state: s, keys: s.trusted(t), log: &logBuffer{}}
	w.signer = &testSigner{Signer: signer.New(signer.Options{CacheSize: 1 << 20})}
	w.loaded.Store(s)
	w.opts = server.Options{
		State: func() server.State {
			if loaded := w.loaded.Load(); loaded != nil {
				return loaded
			}
			return nil
		},
		Mark:   staleMarks(),
		Signer: w.signer, Now: func() time.Time { return now }, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics: server.NewMetrics(), CacheSize: 1 << 20, UDPSize: 1232, TCPIdle: time.Minute, TCPMax: 100, TCPMaxPerClient: 100,
	}
	for _, f := range edit {
		f(&w.opts)
	}
	srv, err := server.New(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Server = srv
	return w
}

var errNoReply = errors.New("no reply")

// exchange is what dnstest asks through.
func (w *world) exchange(via server.Transport) func([]byte) ([]byte, error) {
	return func(packet []byte) ([]byte, error) {
		reply := w.Respond(nil, packet, via)
		if len(reply) == 0 {
			return nil, errNoReply
		}
		return reply, nil
	}
}

func (w *world) ask(q dnstest.Query) (*dns.Msg, error) { return q.Ask(w.exchange(server.UDP)) }

// mustAsk packs any message and returns the reply over UDP.
func (w *world) mustAsk(t testing.TB, m *dns.Msg) *dns.Msg {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return w.mustExchange(t, packet)
}

func (w *world) mustExchange(t testing.TB, packet []byte) *dns.Msg {
	t.Helper()
	return parse(t, w.Respond(nil, packet, server.UDP))
}

func parse(t testing.TB, reply []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("reply %x: %v", reply, err)
	}
	return m
}

// edeOf returns the code of the extended error in a message, -1 if there is none.
func edeOf(m *dns.Msg) int {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if e, ok := o.(*dns.EDNS0_EDE); ok {
				return int(e.InfoCode)
			}
		}
	}
	return -1
}

// checkEmpty: no records but OPT.
func checkEmpty(t testing.TB, m *dns.Msg) {
	t.Helper()
	extra := len(m.Extra)
	if m.IsEdns0() != nil {
		extra--
	}
	if len(m.Answer)+len(m.Ns)+extra > 0 {
		t.Errorf("has records:\n%s", m)
	}
}

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
