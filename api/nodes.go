package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// Cluster knows the nodes that answer from one database. Safe for concurrent use.
type Cluster interface {
	// Nodes returns the nodes that answer, and those that may and cannot be heard of, in the order of their names.
	Nodes(ctx context.Context) ([]Member, error)
	// Forget says that a node does not answer any more.
	Forget(ctx context.Context, name string) error
}

// Member is what a Cluster knows of a node.
type Member struct {
	Name     string
	Version  string // of the program
	Format   uint8  // of records: the newest that the program knows
	Since    time.Time
	Revision uint64         // it has everything up to here; 0 while it loads
	Silent   time.Duration  // since it was heard of last
	Offset   *time.Duration // of its clock, by the clock of the node that is asked; nil if that is not known
	Leads    bool
}

// maxSilence is for how long a node that is alive may not be heard of. Nodes say every three seconds that they are.
const maxSilence = 15 * time.Second

func (m Member) isAlive() bool { return m.Silent < maxSilence }

// Node is a node as the API shows it.
type Node struct {
	Name     string    `json:"name"`
	Version  string    `json:"version" doc:"of the program"`
	Format   uint8     `json:"format" doc:"the newest format of records that the program knows"`
	Since    time.Time `json:"since" doc:"when it started"`
	Revision uint64    `json:"revision" doc:"it has everything up to here, by what it said last; 0 while it loads"`
	Behind   bool      `json:"behind" doc:"it does not have everything that another one has, by what they said last; so it is for a moment after each change"`
	Silent   string    `json:"silent" doc:"a duration such as 2s: how long ago it was heard of. From 15s on nothing waits for it but key rollovers"`
	Leads    bool      `json:"leads" doc:"it rolls the keys"`
	Offset   *string   `json:"clock_offset" doc:"a duration such as -3ms: by how much its clock is fast, by the clock of the node that is asked. It is too small by the time that a report of it takes, at best of the last eight, which are ten seconds apart. null if nothing was heard of the clock yet"`
}

// Nodes is the answer to GET /v1/nodes.
type Nodes struct {
	Format uint8  `json:"format" doc:"that of the database: new records are written in it. It is raised when every node knows a newer one"`
	Nodes  []Node `json:"nodes" doc:"in the order of their names"`
}

func (a *API) nodeRoutes() {
	handle(a, endpoint{method: http.MethodGet, path: "/v1/nodes", id: "list-nodes", summary: "List the nodes that answer, and what they have",
		need: keymgmt.ScopeRead}, a.listNodes)
	handle(a, endpoint{method: http.MethodDelete, path: "/v1/nodes/{node}", id: "forget-node",
		summary: "Say that a node does not answer any more: key rollovers go on without it. If it does answer, its answers may become bogus",
		need:    keymgmt.ScopeAdmin}, a.forgetNode)
}

// members asks the cluster.
func (a *API) members(ctx context.Context) ([]Member, error) {
	all, err := a.Cluster.Nodes(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSilentCluster, err)
	}
	return all, nil
}

func (a *API) listNodes(c *call, _ nothing) (answer[Nodes], error) {
	state := a.Store.State()
	newest := state.Revision()
	all, err := a.members(c.ctx)
	if err != nil {
		return answer[Nodes]{}, err
	}
	for _, m := range all {
		newest = max(newest, m.Revision)
	}
	out := Nodes{Format: state.Format(), Nodes: make([]Node, len(all))}
	for i, m := range all {
		out.Nodes[i] = Node{Name: m.Name, Version: m.Version, Format: m.Format, Since: m.Since, Revision: m.Revision, Behind: m.Revision < newest,
			Silent: *durationText(m.Silent), Leads: m.Leads}
		if m.Offset != nil {
			out.Nodes[i].Offset = durationText(m.Offset.Round(time.Millisecond))
		}
	}
	return answer[Nodes]{body: out}, nil
}

// forgetNode refuses to forget a node that is alive: it would take its place again, and what it answers meanwhile nobody waits for.
func (a *API) forgetNode(c *call, _ nothing) (answer[nothing], error) {
	name := c.path("node")
	all, err := a.members(c.ctx)
	if err != nil {
		return answer[nothing]{}, err
	}
	i := slices.IndexFunc(all, func(m Member) bool { return m.Name == name })
	switch {
	case i < 0:
		return answer[nothing]{}, refuse(zone.ErrNotFound, "node", "there is no node "+clip(name))
	case all[i].isAlive():
		return answer[nothing]{}, refuse(zone.ErrConflict, "node",
			fmt.Sprintf("is alive, it was heard of %s ago: stop it first, and wait until it has been silent for %s", all[i].Silent, maxSilence))
	}
	return answer[nothing]{status: http.StatusNoContent}, a.Cluster.Forget(c.ctx, name)
}
