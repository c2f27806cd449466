package zone

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// idempotent checks that a plan, made again after it was committed, writes nothing.
func (w *world) idempotent(plan func() (Changes, error)) {
	w.t.Helper()
	w.apply(plan())
	before := w.revision
	c, err := plan()
	if err != nil || !c.IsEmpty() || len(c.Claims) > 0 {
		w.t.Errorf("repeated, it plans %v, %v", puts(c), err)
	}
	if w.apply(c, err); w.revision != before {
		w.t.Error("repeated, it makes a new revision")
	}
}

// A call may be repeated, and writes these rows the first time.
func TestPlansWriteOnce(t *testing.T) {
	drained := func(w *world) {
		spec := zoneSpec(mx)
		spec.DrainPool = "drain"
		w.zone(mx, spec)
	}
	acme := func(w *world) { drained(w); w.tenant("acme", tenantSpec("a.com", "b.com")) }
	tenant := func(spec TenantSpec) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) {
			c, _, err := PlanPutTenant(w, "acme", spec, now, nil)
			return c, err
		}
	}
	patch := func(p TenantPatch) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) {
			c, _, err := PlanPatchTenant(w, "acme", p, now, nil)
			return c, err
		}
	}
	smart := tenantSpec("a.com", "b.com")
	smart.Smarthost = true
	const (
		hostA, hostB, hostC, smarthost = "hosts a-com.mx.test.", "hosts b-com.mx.test.", "hosts c-com.mx.test.", "hosts acme.mx.test."
		row                            = "tenants acme"
	)
	for name, c := range map[string]struct {
		setup func(w *world)
		plan  func(w *world) (Changes, error)
		want  []string
	}{
		"create":                    {drained, tenant(tenantSpec("a.com", "b.com")), []string{hostA, hostB, row}},
		"create with repetitions":   {drained, tenant(tenantSpec("b.com", "a.com", "b.com")), []string{hostA, hostB, row}},
		"create with smarthost":     {drained, tenant(smart), []string{hostA, smarthost, hostB, row}},
		"create without domains":    {drained, tenant(tenantSpec()), []string{row}},
		"create in a zone":          {drained, tenant(TenantSpec{Pool: "default", Zone: mx}), []string{row}},
		"the same in another order": {acme, tenant(tenantSpec("b.com", "a.com")), nil},
		"replace":                   {acme, tenant(tenantSpec("b.com", "c.com")), []string{hostA, hostC, row}},
		"replace the pool":          {acme, tenant(TenantSpec{Pool: "other", DANE: true, Domains: []Domain{"a.com", "b.com"}}), []string{row}},
		"replace by nothing":        {acme, tenant(tenantSpec()), []string{hostA, hostB, row}},
		"replace a suspended one":   {func(w *world) { acme(w); w.suspend("acme") }, tenant(tenantSpec("a.com")), []string{hostB, row}},
		"bring back":                {func(w *world) { acme(w); w.revoke("acme") }, tenant(tenantSpec("a.com", "b.com")), []string{hostA, hostB, row}},
		"bring back in part":        {func(w *world) { acme(w); w.revoke("acme") }, tenant(tenantSpec("a.com")), []string{hostA, hostB, row}},
		"patch nothing":             {acme, patch(TenantPatch{}), nil},
		"patch a name":              {acme, patch(TenantPatch{DisplayName: new("Acme")}), []string{row}},
		"patch the pool":            {acme, patch(TenantPatch{Pool: new("other")}), []string{row}},
		"patch dane":                {acme, patch(TenantPatch{DANE: new(false)}), []string{row}},
		"patch the smarthost":       {acme, patch(TenantPatch{Smarthost: new(true)}), []string{smarthost, row}},
		"take the smarthost":        {func(w *world) { acme(w); w.patch("acme", TenantPatch{Smarthost: new(true)}) }, patch(TenantPatch{Smarthost: new(false)}), []string{smarthost, row}},
		"suspend":                   {acme, patch(TenantPatch{State: new(Suspended)}), []string{row}},
		"resume":                    {func(w *world) { acme(w); w.suspend("acme") }, patch(TenantPatch{State: new(Active)}), []string{row}},
		"revoke": {acme, func(w *world) (Changes, error) {
			c, _, err := PlanRevokeTenant(w, "acme", now, nil)
			return c, err
		}, []string{row}},
		"put a domain": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanPutDomain(w, "acme", "c.com", true, nil)
			return c, err
		}, []string{hostC, row}},
		"put a domain without dane": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanPutDomain(w, "acme", "c.com", false, nil)
			return c, err
		}, []string{hostC, row}},
		"put a domain again, without dane": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanPutDomain(w, "acme", "a.com", false, nil)
			return c, err
		}, []string{hostA, row}},
		"patch a domain": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanPatchDomain(w, "acme", "a.com", new(false), nil)
			return c, err
		}, []string{hostA, row}},
		"patch nothing of a domain": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanPatchDomain(w, "acme", "a.com", nil, nil)
			return c, err
		}, nil},
		"remove a domain": {acme, func(w *world) (Changes, error) {
			c, _, _, err := PlanRemoveDomain(w, "acme", "a.com", now, nil)
			return c, err
		}, []string{hostA, row}},
		"put a pool": {drained, func(w *world) (Changes, error) {
			c, _, err := PlanPutPool(w, "new", poolSpec("192.0.2.9"), nil)
			return c, err
		}, []string{"pools new"}},
		"put a zone": {drained, func(w *world) (Changes, error) {
			c, _, err := PlanPutZone(w, MustParseName("b.test."), zoneSpec(MustParseName("b.test.")), now, "id", nil)
			return c, err
		}, []string{"zones b.test."}},
		"put a shard": {drained, func(w *world) (Changes, error) {
			c, _, err := PlanPutZone(w, MustParseName("b.mx.test."), zoneSpec(MustParseName("b.mx.test.")), now, "id", nil)
			return c, err
		}, []string{"zones b.mx.test.", "zones mx.test."}},
		"close a pool": {drained, func(w *world) (Changes, error) {
			c, _, err := PlanClosePool(w, "other", nil)
			return c, err
		}, []string{"pools other"}},
		"close a zone": {drained, func(w *world) (Changes, error) {
			c, _, err := PlanCloseZone(w, mx, nil)
			return c, err
		}, []string{"zones mx.test."}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.setup(w)
			first, err := c.plan(w)
			if got := puts(first); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
				t.Errorf("writes %v, want %v; %v", got, c.want, err)
			}
			if len(first.Deletes) > 0 {
				t.Errorf("deletes %v", first.Deletes)
			}
			w.idempotent(func() (Changes, error) { return c.plan(w) })
		})
	}
}

// Every planning function obeys If-Match: the revision that is there goes, every other is stale, and 0 is that
// of what does not exist.
func TestIfMatch(t *testing.T) {
	b := MustParseName("b.test.")
	plans := map[string]struct {
		exists, absent func(w *world, match *uint64) (Changes, error) // absent is nil where that is not found
		revision       func(w *world) uint64
	}{
		"pool": {
			func(w *world, m *uint64) (Changes, error) {
				c, _, err := PlanPutPool(w, "default", poolSpec("192.0.2.99"), m)
				return c, err
			},
			func(w *world, m *uint64) (Changes, error) {
				c, _, err := PlanPutPool(w, "new", poolSpec("192.0.2.99"), m)
				return c, err
			}, func(w *world) uint64 { return w.Pool("default").Revision }},
		"pool deletion": {func(w *world, m *uint64) (Changes, error) { c, _, err := PlanClosePool(w, "other", m); return c, err }, nil,
			func(w *world) uint64 { return w.Pool("other").Revision }},
		"zone": {
			func(w *world, m *uint64) (Changes, error) {
				spec := zoneSpec(mx)
				spec.Accepting = false
				c, _, err := PlanPutZone(w, mx, spec, now, "id", m)
				return c, err
			},
			func(w *world, m *uint64) (Changes, error) {
				c, _, err := PlanPutZone(w, b, zoneSpec(b), now, "id", m)
				return c, err
			}, func(w *world) uint64 { return w.Zone(mx).Revision }},
		"zone deletion": {func(w *world, m *uint64) (Changes, error) {
			w.zone(b, zoneSpec(b))
			c, _, err := PlanCloseZone(w, b, m)
			return c, err
		}, nil, func(w *world) uint64 { return w.revision + 1 }},
		"tenant": {
			func(w *world, m *uint64) (Changes, error) {
				c, _, err := PlanPutTenant(w, "acme", tenantSpec(), now, m)
				return c, err
			},
			func(w *world, m *uint64) (Changes, error) {
				c, _, err := PlanPutTenant(w, "new", tenantSpec(), now, m)
				return c, err
			},
			func(w *world) uint64 { return w.Tenant("acme").Revision }},
		"tenant patch": {func(w *world, m *uint64) (Changes, error) {
			c, _, err := PlanPatchTenant(w, "acme", TenantPatch{DANE: new(false)}, now, m)
			return c, err
		}, nil, func(w *world) uint64 { return w.Tenant("acme").Revision }},
		"revocation": {func(w *world, m *uint64) (Changes, error) {
			c, _, err := PlanRevokeTenant(w, "acme", now, m)
			return c, err
		}, nil, func(w *world) uint64 { return w.Tenant("acme").Revision }},
		"domain": {
			func(w *world, m *uint64) (Changes, error) {
				c, _, _, err := PlanPutDomain(w, "acme", "contoso.com", false, m)
				return c, err
			},
			func(w *world, m *uint64) (Changes, error) {
				c, _, _, err := PlanPutDomain(w, "acme", "new.com", true, m)
				return c, err
			}, func(w *world) uint64 { return w.Tenant("acme").Revision }},
		"domain patch": {func(w *world, m *uint64) (Changes, error) {
			c, _, _, err := PlanPatchDomain(w, "acme", "contoso.com", new(false), m)
			return c, err
		}, nil, func(w *world) uint64 { return w.Tenant("acme").Revision }},
		"domain removal": {func(w *world, m *uint64) (Changes, error) {
			c, _, _, err := PlanRemoveDomain(w, "acme", "contoso.com", now, m)
			return c, err
		}, nil, func(w *world) uint64 { return w.Tenant("acme").Revision }},
	}
	for name, p := range plans {
		t.Run(name, func(t *testing.T) {
			fresh := func() *world {
				w := newWorld(t)
				w.tenant("acme", tenantSpec("contoso.com"))
				return w
			}
			for offset, ok := range map[int]bool{0: true, 1: false, 7: false} {
				w := fresh()
				c, err := p.exists(w, new(uint64(int(p.revision(w))+offset)))
				if ok {
					w.apply(c, err)
				} else {
					refused(t, c, err, ErrStale, "If-Match")
				}
			}
			c, err := p.exists(fresh(), new(uint64(0)))
			refused(t, c, err, ErrStale, "If-None-Match")
			if p.absent == nil {
				return
			}
			w := fresh()
			w.apply(p.absent(w, new(uint64(0))))
			w = fresh()
			c, err = p.absent(w, new(uint64(1)))
			refused(t, c, err, ErrStale, "If-Match")
		})
	}
}

// What has been done already is not refused for an If-Match that was true before.
func TestIfMatchOfWhatIsDone(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme", tenantSpec("a.com", "b.com"))
	old := w.Tenant("acme").Revision
	c, _, _, err := PlanRemoveDomain(w, "acme", "a.com", now, &old)
	w.apply(c, err)
	if c, _, _, err := PlanRemoveDomain(w, "acme", "a.com", now, &old); err != nil || !c.IsEmpty() {
		t.Errorf("domain: %v, %v", puts(c), err)
	}
	w.revoke("acme")
	if c, _, err := PlanRevokeTenant(w, "acme", now, &old); err != nil || !c.IsEmpty() {
		t.Errorf("tenant: %v, %v", puts(c), err)
	}
}

// The two steps of a deletion, each of which may be repeated after an interruption; and a use that came in
// between undoes the first.
func TestDeletions(t *testing.T) {
	w := newWorld(t)
	b := MustParseName("b.test.")
	w.zone(b, zoneSpec(b))
	for range 2 {
		c, p, err := PlanClosePool(w, "other", nil)
		if w.apply(c, err); !p.Closing {
			t.Error("not marked")
		}
		c, z, err := PlanCloseZone(w, b, nil)
		if w.apply(c, err); !z.Closing {
			t.Error("not marked")
		}
	}
	w.rows[KindTenant]["late"] = &Tenant{ID: "late", Pool: "other", Zone: b, State: Active}
	pc, p, err := PlanDeletePool(w, "other")
	if !errors.Is(err, ErrInUse) || p.Closing || len(pc.Deletes) > 0 {
		t.Errorf("pool in use: %+v, %v", pc, err)
	}
	zc, z, err := PlanDeleteZone(w, b)
	if !errors.Is(err, ErrInUse) || z.Closing || len(zc.Deletes) > 0 {
		t.Errorf("zone in use: %+v, %v", zc, err)
	}
	reopened := &world{w.memView, t}
	reopened.apply(pc, nil)
	reopened.apply(zc, nil)
	if reopened.Pool("other").Closing || reopened.Zone(b).Closing {
		t.Error("not opened again")
	}
	delete(w.rows[KindTenant], "late")
	pc, _, err = PlanDeletePool(w, "other")
	w.apply(pc, err)
	zc, _, err = PlanDeleteZone(w, b)
	w.apply(zc, err)
	if w.Pool("other") != nil || w.Zone(b) != nil {
		t.Error("still there")
	}
}

// A deletion that was interrupted while something came to use the pool must not stop its user from repeating
// its call, and can be repeated itself.
func TestInterruptedDeletions(t *testing.T) {
	w := newWorld(t)
	spec := zoneSpec(mx)
	spec.DrainPool = "drain"
	w.zone(mx, spec)
	w.tenant("acme", TenantSpec{Pool: "other", Domains: []Domain{"a.com"}})
	for _, name := range []string{"other", "drain"} {
		closing := *w.Pool(name)
		closing.Closing = true
		w.rows[KindPool][name] = &closing
	}
	closing := *w.Zone(mx)
	closing.Closing = true
	w.rows[KindZone][mx.String()] = &closing
	w.tenant("acme", TenantSpec{Pool: "other", DANE: true, Domains: []Domain{"a.com"}})
	for _, name := range []string{"other", "drain"} {
		c, _, err := PlanClosePool(w, name, nil)
		w.apply(c, err)
		if c, _, err = PlanDeletePool(w, name); !errors.Is(err, ErrInUse) {
			t.Error(err)
		}
		w.apply(c, nil)
	}
	c, _, err := PlanCloseZone(w, mx, nil)
	w.apply(c, err)
	if c, _, err = PlanDeleteZone(w, mx); !errors.Is(err, ErrInUse) {
		t.Error(err)
	}
	w.apply(c, nil)
	if w.Pool("other").Closing || w.Zone(mx).Closing {
		t.Error("not opened again")
	}
}

// PUT keeps a pool or zone whose deletion was interrupted.
func TestPutReopens(t *testing.T) {
	w := newWorld(t)
	c, _, err := PlanClosePool(w, "other", nil)
	w.apply(c, err)
	c, _, err = PlanCloseZone(w, mx, nil)
	w.apply(c, err)
	w.pool("other", poolSpec("192.0.2.2", "2001:db8::2"))
	w.zone(mx, zoneSpec(mx))
	if w.Pool("other").Closing || w.Zone(mx).Closing {
		t.Error("still closing")
	}
}

func TestPutZoneKeepsWhatIsNotInTheSpecification(t *testing.T) {
	w := newWorld(t)
	first := w.Zone(mx)
	spec := zoneSpec(mx)
	spec.TTL.Host = 600
	c, z, err := PlanPutZone(w, mx, spec, now.Add(time.Hour), "another id", nil)
	w.apply(c, err)
	if z.ID != first.ID || z.Serial != first.Serial+1 || !z.Created.Equal(first.Created) || z.TTL.Host != 600 {
		t.Errorf("%+v", z)
	}
	shard := MustParseName("b.mx.test.")
	w.zone(shard, zoneSpec(shard))
	if got := w.Zone(mx).Serial; got != z.Serial+1 {
		t.Errorf("serial %d after a shard came, want %d", got, z.Serial+1)
	}
	w.dropZone(shard)
	if got := w.Zone(mx).Serial; got != z.Serial+2 {
		t.Errorf("serial %d after a shard went, want %d", got, z.Serial+2)
	}
}

// Tenants without a zone spread over the zones that accept, and always go to the same.
func TestChooseZone(t *testing.T) {
	w := newWorld(t)
	counts := map[Name]int{}
	for _, text := range []string{"b.test.", "c.test.", "d.test.", "closed.test."} {
		apex := MustParseName(text)
		w.zone(apex, zoneSpec(apex))
	}
	w.zone(mx, notAccepting(mx))
	c, _, err := PlanCloseZone(w, MustParseName("closed.test."), nil)
	w.apply(c, err)
	for i := range 300 {
		id := fmt.Sprint("t", i)
		z := chooseZone(w, id)
		if again := chooseZone(w, id); again != z {
			t.Errorf("%s goes to %s and %s", id, z.Name, again.Name)
		}
		counts[z.Name]++
	}
	if len(counts) != 3 || slices.Min([]int{counts[MustParseName("b.test.")], counts[MustParseName("c.test.")], counts[MustParseName("d.test.")]}) < 60 {
		t.Errorf("spread: %v", counts)
	}
}

// The labels of name servers and shards are never a host's.
func TestReservedLabels(t *testing.T) {
	w := newWorld(t)
	spec := zoneSpec(mx)
	spec.Nameservers = append(spec.Nameservers, inside("ns.a-com", mx))
	w.zone(mx, spec)
	shard := MustParseName("x.b-com.mx.test.")
	w.zone(shard, zoneSpec(shard))
	w.tenant("ns1", TenantSpec{Pool: "default", Smarthost: true, Zone: mx, Domains: []Domain{"a.com", "b.com", "c.com"}})
	for owner, want := range map[Owner]string{"a.com": HashedLabel("a.com"), "b.com": HashedLabel("b.com"), "c.com": "c-com", "@ns1": HashedLabel("@ns1")} {
		if h := HostOf(w, owner); h.Label != want {
			t.Errorf("%s has the label %s, want %s", owner, h.Label, want)
		}
	}
}

// A domain has one host for ever, whoever holds it; only when its zone is gone does it get another.
func TestHostsAreForEver(t *testing.T) {
	w := newWorld(t)
	b := MustParseName("b.test.")
	w.zone(b, zoneSpec(b))
	w.tenant("acme", TenantSpec{Pool: "default", Zone: mx, DANE: true, Domains: []Domain{"a.com"}})
	first := w.host("a.com").Name()
	remove := func(id string) {
		c, _, _, err := PlanRemoveDomain(w, id, "a.com", now, nil)
		w.apply(c, err)
	}
	remove("acme")
	w.tenant("other", TenantSpec{Pool: "default", Zone: b, DANE: true, Domains: []Domain{"a.com"}})
	if h := w.host("a.com"); h.Name() != first || h.Tenant != "other" || h.Released != nil {
		t.Errorf("taken over: %+v", h)
	}
	w.revoke("other")
	w.tenant("acme", TenantSpec{Pool: "default", Domains: []Domain{"a.com"}})
	if h := w.host("a.com"); h.Name() != first || h.Tenant != "acme" {
		t.Errorf("taken back: %+v", h)
	}
	if c, _, err := PlanPutTenant(w, "other", tenantSpec("a.com"), now, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("the revoked tenant takes it again: %+v, %v", c, err)
	}
	w.tenant("other", tenantSpec())
	w.revoke("acme")
	w.dropZone(mx)
	if HostOf(w, "a.com") != nil {
		t.Error("a host in a zone that is gone")
	}
	c, _, h, err := PlanPutDomain(w, "other", "a.com", true, nil)
	if len(c.Claims) != 1 || c.Claims[0].Previous == nil {
		t.Errorf("claims %+v", c.Claims)
	}
	if w.apply(c, err); h.Zone != b {
		t.Errorf("placed in %s", h.Zone)
	}
	// The zone comes back, and acme with it: the old host stays without tenant.
	w.zone(mx, zoneSpec(mx))
	w.tenant("acme", tenantSpec())
	checkName(t, w, w, first, nil)
	if h := w.host("a.com"); h.Zone != b || h.Tenant != "other" {
		t.Errorf("two hosts of one owner, and the wrong one counts: %+v", h)
	}
}

// A tenant that was revoked does not get its old host back by the return of the zone alone.
func TestReturnOfAZone(t *testing.T) {
	for name, domains := range map[string][]Domain{"with the domain": {"a.com"}, "without the domain": nil} {
		w := newWorld(t)
		b := MustParseName("b.test.")
		w.tenant("acme", tenantSpec("a.com"))
		old := w.host("a.com").Name()
		w.revoke("acme")
		w.dropZone(mx)
		w.zone(b, zoneSpec(b))
		w.tenant("acme", tenantSpec(domains...))
		w.zone(mx, zoneSpec(mx))
		checkName(t, w, w, old, nil)
		if len(domains) > 0 {
			c, _, _, err := PlanRemoveDomain(w, "acme", "a.com", now, nil)
			w.apply(c, err)
			for h := range w.Hosts {
				checkName(t, w, w, h.Name(), nil)
			}
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

// A domain's own DANE switch is not in the body of a tenant: revoking the tenant and putting it again leaves it.
func TestDomainSwitchOutlivesRevocation(t *testing.T) {
	w := newWorld(t)
	w.zone(mx, zoneSpec(mx))
	w.tenant("acme", tenantSpec("contoso.com", "fabrikam.com"))
	changes, _, _, err := PlanPatchDomain(w, "acme", "contoso.com", new(bool), nil)
	w.apply(changes, err)
	w.revoke("acme")
	w.tenant("acme", tenantSpec("contoso.com", "fabrikam.com"))
	if w.host("contoso.com").DANE || !w.host("fabrikam.com").DANE {
		t.Errorf("DANE of the domains: %v, %v", w.host("contoso.com").DANE, w.host("fabrikam.com").DANE)
	}
	w.revoke("acme")
	w.tenant("other", tenantSpec("contoso.com"))
	if !w.host("contoso.com").DANE {
		t.Error("another tenant has got the switch of the one before")
	}
}
