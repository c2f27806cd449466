package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// startRecursor starts the PowerDNS Recursor.
func startRecursor(t testing.TB, a *authority, addr netip.Addr) *resolver {
	t.Helper()
	dir := t.TempDir()
	lua := write(t, dir, "recursor.lua", fmt.Sprintf("clearTA()\naddTA('.', '%d %d %d %s')\n",
		a.anchorDS.KeyTag, a.anchorDS.Algorithm, a.anchorDS.DigestType, a.anchorDS.Digest))
	write(t, dir, "recursor.conf", fmt.Sprintf(`local-address=%s
local-port=53
socket-dir=%s
hint-file=%s
lua-config-file=%s
dnssec=validate
daemon=no
disable-syslog=yes
write-pid=no
threads=1
dont-query=
allow-from=0.0.0.0/0
query-local-address=0.0.0.0
security-poll-suffix=
aggressive-nsec-cache-size=0
packetcache-servfail-ttl=0
max-total-msec=20000
server-down-max-fails=0
non-resolving-ns-max-fails=0
`, addr, dir, a.hints, lua))
	r := &resolver{
		daemon: start(t, nil, program(t, "pdns_recursor"), "--config-dir="+dir),
		name:   "pdns_recursor",
		addr:   addr,
		refuses: []refusal{
			{0, 0, "SERVFAIL: reserved (RFC 6895 §3.1)"},
			{dns.TypeNSEC3, dns.TypeNSEC3, "SERVFAIL: no data (RFC 5155 §7.2.8)"},
			{128, 254, "SERVFAIL: reserved for questions (RFC 6895 §3.1)"},
		},
	}
	r.await(t, "validates the root", func() error { return expectSecure(addr, ".", dns.TypeSOA) })
	return r
}
