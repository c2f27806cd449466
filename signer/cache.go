package signer

import "sync"

// maxShards bounds the parts of a cache that have a lock of their own.
const maxShards = 32

// cache remembers a bounded number of signatures. What has to go, when a new one needs room, is found by the
// CLOCK algorithm: the hand passes over an entry that was used since it last came by, once. The cache is never
// emptied.
type cache struct {
	shards  []shard
	metrics cacheMetrics
}

// shard is a part of a cache: the entries whose digests begin alike.
type shard struct {
	mu    sync.Mutex // guards what follows
	limit int        // of entries; set once
	index map[cacheKey]int
	slots []slot // grows up to limit and stays
	hand  int    // the slot to be looked at next
}

type slot struct {
	key    cacheKey
	rdata  string
	usable int64 // last second in which the entry may be handed out
	used   bool  // since the hand last came by
}

// newCache makes a cache of at most limit entries; limit is at least 1.
func newCache(limit int, m cacheMetrics) *cache {
	c := &cache{shards: make([]shard, min(limit, maxShards)), metrics: m}
	for i := range c.shards {
		c.shards[i].index = map[cacheKey]int{}
		c.shards[i].limit = limit / len(c.shards)
		if i < limit%len(c.shards) {
			c.shards[i].limit++
		}
	}
	return c
}

func (c *cache) shard(key cacheKey) *shard {
	return &c.shards[int(key[16])%len(c.shards)] // the first octet of the digest: ids differ too little
}

// get returns the entry of key if it may still be handed out in second now.
func (c *cache) get(key cacheKey, now int64) (rdata string, found bool) {
	rdata, found = c.shard(key).get(key, now)
	if found {
		c.metrics.hits.Inc()
	} else {
		c.metrics.misses.Inc()
	}
	return rdata, found
}

// put remembers an entry until second usable. If that makes a usable one go, it counts as an eviction.
func (c *cache) put(key cacheKey, rdata string, usable, now int64) {
	if c.shard(key).put(slot{key: key, rdata: rdata, usable: usable}, now) {
		c.metrics.evictions.Inc()
	}
}

func (s *shard) get(key cacheKey, now int64) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.index[key]
	if !found || s.slots[i].usable < now {
		return "", false
	}
	s.slots[i].used = true
	return s.slots[i].rdata, true
}

func (s *shard) put(entry slot, now int64) (evicted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, found := s.index[entry.key]
	switch {
	case found: // made twice at the same time
	case len(s.slots) < s.limit:
		i = len(s.slots)
		s.slots = append(s.slots, slot{})
	default:
		i = s.victim(now)
		evicted = s.slots[i].usable >= now
		delete(s.index, s.slots[i].key)
	}
	s.slots[i] = entry
	s.index[entry.key] = i
	return evicted
}

// victim moves the hand to a slot that may go: one that is no longer usable, or was not used for a whole round.
func (s *shard) victim(now int64) int {
	for {
		i := s.hand
		s.hand = (s.hand + 1) % len(s.slots)
		if s.slots[i].usable < now || !s.slots[i].used {
			return i
		}
		s.slots[i].used = false
	}
}
