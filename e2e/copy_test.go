package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/zone"
)

// placed is a server with a configuration of its own, which names its engine. The key-encryption key and the first token are those of
// another one, if there is one.
func placed(t testing.TB, other *server, engine string) *server {
	t.Helper()
	at, dir := newSite(), t.TempDir()
	secrets := dir
	if other != nil {
		secrets = other.dir
		write(t, dir, "admin.token", other.token(t))
	}
	s := &server{site: at, dir: dir, addr: at.addr(53)}
	s.args = []string{"serve", "--config", write(t, dir, "mxseal.yaml", fmt.Sprintf(
		"data_dir: %s\nkeys: {kek: \"file:%s/kek\", clock: trusted}\nlog: {format: text}\ndns: {listen: [\"127.0.0.1:5300\"]}\n%s", dir, secrets, engine))}
	return s
}

func (s *server) config() string { return s.args[len(s.args)-1] }

// copyInto copies the database of a server that has stopped into the place of another one.
func (s *server) copyInto(t testing.TB, to *server) {
	t.Helper()
	out := output(t, binary, "store", "copy", "--from", s.config(), "--to", to.config())
	if !strings.Contains(out, "compared them: SHA-256") {
		t.Errorf("store copy: %s", out)
	}
	if out, err := run(t, binary, "store", "copy", "--from", s.config(), "--to", to.config()); err == nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("again: %v\n%s", err, out)
	}
}

// TestStoreCopy: a database moves from bolt to etcd, to another prefix there, and back to bolt. Where it has moved to, answers are the
// same to the octet as where it was, signatures verify, and labels are still those of their owners.
func TestStoreCopy(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	etcdUnder := func(prefix string) string {
		return fmt.Sprintf("store: {engine: etcd, etcd: {node: n, prefix: %s, endpoints: [%s]}}\n", prefix, c.url(0, 2379))
	}
	first := placed(t, nil, "")
	output(t, binary, "init", "--config", first.config())
	first.launch(t)
	ctx := t.Context()
	must[*api.Pool](t)(first.PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	for _, name := range []string{apex, "mx2.test."} {
		must[*api.Zone](t)(first.PutZone(ctx, name, api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns1." + name, Addresses: []string{"192.0.2.53"}}}}))
	}
	const tenants = 300 // more than share one transaction of etcd
	for i := range tenants {
		must[*api.Tenant](t)(first.PutTenant(ctx, fmt.Sprintf("c%d", i), api.TenantSpec{Zone: apex, Pool: pool, Domains: []string{domainOf(i)}}))
	}
	must[*api.Tenant](t)(first.RevokeTenant(ctx, "c0"))
	must[*api.Rollover](t)(first.RollKey(ctx, apex, api.RollRequest{Role: "zsk"}))
	var keys dnstest.Keys
	await(t, "the next key is published, after which nothing happens for a while", func() error {
		if keys = first.keys(t, apex); len(keys[zone.MustParseName(apex)]) != 3 {
			return fmt.Errorf("%d keys", len(keys[zone.MustParseName(apex)]))
		}
		return nil
	})

	place := first
	for i, engine := range []string{etcdUnder("/one"), etcdUnder("/two"), "", ""} {
		next := placed(t, first, engine)
		if i == 0 {
			if out, err := run(t, binary, "store", "copy", "--from", place.config(), "--to", next.config()); err == nil || !strings.Contains(out, "stop the server") {
				t.Errorf("while a server runs: %v\n%s", err, out)
			}
		}
		place.stop(t)
		place.copyInto(t, next)
		place.launch(t) // for the comparison: neither changes anything
		next.launch(t)
		for _, host := range []string{hostOf(domainOf(1), apex), hostOf(domainOf(tenants-1), apex)} {
			expectSame(t, []*server{place, next}, keys, host)
		}
		expectAlike(t, place, next, dnstest.Query{Name: hostOf(domainOf(0), apex), Type: dns.TypeMX, DO: true})
		if err := next.expectNoHost(keys, hostOf(domainOf(0), apex)); err != nil {
			t.Error(err)
		}
		if got, want := next.ds(t, apex), place.ds(t, apex); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("copy %d: DS %v, want %v", i, got, want)
		}
		place.stop(t)
		added := fmt.Sprintf("later%d.example", i)
		must[*api.Tenant](t)(next.PutTenant(ctx, fmt.Sprintf("later%d", i), api.TenantSpec{Zone: apex, Pool: pool, Domains: []string{added}}))
		if err := next.expectHost(keys, hostOf(added, apex)); err != nil {
			t.Errorf("copy %d: %v", i, err)
		}
		place = next
	}
	place.expectNoFailure(t)
}

func domainOf(i int) string { return fmt.Sprintf("c%d.example", i) }

// expectAlike waits until two servers give one answer, to the octet.
func expectAlike(t testing.TB, a, b *server, q dnstest.Query) {
	t.Helper()
	await(t, "both answer alike about "+q.Name, func() error { return alike([]*server{a, b}, q) })
}
