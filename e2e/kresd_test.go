package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// startKresd starts Knot Resolver. It uses cached denials for what it was not asked before (RFC 8198); with tcp it
// uses no cache, so that every question reaches the authority.
func startKresd(t testing.TB, a *authority, addr netip.Addr, tcp bool) *resolver {
	t.Helper()
	dir := t.TempDir()
	flags := ""
	if tcp {
		flags = "policy.add(policy.all(policy.FLAGS({'TCP', 'NO_CACHE'})))"
	}
	conf := write(t, dir, "kresd.conf", fmt.Sprintf(`net.ipv6 = false
net.listen('%[1]s', 53, { kind = 'dns' })
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('priming')
modules.load('hints')
hints.root_file('%[2]s')
trust_anchors.remove('.')
trust_anchors.add_file('%[3]s', true)
%[4]s
-- test. is for tests, and answered with NXDOMAIN unless it is allowed. PASS ends the search for a policy.
policy.add(policy.suffix(policy.PASS, { todname('test.') }))
cache.open(20 * MB, 'lmdb://%[5]s')
`, addr, a.hints, a.kskFile, flags, dir))
	r := &resolver{
		daemon:  start(t, nil, program(t, "kresd"), "-n", "-c", conf, dir),
		name:    fmt.Sprintf("kresd (tcp %t)", tcp),
		addr:    addr,
		tcp:     tcp,
		refuses: []refusal{{dns.TypeSIG, dns.TypeSIG, "SERVFAIL: is a meta type to libknot"}},
	}
	r.await(t, "validates the root", func() error { return expectSecure(addr, ".", dns.TypeSOA) })
	return r
}
