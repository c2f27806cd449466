package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// manyDomains is as many as a tenant may have.
func manyDomains(id string) (all []string) {
	for i := range 5000 {
		all = append(all, fmt.Sprintf("d%d-%s.example", i, id))
	}
	return all
}

// expectFrom checks that hosts here and there in a list of domains are served from an address, or do not exist if that is empty.
func (s *server) expectFrom(domains []string, address string) error {
	for i := 0; i < len(domains); i += 499 {
		host := hostOf(domains[i], apex)
		m, err := s.dns("udp").Ask(dnstest.Query{Name: host, Type: dns.TypeA, DO: true})
		if err != nil {
			return err
		}
		found := ""
		for _, rr := range m.Answer {
			if a, is := rr.(*dns.A); is {
				found = a.A.String()
			}
		}
		if found != address || m.Rcode == dns.RcodeServerFailure {
			return fmt.Errorf("%s has address %q, not %q:\n%s", host, found, address, m)
		}
	}
	return nil
}

// watchWhole asks a node for a tenant and its hosts until the end, and complains if there are only some.
func watchWhole(t *testing.T, s *server, id string, domains []string, end <-chan struct{}) {
	seen := false
	for {
		select {
		case <-end:
			return
		default:
		}
		for _, domain := range []string{domains[len(domains)-1], domains[0], domains[len(domains)/2]} {
			m, err := s.dns("udp").Ask(dnstest.Query{Name: hostOf(domain, apex), Type: dns.TypeA})
			if err != nil {
				t.Error(err)
				continue
			}
			there := len(m.Answer) > 0
			if seen && !there {
				t.Errorf("%s is not there, and another host of the tenant was before", domain)
			}
			seen = seen || there
		}
		if tenant, err := s.Tenant(t.Context(), id); err == nil && len(tenant.Domains) != len(domains) || err != nil && seen {
			t.Errorf("a tenant that is there: %v", err)
		}
	}
}

// On an etcd with its default settings a tenant can have 5000 domains: it comes, is suspended, resumed, revoked and brought back, at all
// nodes at once and whole, and is imported. A node that is killed in the middle leaves all of it or nothing.
func TestATenantOfManyDomains(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	nodes := startNodes(t, c, 3)
	ctx := t.Context()
	must[*api.Pool](t)(nodes[0].PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	must[*api.Pool](t)(nodes[0].PutPool(ctx, "drain", examplePool("192.0.2.99", 9)))
	must[*api.Zone](t)(nodes[0].PutZone(ctx, apex, api.ZoneSpec{DrainPool: "drain",
		Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}}))
	waiting := must[*client.Client](t)(client.New(client.Config{Server: nodes[0].url(), Token: nodes[0].token(t),
		Lagging: func(names string) { t.Errorf("%s did not hear of a change", names) }}))
	domains := manyDomains("big")
	expectAll := func(what, address string) {
		t.Helper()
		for i, s := range nodes {
			if err := s.expectFrom(domains, address); err != nil {
				t.Errorf("%s: node %d: %v", what, i, err)
			}
		}
	}

	expectAll("before", "")
	created, watching := make(chan struct{}), sync.WaitGroup{}
	for _, s := range nodes {
		watching.Go(func() { watchWhole(t, s, "big", domains, created) })
	}
	first := must[*api.Tenant](t)(waiting.PutTenant(ctx, "big", api.TenantSpec{Pool: pool, Domains: domains}))
	close(created)
	watching.Wait()
	expectAll("created", "192.0.2.10")
	if err := nodes[0].expectHost(nodes[0].keys(t, apex), hostOf(domains[4999], apex)); err != nil {
		t.Error(err)
	}
	match := client.IfRevision(first.Revision) // as every node has it
	must[*api.Tenant](t)(nodes[1].PatchTenant(ctx, "big", api.TenantPatch{DisplayName: new("Big")}, match))
	must[*api.Tenant](t)(waiting.PatchTenant(ctx, "big", api.TenantPatch{State: new("suspended")}))
	expectAll("suspended", "192.0.2.99")
	must[*api.Tenant](t)(waiting.PatchTenant(ctx, "big", api.TenantPatch{State: new("active")}))
	expectAll("resumed", "192.0.2.10")
	must[*api.Tenant](t)(waiting.RevokeTenant(ctx, "big"))
	expectAll("revoked", "")
	must[*api.Tenant](t)(waiting.PutTenant(ctx, "big", api.TenantSpec{Pool: pool, Domains: domains}))
	expectAll("put again", "192.0.2.10")
	must[*api.Tenant](t)(waiting.PutTenant(ctx, "big", api.TenantSpec{Pool: pool, Domains: domains[:1]}))
	domains = domains[1:]
	expectAll("taken away", "")

	domains = manyDomains("imported")
	line := must[[]byte](t)(json.Marshal(api.ImportLine{ID: "imported", TenantSpec: api.TenantSpec{Pool: pool, Domains: domains}}))
	_, err := waiting.Import(ctx, strings.NewReader(string(line)), func(r api.ImportResult) error {
		if r.Status != 201 {
			t.Errorf("import: %+v", r.Problem)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	expectAll("imported", "192.0.2.10")
	killWhileItWrites(t, nodes)
	for _, s := range nodes {
		s.expectNoFailure(t)
	}
}

// killWhileItWrites kills a node at any moment of a write, and lets another one make the same.
func killWhileItWrites(t *testing.T, nodes []*server) {
	t.Helper()
	led, others := leader(t, nodes)
	for round := range 4 {
		id := fmt.Sprintf("killed%d", round)
		domains := manyDomains(id)
		spec := api.TenantSpec{Pool: pool, Domains: domains}
		done, victim := make(chan error, 1), []*server{led, others[0]}[round%2]
		go func() {
			_, err := victim.PutTenant(t.Context(), id, spec)
			done <- err
		}()
		after := time.Duration(rand.IntN(500)) * time.Millisecond
		time.Sleep(after)
		victim.kill()
		t.Logf("killed after %v: %v", after, <-done)
		end, watching := make(chan struct{}), sync.WaitGroup{}
		watching.Go(func() { watchWhole(t, others[1], id, domains, end) })
		await(t, "another node takes the tenant", func() error {
			_, err := others[1].PutTenant(t.Context(), id, spec)
			return err
		})
		close(end)
		watching.Wait()
		victim.launch(t)
		for i, s := range []*server{victim, others[1]} {
			await(t, fmt.Sprintf("node %d has all", i), func() error { return s.expectFrom(domains, "192.0.2.10") })
		}
		if tenant := must[*api.Tenant](t)(victim.Tenant(t.Context(), id)); len(tenant.Domains) != len(domains) {
			t.Errorf("%s has %d domains", id, len(tenant.Domains))
		}
	}
}
