package e2e

import (
	"fmt"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
)

// TestVisible: what a call has changed when it returns is in the next answer. The name is asked before each call, so
// that what was true then is in the server's caches.
func TestVisible(t *testing.T) {
	t.Parallel()
	const calls = 2000
	s := startServer(t)
	keys := s.keys(t, apex)
	ctx := t.Context()
	for i := range calls {
		id := fmt.Sprintf("v%d", i)
		domain := id + ".example"
		host := hostOf(domain, apex)
		if err := s.expectNoHost(keys, host); err != nil {
			t.Fatalf("before call %d: %v", i, err)
		}
		must[*api.Tenant](t)(s.PutTenant(ctx, id, api.TenantSpec{Pool: pool, Domains: []string{domain}}))
		if err := s.expectHost(keys, host); err != nil {
			t.Fatalf("after call %d: %v", i, err)
		}
		var err error
		switch i % 4 {
		case 0:
			_, err = s.RevokeTenant(ctx, id)
		case 1:
			_, err = s.RemoveDomain(ctx, id, domain)
		case 2:
			_, err = s.PutTenant(ctx, id, api.TenantSpec{Pool: pool})
		case 3:
			s.checkDANEOff(t, id, host)
			continue
		}
		if err == nil {
			err = s.expectNoHost(keys, host)
		}
		if err != nil {
			t.Fatalf("after the withdrawal that belongs to call %d: %v", i, err)
		}
	}
	t.Logf("%d domains provisioned and withdrawn, each change seen in the next answer", calls)
}

// checkDANEOff switches DANE of a tenant off: the host stays and its TLSA records go.
func (s *server) checkDANEOff(t *testing.T, tenant, host string) {
	t.Helper()
	keys := s.keys(t, apex)
	name := "_25._tcp." + host
	m := must[*dns.Msg](t)(s.lookup(keys, name, dns.TypeTLSA))
	if len(m.Answer) == 0 {
		t.Fatalf("no TLSA records while DANE is on:\n%s", m)
	}
	must[*api.Tenant](t)(s.PatchTenant(t.Context(), tenant, api.TenantPatch{DANE: new(false)}))
	if err := s.expectNoHost(keys, name); err != nil {
		t.Fatal(err)
	}
	if err := s.expectHost(keys, host); err != nil {
		t.Fatal(err)
	}
}
