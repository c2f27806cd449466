//go:build linux

// Package batch sends and receives many UDP datagrams with one system call, without allocation. It is what the load
// generator and the bare echo have in common, so that neither is faster than the other for a reason of its own.
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

// empty gives every datagram all of its room again.
func (b *Batch) empty() {
	for i := range b.msgs {
		b.iovs[i].SetLen(b.size)
		if b.from != nil {
			b.msgs[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		}
	}
}
