package zone

import (
	"slices"
	"time"
)

// PlanPutDomain adds a domain to a tenant, or sets its DANE switch. The revision of a domain is that of its
// tenant.
func PlanPutDomain(v View, tenant string, d Domain, dane bool, ifMatch *uint64) (Changes, *Tenant, *Host, error) {
	t := v.Tenant(tenant)
	if t != nil && slices.Contains(t.Domains, d) {
		return PlanPatchDomain(v, tenant, d, &dane, ifMatch)
	}
	if err := checkMatch(ifMatch, 0); err != nil {
		return Changes{}, nil, nil, err
	}
	old, err := liveTenant(v, tenant, nil)
	if err != nil {
		return Changes{}, nil, nil, err
	}
	if len(old.Domains) >= MaxDomains {
		return Changes{}, nil, nil, refuse(ErrTooManyOfKind, "domain", "a tenant has at most %d domains", MaxDomains)
	}
	t = old.clone()
	t.Domains = sortedDomains(append(t.Domains, d))
	p := newPlacement(v, t)
	h, err := p.claim("domain", DomainOwner(d), v.HostsOf(DomainOwner(d)), dane)
	if err != nil {
		return Changes{}, nil, nil, err
	}
	if err := p.checkDrain(); err != nil {
		return Changes{}, nil, nil, err
	}
	p.c.Puts = append(p.c.Puts, t)
	return p.c, t, h, nil
}

// PlanPatchDomain changes the DANE switch of a domain; nil leaves it.
func PlanPatchDomain(v View, tenant string, d Domain, dane *bool, ifMatch *uint64) (Changes, *Tenant, *Host, error) {
	t, h, err := ownedDomain(v, tenant, d, ifMatch)
	if err != nil {
		return Changes{}, nil, nil, err
	}
	if dane == nil || h.DANE == *dane {
		return Changes{}, t, h, nil
	}
	changed := *h
	changed.DANE = *dane
	t = t.clone()
	return Changes{Puts: []Row{&changed, t}}, t, &changed, nil
}

// PlanRemoveDomain withdraws one domain of a tenant. Asked again, it returns the host as it was released.
func PlanRemoveDomain(v View, tenant string, d Domain, now time.Time, ifMatch *uint64) (Changes, *Tenant, *Host, error) {
	if h := HostOf(v, DomainOwner(d)); h != nil && h.Tenant == "" && h.Released != nil && h.Released.From == tenant {
		return Changes{}, v.Tenant(tenant), h, nil
	}
	old, _, err := ownedDomain(v, tenant, d, ifMatch)
	if err != nil {
		return Changes{}, nil, nil, err
	}
	t := old.clone()
	t.Domains = slices.DeleteFunc(t.Domains, func(o Domain) bool { return o == d })
	p := newPlacement(v, t)
	free := p.release(DomainOwner(d), old, now)
	p.c.Puts = append(p.c.Puts, t)
	return p.c, t, free, nil
}

// ownedDomain returns a domain of a tenant that may be changed.
func ownedDomain(v View, tenant string, d Domain, ifMatch *uint64) (*Tenant, *Host, error) {
	t, err := liveTenant(v, tenant, ifMatch)
	if err != nil {
		return nil, nil, err
	}
	h := HostOf(v, DomainOwner(d))
	if h == nil || h.Tenant != t.ID {
		return nil, nil, refuse(ErrNotFound, "domain", "tenant %q has no domain %s", tenant, d)
	}
	return t, h, nil
}
