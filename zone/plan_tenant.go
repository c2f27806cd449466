package zone

import (
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"time"
)

const maxDisplayName = 200 // octets

// TenantSpec is what a provider says about a tenant. A zero Zone leaves the choice to the server.
type TenantSpec struct {
	DisplayName     string
	Pool            string
	Zone            Name
	DANE, Smarthost bool
	Domains         []Domain
}

// TenantPatch changes the fields that are not nil.
type TenantPatch struct {
	DisplayName     *string
	Pool            *string
	DANE, Smarthost *bool
	State           *State // Active or Suspended
}

// PlanPutTenant creates or replaces a tenant. A revoked tenant comes back as active. The zone of a tenant
// never changes; a suspended one stays suspended.
func PlanPutTenant(v View, id string, spec TenantSpec, now time.Time, ifMatch *uint64) (Changes, *Tenant, error) {
	if err := spec.check(id); err != nil {
		return Changes{}, nil, err
	}
	old := v.Tenant(id)
	t := &Tenant{ID: id, DisplayName: spec.DisplayName, Pool: spec.Pool, Zone: spec.Zone, DANE: spec.DANE,
		Smarthost: spec.Smarthost, State: Active, Domains: sortedDomains(spec.Domains)}
	if old != nil {
		t.Revision, t.Withdrawn = old.Revision, old.Withdrawn
		if old.State == Suspended {
			t.State = Suspended
		}
	}
	if err := checkMatch(ifMatch, t.Revision); err != nil {
		return Changes{}, nil, err
	}
	p := newPlacement(v, t)
	if old == nil || old.State == Revoked || old.Pool != t.Pool { // the pool of a live tenant cannot be deleted
		if err := p.c.openPool(v, "pool", t.Pool); err != nil {
			return Changes{}, nil, err
		}
	}
	if err := p.placeIn(old); err != nil {
		return Changes{}, nil, err
	}
	if err := p.exchangeHosts(old, now); err != nil {
		return Changes{}, nil, err
	}
	return p.finish(old)
}

func (s TenantSpec) check(id string) error {
	var errs FieldErrors
	checkID(&errs, "id", id)
	checkDisplayName(&errs, s.DisplayName)
	if s.Pool == "" {
		errs.add("pool", "must name a pool")
	}
	if len(s.Domains) > MaxDomains {
		errs.add("domains", "must have at most %d entries", MaxDomains)
	}
	return errs.err()
}

func checkDisplayName(errs *FieldErrors, name string) {
	if len(name) > maxDisplayName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		errs.add("display_name", "must have at most %d octets and no control characters", maxDisplayName)
	}
}

func sortedDomains(domains []Domain) []Domain {
	sorted := slices.Clone(domains)
	slices.Sort(sorted)
	return slices.Clip(slices.Compact(sorted))
}

// chooseZone picks one of the accepting zones by the tenant's id, so that tenants spread evenly and a
// repeated call chooses the same (rendezvous hashing).
func chooseZone(v View, id string) *Zone {
	var best *Zone
	var bestScore [sha256.Size]byte
	v.Zones(func(z *Zone) bool {
		if z.Accepting && !z.Closing {
			score := sha256.Sum256([]byte(id + " " + z.Name.String()))
			if best == nil || slices.Compare(score[:], bestScore[:]) > 0 {
				best, bestScore = z, score
			}
		}
		return true
	})
	return best
}

// PlanPatchTenant changes single fields of a tenant, and suspends or resumes it.
func PlanPatchTenant(v View, id string, patch TenantPatch, now time.Time, ifMatch *uint64) (Changes, *Tenant, error) {
	old, err := liveTenant(v, id, ifMatch)
	if err != nil {
		return Changes{}, nil, err
	}
	t := old.clone()
	if err := patch.apply(t); err != nil {
		return Changes{}, nil, err
	}
	p := newPlacement(v, t)
	if t.Pool != old.Pool {
		if err := p.c.openPool(v, "pool", t.Pool); err != nil {
			return Changes{}, nil, err
		}
	}
	if err := p.exchangeHosts(old, now); err != nil {
		return Changes{}, nil, err
	}
	return p.finish(old)
}

func (patch TenantPatch) apply(t *Tenant) error {
	var errs FieldErrors
	if patch.DisplayName != nil {
		t.DisplayName = *patch.DisplayName
		checkDisplayName(&errs, t.DisplayName)
	}
	if patch.Pool != nil {
		t.Pool = *patch.Pool
	}
	if patch.DANE != nil {
		t.DANE = *patch.DANE
	}
	if patch.Smarthost != nil {
		t.Smarthost = *patch.Smarthost
	}
	if patch.State != nil {
		t.State = *patch.State
		if t.State != Active && t.State != Suspended {
			errs.add("state", "must be active or suspended; to revoke a tenant, delete it")
		}
	}
	return errs.err()
}

// PlanRevokeTenant makes all hosts of a tenant disappear, by one write. It is idempotent and final until
// the tenant is put again; its hosts stay reserved for their owners.
func PlanRevokeTenant(v View, id string, now time.Time, ifMatch *uint64) (Changes, *Tenant, error) {
	old := v.Tenant(id)
	if old == nil {
		return Changes{}, nil, refuse(ErrNotFound, "tenant", "there is no tenant %q", id)
	}
	if old.State == Revoked {
		return Changes{}, old, nil
	}
	if err := checkMatch(ifMatch, old.Revision); err != nil {
		return Changes{}, nil, err
	}
	t := old.clone()
	t.State = Revoked
	t.Withdrawn = old.Withdrawn.orLater(forget(v, hostsOf(v, old), now))
	return Changes{Puts: []Row{t}}, t, nil
}

// liveTenant returns a tenant that may be changed.
func liveTenant(v View, id string, ifMatch *uint64) (*Tenant, error) {
	t := v.Tenant(id)
	if t == nil {
		return nil, refuse(ErrNotFound, "tenant", "there is no tenant %q", id)
	}
	if err := checkMatch(ifMatch, t.Revision); err != nil {
		return nil, err
	}
	if t.State == Revoked {
		return nil, refuse(ErrConflict, "tenant", "tenant %q is revoked; put it again to bring it back", id)
	}
	return t, nil
}

// hostsOf returns the hosts that a tenant holds, or held when it was revoked.
func hostsOf(v View, t *Tenant) []*Host {
	var hosts []*Host
	for _, o := range t.Owners() {
		if h := HostOf(v, o); h != nil && h.Tenant == t.ID {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// placement collects the host rows that a new version of a tenant needs.
type placement struct {
	v     View
	t     *Tenant
	c     Changes
	fresh map[string]Owner // labels given out by this plan
}

func newPlacement(v View, t *Tenant) *placement {
	return &placement{v: v, t: t, fresh: map[string]Owner{}}
}

// placeIn settles the zone of the tenant.
func (p *placement) placeIn(old *Tenant) error {
	if old != nil && p.v.Zone(old.Zone) != nil {
		if !p.t.Zone.IsZero() && p.t.Zone != old.Zone {
			return refuse(ErrConflict, "zone", "cannot be changed from %s: the hosts of a tenant never move", old.Zone)
		}
		p.t.Zone = old.Zone
		if old.State == Revoked { // revoked tenants do not keep a zone from being deleted
			_, err := p.c.openZone(p.v, "zone", p.t.Zone)
			return err
		}
		return nil
	}
	if p.t.Zone.IsZero() {
		z := chooseZone(p.v, p.t.ID)
		if z == nil {
			return refuse(ErrNotAccepting, "zone", "no zone accepts new tenants")
		}
		p.t.Zone = z.Name
	}
	z, err := p.c.openZone(p.v, "zone", p.t.Zone)
	if err == nil && !z.Accepting {
		return refuse(ErrNotAccepting, "zone", "%s does not accept new tenants", z.Name)
	}
	return err
}

// exchangeHosts claims the hosts that the tenant gains and releases those that it loses. The hosts of a
// revoked tenant count as lost: each is claimed again or released.
func (p *placement) exchangeHosts(old *Tenant, now time.Time) error {
	before := map[Owner]bool{} // whether the tenant holds it still
	after := p.t.Owners()
	if old != nil {
		gone := ownerSet(old.Owners(), after)
		for _, o := range old.Owners() {
			before[o] = old.State != Revoked
			if gone[o] {
				p.release(o, old, now)
			}
		}
	}
	for i, o := range after {
		if before[o] {
			continue
		}
		field := "smarthost"
		if !o.IsSmarthost() {
			if p.t.Smarthost {
				i--
			}
			field = "domains[" + strconv.Itoa(i) + "]"
		}
		// The switch of a domain is not in the request: a tenant that comes back finds its domains as it left them.
		hosts := p.v.HostsOf(o)
		h := currentHost(p.v, hosts)
		dane := h == nil || h.Tenant != p.t.ID || h.DANE
		if _, err := p.claim(field, o, hosts, dane); err != nil {
			return err
		}
	}
	return p.checkDrain()
}

// ownerSet returns the owners in all that are not in without.
func ownerSet(all, without []Owner) map[Owner]bool {
	set := make(map[Owner]bool, len(all))
	for _, o := range all {
		set[o] = true
	}
	for _, o := range without {
		delete(set, o)
	}
	return set
}

// claim gives the tenant the host of an owner: of all that the owner ever got the present one, or else a new one in the tenant's zone.
func (p *placement) claim(field string, o Owner, hosts []*Host, dane bool) (*Host, error) {
	h := currentHost(p.v, hosts)
	if h == nil {
		return p.place(field, o, hosts, dane)
	}
	if by := holder(p.v, h); by != nil && by.ID != p.t.ID {
		return nil, refuse(ErrConflict, field, "%s belongs to tenant %q", o, by.ID)
	}
	if former := p.v.Tenant(h.Tenant); former != nil && former.ID != p.t.ID {
		p.c.require(former) // it must stay revoked
	}
	z, err := p.c.openZone(p.v, field, h.Zone)
	if err != nil {
		return nil, err
	}
	if p.reserved(z, h.Label) { // the zone was deleted and created again
		return nil, refuse(ErrConflict, field, "the host of %s, %s, belongs to a name server or a zone now", o, h.Name())
	}
	p.leaveOthers(hosts, h)
	taken := *h
	taken.Tenant, taken.DANE, taken.Released = p.t.ID, dane, nil
	p.c.Puts = append(p.c.Puts, &taken)
	return &taken, nil
}

// place makes a new host in the tenant's zone for an owner, besides all others that the owner ever got.
func (p *placement) place(field string, o Owner, others []*Host, dane bool) (*Host, error) {
	z, err := p.c.openZone(p.v, "zone", p.t.Zone)
	if err != nil {
		return nil, err
	}
	label, err := AssignLabel(o, func(label string) (Owner, bool) { return p.taken(z, label) })
	if err != nil {
		return nil, refuse(ErrConflict, field, "both labels of %s in %s belong to other owners", o, z.Name)
	}
	p.fresh[label] = o
	h := &Host{Owner: o, Zone: z.Name, Label: label, Tenant: p.t.ID, DANE: dane}
	p.c.Puts = append(p.c.Puts, h)
	p.c.Claims = append(p.c.Claims, Claim{Owner: o, Host: h, Previous: p.leaveOthers(others, h)})
	return h, nil
}

// leaveOthers makes sure that nobody holds another host of an owner than h, and that nobody takes one meanwhile.
// The others are in zones that are gone, or were once. It returns one of them, nil if there is none.
func (p *placement) leaveOthers(hosts []*Host, h *Host) (other *Host) {
	for _, had := range hosts {
		if had.Zone == h.Zone && had.Label == h.Label {
			continue
		}
		other = had
		free := *had
		free.Tenant = ""
		p.c.Puts = append(p.c.Puts, &free)
	}
	return other
}

// taken says who holds a label of z: a host of any time, or the zone's own name servers and shards.
func (p *placement) taken(z *Zone, label string) (Owner, bool) {
	if o, given := p.fresh[label]; given {
		return o, true
	}
	if h := p.v.Host(z.Name, label); h != nil {
		return h.Owner, true
	}
	return "", p.reserved(z, label)
}

// reserved reports whether a label of z belongs to one of its name servers or to a shard below it.
func (p *placement) reserved(z *Zone, label string) bool {
	return slices.ContainsFunc(z.Nameservers, func(ns Nameserver) bool { return ns.Name.LabelBelow(z.Name) == label }) ||
		slices.ContainsFunc(p.v.Shards(z.Name), func(shard *Zone) bool { return shard.Name.LabelBelow(z.Name) == label })
}

// release gives up the host of an owner, if the tenant has it. A tenant that was revoked may have it in a zone
// that is gone: it must not be there again when the zone is. What was revoked with the tenant was withdrawn then.
func (p *placement) release(o Owner, old *Tenant, now time.Time) (released *Host) {
	for _, h := range p.v.HostsOf(o) {
		if h.Tenant != p.t.ID {
			continue
		}
		f := old.Withdrawn
		if old.State != Revoked {
			f = forget(p.v, []*Host{h}, now)
		}
		p.t.Withdrawn = p.t.Withdrawn.orLater(f)
		free := *h
		free.Tenant, free.Released = "", &Release{From: p.t.ID, Forget: f}
		p.c.Puts = append(p.c.Puts, &free)
		released = &free
	}
	return released
}

// checkDrain makes sure that a suspended tenant is served from somewhere.
func (p *placement) checkDrain() error {
	if p.t.State != Suspended {
		return nil
	}
	zones := []Name{p.t.Zone}
	for _, h := range hostsOf(p.v, p.t) {
		zones = append(zones, h.Zone)
	}
	for _, row := range p.c.Puts {
		if h, isHost := row.(*Host); isHost && h.Tenant == p.t.ID {
			zones = append(zones, h.Zone)
		}
	}
	slices.SortFunc(zones, CompareNames)
	for _, apex := range slices.Compact(zones) {
		z := p.v.Zone(apex)
		if z == nil || z.DrainPool == "" {
			return refuse(ErrNoDrainPool, "state", "zone %s has no drain pool to serve suspended tenants from", apex)
		}
		p.c.require(z)
	}
	return nil
}

// finish adds the tenant's own row, unless nothing has changed at all.
func (p *placement) finish(old *Tenant) (Changes, *Tenant, error) {
	if old != nil && len(p.c.Puts) == 0 && p.t.same(old) {
		return Changes{}, old, nil
	}
	p.c.Puts = append(p.c.Puts, p.t)
	return p.c, p.t, nil
}
