package zone

import "slices"

// Pending is a View as it will be after changes that are not committed yet: what one plan writes, the next one sees. The
// changes of many plans then go into one commit. It knows what plans about tenants write: tenants and hosts. For one goroutine.
type Pending struct {
	View
	tenants map[string]*Tenant
	hosts   map[string]*Host // by the id of their row
	owners  map[Owner]map[string]bool
	order   []Ref // of rows, without revisions, in the order in which they were put first
	rows    map[Ref]Row
	needs   map[Ref]Ref // required rows, by their refs without revisions
	claims  []Claim
}

// NewPending begins with no changes.
func NewPending(v View) *Pending {
	return &Pending{View: v, tenants: map[string]*Tenant{}, hosts: map[string]*Host{}, owners: map[Owner]map[string]bool{}, rows: map[Ref]Row{}, needs: map[Ref]Ref{}}
}

// Add makes changes, planned on this view, part of it. Rows other than tenants and hosts, and deletions, are not expected: they
// would be written, and not seen.
func (p *Pending) Add(c Changes) {
	for _, row := range c.Puts {
		ref := unrevised(row.Ref())
		if p.rows[ref] == nil {
			p.order = append(p.order, ref)
		}
		p.rows[ref] = row
		switch r := row.(type) {
		case *Tenant:
			p.tenants[r.ID] = r
		case *Host:
			p.hosts[ref.ID] = r
			if p.owners[r.Owner] == nil {
				p.owners[r.Owner] = map[string]bool{}
			}
			p.owners[r.Owner][ref.ID] = true
		}
	}
	for _, ref := range c.Requires {
		p.needs[unrevised(ref)] = ref
	}
	p.claims = append(p.claims, c.Claims...)
}

// Len is how many records everything that was added writes.
func (p *Pending) Len() int { return len(p.order) + len(p.claims) }

// Changes returns everything that was added, as one commit. A row that is written has its precondition with it, and need not be
// required.
func (p *Pending) Changes() Changes {
	c := Changes{Claims: slices.Clone(p.claims)}
	for i, claim := range c.Claims { // as later plans have left it
		c.Claims[i].Host = p.hosts[claim.Host.Ref().ID]
	}
	for _, ref := range p.order {
		c.Puts = append(c.Puts, p.rows[ref])
	}
	for ref, required := range p.needs {
		if p.rows[ref] == nil {
			c.Requires = append(c.Requires, required)
		}
	}
	return c
}

func unrevised(ref Ref) Ref {
	ref.Revision = 0
	return ref
}

// Tenant implements View.
func (p *Pending) Tenant(id string) *Tenant {
	if t := p.tenants[id]; t != nil {
		return t
	}
	return p.View.Tenant(id)
}

// Host implements View.
func (p *Pending) Host(apex Name, label string) *Host {
	if h := p.hosts[(&Host{Zone: apex, Label: label}).Ref().ID]; h != nil {
		return h
	}
	return p.View.Host(apex, label)
}

// HostsOf implements View.
func (p *Pending) HostsOf(o Owner) []*Host {
	changed := p.owners[o]
	if changed == nil {
		return p.View.HostsOf(o)
	}
	hosts := slices.DeleteFunc(slices.Clone(p.View.HostsOf(o)), func(h *Host) bool { return changed[h.Ref().ID] })
	for _, ref := range p.order { // in the order of the changes, so that a plan is the same each time
		if h := p.hosts[ref.ID]; ref.Kind == KindHost && changed[ref.ID] && h.Owner == o {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
