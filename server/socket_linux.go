package server

import (
	"strings"
	"syscall"
)

// pmtuOmit is IP_PMTUDISC_OMIT and IPV6_PMTUDISC_OMIT of linux/in.h and linux/in6.h.
const pmtuOmit = 5

// controlSocket keeps forged ICMP messages from making the kernel fragment our UDP packets, which is how fragments
// get replaced on the way (RFC 9715 §3.1). Kernels that do not know the option are let be.
func controlSocket(network, _ string, c syscall.RawConn) error {
	level, option := syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER
	switch {
	case !strings.HasPrefix(network, "udp"):
		return nil
	case network == "udp6":
		level, option = syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER
	}
	return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), level, option, pmtuOmit) })
}
