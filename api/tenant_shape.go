package api

import (
	"slices"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// TenantSpec is what a provider says about a tenant: the body of PUT /v1/tenants/{tenant}.
type TenantSpec struct {
	DisplayName string   `json:"display_name,omitempty" doc:"for people; up to 200 octets"`
	Pool        string   `json:"pool" doc:"mail servers that take the tenant's mail"`
	Zone        string   `json:"zone,omitempty" doc:"where the tenant's hosts are placed; by default one that accepts tenants; never changes"`
	DANE        *bool    `json:"dane,omitempty" doc:"whether TLSA records are published; true for a new tenant, else by default as it was"`
	Smarthost   bool     `json:"smarthost,omitempty" doc:"whether the tenant itself has a host; default false"`
	Domains     []string `json:"domains,omitempty" doc:"accepted domains, in A-label or U-label form; up to 2000"`
}

// TenantPatch is the body of PATCH /v1/tenants/{tenant}: what is absent stays.
type TenantPatch struct {
	DisplayName *string `json:"display_name,omitempty"`
	Pool        *string `json:"pool,omitempty"`
	DANE        *bool   `json:"dane,omitempty"`
	Smarthost   *bool   `json:"smarthost,omitempty"`
	State       *string `json:"state,omitempty" enum:"active,suspended"`
}

// Tenant is a tenant as the API shows it.
type Tenant struct {
	ID            string   `json:"id"`
	DisplayName   string   `json:"display_name"`
	State         string   `json:"state" enum:"active,suspended,revoked"`
	Pool          string   `json:"pool"`
	DANE          bool     `json:"dane"`
	Zone          string   `json:"zone"`
	Smarthost     bool     `json:"smarthost"`
	SmarthostHost *string  `json:"smarthost_host" doc:"host name of the smarthost; null without one"`
	Domains       []Domain `json:"domains"`
	*Forget
	Revision uint64 `json:"revision"`
}

// Forget bounds how long answers given before a withdrawal can still have effect. On a tenant it is that of everything that
// was ever withdrawn from it, and absent if nothing was.
type Forget struct {
	CachesForgetBy time.Time `json:"caches_forget_by,omitzero" doc:"honest resolvers have let go of the records"`
	ReplayEndsBy   time.Time `json:"replay_ends_by,omitzero" doc:"no validator accepts a recorded answer any more"`
}

// DomainSpec is the body of PUT and PATCH of a domain.
type DomainSpec struct {
	DANE *bool `json:"dane,omitempty" doc:"whether TLSA records are published for this domain; true for a new domain, else by default as it was"`
}

// Domain is an accepted domain of a tenant as the API shows it.
type Domain struct {
	Domain   string `json:"domain" doc:"A-label form"`
	Host     string `json:"host" doc:"the name that the domain's MX points to; for ever the same"`
	MXRecord string `json:"mx_record" doc:"to be published in the domain's zone"`
	DANE     bool   `json:"dane" doc:"whether TLSA records are allowed now: by the tenant and by the domain"`
	State    string `json:"state" enum:"active,suspended,revoked"`
}

// TenantDomain is the answer about one domain. Its revision is that of its tenant.
type TenantDomain struct {
	Domain
	Tenant string `json:"tenant"`
	*Forget
	Revision uint64 `json:"revision"`
}

// parse keeps the order of the domains, so that errors can name their positions.
func (s TenantSpec) parse() (spec zone.TenantSpec, err error) {
	var p parser
	spec = zone.TenantSpec{DisplayName: s.DisplayName, Pool: s.Pool, DANE: or(s.DANE, true), Smarthost: s.Smarthost,
		Domains: p.domains("domains", s.Domains)}
	if s.Zone != "" {
		spec.Zone = p.name("zone", s.Zone)
	}
	return spec, p.err()
}

func (t TenantPatch) parse() zone.TenantPatch {
	return zone.TenantPatch{DisplayName: t.DisplayName, Pool: t.Pool, DANE: t.DANE, Smarthost: t.Smarthost, State: (*zone.State)(t.State)}
}

func showTenant(v zone.View, t *zone.Tenant) Tenant {
	out := Tenant{ID: t.ID, DisplayName: t.DisplayName, State: string(t.State), Pool: t.Pool, DANE: t.DANE, Zone: t.Zone.String(),
		Smarthost: t.Smarthost, Domains: make([]Domain, 0, len(t.Domains)), Revision: t.Revision}
	if t.Smarthost {
		if h := zone.HostOf(v, zone.SmarthostOwner(t.ID)); h != nil {
			out.SmarthostHost = new(h.Name().String())
		}
	}
	for _, d := range t.Domains {
		out.Domains = append(out.Domains, showDomain(v, t, d))
	}
	if t.Withdrawn != (zone.Forget{}) {
		out.Forget = showForget(t.Withdrawn)
	}
	return out
}

func showForget(f zone.Forget) *Forget { return &Forget{f.CachesForgetBy, f.ReplayEndsBy} }

// mxRecord is the line for the domain's own zone; its TTL is a suggestion.
func mxRecord(d zone.Domain, host string) string { return string(d) + ". 3600 IN MX 0 " + host }

// showDomain renders one domain of a tenant. A revoked tenant's domain may have gone to somebody else.
func showDomain(v zone.View, t *zone.Tenant, d zone.Domain) Domain {
	out := Domain{Domain: string(d), State: string(t.State)}
	if h := zone.HostOf(v, zone.DomainOwner(d)); h != nil {
		out.Host = h.Name().String()
		out.MXRecord = mxRecord(d, out.Host)
		out.DANE = t.State != zone.Revoked && h.Tenant == t.ID && t.DANE && h.DANE
	}
	return out
}

// owns reports whether a domain belongs to a tenant, or did when it was revoked.
func owns(t *zone.Tenant, d zone.Domain) bool {
	_, found := slices.BinarySearch(t.Domains, d)
	return found
}
