//go:build !linux

package server

import "syscall"

// controlSocket has nothing to do here.
func controlSocket(_, _ string, _ syscall.RawConn) error { return nil }
