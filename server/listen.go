package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// portTries is how often a free port is looked for that UDP and TCP both have; only for port 0.
const portTries = 20

// Listen opens UDP sockets, one for each core, and a TCP socket on every address, or none at all. It may succeed once. Port 0 means one free
// port for both. IPv6 addresses do not take IPv4 packets: 0.0.0.0 and [::] go together.
//
// Addresses should be explicit. A reply from a wildcard address goes out with the address that the routing table
// prefers, which on a machine with several is not always the one that was asked.
func (s *Server) Listen(addrs []netip.AddrPort) error {
	switch {
	case len(addrs) == 0:
		return errors.New("listen: no addresses")
	case len(s.udp) > 0:
		return errors.New("listen: is listening already")
	}
	for _, addr := range addrs {
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		if err := s.open(addr); err != nil {
			s.Close()
			return err
		}
		if addr.Addr().IsUnspecified() {
			s.Log.Warn("listening on a wildcard address: on a machine with several addresses, list them instead", "address", addr)
		}
	}
	return nil
}

// open opens both sockets of one address.
func (s *Server) open(addr netip.AddrPort) error {
	family := "6"
	if addr.Addr().Is4() {
		family = "4"
	}
	config := net.ListenConfig{Control: controlSocket}
	for try := 1; ; try++ {
		pc, err := config.ListenPacket(context.Background(), "udp"+family, addr.String())
		if err != nil {
			return fmt.Errorf("listen on %s over UDP: %w%s", addr, err, hint(err))
		}
		udp := []*net.UDPConn{pc.(*net.UDPConn)}
		both := netip.AddrPortFrom(addr.Addr(), localAddr(udp[0]).Port())
		l, err := config.Listen(context.Background(), "tcp"+family, both.String()) // alone on its port: nobody else shares ours
		for err == nil && len(udp) < loops() {
			if pc, err = config.ListenPacket(context.Background(), "udp"+family, both.String()); err == nil {
				udp = append(udp, pc.(*net.UDPConn))
			}
		}
		if err == nil {
			s.udp, s.tcp = append(s.udp, udp...), append(s.tcp, l.(*net.TCPListener))
			return nil
		}
		for _, u := range udp {
			u.Close()
		}
		if l != nil {
			l.Close()
		}
		if addr.Port() != 0 || !errors.Is(err, syscall.EADDRINUSE) || try == portTries {
			return fmt.Errorf("listen on %s over TCP: %w%s", addr, err, hint(err))
		}
	}
}

// hint says what to do about an error, as far as one can know.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.EACCES):
		return " (ports below 1024 need root or the capability CAP_NET_BIND_SERVICE)"
	case errors.Is(err, syscall.EADDRINUSE):
		return " (another program listens there, or the address is listed twice)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return " (no interface of this machine has the address)"
	}
	return ""
}

// Close closes the sockets of a server that does not serve, or not any more. One that serves is ended by its context.
func (s *Server) Close() {
	for _, l := range s.tcp {
		l.Close()
	}
	for _, u := range s.udp {
		u.Close()
	}
	s.udp, s.tcp = nil, nil
}

// Addrs returns the addresses that Listen opened, in its order, with the ports that were found for port 0.
func (s *Server) Addrs() []netip.AddrPort {
	addrs := make([]netip.AddrPort, len(s.tcp))
	for i, l := range s.tcp {
		addr := l.Addr().(*net.TCPAddr).AddrPort()
		addrs[i] = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	}
	return addrs
}

func localAddr(u *net.UDPConn) netip.AddrPort {
	addr := u.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
