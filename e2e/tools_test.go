package e2e

import (
	"slices"
	"strings"
	"testing"
)

// TestTools looks at the zones with the tools that operators look with: drill follows the chain of trust upwards
// through a resolver and downwards from the root; kdig shows what is there.
func TestTools(t *testing.T) {
	t.Parallel()
	s, a := startInternet(t)
	r := startUnbound(t, a, s.site.addr(11), unboundOptions{})
	for _, z := range testZones {
		host := hostOf(z.domain("active"), z.name)
		for _, q := range []struct{ name, typ string }{
			{z.name, "SOA"}, {host, "A"}, {host, "MX"}, {"_25._tcp." + host, "TLSA"}, // there
			{host, "TXT"}, {"_tcp." + host, "A"}, {"absent." + z.name, "A"}, // not there
		} {
			t.Run(q.name+" "+q.typ, func(t *testing.T) {
				chase := output(t, "drill", "-S", "-k", a.kskFile, "@"+r.addr.String(), q.name, q.typ)
				if !strings.Contains(chase, "Chase successful") {
					t.Errorf("drill -S:\n%s", chase)
				}
				trace := output(t, "drill", "-T", "-D", "-k", a.kskFile, "-r", a.hints, q.name, q.typ)
				if !traceTrusted(trace) {
					t.Errorf("drill -T:\n%s", trace)
				}
				for _, transport := range []string{"+notcp", "+tcp"} {
					kdig := output(t, "kdig", "+dnssec", transport, "@"+s.addr.String(), q.name, q.typ)
					if !strings.Contains(kdig, "status: NOERROR") || !strings.Contains(kdig, "\tRRSIG\t") {
						t.Errorf("kdig %s:\n%s", transport, kdig)
					}
				}
			})
		}
	}
}

// traceTrusted reports whether all that drill -T marks is marked as trusted, not as bogus, unsigned or with only a
// signature of its own. The last line is the legend.
func traceTrusted(trace string) bool {
	lines := strings.Split(strings.TrimSpace(trace), "\n")
	marked := func(marks ...string) bool {
		return slices.ContainsFunc(lines[:len(lines)-1], func(line string) bool {
			return slices.ContainsFunc(marks, func(mark string) bool { return strings.HasPrefix(line, mark) })
		})
	}
	return marked("[T]") && !marked("[B]", "[U]", "[S]")
}
