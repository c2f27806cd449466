//go:build linux

package batch

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// buffer is how many octets the kernel is asked to keep in each direction. Without privileges it keeps less.
const buffer = 8 << 20

// Socket is a UDP socket that never blocks but in Wait.
type Socket struct{ fd int }

// Dial makes a socket that is connected to a server.
func Dial(server netip.AddrPort) (*Socket, error) { return open(server, unix.Connect) }

// Listen makes a socket with an address of its own. Port 0 is any free one.
func Listen(addr netip.AddrPort) (*Socket, error) { return open(addr, unix.Bind) }

func open(addr netip.AddrPort, use func(int, unix.Sockaddr) error) (*Socket, error) {
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()})
	if addr.Addr().Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if err := use(fd, to); err != nil {
		return nil, errors.Join(fmt.Errorf("socket for %s: %w", addr, err), unix.Close(fd))
	}
	enlarge(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
	enlarge(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
	return &Socket{fd}, nil
}

// enlarge asks for a large buffer: beyond the system's limit as root, up to it as anybody else.
func enlarge(fd, force, ask int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, buffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, ask, buffer) // a small buffer shows as loss
	}
}

// Close frees the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }

// Addr is the local address.
func (s *Socket) Addr() (netip.AddrPort, error) {
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("address of an unknown family: %v", name)
}

// Wait returns when there is something to receive, or after a time.
func (s *Socket) Wait(limit time.Duration) error {
	timeout := unix.NsecToTimespec(max(0, limit.Nanoseconds()))
	_, err := unix.Ppoll([]unix.PollFd{{Fd: int32(s.fd), Events: unix.POLLIN}}, &timeout, nil)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// Receive fills the batch with what is there, and returns how many that are: none if nobody has sent any.
func (s *Socket) Receive(b *Batch) (int, error) { return harmless(b.Receive(uintptr(s.fd))) }

// Send sends the first n datagrams of the batch, and returns how many the kernel took.
func (s *Socket) Send(b *Batch, n int) (int, error) {
	if n == 0 {
		return 0, nil
	}
	return harmless(b.Send(uintptr(s.fd), 0, n))
}

// harmless makes what a peer that is gone makes the kernel report (ECONNREFUSED) loss, and no error.
func harmless(n int, errno unix.Errno) (int, error) {
	switch errno {
	case 0:
		return n, nil
	case unix.EAGAIN, unix.EINTR, unix.ECONNREFUSED, unix.ENOBUFS:
		return 0, nil
	}
	return 0, errno
}
