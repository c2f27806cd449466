package server

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
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
	var err error
	controlled := c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), level, option, pmtuOmit)
		if err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			err = fmt.Errorf("share the port between cores: %w", err)
		}
	})
	return errors.Join(controlled, err)
}
