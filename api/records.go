package api

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// Record is one record as it is served now.
type Record struct {
	Name string `json:"name"`
	Type string `json:"type"`
	TTL  uint32 `json:"ttl" doc:"seconds"`
	Data string `json:"data" doc:"in presentation form"`
}

// Records is everything that is served for the hosts of a tenant or for one of them.
type Records struct {
	Records []Record `json:"records" doc:"empty while the hosts do not exist"`
}

func (a *API) recordRoutes() {
	handle(a, endpoint{method: http.MethodGet, path: "/v1/tenants/{tenant}/records", id: "list-tenant-records",
		summary: "List the records served for a tenant", need: keymgmt.ScopeRead}, a.tenantRecords)
	handle(a, endpoint{method: http.MethodGet, path: "/v1/tenants/{tenant}/domains/{domain}/records", id: "list-domain-records",
		summary: "List the records served for a domain", need: keymgmt.ScopeRead}, a.domainRecords)
}

func (a *API) tenantRecords(c *call, _ nothing) (answer[Records], error) {
	st := a.Store.State()
	t, err := findTenant(st, c.path("tenant"))
	if err != nil {
		return answer[Records]{}, err
	}
	return recordsOf(st, t, t.Owners())
}

func (a *API) domainRecords(c *call, _ nothing) (answer[Records], error) {
	d, err := c.domain()
	if err != nil {
		return answer[Records]{}, err
	}
	st := a.Store.State()
	t, err := findDomain(st, c.path("tenant"), d)
	if err != nil {
		return answer[Records]{}, err
	}
	return recordsOf(st, t, []zone.Owner{zone.DomainOwner(d)})
}

// recordsOf asks the questions that the DNS service is asked, of the same function, so that what is listed is
// what is served.
func recordsOf(st State, t *zone.Tenant, owners []zone.Owner) (answer[Records], error) {
	out := Records{Records: []Record{}}
	for _, o := range owners {
		h := zone.HostOf(st, o)
		if h == nil || h.Tenant != t.ID {
			continue
		}
		names, err := questions(st, t, h)
		if err != nil {
			return answer[Records]{}, err
		}
		for _, name := range names {
			for _, typ := range []zone.Type{zone.TypeMX, zone.TypeA, zone.TypeAAAA, zone.TypeTLSA} {
				if out.Records, err = appendServed(out.Records, st, name, typ); err != nil {
					return answer[Records]{}, err
				}
			}
		}
	}
	return answer[Records]{revision: t.Revision, body: out}, nil
}

// questions lists the names at which a host can have records: its own, and one for each port of the pools
// that serve it in one state or another.
func questions(st State, t *zone.Tenant, h *zone.Host) ([]zone.Name, error) {
	names := []zone.Name{h.Name()}
	pools := []string{t.Pool}
	if z := st.Zone(h.Zone); z != nil && z.DrainPool != "" {
		pools = append(pools, z.DrainPool)
	}
	for _, pool := range pools {
		p := st.Pool(pool)
		if p == nil {
			continue
		}
		for _, port := range p.TLSAPorts {
			name, err := zone.TLSAName(h.Name(), port)
			if err != nil {
				return nil, fmt.Errorf("name of the TLSA records of %s: %w", h.Name(), err)
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// appendServed appends the answer to one question.
func appendServed(records []Record, st State, name zone.Name, typ zone.Type) ([]Record, error) {
	a := zone.Lookup(st, st, name, typ)
	switch a.Outcome {
	case zone.NoKeys, zone.Broken:
		return nil, fmt.Errorf("nothing can be served at %s: outcome %d", name, a.Outcome)
	case zone.Positive:
		for i := range a.RRset.Len() {
			records = append(records, Record{name.String(), typ.String(), a.RRset.TTL(), dataText(typ, a.RRset.RData(i))})
		}
	}
	return records, nil
}
