package zone

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// memView is an immutable state of the namespace: rows by kind and id, and the owners that ever got a host.
type memView struct {
	revision uint64
	rows     map[Kind]map[string]Row
	owners   map[Owner]bool
}

func row[T Row](m *memView, kind Kind, id string) T {
	r, _ := m.rows[kind][id].(T)
	return r
}

func visit[T Row](m *memView, kind Kind, after string, yield func(T) bool) {
	for _, id := range slices.Sorted(maps.Keys(m.rows[kind])) {
		if id > after && !yield(row[T](m, kind, id)) {
			return
		}
	}
}

func (m *memView) Zone(apex Name) *Zone     { return row[*Zone](m, KindZone, apex.String()) }
func (m *memView) Pool(name string) *Pool   { return row[*Pool](m, KindPool, name) }
func (m *memView) Tenant(id string) *Tenant { return row[*Tenant](m, KindTenant, id) }
func (m *memView) Host(apex Name, label string) *Host {
	return row[*Host](m, KindHost, label+"."+apex.String())
}
func (m *memView) Zones(yield func(*Zone) bool) { visit(m, KindZone, "", yield) }
func (m *memView) Pools(yield func(*Pool) bool) { visit(m, KindPool, "", yield) }
func (m *memView) Tenants(after string, yield func(*Tenant) bool) {
	visit(m, KindTenant, after, yield)
}
func (m *memView) Hosts(yield func(*Host) bool) { visit(m, KindHost, "", yield) }

func (m *memView) Shards(apex Name) (below []*Zone) {
	for z := range m.Zones {
		if z.Name != apex && z.Name.Within(apex) {
			below = append(below, z)
		}
	}
	slices.SortFunc(below, func(a, b *Zone) int { return CompareNames(a.Name, b.Name) })
	return below
}

func (m *memView) HostsOf(o Owner) (hosts []*Host) {
	for h := range m.Hosts {
		if h.Owner == o {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// Every zone of a memView has keys, and a DS for its parent.
func (m *memView) Apex(apex Name) []RRset {
	if m.Zone(apex) == nil {
		return nil
	}
	return []RRset{NewRRset(apex, TypeDNSKEY, 3600, []string{"\x01\x01\x03\x0dkey"}), NewRRset(apex, TypeCDS, 3600, []string{"\x30\x39\x0d\x02\xab"}),
		NewRRset(apex, TypeCDNSKEY, 3600, []string{"\x01\x01\x03\x0dkey"})}
}

func (m *memView) DS(apex Name) RRset {
	return NewRRset(apex, TypeDS, 3600, []string{"\x30\x39\x0d\x02\xab"})
}

// errBadPlan is a plan that no store should have to understand.
var errBadPlan = errors.New("bad plan")

// commit returns the next state. It keeps the contract of [Changes] as strictly as a store must.
func (m *memView) commit(c Changes) (*memView, error) {
	if c.IsEmpty() {
		if len(c.Claims) > 0 {
			return nil, fmt.Errorf("%w: claims without puts", errBadPlan)
		}
		return m, nil
	}
	written := map[Ref]bool{}
	expected := slices.Clone(c.Requires)
	write := func(ref Ref) error {
		expected = append(expected, ref)
		ref.Revision = 0
		if written[ref] {
			return fmt.Errorf("%w: %s %s is written twice", errBadPlan, ref.Kind, ref.ID)
		}
		written[ref] = true
		return nil
	}
	for _, r := range c.Puts {
		if err := write(r.Ref()); err != nil {
			return nil, err
		}
	}
	for _, ref := range c.Deletes {
		if err := write(ref); err != nil {
			return nil, err
		}
	}
	for _, ref := range expected {
		var have uint64
		if r, found := m.rows[ref.Kind][ref.ID]; found {
			have = r.Ref().Revision
		}
		if have != ref.Revision {
			return nil, fmt.Errorf("%w: %s %s has revision %d, not %d", ErrRetry, ref.Kind, ref.ID, have, ref.Revision)
		}
	}
	next := &memView{revision: m.revision + 1, rows: map[Kind]map[string]Row{}, owners: maps.Clone(m.owners)}
	for _, claim := range c.Claims {
		if !slices.Contains(c.Puts, Row(claim.Host)) || claim.Host.Owner != claim.Owner {
			return nil, fmt.Errorf("%w: the claim of %s has no host", errBadPlan, claim.Owner)
		}
		if next.owners[claim.Owner] != (claim.Previous != nil) {
			return nil, fmt.Errorf("%w: %s got a host meanwhile", ErrRetry, claim.Owner)
		}
		next.owners[claim.Owner] = true
	}
	for _, kind := range []Kind{KindZone, KindPool, KindTenant, KindHost} {
		next.rows[kind] = map[string]Row{}
		maps.Copy(next.rows[kind], m.rows[kind])
	}
	for _, ref := range c.Deletes {
		delete(next.rows[ref.Kind], ref.ID)
	}
	for _, r := range c.Puts {
		next.rows[r.Ref().Kind][r.Ref().ID] = atRevision(r, next.revision)
	}
	return next, nil
}

func atRevision(r Row, revision uint64) Row {
	switch r := r.(type) {
	case *Zone:
		c := *r
		c.Revision = revision
		return &c
	case *Pool:
		c := *r
		c.Revision = revision
		return &c
	case *Tenant:
		c := *r
		c.Revision = revision
		return &c
	case *Host:
		c := *r
		c.Revision = revision
		return &c
	}
	panic(fmt.Sprintf("row of type %T", r))
}

// world is a state that changes, and a test that fails when a plan does.
type world struct {
	*memView
	t *testing.T
}

var (
	mx  = MustParseName("mx.test.")
	now = time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
)

func emptyWorld(t *testing.T) *world {
	t.Helper()
	return &world{&memView{rows: map[Kind]map[string]Row{}, owners: map[Owner]bool{}}, t}
}

// newWorld has the pools "default", "other" and "drain" and the zone mx.test.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := emptyWorld(t)
	for i, name := range []string{"default", "other", "drain"} {
		w.pool(name, poolSpec(fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1)))
	}
	w.zone(mx, zoneSpec(mx))
	return w
}

// apply commits a plan that must succeed.
func (w *world) apply(c Changes, err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	next, err := w.commit(c)
	if err != nil {
		w.t.Fatalf("commit: %v", err)
	}
	w.memView = next
}

func (w *world) pool(name string, spec PoolSpec) {
	w.t.Helper()
	c, _, err := PlanPutPool(w, name, spec, nil)
	w.apply(c, err)
}

func (w *world) zone(apex Name, spec ZoneSpec) {
	w.t.Helper()
	c, _, err := PlanPutZone(w, apex, spec, now, "id-"+apex.String(), nil)
	w.apply(c, err)
}

func (w *world) dropZone(apex Name) {
	w.t.Helper()
	c, _, err := PlanCloseZone(w, apex, nil)
	w.apply(c, err)
	c, _, err = PlanDeleteZone(w, apex)
	w.apply(c, err)
}

func (w *world) tenant(id string, spec TenantSpec) *Tenant {
	w.t.Helper()
	c, _, err := PlanPutTenant(w, id, spec, now, nil)
	w.apply(c, err)
	return w.Tenant(id)
}

func (w *world) patch(id string, patch TenantPatch) {
	w.t.Helper()
	c, _, err := PlanPatchTenant(w, id, patch, now, nil)
	w.apply(c, err)
}

func (w *world) suspend(id string) {
	w.t.Helper()
	w.patch(id, TenantPatch{State: new(Suspended)})
}

func (w *world) revoke(id string) {
	w.t.Helper()
	c, _, err := PlanRevokeTenant(w, id, now, nil)
	w.apply(c, err)
}

// host returns the host of a domain, which must exist.
func (w *world) host(d Domain) *Host {
	w.t.Helper()
	h := HostOf(w, DomainOwner(d))
	if h == nil {
		w.t.Fatalf("%s has no host", d)
	}
	return h
}

func poolSpec(addresses ...string) PoolSpec {
	spec := PoolSpec{MXPreference: 10, TLSA: []TLSA{{3, 1, 1, []byte(strings.Repeat("d", 32))}}}
	for i, a := range addresses {
		spec.Hosts = append(spec.Hosts, MailServer{fmt.Sprintf("in%d", i+1), []netip.Addr{netip.MustParseAddr(a)}})
	}
	return spec
}

// zoneSpec is the default with one name server, ns1 in the zone.
func zoneSpec(apex Name) ZoneSpec {
	spec := DefaultZoneSpec(apex)
	spec.Nameservers = []Nameserver{inside("ns1", apex)}
	return spec
}

// inside returns a name server below an apex.
func inside(name string, apex Name) Nameserver {
	return Nameserver{MustParseName(name + "." + apex.String()), []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("2001:db8::53")}}
}

func tenantSpec(domains ...Domain) TenantSpec {
	return TenantSpec{Pool: "default", DANE: true, Domains: domains}
}

// refused checks that a plan was refused with a sentinel and a field, and writes nothing.
func refused(t *testing.T, c Changes, err, kind error, field string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want %v", err, kind)
		return
	}
	if !c.IsEmpty() || len(c.Requires) > 0 || len(c.Claims) > 0 {
		t.Errorf("refused (%v), and yet it plans %+v", err, c)
	}
	if got := fieldOf(err); got != field {
		t.Errorf("error %v names the field %q, want %q", err, got, field)
	}
}

// fieldOf returns the first field that an error names.
func fieldOf(err error) string {
	var all FieldErrors
	var one *RefusedError
	switch {
	case errors.As(err, &all):
		return all[0].Field
	case errors.As(err, &one):
		return one.Field
	}
	return ""
}

// fields lists the fields that a FieldErrors names.
func fields(err error) []string {
	var all FieldErrors
	errors.As(err, &all)
	var out []string
	for _, e := range all {
		out = append(out, e.Field)
	}
	return out
}

// puts lists what a plan writes, by kind and id.
func puts(c Changes) []string {
	var out []string
	for _, r := range c.Puts {
		out = append(out, string(r.Ref().Kind)+" "+r.Ref().ID)
	}
	slices.Sort(out)
	return out
}
