package conf

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// The two forms of keys.kek.
const (
	kekFile = "file:"
	kekEnv  = "env:"
)

// maxNSID keeps the option small beside the answer it travels with.
const maxNSID = 64

// check reports every rule that values break which have the right type.
func check(c *Config, report func(name, rule string)) {
	if c.DataDir == "" {
		report("data_dir", "must not be empty")
	}
	checkDNS(c.DNS, report)
	checkTLS(c.API, report)
	checkApart(c, report)
	checkKEK(c.Keys.KEK, report)
}

func checkDNS(d DNS, report func(name, rule string)) {
	if len(d.Listen) == 0 {
		report("dns.listen", "must have at least one address")
	}
	seen := map[netip.AddrPort]bool{}
	for _, a := range d.Listen {
		if a.Addr().IsUnspecified() {
			report("dns.listen", fmt.Sprintf("%s is not allowed: answers could leave from another address than was asked; "+
				"list the addresses of this machine one by one", a))
		}
		if seen[a] {
			report("dns.listen", fmt.Sprintf("%s is there twice", a))
		}
		seen[a] = true
	}
	if len(d.NSID) > maxNSID || strings.ContainsFunc(d.NSID, func(r rune) bool { return r < ' ' || r > '~' }) {
		report("dns.nsid", fmt.Sprintf("must be at most %d printable ASCII characters", maxNSID))
	}
	if d.TCP.MaxConnections > 0 && d.TCP.MaxPerClient > d.TCP.MaxConnections {
		report("dns.tcp.max_per_client", fmt.Sprintf("must be at most dns.tcp.max_connections, %d, not %d",
			d.TCP.MaxConnections, d.TCP.MaxPerClient))
	}
}

func checkTLS(a API, report func(name, rule string)) {
	t := a.TLS
	switch {
	case t.Cert != "" && t.Key == "":
		report("api.tls.key", "must be given: api.tls.cert is")
	case t.Cert == "" && t.Key != "":
		report("api.tls.cert", "must be given: api.tls.key is")
	case t.Cert == "" && t.ClientCA != "":
		report("api.tls.cert", "must be given: api.tls.client_ca is, and without TLS there are no client certificates")
	}
	if t.Cert == "" && a.Listen.IsValid() && !a.Listen.Addr().IsLoopback() {
		report("api.tls.cert", fmt.Sprintf("must be given: api.listen, %s, is not on loopback, and without TLS tokens would be "+
			"readable on the network", a.Listen))
	}
}

// checkApart reports listeners that would take each other's TCP port.
func checkApart(c *Config, report func(name, rule string)) {
	for _, a := range c.DNS.Listen {
		if overlap(a, c.API.Listen) {
			report("api.listen", fmt.Sprintf("%s is taken by dns.listen", c.API.Listen))
		}
		if overlap(a, c.Metrics.Listen) {
			report("metrics.listen", fmt.Sprintf("%s is taken by dns.listen", c.Metrics.Listen))
		}
	}
	if overlap(c.API.Listen, c.Metrics.Listen) {
		report("metrics.listen", fmt.Sprintf("%s is taken by api.listen", c.Metrics.Listen))
	}
}

// overlap reports whether two listeners cannot both be opened. An unknown address overlaps with none.
func overlap(a, b netip.AddrPort) bool {
	if !a.IsValid() || !b.IsValid() || a.Port() != b.Port() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

func checkKEK(kek string, report func(name, rule string)) {
	if path, ok := strings.CutPrefix(kek, kekFile); ok && path != "" {
		return
	}
	name, ok := strings.CutPrefix(kek, kekEnv)
	if ok && regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return
	}
	// What was found is not shown: it may be the key itself.
	report("keys.kek", "must be file:PATH or env:NAME")
}
