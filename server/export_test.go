package server

import (
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

func (s *Server) UDPConns() []*net.UDPConn      { return s.udp }
func (s *Server) TCPListener() *net.TCPListener { return s.tcp[0] }

// ClientOf is what a connection is counted by.
func ClientOf(c net.Conn) netip.Addr { return clientOf(c) }
