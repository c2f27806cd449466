//go:build !linux

package bolt

import "go.etcd.io/bbolt"

// forgetPages does nothing: what other kernels make of the advice is not known.
func forgetPages(*bbolt.Tx) {}
