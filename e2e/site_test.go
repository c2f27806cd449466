package e2e

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
)

// systemResolver is the address in /etc/resolv.conf of the sandbox. It belongs to the mail test.
const systemResolver = "127.0.0.1"

// site is the addresses that one test has for itself.
type site byte

var sites atomic.Uint32

// newSite returns addresses that no other test has.
func newSite() site {
	n := sites.Add(1)
	if n > 255 {
		panic("more than 255 sites in one run")
	}
	return site(n)
}

// addr is an address that resolvers take for one on the Internet.
func (s site) addr(host byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 53, byte(s), host}) }

// loopback is an address on which servers need no TLS.
func (s site) loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 53, byte(s), 1}) }

// dnsPort is an address with the port of DNS, for dnstest.Client.
func dnsPort(addr netip.Addr) string { return fmt.Sprintf("%s:53", addr) }

// assign gives an address to the interface. BIND and Postfix ask which addresses the interfaces have; to all others
// it is enough that the whole network is local.
func assign(t testing.TB, addr netip.Addr) {
	t.Helper()
	output(t, "ip", "address", "add", addr.String()+"/32", "dev", "lo")
}
