//go:build !linux

package server

import (
	"context"
	"errors"
	"net"
)

// loops is how many sockets there are for each address.
func loops() int { return 1 }

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
		r.now = s.Now()
		if out = r.answer(out[:0], in[:n], UDP); len(out) == 0 {
			continue
		}
		if _, err := u.WriteToUDPAddrPort(out, from); err != nil {
			s.Metrics.socket[opUDPWrite].Inc()
		}
		r.count.flush(s.Metrics)
	}
}
