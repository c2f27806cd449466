package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/cable"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// tooNew is what a version says to a database, or a record, of a newer format.
const tooNew = "it has format 2, and this version"

// TestUpgrade: three nodes are replaced one by one by a version that has another format of records, and one of them goes back meanwhile.
// All the time tenants are provisioned, resolvers ask and all that they hear is secure. At each step all nodes answer alike, to the octet. When
// the last one is replaced, and not before, records are written in the new format; from then on the old version refuses to start.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := startUpgrade(t)
	ctx, stop := context.WithCancel(t.Context())
	asking, provisioning := w.ask(ctx, t, apex), w.provision(ctx, t)

	w.expect(t, 1, 1, 1, 1)
	w.replace(t, 0, true)
	w.expect(t, 1, 2, 1, 1)
	w.replace(t, 1, true)
	w.expect(t, 1, 2, 2, 1)
	w.roll(t)
	w.replace(t, 1, false) // and back
	w.expect(t, 1, 2, 1, 1)
	if backup := w.backup(t, binary); strings.Contains(backup, `"format":2`) || !strings.Contains(backup, `"format":1`) {
		t.Errorf("a record was written in the new format before all nodes know it:\n%s", backup)
	}
	w.replace(t, 1, true)
	w.replace(t, 2, true)
	w.expect(t, 2, 2, 2, 2)
	w.roll(t)
	w.expect(t, 2, 2, 2, 2)

	w.refuseOld(t)
	stop()
	asking.Wait()
	provisioning.Wait()
	w.expect(t, 2, 2, 2, 2)
	w.expectClocks(t)
	for i, host := range w.provisioned() {
		for n, s := range w.nodes {
			if err := s.expectHost(w.keys, host); err != nil {
				t.Errorf("tenant %d at node %d: %v", i, n, err)
			}
		}
	}
	t.Logf("%d secure answers, %d tenants", w.asked.Load(), len(w.provisioned()))
}

// upgradeWorld is a cluster with resolvers that never rest.
type upgradeWorld struct {
	rollWorld
	nodes []*server
	line  *cable.Cable // between the last node and etcd
	keys  dnstest.Keys

	provisions atomic.Bool // tenants are being provisioned
	mu         sync.Mutex  // guards hosts
	hosts      []string    // that were acknowledged
}

func startUpgrade(t *testing.T) *upgradeWorld {
	c := startEtcd(t, 3)
	w := &upgradeWorld{line: must[*cable.Cable](t)(cable.Lay(fmt.Sprintf("%s:2379", newSite().loopback()), strings.TrimPrefix(c.url(0, 2379), "http://")))}
	t.Cleanup(w.line.Close)
	c.reached = map[int]string{2: "http://" + w.line.Addr}
	w.nodes = startNodes(t, c, 3)
	s := w.nodes[0]
	spec, servers := quickPolicy(s, apex), []netip.Addr{}
	spec.Nameservers = nil
	for i, node := range w.nodes {
		spec.Nameservers = append(spec.Nameservers, api.Nameserver{Name: fmt.Sprintf("ns%d.%s", i+1, apex), Addresses: []string{node.addr.String()}})
		servers = append(servers, node.addr)
	}
	must[*api.Zone](t)(s.PutZone(t.Context(), apex, spec))
	must[*api.Pool](t)(s.PutPool(t.Context(), pool, examplePool("192.0.2.10", 1)))
	must[*api.Tenant](t)(s.PutTenant(t.Context(), "c", api.TenantSpec{Pool: pool, DANE: new(true), Domains: []string{hostDomain(apex)}}))
	w.hosts, w.keys = []string{hostOf(hostDomain(apex), apex)}, s.keys(t, apex)
	expectSame(t, w.nodes, w.keys, w.hosts[0])

	w.server = s
	w.root = startAuthority(t, s.site.addr(10), []delegation{{apex, servers, shortTTL(s.ds(t, apex))}}, nil)
	for i := range 2 {
		w.resolvers = append(w.resolvers, &startUnbound(t, w.root, s.site.addr(byte(11+i)), unboundOptions{aggressive: i == 0}).resolver)
	}
	return w
}

// provision puts one tenant after the other, at whichever node takes it, until ctx is done.
func (w *upgradeWorld) provision(ctx context.Context, t *testing.T) *sync.WaitGroup {
	var clients []*client.Client
	for _, s := range w.nodes {
		clients = append(clients, must[*client.Client](t)(client.New(client.Config{Server: s.url(), Token: s.token(t), Timeout: patience})))
	}
	var done sync.WaitGroup
	w.provisions.Store(true)
	done.Go(func() {
		defer w.provisions.Store(false)
		for i, attempt := 0, 0; ctx.Err() == nil; attempt++ {
			domain := fmt.Sprintf("u%d.example", i)
			tenant, err := clients[attempt%len(clients)].PutTenant(ctx, fmt.Sprintf("u%d", i), api.TenantSpec{Pool: pool, Domains: []string{domain}})
			if err == nil {
				i++
				w.mu.Lock()
				w.hosts = append(w.hosts, tenant.Domains[0].Host)
				w.mu.Unlock()
			}
			time.Sleep(interval)
		}
	})
	return &done
}

func (w *upgradeWorld) provisioned() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.hosts)
}

// replace stops a node in good order and starts it with the other version.
func (w *upgradeWorld) replace(t *testing.T, node int, next bool) {
	t.Helper()
	s := w.nodes[node]
	s.stop(t)
	s.next = next
	s.launch(t)
}

// expect waits until all nodes list the format of the database and what each of them knows, and until tenants that were provisioned meanwhile are
// answered alike, the first, the last and some between.
func (w *upgradeWorld) expect(t *testing.T, written uint8, known ...uint8) {
	t.Helper()
	if before := len(w.provisioned()); w.provisions.Load() {
		await(t, "tenants are provisioned", func() error {
			if len(w.provisioned()) < before+3 {
				return errors.New("none")
			}
			return nil
		})
	}
	for _, s := range w.nodes {
		await(t, "the nodes are listed with their formats", func() error {
			all, err := s.Nodes(t.Context())
			if err != nil {
				return err
			}
			var found []uint8
			for _, n := range all.Nodes {
				found = append(found, n.Format)
			}
			if all.Format != written || !slices.Equal(found, known) {
				return fmt.Errorf("format %d is written, %d are known", all.Format, found)
			}
			return nil
		})
	}
	hosts := w.provisioned()
	for _, i := range []int{0, len(hosts) / 3, 2 * len(hosts) / 3, len(hosts) - 1} {
		expectSame(t, w.nodes, w.keys, hosts[i])
	}
}

// expectClocks waits until each node has heard of the clocks of all. It is the same clock, and to hear of it takes a while.
func (w *upgradeWorld) expectClocks(t *testing.T) {
	t.Helper()
	for _, s := range w.nodes {
		await(t, "the clocks of all are known", func() error {
			all, err := s.Nodes(t.Context())
			if err != nil {
				return err
			}
			for _, n := range all.Nodes {
				if n.Offset == nil {
					return fmt.Errorf("nothing was heard of the clock of %s", n.Name)
				}
				if off, err := time.ParseDuration(*n.Offset); err != nil || off > 0 {
					t.Fatalf("the clock of %s is fast by %s", n.Name, *n.Offset)
				}
			}
			return nil
		})
	}
}

// roll has the leader replace the key that signs, and waits until it has.
func (w *upgradeWorld) roll(t *testing.T) {
	t.Helper()
	led, _ := leader(t, w.nodes)
	old := led.signers(t, apex)
	await(t, "a rollover begins", func() error {
		_, err := led.RollKey(t.Context(), apex, api.RollRequest{Role: "zsk"})
		return err
	})
	await(t, "another ZSK signs", func() error {
		if now := led.signers(t, apex); now == old {
			return fmt.Errorf("%s signs", now)
		}
		return nil
	})
	w.keys = led.keys(t, apex)
}

// backup is one of the whole database, made with a program.
func (w *upgradeWorld) backup(t *testing.T, program string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backup")
	s := w.nodes[0]
	output(t, "env", "MXSEAL_SERVER="+s.url(), "MXSEAL_TOKEN="+s.tokenFile(), program, "backup", file)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// refuseOld looks at what the old version does with a database of the new format: it does not serve it, not from an image either, does
// not copy it and does not restore a backup of it. The new version does.
func (w *upgradeWorld) refuseOld(t *testing.T) {
	t.Helper()
	s := w.nodes[2]
	refused := func(what string, args ...string) {
		t.Helper()
		out, err := run(t, "env", slices.Concat(s.env(), []string{binary}, args)...)
		if err == nil || !strings.Contains(out, tooNew) || !strings.Contains(out, "start a newer version") {
			t.Errorf("%s: %v\n%s", what, err, out)
		}
	}
	backup := write(t, t.TempDir(), "backup", w.backup(t, nextBinary))
	restore := func(program string) (string, error) {
		return run(t, "env", slices.Concat(s.env(), []string{"MXSEAL_STORE_ETCD_PREFIX=/restored", program, "restore", "--config", s.config(), backup})...)
	}
	if out, err := restore(binary); err == nil || !strings.Contains(out, tooNew) {
		t.Errorf("restored by an old version: %v\n%s", err, out)
	}
	if out, err := restore(nextBinary); err != nil {
		t.Errorf("restored: %v\n%s", err, out)
	}
	file := placed(t, s, "")
	refused("copied by an old version", "store", "copy", "--from", s.config(), "--to", file.config())
	output(t, "env", slices.Concat(s.env(), []string{nextBinary, "store", "copy", "--from", s.config(), "--to", file.config()})...)
	refused("a copy served by an old version", "serve", "--config", file.config())

	await(t, "the node could be started from its image", func() error {
		if s.count(t, "mxseal_node_image_timestamp_seconds", "") == 0 {
			return errors.New("it could not")
		}
		return nil
	})
	hosts := w.provisioned()
	waiting := must[*client.Client](t)(client.New(client.Config{Server: w.nodes[0].url(), Token: w.nodes[0].token(t), Timeout: patience,
		Lagging: func(names string) { t.Errorf("%s did not hear of a tenant", names) }}))
	must[*api.Tenant](t)(waiting.PutTenant(t.Context(), "last", api.TenantSpec{Pool: pool, Domains: []string{"last.example"}})) // hosts are in the image
	s.kill()
	refused("served by an old version", "serve", "--config", s.config())
	w.line.Cut()
	refused("served by an old version, from an image", "serve", "--config", s.config())
	s.launch(t)
	for _, host := range hosts {
		if err := s.expectHost(w.keys, host); err != nil {
			t.Errorf("from its image, in the new format: %v", err)
		}
	}
	w.line.Mend()
}
