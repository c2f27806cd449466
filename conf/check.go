package conf

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// The forms of keys.kek.
const (
	kekFile  = "file:"
	kekEnv   = "env:"
	kekToken = "pkcs11:"
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
	checkKEK("keys.kek", c.Keys.KEK, report)
	for _, kek := range c.Keys.Earlier {
		checkKEK("keys.earlier_keks", kek, report)
	}
	checkPKCS11(c.Keys, report)
	checkEtcd(c.Store, report)
}

func checkEtcd(s Store, report func(name, rule string)) {
	e := s.Etcd
	if s.Engine != "etcd" {
		if len(e.Endpoints) > 0 {
			report("store.etcd.endpoints", "must be absent: store.engine is "+s.Engine)
		}
		return
	}
	if len(e.Endpoints) == 0 {
		report("store.etcd.endpoints", "must have at least one address: store.engine is etcd")
	}
	if !regexp.MustCompile(`^(/[^/]+)+$`).MatchString(e.Prefix) {
		report("store.etcd.prefix", "must begin with a slash, have text after each, and not end with one")
	}
	if !regexp.MustCompile(`^[A-Za-z0-9.-]{1,64}$`).MatchString(e.Node) {
		report("store.etcd.node", "must be 1 to 64 letters, digits, dots and hyphens, and no other node's name")
	}
	switch {
	case (e.Cert == "") != (e.Key == ""):
		report("store.etcd.tls", "must have cert and key, or neither of them")
	case e.Cert != "" && e.CA == "":
		report("store.etcd.tls.ca", "must be given: store.etcd.tls.cert is")
	}
	if (e.User == "") != (e.PasswordFile == "") {
		report("store.etcd.password_file", "must be given with store.etcd.user, and only then")
	}
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

func checkPKCS11(k Keys, report func(name, rule string)) {
	p := k.PKCS11
	if given := p.Module != ""; given != (p.Token != "") || given != (p.PINFile != "") {
		report("keys.pkcs11", "must have module, token and pin_file, or none of them")
	}
	for _, kek := range append([]string{k.KEK}, k.Earlier...) {
		if strings.HasPrefix(kek, kekToken) && p.Module == "" {
			report("keys.pkcs11.module", "must be given: a key-encryption key is encrypted by the token")
		}
	}
}

func checkKEK(field, kek string, report func(name, rule string)) {
	for _, form := range []string{kekFile, kekToken} {
		if path, ok := strings.CutPrefix(kek, form); ok && path != "" {
			return
		}
	}
	name, ok := strings.CutPrefix(kek, kekEnv)
	if ok && regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return
	}
	// What was found is not shown: it may be the key itself.
	report(field, "must be file:PATH, env:NAME or pkcs11:PATH")
}
