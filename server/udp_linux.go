package server

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mxseal/mxseal/internal/batch"
	"github.com/mxseal/mxseal/internal/wire"
)

// batchSize is how many datagrams are read with one system call.
const batchSize = 64

// maxQuery is how many octets of a query are read: what replies say that arrives here. The rest of a longer one is cut off, and what is
// left is malformed. The less memory a batch takes, the more of it stays in the processor's caches.
const maxQuery = wire.AdvertisedUDPSize

// loops is how many sockets there are for each address: one for each core, among which the kernel spreads the clients
// (SO_REUSEPORT).
func loops() int { return runtime.GOMAXPROCS(0) }

// udpLoop owns a socket, its buffers and its responder.
type udpLoop struct {
	s       *Server
	conn    syscall.RawConn
	in, out *batch.Batch
	r       responder
	hashes  [batchSize]uint64 // of the keys of a batch
	fetched int               // see memo.Table.Fetch
}

// serveUDP answers what comes to a socket. Errors do not end it but the end of the server does.
func (s *Server) serveUDP(ctx context.Context, u *net.UDPConn) {
	conn, err := u.SyscallConn()
	if err != nil {
		s.Log.Error("a UDP socket cannot be used", "error", err) // cannot be: it is open
		return
	}
	l := &udpLoop{s: s, conn: conn, in: batch.New(batchSize, maxQuery, true), out: batch.New(batchSize, s.UDPSize, false), r: responder{s: s}}
	var pause backoff
	for {
		n, err := l.receive()
		switch {
		case ctx.Err() != nil && n == 0, errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			s.Metrics.socket[opUDPRead].Inc()
			pause.wait(ctx)
			continue
		}
		pause = 0
		l.send(l.answer(n))
		l.r.count.flush(s.Metrics)
	}
}

// receive waits for datagrams and reads those that are there.
func (l *udpLoop) receive() (n int, err error) {
	var errno unix.Errno
	err = l.conn.Read(func(fd uintptr) bool {
		n, errno = l.in.Receive(fd)
		return errno != unix.EAGAIN
	})
	if err == nil && errno != 0 {
		return 0, errno
	}
	return n, err
}

// answer makes the replies to the first n datagrams, and returns how many there are.
func (l *udpLoop) answer(n int) (replies int) {
	l.r.now = l.s.Now()
	if n > 1 {
		l.fetch(n)
	}
	for i := range n {
		if l.in.Port(i) == 0 {
			l.s.Metrics.dropped[dropPort].Inc()
			continue
		}
		if reply := l.r.answer(l.out.Room(replies), l.in.Data(i), UDP); len(reply) > 0 {
			l.out.Answer(replies, len(reply), l.in, i)
			replies++
		}
	}
	return replies
}

// fetch prepares the processor's caches for the answers to the first n datagrams, and changes nothing else. To parse a query twice
// takes a small part of the time that it saves. Names that do not exist are not what many ask for.
func (l *udpLoop) fetch(n int) {
	defer func() { _ = recover() }() // the query that makes this panic will do so again, and is answered and counted then
	r, part, hashes := &l.r, l.s.answers.known, l.hashes[:0]
	for i := range n {
		if r.q.Parse(l.in.Data(i)) == wire.Accept {
			r.key = cacheKey(r.key[:0], &r.q)
			hashes = append(hashes, part.Hash(r.key))
		}
	}
	l.fetched += part.Fetch(hashes, (*answer).read)
}

// send sends the first n replies. One that cannot be sent is left out.
func (l *udpLoop) send(n int) {
	for sent := 0; sent < n; {
		var errno unix.Errno
		var done int
		err := l.conn.Write(func(fd uintptr) bool {
			done, errno = l.out.Send(fd, sent, n)
			return errno != unix.EAGAIN
		})
		if err != nil {
			l.s.Metrics.socket[opUDPWrite].Add(float64(n - sent))
			return
		}
		if errno != 0 && errno != unix.EINTR {
			l.s.Metrics.socket[opUDPWrite].Inc()
			done = 1
		}
		sent += done
	}
}
