package server_test

import (
	"net/netip"
	"syscall"
	"testing"
)

// The kernel must not fragment packets because of forged ICMP messages: IP_PMTUDISC_OMIT is set.
func TestPathMTUIsNotDiscovered(t *testing.T) {
	for address, option := range map[string][2]int{
		"127.0.0.1:0": {syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER},
		"[::1]:0":     {syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER},
	} {
		w := newWorld(t, newState())
		if err := w.Listen([]netip.AddrPort{netip.MustParseAddrPort(address)}); err != nil {
			t.Fatal(err)
		}
		raw, err := w.UDPConns()[0].SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		const omit = 5
		var got int
		controlErr := raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), option[0], option[1]) })
		if controlErr != nil || err != nil || got != omit {
			t.Errorf("%s: the option is %d, %v %v", address, got, controlErr, err)
		}
		w.Close()
	}
}
