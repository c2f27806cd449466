package server

import (
	"context"
	"errors"
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
		wg.Go(func() { s.serveUDP(ctx, u) })
	}
	for _, l := range s.tcp {
		wg.Go(func() { s.acceptTCP(ctx, l, &wg) })
	}
	wg.Go(func() { s.newAhead(s.answers.known, &s.Metrics.known).run(ctx) })
	wg.Go(func() { s.newAhead(s.answers.unknown, &s.Metrics.unknown).run(ctx) })
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
