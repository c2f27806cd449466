package api

import (
	"encoding/hex"
	"net/http"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// PoolSpec is what a provider says about a pool: the body of PUT /v1/pools/{pool}.
type PoolSpec struct {
	Hosts        []MailServer `json:"hosts,omitempty" required:"true" doc:"1 to 64 mail servers with at least one address in all"`
	MXPreference *uint16      `json:"mx_preference,omitempty" doc:"of the MX at the hosts themselves; default 10"`
	TLSA         []TLSA       `json:"tlsa,omitempty" doc:"up to 16 associations; none means no DANE"`
	TLSAPorts    []uint16     `json:"tlsa_ports,omitempty" doc:"default 25 alone"`
}

// MailServer is one machine of a pool.
type MailServer struct {
	Name      string   `json:"name" doc:"for people; unique in the pool"`
	Addresses []string `json:"addresses,omitempty" required:"true" doc:"IPv4 and IPv6"`
}

// TLSA is one association (RFC 6698 §2.1).
type TLSA struct {
	Usage        uint8  `json:"usage" doc:"3 (DANE-EE) or 2 (DANE-TA)"`
	Selector     uint8  `json:"selector" doc:"0 (certificate) or 1 (public key)"`
	MatchingType uint8  `json:"matching_type" doc:"0 (full), 1 (SHA-256) or 2 (SHA-512)"`
	Data         string `json:"data" doc:"hexadecimal digits"`
}

// Pool is a pool as the API shows it.
type Pool struct {
	Name string `json:"name"`
	PoolSpec
	Closing  bool   `json:"closing,omitempty" doc:"a deletion was interrupted; repeat it, or PUT the pool to keep it"`
	Revision uint64 `json:"revision"`
}

const defaultMXPreference = 10

func (s PoolSpec) parse() (zone.PoolSpec, error) {
	var p parser
	out := zone.PoolSpec{MXPreference: or(s.MXPreference, defaultMXPreference), TLSAPorts: s.TLSAPorts}
	for i, h := range s.Hosts {
		out.Hosts = append(out.Hosts, zone.MailServer{Name: h.Name, Addresses: p.addresses(index("hosts", i)+".addresses", h.Addresses)})
	}
	for i, t := range s.TLSA {
		out.TLSA = append(out.TLSA, zone.TLSA{Usage: t.Usage, Selector: t.Selector, MatchingType: t.MatchingType,
			Data: p.hex(index("tlsa", i)+".data", t.Data)})
	}
	return out, p.err()
}

func showPool(p *zone.Pool) Pool {
	spec := PoolSpec{MXPreference: &p.MXPreference, TLSAPorts: p.TLSAPorts}
	for _, h := range p.Hosts {
		spec.Hosts = append(spec.Hosts, MailServer{h.Name, texts(h.Addresses)})
	}
	for _, t := range p.TLSA {
		spec.TLSA = append(spec.TLSA, TLSA{t.Usage, t.Selector, t.MatchingType, hex.EncodeToString(t.Data)})
	}
	return Pool{Name: p.Name, PoolSpec: spec, Closing: p.Closing, Revision: p.Revision}
}

func (a *API) poolRoutes() {
	const path = "/v1/pools/{pool}"
	handle(a, endpoint{method: http.MethodGet, path: "/v1/pools", id: "list-pools", summary: "List pools",
		need: keymgmt.ScopeRead, paged: true}, a.listPools)
	handle(a, endpoint{method: http.MethodGet, path: path, id: "get-pool", summary: "Show a pool",
		need: keymgmt.ScopeRead}, a.getPool)
	handle(a, endpoint{method: http.MethodPut, path: path, id: "put-pool", summary: "Create or replace a pool",
		need: keymgmt.ScopeAdmin, created: true}, a.putPool)
	handle(a, endpoint{method: http.MethodDelete, path: path, id: "delete-pool", summary: "Delete a pool that nothing uses",
		need: keymgmt.ScopeAdmin}, a.deletePool)
}

func (a *API) listPools(c *call, _ nothing) (answer[Page[Pool]], error) {
	page := collect[Pool](c.page)
	a.Store.State().Pools(func(p *zone.Pool) bool {
		return p.Name <= page.after || page.add(p.Name, 1, func() Pool { return showPool(p) })
	})
	return answer[Page[Pool]]{body: page.Page}, nil
}

func (a *API) getPool(c *call, _ nothing) (answer[Pool], error) {
	return a.answerPool(c.path("pool"), 0)
}

// answerPool shows a pool as it is now.
func (a *API) answerPool(name string, status int) (answer[Pool], error) {
	p := a.Store.State().Pool(name)
	if p == nil {
		return answer[Pool]{}, refuse(zone.ErrNotFound, "pool", "there is no pool "+clip(name))
	}
	return answer[Pool]{status: status, revision: p.Revision, body: showPool(p)}, nil
}

func poolRevision(st State, name string) uint64 {
	if p := st.Pool(name); p != nil {
		return p.Revision
	}
	return 0
}

func (a *API) putPool(c *call, body PoolSpec) (answer[Pool], error) {
	name := c.path("pool")
	spec, err := body.parse()
	if err != nil {
		return answer[Pool]{}, err
	}
	var created bool
	err = a.update(c, func(st State) (zone.Changes, error) {
		current := poolRevision(st, name)
		created = current == 0
		changes, _, err := zone.PlanPutPool(st, name, spec, c.match.against(current))
		return changes, err
	})
	if err != nil {
		return answer[Pool]{}, err
	}
	return a.answerPool(name, statusOf(created))
}

func (a *API) deletePool(c *call, _ nothing) (answer[nothing], error) {
	name := c.path("pool")
	err := a.remove(c, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanClosePool(st, name, c.match.against(poolRevision(st, name)))
		return changes, err
	}, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanDeletePool(st, name)
		return changes, err
	})
	return answer[nothing]{status: http.StatusNoContent}, err
}
