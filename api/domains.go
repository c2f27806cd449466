package api

import (
	"net/http"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

func (a *API) domainRoutes() {
	const path = "/v1/tenants/{tenant}/domains/{domain}"
	handle(a, endpoint{method: http.MethodGet, path: path, id: "get-domain", summary: "Show a domain of a tenant",
		need: keymgmt.ScopeRead}, a.getDomain)
	handle(a, endpoint{method: http.MethodPut, path: path, id: "put-domain", summary: "Add a domain to a tenant, or replace it",
		need: keymgmt.ScopeProvision, created: true, bodyOptional: true}, a.putDomain)
	handle(a, endpoint{method: http.MethodPatch, path: path, id: "patch-domain", summary: "Change a domain of a tenant",
		need: keymgmt.ScopeProvision}, a.patchDomain)
	handle(a, endpoint{method: http.MethodDelete, path: path, id: "remove-domain", summary: "Withdraw a domain: its host disappears",
		need: keymgmt.ScopeProvision}, a.removeDomain)
}

func (a *API) getDomain(c *call, _ nothing) (answer[TenantDomain], error) {
	d, err := c.domain()
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	return a.answerDomain(c.path("tenant"), d, 0)
}

// answerDomain shows a domain as it is now.
func (a *API) answerDomain(tenant string, d zone.Domain, status int) (answer[TenantDomain], error) {
	st := a.Store.State()
	t, err := findDomain(st, tenant, d)
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	out := TenantDomain{Domain: showDomain(st, t, d), Tenant: t.ID, Revision: t.Revision}
	if t.State == zone.Revoked {
		out.Forget = showForget(t.Withdrawn)
	}
	return answer[TenantDomain]{status: status, revision: t.Revision, body: out}, nil
}

// findDomain returns the tenant that has a domain or the error for a domain that it does not have.
func findDomain(st State, tenant string, d zone.Domain) (*zone.Tenant, error) {
	t, err := findTenant(st, tenant)
	if err != nil {
		return nil, err
	}
	if !owns(t, d) {
		return nil, refuse(zone.ErrNotFound, "domain", "tenant "+t.ID+" has no domain "+string(d))
	}
	return t, nil
}

// domainRevision is that of the tenant if it has the domain.
func domainRevision(st State, tenant string, d zone.Domain) uint64 {
	if t := st.Tenant(tenant); t != nil && owns(t, d) {
		return t.Revision
	}
	return 0
}

func (a *API) putDomain(c *call, body DomainSpec) (answer[TenantDomain], error) {
	d, err := c.domain()
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	tenant := c.path("tenant")
	var created bool
	err = a.update(c, func(st State) (zone.Changes, error) {
		current := domainRevision(st, tenant, d)
		created = current == 0
		dane := body.DANE
		if !created && dane == nil { // stays as it is, like that of a tenant
			h := zone.HostOf(st, zone.DomainOwner(d))
			dane = new(h == nil || h.DANE)
		}
		changes, _, _, err := zone.PlanPutDomain(st, tenant, d, or(dane, true), c.match.against(current))
		return changes, err
	})
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	return a.answerDomain(tenant, d, statusOf(created))
}

func (a *API) patchDomain(c *call, body DomainSpec) (answer[TenantDomain], error) {
	d, err := c.domain()
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	tenant := c.path("tenant")
	err = a.update(c, func(st State) (zone.Changes, error) {
		changes, _, _, err := zone.PlanPatchDomain(st, tenant, d, body.DANE, c.match.against(domainRevision(st, tenant, d)))
		return changes, err
	})
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	return a.answerDomain(tenant, d, 0)
}

// removeDomain answers with what became of the domain; repeated, with the same.
func (a *API) removeDomain(c *call, _ nothing) (answer[TenantDomain], error) {
	d, err := c.domain()
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	tenant := c.path("tenant")
	var released *zone.Host
	err = a.update(c, func(st State) (zone.Changes, error) {
		var changes zone.Changes
		var err error
		changes, _, released, err = zone.PlanRemoveDomain(st, tenant, d, a.Now(), c.match.against(domainRevision(st, tenant, d)))
		return changes, err
	})
	if err != nil {
		return answer[TenantDomain]{}, err
	}
	host := released.Name().String()
	out := TenantDomain{Tenant: tenant, Revision: tenantRevision(a.Store.State(), tenant), Domain: Domain{
		Domain: string(d), Host: host, MXRecord: mxRecord(d, host), State: string(zone.Revoked)}}
	if released.Released != nil {
		out.Forget = showForget(released.Released.Forget)
	}
	return answer[TenantDomain]{revision: out.Revision, body: out}, nil
}
