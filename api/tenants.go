package api

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

func (a *API) tenantRoutes() {
	const path = "/v1/tenants/{tenant}"
	handle(a, endpoint{method: http.MethodGet, path: "/v1/tenants", id: "list-tenants", summary: "List tenants",
		need: keymgmt.ScopeRead, paged: true}, a.listTenants)
	handle(a, endpoint{method: http.MethodGet, path: path, id: "get-tenant", summary: "Show a tenant",
		need: keymgmt.ScopeRead}, a.getTenant)
	handle(a, endpoint{method: http.MethodPut, path: path, id: "put-tenant", summary: "Create or replace a tenant; brings back a revoked one",
		need: keymgmt.ScopeProvision, created: true}, a.putTenant)
	handle(a, endpoint{method: http.MethodPatch, path: path, id: "patch-tenant", summary: "Change, suspend or resume a tenant",
		need: keymgmt.ScopeProvision}, a.patchTenant)
	handle(a, endpoint{method: http.MethodDelete, path: path, id: "revoke-tenant", summary: "Revoke a tenant: its hosts disappear",
		need: keymgmt.ScopeProvision}, a.revokeTenant)
}

func (a *API) listTenants(c *call, _ nothing) (answer[Page[Tenant]], error) {
	st := a.Store.State()
	page := collect[Tenant](c.page)
	st.Tenants(c.page.after, func(t *zone.Tenant) bool {
		return t.ID <= page.after || page.add(t.ID, 1+len(t.Domains), func() Tenant { return showTenant(st, t) })
	})
	return answer[Page[Tenant]]{body: page.Page}, nil
}

func (a *API) getTenant(c *call, _ nothing) (answer[Tenant], error) {
	return a.answerTenant(c.path("tenant"), 0)
}

// answerTenant shows a tenant as it is now.
func (a *API) answerTenant(id string, status int) (answer[Tenant], error) {
	st := a.Store.State()
	t, err := findTenant(st, id)
	if err != nil {
		return answer[Tenant]{}, err
	}
	return answer[Tenant]{status: status, revision: t.Revision, body: showTenant(st, t)}, nil
}

// findTenant returns a tenant or the error for one that does not exist.
func findTenant(st State, id string) (*zone.Tenant, error) {
	t := st.Tenant(id)
	if t == nil {
		return nil, refuse(zone.ErrNotFound, "tenant", "there is no tenant "+clip(id))
	}
	return t, nil
}

func tenantRevision(st State, id string) uint64 {
	if t := st.Tenant(id); t != nil {
		return t.Revision
	}
	return 0
}

func (a *API) putTenant(c *call, body TenantSpec) (answer[Tenant], error) {
	id := c.path("tenant")
	spec, err := body.parse()
	if err != nil {
		return answer[Tenant]{}, err
	}
	var created bool
	err = a.update(c, func(st State) (zone.Changes, error) {
		created = st.Tenant(id) == nil
		return planPutTenant(st, id, body, spec, a.Now(), c.match.against(tenantRevision(st, id)))
	})
	if err != nil {
		return answer[Tenant]{}, err
	}
	return a.answerTenant(id, statusOf(created))
}

// planPutTenant plans what a PUT asks for.
func planPutTenant(v zone.View, id string, body TenantSpec, spec zone.TenantSpec, now time.Time, ifMatch *uint64) (zone.Changes, error) {
	if old := v.Tenant(id); old != nil && body.DANE == nil {
		// Who turned DANE off in an emergency must not find it on after the next call of a provisioning system.
		spec.DANE = old.DANE
	}
	changes, _, err := zone.PlanPutTenant(v, id, spec, now, ifMatch)
	return changes, inRequestOrder(err, spec.Domains)
}

// inRequestOrder lets an error about a domain name its position in the request; the plan counts positions in
// the sorted list without duplicates.
func inRequestOrder(err error, request []zone.Domain) error {
	var refused *zone.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(request)))
	for i, d := range sorted {
		if refused.Field == index("domains", i) {
			return refuse(refused.Kind, index("domains", slices.Index(request, d)), refused.Rule)
		}
	}
	return err
}

func (a *API) patchTenant(c *call, body TenantPatch) (answer[Tenant], error) {
	id := c.path("tenant")
	err := a.update(c, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanPatchTenant(st, id, body.parse(), a.Now(), c.match.against(tenantRevision(st, id)))
		return changes, err
	})
	if err != nil {
		return answer[Tenant]{}, err
	}
	return a.answerTenant(id, 0)
}

func (a *API) revokeTenant(c *call, _ nothing) (answer[Tenant], error) {
	id := c.path("tenant")
	err := a.update(c, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanRevokeTenant(st, id, a.Now(), c.match.against(tenantRevision(st, id)))
		return changes, err
	})
	if err != nil {
		return answer[Tenant]{}, err
	}
	return a.answerTenant(id, 0)
}
