package signer

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mxseal/mxseal/zone"
)

// However many unknown names are asked for, signatures of known names are not made again.
func TestUnknownNamesDoNotEvictKnownOnes(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	sets := testSets(t, z, ks, s)[:4]
	for _, set := range sets {
		mustSign(t, s, ks, z, set, now)
	}
	for i := range 2000 {
		mustSign(t, s, ks, z, s.Denial(absent(z, zone.MustParseName(fmt.Sprintf("absent%d.mx.test.", i)))), now)
	}
	before := testutil.ToFloat64(s.metrics.misses)
	for _, set := range sets {
		mustSign(t, s, ks, z, set, now)
	}
	if after := testutil.ToFloat64(s.metrics.misses); after != before {
		t.Errorf("%v signatures were made again", after-before)
	}
}

// Signatures of windows that are over make room, and are not counted as evicted.
func TestSignaturesEndWithTheirWindow(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	for hour := range 60 {
		for i := range 70 {
			mustSign(t, s, ks, z, addresses(t, fmt.Sprintf("host%d.mx.test.", i), 300, "192.0.2.1"), now.Add(time.Duration(hour)*time.Hour))
		}
	}
	if n := testutil.ToFloat64(s.metrics.evictions); n != 0 {
		t.Errorf("%v evictions", n)
	}
}
