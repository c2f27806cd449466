package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/api"
)

// TestPasswords: the commands that docs/cluster.md has for an etcd with passwords are enough for nodes; and these go on by themselves
// when all members were started again, which makes etcd forget what it has agreed with them.
func TestPasswords(t *testing.T) {
	t.Parallel()
	program(t, "etcdctl")
	c := startEtcd(t, 3)
	dir := t.TempDir()
	password := write(t, dir, "etcd-password", "secret\n")
	if err := os.Chmod(password, 0o600); err != nil {
		t.Fatal(err)
	}
	c.options = fmt.Sprintf("user: mxseal, password_file: %s, ", password)
	write(t, dir, "etcd-root-password", "other\n")
	page, err := os.ReadFile("../docs/cluster.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^    etcdctl .*$`).FindAllString(string(page), -1)
	if len(commands) == 0 {
		t.Fatal("it shows no command")
	}
	script := strings.ReplaceAll("set -e\n"+strings.Join(commands, "\n"), "/etc/mxseal", dir)
	endpoints := strings.Join(c.urls(2379), ",")
	output(t, "env", "ETCDCTL_API=3", "ETCDCTL_ENDPOINTS="+endpoints, "sh", "-c", "until etcdctl get x; do sleep .1; done\n"+script)
	if out, err := run(t, "env", "ETCDCTL_API=3", "etcdctl", "--endpoints", endpoints, "get", "--prefix", "/"); err == nil {
		t.Errorf("etcd answers whoever asks: %s", out)
	}

	nodes := startNodes(t, c, 3)
	ctx := t.Context()
	must[*api.Pool](t)(nodes[0].PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	must[*api.Zone](t)(nodes[0].PutZone(ctx, apex, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + apex, Addresses: []string{"192.0.2.53"}}}}))
	keys := nodes[0].keys(t, apex)
	for i := range c.members {
		c.members[i].kill()
		c.run(t, i)
	}
	for i, s := range nodes {
		domain := fmt.Sprintf("c%d.example", i)
		await(t, "a node takes a tenant", func() error {
			_, err := s.PutTenant(ctx, fmt.Sprintf("c%d", i), api.TenantSpec{Pool: pool, Domains: []string{domain}})
			return err
		})
		expectSame(t, nodes, keys, hostOf(domain, apex))
	}
	expectNodes(t, nodes[0], 3)
	for _, s := range nodes {
		await(t, "a node says that all is well", func() error {
			if text := s.readiness(t); text != "ready\n" {
				return errors.New(text)
			}
			return nil
		})
		s.expectNoFailure(t)
	}
}
