package zone

import (
	"errors"
	"fmt"
	"testing"
)

// Every refusal has its sentinel and names its field.
func TestRefusals(t *testing.T) {
	b := MustParseName("b.test.")
	below := func(label string) Name { return MustParseName(label + ".mx.test.") }
	putTenant := func(id string, change func(*TenantSpec)) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) {
			spec := tenantSpec()
			change(&spec)
			c, _, err := PlanPutTenant(w, id, spec, now, nil)
			return c, err
		}
	}
	patch := func(id string, p TenantPatch) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) { c, _, err := PlanPatchTenant(w, id, p, now, nil); return c, err }
	}
	putDomain := func(id string, d Domain) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) { c, _, _, err := PlanPutDomain(w, id, d, true, nil); return c, err }
	}
	putZone := func(apex Name, change func(*ZoneSpec)) func(w *world) (Changes, error) {
		return func(w *world) (Changes, error) {
			spec := zoneSpec(apex)
			change(&spec)
			c, _, err := PlanPutZone(w, apex, spec, now, "id", nil)
			return c, err
		}
	}
	keep := func(*ZoneSpec) {}
	domains := func(ds ...Domain) func(*TenantSpec) { return func(s *TenantSpec) { s.Domains = ds } }
	close := func(w *world, pool string) {
		c, _, err := PlanClosePool(w, pool, nil)
		w.apply(c, err)
	}
	closeZone := func(w *world, apex Name) {
		c, _, err := PlanCloseZone(w, apex, nil)
		w.apply(c, err)
	}
	for name, c := range map[string]struct {
		setup func(w *world) // after the tenants acme (contoso.com) and rival (rival.com), and the revoked one gone (gone.com)
		plan  func(w *world) (Changes, error)
		kind  error
		field string
	}{
		"tenant id":                {nil, putTenant("Acme", func(*TenantSpec) {}), ErrInvalid, "id"},
		"display name too long":    {nil, putTenant("new", func(s *TenantSpec) { s.DisplayName = string(make([]byte, 201)) }), ErrInvalid, "display_name"},
		"display name with DEL":    {nil, putTenant("new", func(s *TenantSpec) { s.DisplayName = "\x7f" }), ErrInvalid, "display_name"},
		"no pool":                  {nil, putTenant("new", func(s *TenantSpec) { s.Pool = "" }), ErrInvalid, "pool"},
		"too many domains at once": {nil, putTenant("new", func(s *TenantSpec) { s.Domains = make([]Domain, MaxDomains+1) }), ErrInvalid, "domains"},
		"unknown pool":             {nil, putTenant("new", func(s *TenantSpec) { s.Pool = "none" }), ErrUnknownRef, "pool"},
		"pool being deleted":       {func(w *world) { close(w, "other") }, putTenant("new", func(s *TenantSpec) { s.Pool = "other" }), ErrUnknownRef, "pool"},
		"unknown zone":             {nil, putTenant("new", func(s *TenantSpec) { s.Zone = b }), ErrUnknownRef, "zone"},
		"zone being deleted":       {func(w *world) { w.zone(b, zoneSpec(b)); closeZone(w, b) }, putTenant("new", func(s *TenantSpec) { s.Zone = b }), ErrUnknownRef, "zone"},
		"zone does not accept":     {func(w *world) { w.zone(b, notAccepting(b)) }, putTenant("new", func(s *TenantSpec) { s.Zone = b }), ErrNotAccepting, "zone"},
		"no zone accepts":          {func(w *world) { spec := notAccepting(mx); spec.DrainPool = "drain"; w.zone(mx, spec) }, putTenant("new", func(*TenantSpec) {}), ErrNotAccepting, "zone"},
		"tenant moves":             {func(w *world) { w.zone(b, zoneSpec(b)) }, putTenant("acme", func(s *TenantSpec) { s.Zone = b }), ErrConflict, "zone"},
		"revoked tenant moves":     {func(w *world) { w.zone(b, zoneSpec(b)) }, putTenant("gone", func(s *TenantSpec) { s.Zone = b }), ErrConflict, "zone"},
		"domain of another":        {nil, putTenant("new", domains("aaa.com", "contoso.com", "zzz.com")), ErrConflict, "domains[1]"},
		"domain of another, by patch": {nil, func(w *world) (Changes, error) {
			spec := tenantSpec("contoso.com")
			spec.Smarthost = true
			c, _, err := PlanPutTenant(w, "new", spec, now, nil)
			return c, err
		}, ErrConflict, "domains[0]"},
		"domain of a suspended one": {func(w *world) { w.suspend("acme") }, putTenant("new", domains("contoso.com")), ErrConflict, "domains[0]"},
		"both labels taken": {func(w *world) {
			o := DomainOwner("a.b.com")
			w.rows[KindHost]["a-b-com.mx.test."] = &Host{Owner: "x.com", Zone: mx, Label: "a-b-com"}
			w.rows[KindHost][HashedLabel(o)+".mx.test."] = &Host{Owner: "y.com", Zone: mx, Label: HashedLabel(o)}
		}, putTenant("new", domains("a.b.com")), ErrConflict, "domains[0]"},

		"patch of nobody":          {nil, patch("nobody", TenantPatch{}), ErrNotFound, "tenant"},
		"patch of a revoked one":   {nil, patch("gone", TenantPatch{}), ErrConflict, "tenant"},
		"patch to an unknown pool": {nil, patch("acme", TenantPatch{Pool: new("none")}), ErrUnknownRef, "pool"},
		"patch to no pool":         {nil, patch("acme", TenantPatch{Pool: new("")}), ErrUnknownRef, "pool"},
		"patch to revoked":         {nil, patch("acme", TenantPatch{State: new(Revoked)}), ErrInvalid, "state"},
		"patch to no state":        {nil, patch("acme", TenantPatch{State: new(State(""))}), ErrInvalid, "state"},
		"patch to a bad name":      {nil, patch("acme", TenantPatch{DisplayName: new("\n")}), ErrInvalid, "display_name"},
		"suspend without drain": {func(w *world) {
			w.zone(b, zoneSpec(b))
			w.tenant("elsewhere", TenantSpec{Pool: "default", Zone: b})
		}, patch("elsewhere", TenantPatch{State: new(Suspended)}), ErrNoDrainPool, "state"},
		"suspended gets a host in a zone without drain": {func(w *world) {
			w.zone(b, zoneSpec(b))
			w.tenant("elsewhere", TenantSpec{Pool: "default", Zone: b, Domains: []Domain{"free.com"}})
			w.revoke("elsewhere")
			w.suspend("acme")
		}, putDomain("acme", "free.com"), ErrNoDrainPool, "state"},

		"revocation of nobody": {nil, func(w *world) (Changes, error) {
			c, _, err := PlanRevokeTenant(w, "nobody", now, nil)
			return c, err
		}, ErrNotFound, "tenant"},

		"domain of nobody":          {nil, putDomain("nobody", "a.com"), ErrNotFound, "tenant"},
		"domain for a revoked one":  {nil, putDomain("gone", "a.com"), ErrConflict, "tenant"},
		"domain of the revoked one": {nil, putDomain("gone", "gone.com"), ErrConflict, "tenant"},
		"domain of another, alone":  {nil, putDomain("rival", "contoso.com"), ErrConflict, "domain"},
		"one domain too many":       {func(w *world) { w.tenant("full", tenantSpec(numbered(MaxDomains)...)) }, putDomain("full", "one.more"), ErrTooManyOfKind, "domain"},
		"patch of an unknown domain": {nil, func(w *world) (Changes, error) {
			c, _, _, err := PlanPatchDomain(w, "acme", "a.com", new(true), nil)
			return c, err
		}, ErrNotFound, "domain"},
		"patch of another's domain": {nil, func(w *world) (Changes, error) {
			c, _, _, err := PlanPatchDomain(w, "rival", "contoso.com", new(true), nil)
			return c, err
		}, ErrNotFound, "domain"},
		"removal of another's domain": {nil, func(w *world) (Changes, error) {
			c, _, _, err := PlanRemoveDomain(w, "rival", "contoso.com", now, nil)
			return c, err
		}, ErrNotFound, "domain"},
		"removal of an unknown domain": {nil, func(w *world) (Changes, error) {
			c, _, _, err := PlanRemoveDomain(w, "acme", "a.com", now, nil)
			return c, err
		}, ErrNotFound, "domain"},
		"removal from a revoked one": {nil, func(w *world) (Changes, error) {
			c, _, _, err := PlanRemoveDomain(w, "gone", "gone.com", now, nil)
			return c, err
		}, ErrConflict, "tenant"},

		"bad pool":               {nil, func(w *world) (Changes, error) { c, _, err := PlanPutPool(w, "new", PoolSpec{}, nil); return c, err }, ErrInvalid, "hosts"},
		"deletion of no pool":    {nil, func(w *world) (Changes, error) { c, _, err := PlanClosePool(w, "none", nil); return c, err }, ErrNotFound, "pool"},
		"deletion of a pool":     {nil, func(w *world) (Changes, error) { c, _, err := PlanClosePool(w, "default", nil); return c, err }, ErrInUse, "pool"},
		"pool of a suspended":    {func(w *world) { w.patch("acme", TenantPatch{Pool: new("other")}); w.suspend("acme") }, func(w *world) (Changes, error) { c, _, err := PlanClosePool(w, "other", nil); return c, err }, ErrInUse, "pool"},
		"drain pool":             {nil, func(w *world) (Changes, error) { c, _, err := PlanClosePool(w, "drain", nil); return c, err }, ErrInUse, "pool"},
		"second step first":      {nil, func(w *world) (Changes, error) { c, _, err := PlanDeletePool(w, "other"); return c, err }, ErrConflict, "pool"},
		"second step of no pool": {nil, func(w *world) (Changes, error) { c, _, err := PlanDeletePool(w, "none"); return c, err }, ErrConflict, "pool"},

		"bad zone":                 {nil, putZone(b, func(s *ZoneSpec) { s.Nameservers = nil }), ErrInvalid, "nameservers"},
		"unknown drain pool":       {nil, putZone(b, func(s *ZoneSpec) { s.DrainPool = "none" }), ErrUnknownRef, "drain_pool"},
		"drain pool being deleted": {func(w *world) { close(w, "other") }, putZone(b, func(s *ZoneSpec) { s.DrainPool = "other" }), ErrUnknownRef, "drain_pool"},
		"drain pool removed":       {nil, putZone(mx, func(s *ZoneSpec) { s.DrainPool = "" }), ErrConflict, "drain_pool"},
		"hosted without parent":    {nil, putZone(b, func(s *ZoneSpec) { s.Parent.Mode = ParentHosted }), ErrUnknownRef, "parent.mode"},
		"hosted later":             {func(w *world) { w.zone(b, zoneSpec(b)) }, putZone(b, func(s *ZoneSpec) { s.Parent.Mode = ParentHosted }), ErrUnknownRef, "parent.mode"},
		"name server is a host": {nil, putZone(mx, func(s *ZoneSpec) {
			s.DrainPool = "drain"
			s.Nameservers = append(s.Nameservers, inside("contoso-com", mx))
		}), ErrConflict, "nameservers"},
		"name server below a host": {nil, putZone(mx, func(s *ZoneSpec) {
			s.DrainPool = "drain"
			s.Nameservers = append(s.Nameservers, inside("ns.contoso-com", mx))
		}), ErrConflict, "nameservers"},
		"name server was a host": {nil, putZone(mx, func(s *ZoneSpec) {
			s.DrainPool = "drain"
			s.Nameservers = append(s.Nameservers, inside("gone-com", mx))
		}), ErrConflict, "nameservers"},
		"name server in a shard":    {func(w *world) { w.zone(below("b"), zoneSpec(below("b"))) }, putZone(mx, func(s *ZoneSpec) { s.DrainPool = "drain"; s.Nameservers = append(s.Nameservers, inside("ns1.b", mx)) }), ErrConflict, "nameservers"},
		"shard is a host":           {nil, putZone(below("contoso-com"), keep), ErrConflict, "zone"},
		"shard was a host":          {nil, putZone(below("gone-com"), keep), ErrConflict, "zone"},
		"shard below a host":        {nil, putZone(below("a.contoso-com"), keep), ErrConflict, "zone"},
		"shard has a name server":   {nil, putZone(below("ns1"), keep), ErrConflict, "zone"},
		"shard of a zone that goes": {func(w *world) { w.zone(b, zoneSpec(b)); closeZone(w, b) }, putZone(MustParseName("a.b.test."), keep), ErrConflict, "zone"},
		"old host is a shard now": {func(w *world) {
			w.zone(b, zoneSpec(b))
			w.tenant("elsewhere", TenantSpec{Pool: "default", Zone: b, Domains: []Domain{"e.com"}})
			w.revoke("elsewhere")
			w.dropZone(b)
			w.zone(MustParseName("e-com.b.test."), zoneSpec(MustParseName("e-com.b.test.")))
		}, putZone(b, keep), ErrConflict, "zone"},
		"deletion of no zone":   {nil, func(w *world) (Changes, error) { c, _, err := PlanCloseZone(w, b, nil); return c, err }, ErrNotFound, "zone"},
		"deletion of a zone":    {nil, func(w *world) (Changes, error) { c, _, err := PlanCloseZone(w, mx, nil); return c, err }, ErrInUse, "zone"},
		"zone of a bare tenant": {func(w *world) { w.zone(b, zoneSpec(b)); w.tenant("bare", TenantSpec{Pool: "default", Zone: b}) }, func(w *world) (Changes, error) { c, _, err := PlanCloseZone(w, b, nil); return c, err }, ErrInUse, "zone"},
		"zone with a shard":     {func(w *world) { w.zone(b, zoneSpec(b)); a := MustParseName("a.b.test."); w.zone(a, zoneSpec(a)) }, func(w *world) (Changes, error) { c, _, err := PlanCloseZone(w, b, nil); return c, err }, ErrInUse, "zone"},
		"zone with a single host": {func(w *world) {
			w.zone(b, zoneSpec(b))
			w.tenant("elsewhere", TenantSpec{Pool: "default", Zone: b, Domains: []Domain{"free.com"}})
			w.revoke("elsewhere")
			c, _, _, err := PlanPutDomain(w, "acme", "free.com", true, nil)
			w.apply(c, err)
		}, func(w *world) (Changes, error) { c, _, err := PlanCloseZone(w, b, nil); return c, err }, ErrInUse, "zone"},
		"second step of a zone first": {nil, func(w *world) (Changes, error) { c, _, err := PlanDeleteZone(w, mx); return c, err }, ErrConflict, "zone"},
		"second step of no zone":      {nil, func(w *world) (Changes, error) { c, _, err := PlanDeleteZone(w, b); return c, err }, ErrConflict, "zone"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			spec := zoneSpec(mx)
			spec.DrainPool = "drain"
			w.zone(mx, spec)
			w.tenant("acme", tenantSpec("contoso.com"))
			w.tenant("rival", tenantSpec("rival.com"))
			w.tenant("gone", tenantSpec("gone.com"))
			w.revoke("gone")
			if c.setup != nil {
				c.setup(w)
			}
			changes, err := c.plan(w)
			refused(t, changes, err, c.kind, c.field)
		})
	}
}

func notAccepting(apex Name) ZoneSpec {
	spec := zoneSpec(apex)
	spec.Accepting = false
	return spec
}

func numbered(n int) (domains []Domain) {
	for i := range n {
		domains = append(domains, Domain(fmt.Sprintf("d%d.com", i)))
	}
	return domains
}

func TestFieldErrors(t *testing.T) {
	err := FieldErrors{{"a", "must be b"}, {"c[0]", "must be d"}}
	if !errors.Is(err, ErrInvalid) || err.Error() != "a: must be b; c[0]: must be d" || FieldErrors(nil).err() != nil {
		t.Error(err)
	}
	one := refuse(ErrInUse, "pool", "is used by %q", "x")
	if !errors.Is(one, ErrInUse) || errors.Is(one, ErrInvalid) || one.Error() != `pool: is used by "x"` {
		t.Error(one)
	}
}
