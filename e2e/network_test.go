package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// host is a machine of its own: a network namespace that has the addresses of a site. The sandbox is the router between all hosts, and
// where resolvers and the tests themselves are.
type host struct {
	site
	name string // of its namespace, and of the router's link to it
}

// Rules of the router: what is cut comes before the table of its own addresses, in which the hosts are too.
const (
	cutPreference   = "50"
	localPreference = "100"
)

// furnishRouter lets the sandbox hand on packets between hosts. Namespaces have names in a directory that goes with the sandbox.
func furnishRouter() error {
	const names = "/run/netns"
	if err := os.MkdirAll(names, 0o755); err != nil {
		return err
	}
	for _, line := range []string{"mount -t tmpfs none " + names, "ip rule add pref " + localPreference + " lookup local", "ip rule del pref 0"} {
		args := strings.Fields(line)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s (in a container the tests need the capabilities SYS_ADMIN and NET_ADMIN): %w\n%s", line, err, out)
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{site: newSite()}
	h.name = fmt.Sprintf("host%d", h.site)
	ip(t, "netns add %s", h.name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", h.name).Run() }) // its links go with it; what is left goes with the sandbox
	ip(t, "link add %s type veth peer name eth0 netns %s", h.name, h.name)
	ip(t, "link set %s up", h.name)
	ip(t, "-n %s link set lo up", h.name)
	ip(t, "-n %s address add %s/24 dev lo", h.name, h.addr(1))
	ip(t, "-n %s link set eth0 up", h.name)
	ip(t, "-n %s route add default via 10.53.0.1 dev eth0 onlink src %s", h.name, h.addr(1))
	ip(t, "route add %s dev %s table local", h.network(), h.name)
	return h
}

// ip runs ip with arguments that have no spaces.
func ip(t testing.TB, format string, args ...any) {
	t.Helper()
	output(t, "ip", strings.Fields(fmt.Sprintf(format, args...))...)
}

func (h *host) network() string { return h.addr(0).String() + "/24" }

// start is [start] on the host; on none it is in the sandbox.
func (h *host) start(t testing.TB, env []string, name string, args ...string) *daemon {
	t.Helper()
	if h == nil {
		return start(t, env, name, args...)
	}
	return start(t, env, program(t, "ip"), append([]string{"netns", "exec", h.name, name}, args...)...)
}

// cuts are where packets are lost. But for an address that is withdrawn nobody is told: there are no resets and no unreachable hosts.
type cuts struct{ rules []string }

// between loses what two hosts send to each other.
func (c *cuts) between(t testing.TB, a, b *host) {
	t.Helper()
	c.add(t, fmt.Sprintf("from %s to %s blackhole", a.network(), b.network()))
	c.add(t, fmt.Sprintf("from %s to %s blackhole", b.network(), a.network()))
}

// silence loses all that a host sends.
func (c *cuts) silence(t testing.TB, h *host) {
	t.Helper()
	c.add(t, fmt.Sprintf("iif %s blackhole", h.name))
}

// withdraw has nobody reach an address. Who tries is told, as by a router that has no route.
func (c *cuts) withdraw(t testing.TB, addr netip.Addr) {
	t.Helper()
	c.add(t, fmt.Sprintf("to %s unreachable", addr))
}

func (c *cuts) add(t testing.TB, what string) {
	t.Helper()
	ip(t, "rule add pref %s %s", cutPreference, what)
	c.rules = append(c.rules, what)
}

// heal takes all cuts away.
func (c *cuts) heal(t testing.TB) {
	t.Helper()
	for _, what := range c.rules {
		ip(t, "rule del pref %s %s", cutPreference, what)
	}
	c.rules = nil
}
