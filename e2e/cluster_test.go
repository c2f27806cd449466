package e2e

import (
	"bytes"
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// etcd is a cluster of etcd.
type etcd struct {
	site    site
	hosts   []*host // that the members run on; nil for those without one of their own
	dir     string
	members []*daemon
	stale   string         // store.etcd.stale_after of the nodes; empty: the default
	options string         // more of store.etcd, each with a comma after it
	reached map[int]string // by some nodes not directly
	past    map[int64]*revision
	read    int64 // past is the history up to this revision
}

func (c *etcd) url(i, port int) string {
	if h := c.hosts[i]; h != nil {
		return fmt.Sprintf("http://%s:%d", h.addr(1), port)
	}
	return fmt.Sprintf("http://127.53.%d.%d:%d", c.site, i+1, port)
}

func (c *etcd) urls(port int) (all []string) {
	for i := range c.members {
		all = append(all, c.url(i, port))
	}
	return all
}

// endpoints is where a node finds the cluster.
func (c *etcd) endpoints(node int) string {
	return cmp.Or(c.reached[node], strings.Join(c.urls(2379), ", "))
}

func startEtcd(t testing.TB, members int) *etcd {
	t.Helper()
	return startEtcdOn(t, make([]*host, members))
}

// startEtcdOn starts a member on each host.
func startEtcdOn(t testing.TB, hosts []*host) *etcd {
	t.Helper()
	c := &etcd{site: newSite(), hosts: hosts, dir: t.TempDir(), members: make([]*daemon, len(hosts)), past: map[int64]*revision{}}
	for i := range hosts {
		c.run(t, i)
	}
	return c
}

// run starts a member, which may have run before.
func (c *etcd) run(t testing.TB, i int) {
	t.Helper()
	var initial []string
	for j, url := range c.urls(2380) {
		initial = append(initial, fmt.Sprintf("m%d=%s", j, url))
	}
	c.members[i] = c.hosts[i].start(t, nil, program(t, "etcd"), "--name", fmt.Sprintf("m%d", i), "--data-dir", filepath.Join(c.dir, fmt.Sprintf("m%d", i)),
		"--listen-client-urls", c.url(i, 2379), "--advertise-client-urls", c.url(i, 2379),
		"--listen-peer-urls", c.url(i, 2380), "--initial-advertise-peer-urls", c.url(i, 2380), "--initial-cluster", strings.Join(initial, ","),
		"--heartbeat-interval", "50", "--election-timeout", "500")
}

// startNodes starts nodes that share a cluster.
func startNodes(t testing.TB, c *etcd, n int) (nodes []*server) {
	t.Helper()
	return startNodesOn(t, c, make([]*host, n))
}

// startNodesOn starts a node on each host.
func startNodesOn(t testing.TB, c *etcd, hosts []*host) (nodes []*server) {
	t.Helper()
	dir := t.TempDir()
	for i, h := range hosts {
		s := &server{host: h, dir: dir}
		if h != nil {
			s.site = h.site
		} else {
			s.site = newSite()
		}
		s.addr = s.site.addr(53)
		config := write(t, dir, fmt.Sprintf("node%d.yaml", i), fmt.Sprintf("data_dir: %s\nkeys: {kek: \"file:%s/kek\", clock: trusted}\nlog: {format: text}\n"+
			"store: {engine: etcd, etcd: {%snode: n%d, endpoints: [%s], stale_after: %s}}\n", dir, dir, c.options, i, c.endpoints(i), cmp.Or(c.stale, "72h")))
		s.args = []string{"serve", "--config", config}
		if h != nil { // tokens go over a network
			id := newIdentity(t, s.inside())
			s.cert, s.more = id.cert, []string{"MXSEAL_API_TLS_CERT=" + id.cert, "MXSEAL_API_TLS_KEY=" + id.key}
		}
		if i == 0 {
			await(t, "mxseal init", func() error {
				_, err := run(t, "env", "MXSEAL_DNS_LISTEN=127.0.0.1:53", binary, "init", "--config", config)
				return err
			})
		}
		s.launch(t)
		nodes = append(nodes, s)
	}
	return nodes
}

// packet is the answer of a node, to the octet.
func (s *server) packet(q dnstest.Query) ([]byte, error) {
	conn, err := net.Dial("udp", dnsPort(s.addr))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	m := q.Message()
	m.Id = 1
	query, err := m.Pack()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Write(query); err != nil {
		return nil, err
	}
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil, err
	}
	answer := make([]byte, 4096)
	n, err := conn.Read(answer)
	return answer[:n], err
}

// expectSame waits until all nodes give one answer, to the octet, in which the host exists.
func expectSame(t testing.TB, nodes []*server, keys dnstest.Keys, host string) {
	t.Helper()
	_, zone, _ := strings.Cut(host, ".")
	for _, q := range []dnstest.Query{{Name: host, Type: dns.TypeA, DO: true}, {Name: "_25._tcp." + host, Type: dns.TypeTLSA, DO: true},
		{Name: zone, Type: dns.TypeDNSKEY, DO: true}, {Name: "absent." + zone, Type: dns.TypeA, DO: true}} {
		await(t, "all nodes answer alike about "+q.Name, func() error {
			for _, s := range nodes {
				if err := s.expectHost(keys, host); err != nil {
					return err
				}
			}
			return alike(nodes, q)
		})
	}
}

// alike returns nil if all nodes give one answer, to the octet.
func alike(nodes []*server, q dnstest.Query) error {
	var first []byte
	for i, s := range nodes {
		p, err := s.packet(q)
		if err != nil {
			return err
		}
		if i == 0 {
			first = p
		} else if !bytes.Equal(p, first) {
			return fmt.Errorf("%s: node %d answers otherwise than node 0:\n%x\n%x", q, i, p, first)
		}
	}
	return nil
}

// leader waits until one of the nodes leads.
func leader(t testing.TB, nodes []*server) (led *server, others []*server) {
	t.Helper()
	await(t, "a node leads", func() error {
		led, others = nil, nil
		for _, s := range nodes {
			if s.count(t, "mxseal_node_leading", "") == 1 {
				led = s
			} else {
				others = append(others, s)
			}
		}
		if led == nil || len(others) != len(nodes)-1 {
			return fmt.Errorf("%d of %d nodes do not lead", len(others), len(nodes))
		}
		return nil
	})
	return led, others
}

// expectNodes waits until a node lists n nodes that have everything, one of which leads.
func expectNodes(t testing.TB, s *server, n int) {
	t.Helper()
	await(t, "a node lists all", func() error {
		all, err := s.Nodes(t.Context())
		if err != nil {
			return err
		}
		leads := 0
		for i, node := range all.Nodes {
			if node.Leads {
				leads++
			}
			if node.Name != fmt.Sprintf("n%d", i) || node.Behind || node.Revision == 0 || node.Version == "" {
				return fmt.Errorf("%+v", node)
			}
		}
		if len(all.Nodes) != n || leads != 1 {
			return fmt.Errorf("%+v", all)
		}
		return nil
	})
}

// TestCluster: three nodes on three members of etcd. Each takes changes, all answer alike to the octet, also while nodes and members are
// killed; one rolls the keys; what was acknowledged is there.
func TestCluster(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 3)
	nodes := startNodes(t, c, 3)
	ctx, tenants := t.Context(), 0
	must[*api.Pool](t)(nodes[0].PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	must[*api.Zone](t)(nodes[0].PutZone(ctx, apex, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}}))
	keys := nodes[0].keys(t, apex)
	provision := func(s *server) string {
		t.Helper()
		tenants++
		domain := fmt.Sprintf("c%d.example", tenants)
		await(t, "a node takes a tenant", func() error {
			_, err := s.PutTenant(ctx, fmt.Sprintf("c%d", tenants), api.TenantSpec{Pool: pool, Domains: []string{domain}})
			return err
		})
		if err := s.expectHost(keys, hostOf(domain, apex)); err != nil {
			t.Fatalf("the node that took it: %v", err)
		}
		return hostOf(domain, apex)
	}
	for range 3 {
		for _, s := range nodes {
			expectSame(t, nodes, keys, provision(s))
		}
	}

	// Every node knows all of them. What all were waited for, all answer at once.
	for _, s := range nodes {
		expectNodes(t, s, len(nodes))
	}
	waiting := nodes[0].client(t, client.Config{Lagging: func(names string) { t.Errorf("%s did not hear of a tenant", names) }})
	for range 20 {
		tenants++
		domain := fmt.Sprintf("c%d.example", tenants)
		must[*api.Tenant](t)(waiting.PutTenant(ctx, fmt.Sprintf("c%d", tenants), api.TenantSpec{Pool: pool, Domains: []string{domain}}))
		for i, s := range nodes {
			if err := s.expectHost(keys, hostOf(domain, apex)); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
	}

	// The leader rolls, others refuse to. Without it another one leads, and rolls when the first one has heard all again.
	led, others := leader(t, nodes)
	if _, err := others[0].RollKey(ctx, apex, api.RollRequest{Role: "zsk"}); err == nil || !strings.Contains(err.Error(), "the node that leads") {
		t.Errorf("a node that does not lead: %v", err)
	}
	led.kill()
	expectSame(t, others, keys, provision(others[0]))
	next, _ := leader(t, others)
	led.launch(t)
	await(t, "the next leader rolls", func() error {
		_, err := next.RollKey(ctx, apex, api.RollRequest{Role: "zsk"})
		return err
	})
	keys = next.keys(t, apex)
	expectSame(t, nodes, keys, provision(led))

	// Without a majority of etcd all nodes answer, and take no changes; with it they go on.
	for _, m := range c.members[:2] {
		m.kill()
	}
	for _, s := range nodes {
		if _, err := s.PutTenant(ctx, "lost", api.TenantSpec{Pool: pool, Domains: []string{"lost.example"}}); err == nil {
			t.Error("a change was taken without a majority")
		}
	}
	for i := range tenants {
		for _, s := range nodes {
			if err := s.expectHost(keys, hostOf(fmt.Sprintf("c%d.example", i+1), apex)); err != nil {
				t.Errorf("without etcd: %v", err)
			}
		}
	}
	for i := range 2 {
		c.run(t, i)
	}
	for _, s := range nodes {
		expectSame(t, nodes, keys, provision(s))
	}
	for i := range tenants {
		expectSame(t, nodes, keys, hostOf(fmt.Sprintf("c%d.example", i+1), apex))
	}
	for _, s := range nodes {
		s.expectNoFailure(t)
	}
}
