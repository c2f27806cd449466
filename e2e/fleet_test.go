package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// fleet is three nodes of mxseal and three members of etcd, each on a host of its own; in the sandbox, which is where all others on the
// Internet are, resolvers that ask all the time and clients that provision at every node. The sandbox reaches all hosts, whatever they
// have lost of each other.
type fleet struct {
	cuts
	etcd    *etcd
	nodes   []*server
	world   *rollWorld // the resolvers; its server is any node
	ledger  *ledger
	witness *witness
	rolls   map[string]int // rollovers that were begun, by role
	struck  int            // the node that something was done to last
	loaded  int            // how often it had loaded everything again before
	down    []func()       // start again what was killed, or stands still
}

// rolled is the zone whose keys roll; its parent ownParent is a zone of the fleet, too.
const rolled = "o-v1." + ownParent

const (
	fleetSize  = 3
	fleetStale = 40 * time.Second // store.etcd.stale_after: longer than etcd is away at a time
)

func startFleet(t *testing.T) *fleet {
	t.Helper()
	hosts := make([]*host, 2*fleetSize)
	for i := range hosts {
		hosts[i] = newHost(t)
	}
	f := &fleet{ledger: &ledger{state: map[string]bool{}}, rolls: map[string]int{}}
	f.etcd = startEtcdOn(t, hosts[:fleetSize])
	f.etcd.stale = fleetStale.String()
	f.nodes = startNodesOn(t, f.etcd, hosts[fleetSize:])
	f.furnish(t)
	f.witness = newWitness(f.nodes)
	return f
}

// furnish makes the zones, a tenant that stays, a root and resolvers.
func (f *fleet) furnish(t *testing.T) {
	t.Helper()
	s := f.nodes[0]
	put := func(zone string, parent *api.ParentPolicy) {
		t.Helper()
		spec := quickPolicy(s, zone)
		spec.Parent, spec.Nameservers = parent, nil
		for i, node := range f.nodes {
			spec.Nameservers = append(spec.Nameservers, api.Nameserver{Name: fmt.Sprintf("ns%d.%s", i+1, zone), Addresses: []string{node.addr.String()}})
		}
		must[*api.Zone](t)(s.PutZone(t.Context(), zone, spec))
	}
	put(ownParent, nil)
	put(rolled, &api.ParentPolicy{Mode: new("hosted")})
	must[*api.Pool](t)(s.PutPool(t.Context(), pool, examplePool("192.0.2.10", 1)))
	must[*api.Tenant](t)(s.PutTenant(t.Context(), "stays", api.TenantSpec{Zone: rolled, Pool: pool, DANE: new(true), Domains: []string{hostDomain(rolled)}}))
	var servers []netip.Addr
	for _, node := range f.nodes {
		servers = append(servers, node.addr)
	}
	internet := newSite()
	root := startAuthority(t, internet.addr(10), []delegation{{ownParent, servers, s.ds(t, ownParent)}}, nil)
	f.world = &rollWorld{server: s, root: root}
	for i := range 2 { // they forgive, since every server is away once within minutes
		f.world.resolvers = append(f.world.resolvers, &startUnbound(t, root, internet.addr(byte(11+i)), unboundOptions{aggressive: i == 0, forgives: true}).resolver)
	}
}

// live starts everything that goes on all the time, until ctx is done.
func (f *fleet) live(ctx context.Context, t *testing.T) *sync.WaitGroup {
	var all sync.WaitGroup
	all.Go(f.world.ask(ctx, t, rolled).Wait)
	all.Go(func() { f.askNewcomers(ctx, t) })
	all.Go(func() { f.witness.watchLeaders(ctx) })
	for i, s := range f.nodes {
		all.Go(func() { f.witness.watch(ctx, t, i) })
		c := s.client(t, client.Config{})
		all.Go(func() { f.provision(ctx, t, c, fmt.Sprintf("n%d", i)) })
	}
	return &all
}

const (
	betweenCalls = 300 * time.Millisecond
	betweenLooks = 100 * time.Millisecond
)

// provision has tenants come and go at a node. It may refuse when it cannot know, but never what is right.
func (f *fleet) provision(ctx context.Context, t *testing.T, c *client.Client, prefix string) {
	for i := 0; ctx.Err() == nil; i++ {
		err := f.ledger.provision(ctx, c, rolled, prefix, i)
		if refusal, is := errors.AsType[*client.Error](err); is && refusal.Status < http.StatusInternalServerError {
			t.Errorf("a tenant was refused: %v", err)
		}
		pause(ctx, betweenCalls)
	}
}

// askNewcomers asks for hosts that are new or gone. What a resolver hears of them may be late, but it is secure.
func (f *fleet) askNewcomers(ctx context.Context, t *testing.T) {
	for i := 0; ctx.Err() == nil; i++ {
		if domain, any := f.ledger.any(); any {
			r := f.world.resolvers[i%len(f.world.resolvers)]
			m, err := ask(r.addr, hostOf(domain, rolled), dns.TypeA, true)
			if err == nil {
				err = isSecure(m)
			}
			if err != nil {
				t.Errorf("%s: %s: the answer about %s %v\n%v", time.Now().Format(time.TimeOnly), r.name, domain, err, m)
			}
		}
		pause(ctx, betweenLooks)
	}
}

// pause waits for a while, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// begin begins rollovers of those roles of which none is on its way. Which of its steps a disaster hits is left to chance.
func (f *fleet) begin(t *testing.T) {
	t.Helper()
	led, _ := leader(t, f.nodes)
	rolling := map[string]bool{}
	for _, k := range must[*api.KeyStatus](t)(led.KeyStatus(t.Context(), rolled)).Keys {
		rolling[k.Role] = rolling[k.Role] || k.Use == "incoming" || k.Use == "outgoing"
	}
	for _, role := range []string{"zsk", "ksk"} {
		if rolling[role] {
			continue
		}
		await(t, "a rollover is begun", func() error {
			_, err := led.RollKey(t.Context(), rolled, api.RollRequest{Role: role})
			return err
		})
		f.rolls[role]++
	}
	await(t, "the rollovers are on their way", func() error {
		if f.world.settled(rolled) == nil {
			return errors.New("they are not")
		}
		return nil
	})
}

// mend makes everything good that has been done.
func (f *fleet) mend(t *testing.T) {
	t.Helper()
	f.heal(t)
	for _, start := range f.down {
		start()
	}
	f.down = nil
}

// converge waits until all is as it should be, with nobody's help: one node leads, and all have everything and answer alike.
func (f *fleet) converge(t *testing.T) {
	t.Helper()
	leader(t, f.nodes)
	expectNodes(t, f.nodes[0], len(f.nodes))
	for _, q := range witnessed() {
		await(t, "all nodes answer alike", func() error { return alike(f.nodes, q) })
	}
}

// verify looks at all that was acknowledged: every node answers it, all alike, and so do the resolvers.
func (f *fleet) verify(t *testing.T) {
	t.Helper()
	keys := f.nodes[0].keys(t, rolled)
	var domains []string
	var questions []question
	there := 0
	for domain, is := range f.ledger.state {
		domains = append(domains, domain)
		questions = append(questions, question{hostOf(domain, rolled), dns.TypeA, is})
		if is {
			there++
		}
	}
	if there == 0 || there == len(domains) {
		t.Fatalf("%d of %d domains are to be there", there, len(domains))
	}
	each(t, domains, func(domain string) error {
		for _, s := range f.nodes {
			if err := f.ledger.check(s, keys, rolled, domain); err != nil {
				return fmt.Errorf("acknowledged, and at %s: %w", s.addr, err)
			}
		}
		q := dnstest.Query{Name: hostOf(domain, rolled), Type: dns.TypeA, DO: true}
		if alike(f.nodes, q) == nil {
			return nil
		}
		return alike(f.nodes, q) // the window may have ended between two nodes, once in an hour
	})
	for _, r := range f.world.resolvers {
		r.sweep(t, questions)
	}
	t.Logf("%d calls acknowledged; %d domains are there and %d gone, at every node and resolver", f.ledger.acks, there, len(domains)-there)
}

// verifyKeys looks at what the rollovers have left: each has made one key, and no step was made twice.
func (f *fleet) verifyKeys(t *testing.T) {
	t.Helper()
	status := must[*api.KeyStatus](t)(f.nodes[0].KeyStatus(t.Context(), rolled))
	made := map[string]int{}
	for _, k := range status.Keys {
		made[k.Role]++
	}
	for role, n := range f.rolls {
		if made[role] != n+1 {
			t.Errorf("%d keys are %s after %d rollovers", made[role], role, n)
		}
	}
	t.Logf("rollovers: %v", f.rolls)
}

// expectOnlyStarts fails the test if a node has failed to answer but while it was starting, or had to be silent.
func (f *fleet) expectOnlyStarts(t *testing.T) {
	t.Helper()
	for _, s := range f.nodes {
		all, starting := s.count(t, "mxseal_dns_failures_total", ""), s.count(t, "mxseal_dns_failures_total", "not_ready")
		if all != starting || s.count(t, "mxseal_dns_panics_total", "") > 0 {
			t.Errorf("%s: %d answers have failed, %d of them of a node that was not ready", s.addr, all, starting)
		}
	}
}

// leadingMember is the number of the member of etcd that leads.
func (f *fleet) leadingMember(t *testing.T) (led int) {
	t.Helper()
	await(t, "a member of etcd leads", func() error {
		for i := range f.etcd.members {
			if leads, err := metricAt(f.etcd.url(i, 2379)+"/metrics", "etcd_server_is_leader", ""); err == nil && leads == 1 {
				led = i
				return nil
			}
		}
		return errors.New("none does")
	})
	return led
}

// leadingNode is the number of the node that leads.
func (f *fleet) leadingNode(t *testing.T) int {
	t.Helper()
	led, _ := leader(t, f.nodes)
	return slices.Index(f.nodes, led)
}
