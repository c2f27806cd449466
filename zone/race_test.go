package zone

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

// checkInvariants is what must hold of every state, however it came about. before is an earlier state, nil for
// the first.
func checkInvariants(before, m *memView) error {
	holders := map[Owner]*Host{}
	for h := range m.Hosts {
		if before != nil {
			if had := before.Host(h.Zone, h.Label); had != nil && had.Owner != h.Owner {
				return fmt.Errorf("the label %s went from %s to %s", h.Name(), had.Owner, h.Owner)
			}
		}
		t := holder(m, h)
		if t == nil {
			continue
		}
		if other := holders[h.Owner]; other != nil {
			return fmt.Errorf("%s is held by %s at %s and by %s at %s", h.Owner, h.Tenant, h.Name(), other.Tenant, other.Name())
		}
		holders[h.Owner] = h
		if err := checkHeld(m, t, h); err != nil {
			return fmt.Errorf("%s of %s, held by %s: %w", h.Name(), h.Owner, t.ID, err)
		}
	}
	if before != nil {
		for h := range before.Hosts {
			if m.Host(h.Zone, h.Label) == nil {
				return fmt.Errorf("the host %s was deleted", h.Name())
			}
		}
	}
	for t := range func(yield func(*Tenant) bool) { m.Tenants("", yield) } {
		if err := checkTenant(m, t, holders); err != nil {
			return fmt.Errorf("tenant %s: %w", t.ID, err)
		}
	}
	for z := range m.Zones {
		if err := checkZone(m, z); err != nil {
			return fmt.Errorf("zone %s: %w", z.Name, err)
		}
	}
	return nil
}

// checkHeld: the host is where it is looked for, and what it needs is there.
func checkHeld(m *memView, t *Tenant, h *Host) error {
	if !slices.Contains(t.Owners(), h.Owner) {
		return errors.New("the tenant does not know")
	}
	if HostOf(m, h.Owner) != h {
		return errors.New("it is not the one that counts")
	}
	z := m.Zone(h.Zone)
	switch {
	case z == nil:
		return errors.New("the zone is gone")
	case m.Pool(t.Pool) == nil:
		return errors.New("the pool is gone")
	case t.State == Suspended && (z.DrainPool == "" || m.Pool(z.DrainPool) == nil):
		return errors.New("suspended, and no drain pool")
	}
	if a := Lookup(m, m, h.Name(), TypeMX); a.Outcome != Positive || a.Zone != z {
		return fmt.Errorf("asked for MX, the outcome is %d", a.Outcome)
	}
	return nil
}

func checkTenant(m *memView, t *Tenant, holders map[Owner]*Host) error {
	if t.State == Revoked {
		return nil
	}
	if m.Zone(t.Zone) == nil {
		return fmt.Errorf("zone %s is gone", t.Zone)
	}
	if m.Pool(t.Pool) == nil {
		return fmt.Errorf("pool %s is gone", t.Pool)
	}
	for _, o := range t.Owners() {
		if h := holders[o]; h == nil || h.Tenant != t.ID {
			return fmt.Errorf("does not hold the host of %s", o)
		}
	}
	return nil
}

func checkZone(m *memView, z *Zone) error {
	if z.DrainPool != "" && m.Pool(z.DrainPool) == nil {
		return fmt.Errorf("drain pool %s is gone", z.DrainPool)
	}
	parent := Enclosing(m, z.Name.Parent())
	if z.Parent.Mode == ParentHosted && parent == nil {
		return errors.New("hosted, and the parent is gone")
	}
	for _, ns := range z.Nameservers {
		label := ns.Name.LabelBelow(z.Name)
		if h := m.Host(z.Name, label); h != nil {
			return fmt.Errorf("name server %s is the host of %s", ns.Name, h.Owner)
		}
		if label != "" && Lookup(m, m, ns.Name, TypeA).Outcome != Positive {
			return fmt.Errorf("name server %s has no address", ns.Name)
		}
	}
	if parent != nil {
		if h := m.Host(parent.Name, z.Name.LabelBelow(parent.Name)); h != nil && holder(m, h) != nil {
			return fmt.Errorf("hides the host of %s", h.Owner)
		}
	}
	return nil
}

// plan is an operation: what to write on a view.
type plan func(v View) (Changes, error)

// together makes both plans on one state and commits them in this order; a plan that meets a change is made
// again, as a store does. It returns the errors of the plans.
func (w *world) together(first, second plan) (errs [2]error) {
	w.t.Helper()
	c1, err1 := first(w.memView)
	c2, err2 := second(w.memView)
	errs[0] = w.finish(first, c1, err1)
	errs[1] = w.finish(second, c2, err2)
	return errs
}

// finish commits a plan that may be out of date.
func (w *world) finish(p plan, c Changes, err error) error {
	w.t.Helper()
	for range 3 {
		if err != nil && c.IsEmpty() {
			return err
		}
		next, failed := w.commit(c)
		if failed == nil {
			if broken := checkInvariants(w.memView, next); broken != nil {
				w.t.Fatalf("after %v and %v: %v", puts(c), c.Deletes, broken)
			}
			w.memView = next
			return err
		}
		if !errors.Is(failed, ErrRetry) {
			w.t.Fatal(failed)
		}
		c, err = p(w.memView)
	}
	w.t.Fatal("a plan that is up to date meets a change")
	return nil
}

func planTenant(id string, spec TenantSpec) plan {
	return func(v View) (Changes, error) { c, _, err := PlanPutTenant(v, id, spec, now, nil); return c, err }
}

func planPatch(id string, patch TenantPatch) plan {
	return func(v View) (Changes, error) { c, _, err := PlanPatchTenant(v, id, patch, now, nil); return c, err }
}

func planRevoke(id string) plan {
	return func(v View) (Changes, error) { c, _, err := PlanRevokeTenant(v, id, now, nil); return c, err }
}

func planPutDomain(id string, d Domain) plan {
	return func(v View) (Changes, error) { c, _, _, err := PlanPutDomain(v, id, d, true, nil); return c, err }
}

func planPatchDomain(id string, d Domain, dane bool) plan {
	return func(v View) (Changes, error) { c, _, _, err := PlanPatchDomain(v, id, d, &dane, nil); return c, err }
}

func planRemoveDomain(id string, d Domain) plan {
	return func(v View) (Changes, error) {
		c, _, _, err := PlanRemoveDomain(v, id, d, now, nil)
		return c, err
	}
}

func planZone(apex Name, spec ZoneSpec) plan {
	return func(v View) (Changes, error) { c, _, err := PlanPutZone(v, apex, spec, now, "id", nil); return c, err }
}

func planCloseZone(apex Name) plan {
	return func(v View) (Changes, error) { c, _, err := PlanCloseZone(v, apex, nil); return c, err }
}

func planDeleteZone(apex Name) plan {
	return func(v View) (Changes, error) { c, _, err := PlanDeleteZone(v, apex); return c, err }
}

func planPool(name string, spec PoolSpec) plan {
	return func(v View) (Changes, error) { c, _, err := PlanPutPool(v, name, spec, nil); return c, err }
}

func planClosePool(name string) plan {
	return func(v View) (Changes, error) { c, _, err := PlanClosePool(v, name, nil); return c, err }
}

func planDeletePool(name string) plan {
	return func(v View) (Changes, error) { c, _, err := PlanDeletePool(v, name); return c, err }
}

// Pairs of operations that meet at the same rows, planned on one state and committed in either order: no state
// that comes about breaks an invariant, and where only one of the two is possible, one succeeds.
func TestRaces(t *testing.T) {
	b, old := MustParseName("b.test."), MustParseName("old.test.")
	under := func(label string, apex Name) Name { return MustParseName(label + "." + apex.String()) }
	hosted := func(apex Name) ZoneSpec {
		spec := zoneSpec(apex)
		spec.Parent.Mode = ParentHosted
		return spec
	}
	withServer := func(name string) ZoneSpec {
		spec := zoneSpec(mx)
		spec.DrainPool = "drain"
		spec.Nameservers = append(spec.Nameservers, inside(name, mx))
		return spec
	}
	drainedBy := func(apex Name, pool string) ZoneSpec {
		spec := zoneSpec(apex)
		spec.DrainPool = pool
		return spec
	}
	inB := func(domains ...Domain) TenantSpec { return TenantSpec{Pool: "default", Zone: b, Domains: domains} }
	run := func(w *world, plans ...plan) {
		for _, p := range plans {
			w.apply(p(w))
		}
	}
	for name, c := range map[string]struct {
		setup         func(w *world) // after mx.test. with a drain pool, b.test. without, and the revoked tenant gone (gone.com) of mx.test.
		first, second plan
		both          bool // both may succeed, in whatever order
	}{
		"domain claimed twice":             {nil, planTenant("x", tenantSpec("new.com")), planTenant("y", tenantSpec("new.com")), false},
		"domain claimed twice, two zones":  {nil, planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"new.com"}}), planTenant("y", inB("new.com")), false},
		"one label for two domains":        {nil, planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a-b.com"}}), planTenant("y", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.b.com"}}), true},
		"free domain claimed twice":        {nil, planTenant("x", tenantSpec("gone.com")), planTenant("y", inB("gone.com")), false},
		"revoked one comes back too late":  {nil, planTenant("gone", tenantSpec("gone.com")), planTenant("y", tenantSpec("gone.com")), false},
		"revoked one comes back without":   {nil, planTenant("gone", tenantSpec()), planTenant("y", tenantSpec("gone.com")), true},
		"tenant created twice":             {nil, planTenant("x", tenantSpec("a.com")), planTenant("x", tenantSpec("b.com")), true},
		"domain put and tenant revoked":    {func(w *world) { run(w, planTenant("x", tenantSpec("a.com"))) }, planPutDomain("x", "b.com"), planRevoke("x"), true},
		"domain removed and put elsewhere": {func(w *world) { run(w, planTenant("x", tenantSpec("a.com")), planTenant("y", tenantSpec())) }, planRemoveDomain("x", "a.com"), planPutDomain("y", "a.com"), true},
		"domain of a tenant being revoked": {func(w *world) { run(w, planTenant("x", tenantSpec("a.com")), planTenant("y", tenantSpec())) }, planRevoke("x"), planPutDomain("y", "a.com"), true},

		"pool closed, tenant comes":        {nil, planClosePool("other"), planTenant("x", TenantSpec{Pool: "other"}), true},
		"pool deleted, tenant comes":       {func(w *world) { run(w, planClosePool("other")) }, planDeletePool("other"), planTenant("x", TenantSpec{Pool: "other"}), true},
		"pool closed, tenant changes":      {func(w *world) { run(w, planTenant("x", tenantSpec())) }, planClosePool("other"), planPatch("x", TenantPatch{Pool: new("other")}), true},
		"pool closed, tenant comes back":   {func(w *world) { run(w, planPatchPoolOfRevoked("gone", "other")...) }, planClosePool("other"), planTenant("gone", TenantSpec{Pool: "other"}), true},
		"pool deleted, tenant comes back":  {func(w *world) { run(w, append(planPatchPoolOfRevoked("gone", "other"), planClosePool("other"))...) }, planDeletePool("other"), planTenant("gone", TenantSpec{Pool: "other"}), true},
		"pool closed, becomes drain pool":  {nil, planClosePool("other"), planZone(mx, drainedBy(mx, "other")), true},
		"pool deleted, becomes drain pool": {func(w *world) { run(w, planClosePool("other")) }, planDeletePool("other"), planZone(b, drainedBy(b, "other")), true},
		"pool deleted and kept":            {func(w *world) { run(w, planClosePool("other")) }, planDeletePool("other"), planPool("other", poolSpec("192.0.2.2")), true},

		"zone closed, tenant comes":       {nil, planCloseZone(b), planTenant("x", inB("a.com")), true},
		"zone deleted, tenant comes":      {func(w *world) { run(w, planCloseZone(b)) }, planDeleteZone(b), planTenant("x", inB("a.com")), true},
		"zone closed, bare tenant comes":  {nil, planCloseZone(b), planTenant("x", inB()), true},
		"zone closed, tenant back":        {func(w *world) { run(w, planTenant("x", inB()), planRevoke("x")) }, planCloseZone(b), planTenant("x", inB()), true},
		"zone deleted, tenant back":       {func(w *world) { run(w, planTenant("x", inB()), planRevoke("x"), planCloseZone(b)) }, planDeleteZone(b), planTenant("x", inB()), true},
		"zone deleted, domain taken over": {func(w *world) { run(w, planTenant("x", inB("a.com")), planRevoke("x"), planCloseZone(b)) }, planDeleteZone(b), planTenant("y", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), true},
		"zone closed, shard comes":        {nil, planCloseZone(b), planZone(under("s", b), hosted(under("s", b))), true},
		"zone deleted, shard comes":       {func(w *world) { run(w, planCloseZone(b)) }, planDeleteZone(b), planZone(under("s", b), hosted(under("s", b))), true},

		"drain pool replaced, tenant suspended": {func(w *world) { run(w, planTenant("x", TenantSpec{Pool: "default", Zone: mx})) }, planZone(mx, drainedBy(mx, "other")), planPatch("x", TenantPatch{State: new(Suspended)}), true},
		"drain pool comes, tenant suspended":    {func(w *world) { run(w, planTenant("x", inB("a.com"))) }, planZone(b, drainedBy(b, "drain")), planPatch("x", TenantPatch{State: new(Suspended)}), true},
		"old drain pool closed, suspended": {func(w *world) {
			run(w, planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), planZone(mx, drainedBy(mx, "other")))
		}, planClosePool("drain"), planPatch("x", TenantPatch{State: new(Suspended)}), true},
		"suspended one gets a host elsewhere": {func(w *world) {
			run(w, planTenant("x", inB("a.com")), planRevoke("x"), planTenant("y", TenantSpec{Pool: "default", Zone: mx}))
		}, planPatch("y", TenantPatch{State: new(Suspended)}), planPutDomain("y", "a.com"), false},

		"name server and host":           {nil, planZone(mx, withServer("a-com")), planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), true},
		"name server below and host":     {nil, planZone(mx, withServer("ns.a-com")), planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), true},
		"shard and host":                 {nil, planZone(under("a-com", mx), hosted(under("a-com", mx))), planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), true},
		"shard two labels down and host": {nil, planZone(under("s.a-com", mx), hosted(under("s.a-com", mx))), planTenant("x", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"a.com"}}), true},
		"shard and name server":          {nil, planZone(under("s", mx), hosted(under("s", mx))), planZone(mx, withServer("ns.s")), false},
		"shard and closer parent":        {nil, planZone(under("s.p", mx), zoneSpec(under("s.p", mx))), planZone(under("p", mx), zoneSpec(under("p", mx))), true},
		"parent and its first shard":     {nil, planZone(old, zoneSpec(old)), planZone(under("s", old), zoneSpec(under("s", old))), true},
		"parent has a name server in its first shard": {nil, planZone(old, func() ZoneSpec {
			spec := zoneSpec(old)
			spec.Nameservers = append(spec.Nameservers, inside("ns.s", old))
			return spec
		}()), planZone(under("s", old), zoneSpec(under("s", old))), false},
		"zone back, domain placed anew": {func(w *world) {
			run(w, planTenant("x", inB("a.com")), planRevoke("x"), planCloseZone(b), planDeleteZone(b))
		}, planZone(b, zoneSpec(b)), planTenant("x", tenantSpec("a.com")), true},
		"zone back, domain placed by another": {func(w *world) {
			run(w, planTenant("x", inB("a.com")), planRevoke("x"), planCloseZone(b), planDeleteZone(b))
		}, planTenant("y", tenantSpec("a.com")), planTenant("x", tenantSpec("a.com")), false},
	} {
		for _, swapped := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/swapped=%v", name, swapped), func(t *testing.T) {
				w := newWorld(t)
				run(w, planZone(mx, drainedBy(mx, "drain")), planTenant("gone", TenantSpec{Pool: "default", Zone: mx, Domains: []Domain{"gone.com"}}), planRevoke("gone"), planZone(b, notAccepting(b)), planZone(b, zoneSpec(b)))
				if c.setup != nil {
					c.setup(w)
				}
				first, second := c.first, c.second
				if swapped {
					first, second = second, first
				}
				errs := w.together(first, second)
				if !c.both && (errs[0] == nil) == (errs[1] == nil) {
					t.Errorf("errors %v, want exactly one", errs)
				}
				if !swapped && errs[0] != nil && !errors.Is(errs[0], ErrInUse) {
					t.Errorf("the first is refused: %v", errs[0])
				}
			})
		}
	}
}

// planPatchPoolOfRevoked makes a revoked tenant one of a pool that it does not keep from being deleted.
func planPatchPoolOfRevoked(id, pool string) []plan {
	return []plan{planTenant(id, TenantSpec{Pool: pool}), planRevoke(id)}
}

// Between the plan and the commit a zone comes back and a host in it is taken, while the plan takes another
// host of the same owner.
func TestRaceOfThree(t *testing.T) {
	w := newWorld(t)
	b := MustParseName("b.test.")
	in := func(apex Name, domains ...Domain) TenantSpec {
		return TenantSpec{Pool: "default", Zone: apex, Domains: domains}
	}
	w.zone(b, zoneSpec(b))
	w.tenant("x", in(b, "a.com"))
	w.revoke("x")
	w.dropZone(b)
	w.tenant("y", in(mx, "a.com")) // placed anew
	w.apply(planRemoveDomain("y", "a.com")(w))
	late := planPutDomain("y", "a.com")
	c, err := late(w)
	if err != nil {
		t.Fatal(err)
	}
	w.zone(b, zoneSpec(b))
	taken := *w.Host(b, "a-com") // as a plan would that found this host first
	taken.Tenant = "x"
	w.apply(planTenant("x", in(b))(w))
	x := w.Tenant("x").clone()
	x.Domains = []Domain{"a.com"}
	w.apply(Changes{Puts: []Row{&taken, x}}, nil)
	if _, err := w.commit(c); !errors.Is(err, ErrRetry) {
		t.Errorf("the late plan: %v", err)
	}
	if err := w.finish(late, c, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("made again: %v", err)
	}
}

// A shard whose plan does not know that a zone has come to enclose it, and that a tenant is there.
func TestRaceOfShardAndNewParent(t *testing.T) {
	w := newWorld(t)
	b := MustParseName("b.test.")
	shard := MustParseName("s.a-com.b.test.")
	late := planZone(shard, zoneSpec(shard))
	c, err := late(w)
	if err != nil {
		t.Fatal(err)
	}
	w.zone(b, zoneSpec(b))
	w.tenant("x", TenantSpec{Pool: "default", Zone: b, Domains: []Domain{"a.com"}})
	if err := w.finish(late, c, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("the shard: %v", err)
	}
}
