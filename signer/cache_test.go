package signer

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mxseal/mxseal/zone"
)

func numberedKey(i int) (k cacheKey) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	copy(k[16:], sum[:])
	return k
}

func entries(c *cache) (n int) {
	for i := range c.shards {
		n += len(c.shards[i].index)
		if len(c.shards[i].index) != len(c.shards[i].slots) {
			return -1
		}
	}
	return n
}

func TestCacheNeverExceedsItsBoundAndIsNeverEmptied(t *testing.T) {
	for _, limit := range []int{1, 2, 3, 31, 32, 33, 100, 1000} {
		c := newCache(limit, newMetrics().cache)
		for i := range 5 * limit {
			before := entries(c)
			c.put(numberedKey(i), "x", 100, 0)
			if n := entries(c); n < before || n > limit {
				t.Fatalf("limit %d: %d entries after %d", limit, n, before)
			}
			if _, found := c.get(numberedKey(i), 0); !found {
				t.Fatalf("limit %d: the newest entry is not there", limit)
			}
		}
		if limit >= 1000 && entries(c) != limit {
			t.Errorf("limit %d: only %d entries", limit, entries(c))
		}
	}
}

// An entry that is asked for all the time stays, whatever else passes through.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(256, newMetrics().cache)
	hot := numberedKey(-1)
	c.put(hot, "hot", 100, 0)
	for i := range 5000 {
		if rdata, found := c.get(hot, 0); !found || rdata != "hot" {
			t.Fatalf("gone after %d others", i)
		}
		c.put(numberedKey(i), "x", 100, 0)
	}
}

func TestCacheDoesNotServeWhatIsNoLongerUsable(t *testing.T) {
	m := newMetrics()
	c := newCache(1, m.cache)
	c.put(numberedKey(1), "x", 100, 0)
	if _, found := c.get(numberedKey(1), 100); !found {
		t.Error("not served in its last second")
	}
	if _, found := c.get(numberedKey(1), 101); found {
		t.Error("served after its last second")
	}
	c.put(numberedKey(2), "y", 300, 101) // in the place of one that is not usable: no eviction
	c.put(numberedKey(3), "z", 300, 101)
	if n := testutil.ToFloat64(m.cache.evictions); n != 1 {
		t.Errorf("%v evictions", n)
	}
}

func TestCacheReplacesAnEntryOfTheSameKey(t *testing.T) {
	c := newCache(10, newMetrics().cache)
	c.put(numberedKey(1), "x", 100, 0)
	c.put(numberedKey(1), "y", 200, 0)
	if rdata, found := c.get(numberedKey(1), 150); !found || rdata != "y" || entries(c) != 1 {
		t.Errorf("%q, %t, %d entries", rdata, found, entries(c))
	}
}

// However many unknown names are asked for, signatures of known names are not made again.
func TestUnknownNamesDoNotEvictKnownOnes(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheEntries: 400})
	sets := testSets(t, z, ks, s)[:4]
	for _, set := range sets {
		mustSign(t, s, ks, z, set, now)
	}
	for i := range 2000 {
		mustSign(t, s, ks, z, s.Denial(absent(z, zone.MustParseName(fmt.Sprintf("absent%d.mx.test.", i)))), now)
	}
	before := testutil.ToFloat64(s.metrics.cache.misses)
	for _, set := range sets {
		mustSign(t, s, ks, z, set, now)
	}
	if after := testutil.ToFloat64(s.metrics.cache.misses); after != before {
		t.Errorf("%v signatures were made again", after-before)
	}
	if n := entries(s.cache); n > 400 {
		t.Errorf("%d entries", n)
	}
}
