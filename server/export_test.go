package server

import (
	"context"
	"net"
	"net/netip"
)

// What tests of the package server_test need from inside.
var (
	ReadSOA  = readSOA
	SOAQuery = soaQuery
)

// MaxProbes is how many zones a call of Ready looks at.
const MaxProbes = maxProbes

// Ahead makes answers in use ahead, in both parts of the answer cache.
func (s *Server) Ahead() []*Ahead {
	return []*Ahead{s.newAhead(s.answers.known, &s.Metrics.known), s.newAhead(s.answers.unknown, &s.Metrics.unknown)}
}

type Ahead = ahead

func (a *ahead) Run(ctx context.Context) { a.run(ctx) }

// Pass goes over the whole cache, without rests.
func (a *ahead) Pass() {
	for a.work(); a.slot != 0; a.work() {
	}
}

func (s *Server) UDPConns() []*net.UDPConn      { return s.udp }
func (s *Server) TCPListener() *net.TCPListener { return s.tcp[0] }

// ClientOf is what a connection is counted by.
func ClientOf(c net.Conn) netip.Addr { return clientOf(c) }
