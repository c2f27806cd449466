package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// What one connection may hold in memory beyond the query and the answer at work.
const (
	tcpReadBuffer  = 4 << 10
	tcpWriteBuffer = 16 << 10
)

// acceptTCP serves the connections of one listener, each in a goroutine of wg.
func (s *Server) acceptTCP(ctx context.Context, l *net.TCPListener, wg *sync.WaitGroup) {
	var pause backoff
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.Metrics.socket[opTCPAccept].Inc()
			pause.wait(ctx)
			continue
		}
		pause = 0
		if reached, ok := s.conns.add(conn, clientOf(conn)); !ok {
			if ctx.Err() == nil {
				s.Metrics.refused[reached].Inc()
			}
			conn.Close()
			continue
		}
		s.Metrics.accepted.Inc()
		s.Metrics.open.Inc()
		wg.Go(func() {
			defer s.Metrics.open.Dec()
			defer s.conns.remove(conn)
			defer conn.Close()
			c := &tcpConn{conn: conn, in: bufio.NewReaderSize(conn, tcpReadBuffer), r: responder{s: s}}
			c.serve()
		})
	}
}

// clientOf is what connections are counted by: an IPv4 address, or the first 64 bits of an IPv6 address, since whoever has
// one has them all.
func clientOf(c net.Conn) netip.Addr {
	tcp, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if network, err := addr.Prefix(64); err == nil && addr.Is6() {
		return network.Addr()
	}
	return addr
}

// tcpConn is one connection (RFC 7766). Its queries are answered one after the other, in order, so that a client has
// at most one of them at work and fills no more than the buffers here, however many it sends ahead.
type tcpConn struct {
	conn  net.Conn
	in    *bufio.Reader
	query []byte
	out   []byte // answers not yet written
	r     responder
}

// serve answers until there is a reason to close: the client has, it is too slow, or what it sends is not DNS.
func (c *tcpConn) serve() {
	for {
		packet, err := c.read()
		if err != nil || !c.answer(packet) {
			c.flush() // what came before is answered
			return
		}
		if len(c.out) >= tcpWriteBuffer || !c.hasNext() {
			if err := c.flush(); err != nil {
				return
			}
		}
	}
}

// read returns the next message. It must arrive within the idle timeout, to its last octet. The time is a real one,
// whatever Now says: the deadlines of sockets know no other.
func (c *tcpConn) read() ([]byte, error) {
	if err := c.conn.SetReadDeadline(time.Now().Add(c.r.s.TCPIdle)); err != nil {
		return nil, err
	}
	if c.r.s.conns.stopping.Load() { // what is in the buffer already is read all the same
		if err := c.conn.SetReadDeadline(longAgo()); err != nil {
			return nil, err
		}
	}
	length, err := c.in.Peek(2)
	if err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint16(length))
	if _, err := c.in.Discard(2); err != nil {
		return nil, err
	}
	if cap(c.query) > tcpReadBuffer {
		c.query = nil
	}
	c.query = c.query[:0]
	for len(c.query) < size { // step by step: a length alone does not buy 64 KiB of memory
		have := len(c.query)
		step := min(size-have, tcpReadBuffer)
		c.query = slices.Grow(c.query, step)[:have+step]
		if _, err := io.ReadFull(c.in, c.query[have:]); err != nil {
			return nil, err
		}
	}
	return c.query, nil
}

// answer appends the framed reply to out and reports whether there is one: who sends what deserves none has no use
// for the connection.
func (c *tcpConn) answer(packet []byte) bool {
	start := len(c.out)
	c.out = append(c.out, 0, 0)
	c.r.now = c.r.s.Now()
	c.out = c.r.answer(c.out, packet, TCP)
	c.r.count.flush(c.r.s.Metrics)
	size := len(c.out) - start - 2
	if size == 0 {
		c.out = c.out[:start]
		return false
	}
	binary.BigEndian.PutUint16(c.out[start:], uint16(size)) // pack keeps it below 65536
	return true
}

// hasNext reports whether another whole query has been read: then its answer may travel in the same segment.
func (c *tcpConn) hasNext() bool {
	if c.in.Buffered() < 2 {
		return false
	}
	length, err := c.in.Peek(2)
	return err == nil && c.in.Buffered() >= 2+int(binary.BigEndian.Uint16(length))
}

// flush writes the answers. A client that does not take them within the idle timeout is given up.
func (c *tcpConn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(c.r.s.TCPIdle)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if cap(c.out) > 2*tcpWriteBuffer {
		c.out = nil
	}
	return err
}
