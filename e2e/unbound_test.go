package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// unboundOptions is how Unbound talks to authorities. All else is as strict as it can be made.
type unboundOptions struct {
	tcp        bool // over TCP alone
	aggressive bool // uses cached denials for what it was not asked before (RFC 8198)
	forgives   bool // that a server did not answer it forgets in two seconds, not in 15 minutes
}

// unbound is a resolver with a control socket.
type unbound struct {
	resolver
	conf string
}

func startUnbound(t testing.TB, a *authority, addr netip.Addr, o unboundOptions) *unbound {
	t.Helper()
	dir := t.TempDir()
	yes := map[bool]string{true: "yes", false: "no"}
	infraTTL := map[bool]int{true: 2, false: 900}
	conf := write(t, dir, "unbound.conf", fmt.Sprintf(`server:
	directory: %[1]q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	verbosity: 1
	val-log-level: 2
	interface: %[2]s
	access-control: 0.0.0.0/0 allow
	do-ip6: no
	do-not-query-localhost: no
	num-threads: 1
	so-rcvbuf: 0
	so-sndbuf: 0
	root-hints: %[3]q
	trust-anchor-file: %[4]q
	module-config: "validator iterator"
	local-zone: "test." nodefault
	tcp-upstream: %[5]s
	aggressive-nsec: %[6]s
	infra-host-ttl: %[8]d
	use-caps-for-id: yes
	qname-minimisation: yes
	qname-minimisation-strict: yes
	harden-glue: yes
	harden-dnssec-stripped: yes
	harden-below-nxdomain: yes
	harden-referral-path: yes
	harden-algo-downgrade: yes
	harden-large-queries: yes
	harden-short-bufsize: yes
remote-control:
	control-enable: yes
	control-interface: %[7]q
`, dir, addr, a.hints, a.kskFile, yes[o.tcp], yes[o.aggressive], dir+"/control", infraTTL[o.forgives]))
	u := &unbound{conf: conf, resolver: resolver{
		daemon:  start(t, nil, program(t, "unbound"), "-d", "-c", conf),
		name:    fmt.Sprintf("unbound (tcp %s, aggressive %s)", yes[o.tcp], yes[o.aggressive]),
		addr:    addr,
		tcp:     o.tcp,
		refuses: []refusal{{128, 248, "FORMERR: reserved for questions (RFC 6895 §3.1)"}},
	}}
	u.await(t, "validates the root", func() error { return expectSecure(addr, ".", dns.TypeSOA) })
	return u
}

// flush empties the caches.
func (u *unbound) flush(t testing.TB) {
	t.Helper()
	output(t, "unbound-control", "-c", u.conf, "flush_zone", ".")
	output(t, "unbound-control", "-c", u.conf, "flush_infra", "all")
}
