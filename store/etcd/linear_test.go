package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// call is what is asked of a node about a tenant.
type call struct {
	tenant string
	do     string // put, suspend, resume, revoke or get
	name   string // for put
}

// answer is what came back.
type answer struct {
	unknown  bool   // whether it was done
	refused  string // none or revoked: why not
	changed  bool
	name     string
	state    zone.State // empty: there is no tenant
	revision uint64
}

// register is a tenant in the model.
type register struct {
	state    zone.State // empty: there is none
	name     string
	revision uint64
	after    bool // the revision is a larger one, of a write whose answer was lost
}

// do is what a call makes of a tenant, or why it is refused.
func (r register) do(c call) (next register, refused string) {
	next = r
	switch {
	case c.do == "get":
	case c.do == "put":
		if next.name = c.name; r.state != zone.Suspended {
			next.state = zone.Active
		}
	case r.state == "":
		return r, "none"
	case c.do == "revoke":
		next.state = zone.Revoked
	case r.state == zone.Revoked:
		return r, "revoked"
	case c.do == "suspend":
		next.state = zone.Suspended
	case c.do == "resume":
		next.state = zone.Active
	}
	return next, ""
}

// tenants is the model: each is a register of its own, and revisions grow.
func tenants() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Partition: func(all []porcupine.Operation) (parts [][]porcupine.Operation) {
			at := map[string]int{}
			for _, o := range all {
				tenant := o.Input.(call).tenant
				if _, known := at[tenant]; !known {
					at[tenant] = len(parts)
					parts = append(parts, nil)
				}
				parts[at[tenant]] = append(parts[at[tenant]], o)
			}
			return parts
		},
		Init: func() []any { return []any{register{}} },
		Step: func(state, input, output any) []any {
			r, c, a := state.(register), input.(call), output.(answer)
			next, refused := r.do(c)
			changed := next != r
			switch {
			case a.unknown && changed:
				next.after = true
				return []any{r, next}
			case a.unknown:
				return []any{r}
			case a.refused != refused:
				return nil
			case refused != "":
				return []any{r}
			case a.changed != changed, a.name != next.name, a.state != next.state:
				return nil
			case changed || r.after: // a revision that is new, or was not known
				if a.revision <= r.revision {
					return nil
				}
				next.revision, next.after = a.revision, false
			case a.revision != r.revision:
				return nil
			}
			return []any{next}
		},
	}
	return m.ToModel()
}

// domains are those of a tenant. For a quarter of them etcd does not take all hosts in one transaction.
func (c call) domains() []zone.Domain {
	n, _ := strconv.Atoi(c.tenant[1:])
	all := []zone.Domain{zone.Domain(c.tenant + ".example")}
	for i := range 100 {
		if n%4 == 0 {
			all = append(all, zone.Domain(fmt.Sprintf("d%d-%s.example", i, c.tenant)))
		}
	}
	return all
}

// half says whether a tenant has only some of its hosts.
func half(v zone.View, t *zone.Tenant) string {
	for _, o := range t.Owners() {
		if h := zone.HostOf(v, o); h == nil || h.Tenant != t.ID {
			return fmt.Sprintf("%s has no host", o)
		}
	}
	return ""
}

// perform does on a node what is asked. Without ok nothing was done.
func (c call) perform(s *store.Store) (a answer, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	incomplete := "" // of what was read
	revision, err := s.Update(ctx, func(v *store.State) (changes zone.Changes, err error) {
		var t *zone.Tenant
		state := map[string]zone.State{"suspend": zone.Suspended, "resume": zone.Active}[c.do]
		switch c.do {
		case "get":
			if t = v.Tenant(c.tenant); t != nil {
				incomplete = half(v, t)
			}
		case "put":
			changes, t, err = zone.PlanPutTenant(v, c.tenant, zone.TenantSpec{Pool: "p", DisplayName: c.name, Domains: c.domains()}, now, nil)
		case "revoke":
			changes, t, err = zone.PlanRevokeTenant(v, c.tenant, now, nil)
		default:
			changes, t, err = zone.PlanPatchTenant(v, c.tenant, zone.TenantPatch{State: &state}, now, nil)
		}
		a = answer{}
		if t != nil {
			a = answer{changed: !changes.IsEmpty(), name: t.DisplayName, state: t.State, revision: t.Revision}
		}
		return changes, err
	})
	if a.changed {
		a.revision = revision
	}
	switch {
	case incomplete != "":
		return answer{refused: incomplete}, true
	case err == nil:
		return a, true
	case errors.Is(err, zone.ErrNotFound):
		return answer{refused: "none"}, true
	case errors.Is(err, zone.ErrConflict):
		return answer{refused: "revoked"}, true
	case errors.Is(err, zone.ErrUnavailable), errors.Is(err, zone.ErrRetry):
		return answer{}, false
	}
	return answer{unknown: true}, true // also when the time was up
}

// startStores starts a node on each member of a cluster, with a pool and a zone.
func startStores(t *testing.T, c *Cluster) (nodes []*store.Store) {
	t.Helper()
	create(t, c)
	vault, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return strings.Repeat("5a", 32), true }})
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Members {
		e, err := etcd.Open(t.Context(), config(c, t, fmt.Sprintf("n%d", i)))
		if err != nil {
			t.Fatal(err)
		}
		s, err := store.Start(t.Context(), e, store.Options{Open: vault.Open, Metrics: store.NewMetrics(), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		nodes = append(nodes, s)
	}
	apex := zone.MustParseName("mx.test.")
	spec := zone.DefaultZoneSpec(apex)
	spec.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	pool := zone.PoolSpec{MXPreference: 10, Hosts: []zone.MailServer{{Name: "a", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}}}
	for _, plan := range []func(*store.State) (zone.Changes, error){
		func(v *store.State) (zone.Changes, error) {
			c, _, err := zone.PlanPutPool(v, "p", pool, nil)
			return c, err
		},
		func(v *store.State) (zone.Changes, error) {
			c, z, err := zone.PlanPutZone(v, apex, spec, time.Now(), "id", nil)
			if err != nil {
				return c, err
			}
			keys, err := vault.NewZone(z, nil, nil, time.Now())
			if err == nil {
				c.Puts = append(c.Puts, keys.Rows()...)
			}
			return c, err
		},
	} {
		revision, err := nodes[0].Update(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range nodes {
			await(t, "all nodes have it", func() bool { return s.State().Revision() >= revision })
		}
	}
	return nodes
}

// history lets clients at all nodes work on a few tenants while one member of etcd after the other is killed or stands still.
func history(t *testing.T, c *Cluster, nodes []*store.Store) []porcupine.Operation {
	t.Helper()
	const clients, each = 12, 400
	begun := time.Now()
	var mu sync.Mutex
	var all []porcupine.Operation
	var working sync.WaitGroup
	for client := range clients {
		working.Go(func() {
			s := nodes[client%len(nodes)]
			for range each {
				do := []string{"put", "put", "suspend", "resume", "revoke", "revoke", "get", "get", "get", "get"}[rand.IntN(10)]
				asked := call{tenant: fmt.Sprintf("t%d", rand.IntN(20)), do: do, name: fmt.Sprintf("name %d", rand.IntN(2))}
				o := porcupine.Operation{ClientId: client, Input: asked, Call: time.Since(begun).Nanoseconds()}
				a, ok := asked.perform(s)
				o.Output, o.Return = a, time.Since(begun).Nanoseconds()
				switch {
				case !ok:
					time.Sleep(20 * time.Millisecond)
					continue
				case a.unknown && do == "get":
					continue
				case a.unknown:
					o.Return = math.MaxInt64 // it may still be done, or never
				}
				mu.Lock()
				all = append(all, o)
				mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	for i := range 150 {
		m := c.Members[i%len(c.Members)]
		still := i%2 == 1
		if still {
			m.Signal(syscall.SIGSTOP)
		} else {
			m.Kill()
		}
		ended := false
		select {
		case <-done:
			ended = true
		case <-time.After(time.Second):
		}
		if still {
			m.Signal(syscall.SIGCONT)
		} else {
			m.Run()
		}
		select {
		case <-done:
			ended = true
		case <-time.After(time.Second):
		}
		if ended {
			<-done
			return all
		}
	}
	t.Fatal("clients wait for ever")
	return nil
}

// Whatever clients at several nodes do to tenants at once, and read, can have happened one after the other, each between its call and
// its answer, while members of etcd are killed and stand still. A write that changes nothing has seen what it would not change.
func TestLinearizable(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	all := history(t, c, startStores(t, c))
	counts := map[string]int{}
	for _, o := range all {
		a := o.Output.(answer)
		counts[o.Input.(call).do]++
		switch {
		case a.unknown:
			counts["unknown"]++
		case a.refused != "":
			counts["refused"]++
		}
	}
	t.Logf("%d operations: %v", len(all), counts)
	if len(all) < 1000 {
		t.Error("too few to prove anything")
	}
	checkLinear(t, all, porcupine.Ok)
}

func checkLinear(t *testing.T, all []porcupine.Operation, want porcupine.CheckResult) {
	t.Helper()
	if got := porcupine.CheckOperationsTimeout(tenants(), all, 2*time.Minute); got != want {
		for _, part := range tenants().Partition(all) {
			if porcupine.CheckOperationsTimeout(tenants(), part, time.Minute) == porcupine.Ok {
				continue
			}
			for _, o := range part {
				t.Logf("client %d %d-%d %+v: %+v", o.ClientId, o.Call, o.Return, o.Input, o.Output)
			}
			break
		}
		t.Errorf("the history is %s, want %s", got, want)
	}
}

// The check finds what it is there for.
func TestHistoriesThatCannotBe(t *testing.T) {
	t.Parallel()
	put := func(name string, revision uint64, at int64) porcupine.Operation {
		return porcupine.Operation{Input: call{tenant: "t", do: "put", name: name}, Output: answer{changed: true, name: name, state: zone.Active, revision: revision}, Call: at, Return: at + 1}
	}
	get := func(a answer, at int64) porcupine.Operation {
		return porcupine.Operation{ClientId: 1, Input: call{tenant: "t", do: "get"}, Output: a, Call: at, Return: at + 1}
	}
	revoke := func(a answer, at int64) porcupine.Operation {
		return porcupine.Operation{Input: call{tenant: "t", do: "revoke"}, Output: a, Call: at, Return: at + 1}
	}
	there := func(name string, revision uint64) answer {
		return answer{name: name, state: zone.Active, revision: revision}
	}
	gone := answer{changed: true, name: "a", state: zone.Revoked, revision: 2}
	for name, c := range map[string]struct {
		history []porcupine.Operation
		want    porcupine.CheckResult
	}{
		"a read sees the write before it":      {[]porcupine.Operation{put("a", 1, 0), get(there("a", 1), 10)}, porcupine.Ok},
		"a stale read":                         {[]porcupine.Operation{put("a", 1, 0), get(answer{}, 10)}, porcupine.Illegal},
		"a read of what was overwritten":       {[]porcupine.Operation{put("a", 1, 0), put("b", 2, 10), get(there("a", 1), 20)}, porcupine.Illegal},
		"a revocation that is undone":          {[]porcupine.Operation{put("a", 1, 0), revoke(gone, 10), get(there("a", 1), 20)}, porcupine.Illegal},
		"a revision that was there before":     {[]porcupine.Operation{put("a", 2, 0), put("b", 1, 10)}, porcupine.Illegal},
		"a write that is refused for no cause": {[]porcupine.Operation{put("a", 1, 0), revoke(answer{refused: "none"}, 10)}, porcupine.Illegal},
	} {
		t.Run(name, func(t *testing.T) { checkLinear(t, c.history, c.want) })
	}
}
