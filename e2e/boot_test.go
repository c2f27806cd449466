package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

// TestBoot: etcd is gone, and then a node. Started again it answers as the other one does, from its image, takes no changes, and says
// so. When etcd is back it goes on as any node.
func TestBoot(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	nodes := startNodes(t, c, 2)
	ctx, other, lost := t.Context(), nodes[0], nodes[1]
	must[*api.Pool](t)(other.PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	must[*api.Zone](t)(other.PutZone(ctx, apex, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}}))
	keys := other.keys(t, apex)
	provision := func(i int) string {
		t.Helper()
		domain := fmt.Sprintf("c%d.example", i)
		await(t, "a node takes a tenant", func() error {
			_, err := other.PutTenant(ctx, fmt.Sprintf("c%d", i), api.TenantSpec{Pool: pool, Domains: []string{domain}})
			return err
		})
		return hostOf(domain, apex)
	}
	var hosts []string
	for i := range 5 {
		hosts = append(hosts, provision(i))
		expectSame(t, nodes, keys, hosts[i])
	}
	expectNodes(t, other, 2)
	await(t, "the node could be started from its image", func() error {
		if lost.count(t, "mxseal_node_image_timestamp_seconds", "") == 0 {
			return errors.New("it could not")
		}
		return nil
	})

	c.members[0].kill()
	lost.kill()
	lost.launch(t)
	for _, host := range hosts {
		expectSame(t, nodes, keys, host)
	}
	expectUnavailable(t, lost)
	if n := lost.count(t, "mxseal_node_from_image", ""); n != 1 {
		t.Errorf("mxseal_node_from_image is %d", n)
	}
	if text := lost.readiness(t); !strings.Contains(text, "image") {
		t.Errorf("it is %q", text)
	}
	await(t, "the node that goes on says that it hears nothing", func() error {
		if text := other.readiness(t); !strings.HasPrefix(text, "ready: not all that etcd has was heard for ") {
			return errors.New(text)
		}
		return nil
	})
	expectUnavailable(t, other)
	heard := other.count(t, "mxseal_node_current_timestamp_seconds", "")

	c.run(t, 0)
	hosts = append(hosts, provision(len(hosts)))
	for _, host := range hosts {
		expectSame(t, nodes, keys, host)
	}
	await(t, "the node goes on without its image", func() error {
		if text := lost.readiness(t); text != "ready\n" || lost.count(t, "mxseal_node_from_image", "") != 0 {
			return errors.New(text)
		}
		return nil
	})
	await(t, "the node that went on hears again", func() error {
		if text, now := other.readiness(t), other.count(t, "mxseal_node_current_timestamp_seconds", ""); text != "ready\n" || now <= heard {
			return fmt.Errorf("%q, heard at %d and at %d", text, heard, now)
		}
		return nil
	})
	expectNodes(t, other, 2)
	must[*api.Tenant](t)(lost.PutTenant(ctx, "taken", api.TenantSpec{Pool: pool, Domains: []string{"taken.example"}}))
	expectSame(t, nodes, keys, hostOf("taken.example", apex))
	for _, s := range nodes {
		s.expectNoFailure(t)
	}
}

// expectUnavailable makes sure that a node that does not reach etcd takes no change.
func expectUnavailable(t testing.TB, s *server) {
	t.Helper()
	_, err := s.PutTenant(t.Context(), "refused", api.TenantSpec{Pool: pool, Domains: []string{"refused.example"}})
	if refusal, is := errors.AsType[*client.Error](err); !is || refusal.Status != http.StatusServiceUnavailable {
		t.Errorf("a change at a node without etcd: %v", err)
	}
}

// readiness is what a server says of it.
func (s *server) readiness(t testing.TB) string {
	t.Helper()
	res, err := (&http.Client{Timeout: patience}).Get(s.monitor("readyz"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
