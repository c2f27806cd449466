package server

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

// stopGrace is how long clients may take to accept the last answers when the server stops.
const stopGrace = 3 * time.Second

// Serve answers until ctx is done, and then stops: queries that have been read are answered, sockets are closed, and
// when it returns all its goroutines are gone. The error is not nil only if there is nothing to serve on. A server
// serves once.
func (s *Server) Serve(ctx context.Context) error {
	if len(s.udp) == 0 {
		return errors.New("serve: not listening")
	}
	var wg sync.WaitGroup
	for _, u := range s.udp {
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() { s.serveUDP(ctx, u) })
		}
	}
	for _, l := range s.tcp {
		wg.Go(func() { s.acceptTCP(ctx, l, &wg) })
	}
	<-ctx.Done()
	for _, u := range s.udp {
		u.SetReadDeadline(longAgo()) // a loop that is at work still has a socket to write to
	}
	for _, l := range s.tcp {
		l.Close()
	}
	s.conns.stop()
	impatient := time.AfterFunc(stopGrace, s.conns.close)
	wg.Wait()
	impatient.Stop()
	for _, u := range s.udp {
		u.Close()
	}
	return nil
}

// longAgo is a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// serveUDP is one of the loops that share a socket. It owns its buffers and its responder. Errors do not end it but
// the end of the server does.
func (s *Server) serveUDP(ctx context.Context, u *net.UDPConn) {
	r := responder{s: s}
	in, out := make([]byte, maxUDPSize), make([]byte, 0, s.UDPSize)
	var pause backoff
	for {
		n, from, err := u.ReadFromUDPAddrPort(in)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			s.Metrics.socket[opUDPRead].Inc()
			pause.wait(ctx)
			continue
		}
		pause = 0
		if from.Port() == 0 {
			s.Metrics.dropped[dropPort].Inc()
			continue
		}
		if out = r.answer(out[:0], in[:n], UDP); len(out) == 0 {
			continue
		}
		if _, err := u.WriteToUDPAddrPort(out, from); err != nil {
			s.Metrics.socket[opUDPWrite].Inc()
		}
	}
}

// backoff spaces out attempts at something that keeps failing, such as accepting without free file descriptors. The
// zero value is ready, and again after success.
type backoff time.Duration

const (
	backoffMin = backoff(time.Millisecond)
	backoffMax = backoff(time.Second)
)

// wait sleeps twice as long as the last time, or until ctx is done.
func (b *backoff) wait(ctx context.Context) {
	*b = min(max(*b*2, backoffMin), backoffMax)
	t := time.NewTimer(time.Duration(*b))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
