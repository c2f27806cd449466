//go:build !race

package signer

import (
	"testing"

	"github.com/mxseal/mxseal/zone"
)

// A hit costs one allocation: the slice of signatures.
func TestAllocationsOfAHit(t *testing.T) {
	z := testZone(zone.ECDSAP256SHA256)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	set := addresses(t, "acme.mx.test.", 300, "192.0.2.1", "192.0.2.2")
	mustSign(t, s, ks, z, set, now)
	allocs := testing.AllocsPerRun(100, func() {
		if _, err := s.Sign(ks, z, set, now); err != nil {
			t.Error(err)
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations", allocs)
	}
}
