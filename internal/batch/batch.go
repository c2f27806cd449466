//go:build linux

// Package batch sends and receives many UDP datagrams with one system call, without allocation. It is what the server, the load
// generator and the bare echo of the benchmarks have in common, so that none is faster than the others for a reason of its own.
package batch

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Batch is a fixed number of datagrams with room of their own. One goroutine uses it at a time.
type Batch struct {
	size int // octets of each buffer
	room []byte
	msgs []unix.Mmsghdr
	iovs []unix.Iovec
	from []unix.RawSockaddrInet6 // where each came from, which is where it goes if it is sent
}

// New makes a batch of n datagrams of up to size octets. With peers it remembers from where each came, which a
// connected socket need not know.
func New(n, size int, peers bool) *Batch {
	b := &Batch{size: size, room: make([]byte, n*size), msgs: make([]unix.Mmsghdr, n), iovs: make([]unix.Iovec, n)}
	if peers {
		b.from = make([]unix.RawSockaddrInet6, n)
	}
	for i := range b.msgs {
		b.iovs[i].Base = &b.room[i*size]
		b.msgs[i].Hdr.Iov = &b.iovs[i]
		b.msgs[i].Hdr.SetIovlen(1)
		if peers {
			b.msgs[i].Hdr.Name = (*byte)(unsafe.Pointer(&b.from[i]))
		}
	}
	b.empty()
	return b
}

// Len is how many datagrams there is room for.
func (b *Batch) Len() int { return len(b.msgs) }

// Data is datagram i as it was received.
func (b *Batch) Data(i int) []byte { return b.room[i*b.size:][:b.msgs[i].Len] }

// Resize returns the buffer of datagram i, of n octets, to be changed in place and sent.
func (b *Batch) Resize(i, n int) []byte {
	b.iovs[i].SetLen(n)
	return b.room[i*b.size:][:n]
}

// Port is the port that datagram i came from.
func (b *Batch) Port(i int) uint16 {
	p := (*[2]byte)(unsafe.Pointer(&b.from[i].Port)) // at the same place in the addresses of both families
	return uint16(p[0])<<8 | uint16(p[1])
}

// Room is the whole buffer of datagram i, with nothing in it.
func (b *Batch) Room(i int) []byte { return b.room[i*b.size : i*b.size : (i+1)*b.size] }

// Answer makes datagram i, of n octets in its Room, one that goes to where datagram j of another batch came from.
func (b *Batch) Answer(i, n int, to *Batch, j int) {
	b.iovs[i].SetLen(n)
	b.msgs[i].Hdr.Name, b.msgs[i].Hdr.Namelen = to.msgs[j].Hdr.Name, to.msgs[j].Hdr.Namelen
}

// Receive fills the batch from a socket that does not block, and returns how many datagrams there were, or unix.EAGAIN.
func (b *Batch) Receive(fd uintptr) (int, unix.Errno) {
	b.empty()
	return b.call(unix.SYS_RECVMMSG, fd, 0, len(b.msgs))
}

// Send sends the datagrams from one to another, and returns how many the kernel took, or unix.EAGAIN. If one could not be sent
// the error is about the first.
func (b *Batch) Send(fd uintptr, from, to int) (int, unix.Errno) {
	return b.call(unix.SYS_SENDMMSG, fd, from, to)
}

// call makes a system call that does not block, which Go's scheduler therefore need not know of.
func (b *Batch) call(number, fd uintptr, from, to int) (int, unix.Errno) {
	done, _, errno := unix.RawSyscall6(number, fd, uintptr(unsafe.Pointer(&b.msgs[from])), uintptr(to-from), unix.MSG_DONTWAIT, 0, 0)
	return int(done), errno
}

// empty gives every datagram all of its room again.
func (b *Batch) empty() {
	for i := range b.msgs {
		b.iovs[i].SetLen(b.size)
		if b.from != nil {
			b.msgs[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		}
	}
}
