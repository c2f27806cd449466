package e2e

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/miekg/dns"
)

// runNamed runs BIND in the foreground.
func runNamed(t testing.TB, addr netip.Addr, conf string) *daemon {
	t.Helper()
	assign(t, addr)
	return start(t, nil, program(t, "named"), "-g", "-4", "-n", "1", "-c", conf)
}

// startNamed starts BIND as a validating resolver. Without tcp it asks over UDP as usual.
func startNamed(t testing.TB, a *authority, addr netip.Addr, tcp bool) *resolver {
	t.Helper()
	dir := t.TempDir()
	transport := ""
	if tcp {
		transport = "server 0.0.0.0/0 { tcp-only yes; };"
	}
	conf := write(t, dir, "named.conf", fmt.Sprintf(`options {
	directory %[1]q; listen-on { %[2]s; }; listen-on-v6 { none; };
	recursion yes; allow-query { any; }; allow-recursion { any; };
	dnssec-validation yes; qname-minimization strict;
	synth-from-dnssec no; // so that every question reaches the authority
	servfail-ttl 0; clients-per-query 0; fetches-per-server 0; fetches-per-zone 0;
	pid-file none; session-keyfile none; lock-file none; managed-keys-directory %[1]q;
};
controls { };
%[3]s
trust-anchors { "." static-ds %[4]d %[5]d %[6]d %[7]q; };
zone "." { type hint; file %[8]q; };
`, dir, addr, transport, a.anchorDS.KeyTag, a.anchorDS.Algorithm, a.anchorDS.DigestType, a.anchorDS.Digest, a.hints))
	r := &resolver{
		daemon:  runNamed(t, addr, conf),
		name:    fmt.Sprintf("named (tcp %t)", tcp),
		addr:    addr,
		tcp:     tcp,
		refuses: []refusal{{128, 255, "FORMERR: reserved for questions (RFC 6895 §3.1)"}},
	}
	r.await(t, "validates the root", func() error { return expectSecure(addr, ".", dns.TypeSOA) })
	return r
}
