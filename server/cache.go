package server

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/internal/wire"
)

// ways is how many entries may have one place in the table.
const ways = 4

// Memory that an entry takes besides its key and its records, and least memory of one: there are as many slots as such entries
// would fit.
const (
	entryOverhead = 192
	leastEntry    = 256
)

// cache remembers the records of answers. To read takes no lock and allocates nothing; to write takes one lock. It has a bound
// in octets: what makes room is what was not used lately (CLOCK), first in the place of the new entry, then anywhere.
type cache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry] // a power of two, in groups of ways
	limit int64                   // octets

	mu   sync.Mutex // of writers; guards what follows
	used int64      // octets
	hand int

	metrics *cacheMetrics
}

// entry is one answer without header, question and OPT record. It is never changed, but for touched.
type entry struct {
	key     string
	records string
	counts  wire.Counts
	rcode   wire.Rcode
	outcome outcome
	mark    epoch.Mark // current while no commit has changed the answer
	span    rrsig.Span // of its signatures
	touched atomic.Bool
}

func (e *entry) size() int64 { return int64(len(e.key) + len(e.records) + entryOverhead) }

// newCache makes a cache of at most limit octets.
func newCache(limit int64, m *cacheMetrics) *cache {
	slots := ways
	for int64(slots)*leastEntry < limit {
		slots *= 2
	}
	return &cache{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry], slots), limit: limit, metrics: m}
}

// group returns the slots in which a key may be.
func (c *cache) group(key []byte) []atomic.Pointer[entry] {
	at := int(maphash.Bytes(c.seed, key)) & (len(c.slots) - 1) &^ (ways - 1)
	return c.slots[at : at+ways]
}

// get returns the answer for a key that may be given in second now, nil if there is none.
func (c *cache) get(key []byte, now int64) *entry {
	group := c.group(key)
	for i := range group {
		e := group[i].Load()
		if e == nil || e.key != string(key) {
			continue
		}
		if now < e.span.From || now > e.span.Until || !e.mark.Current() {
			return nil
		}
		if !e.touched.Load() { // not to write what every core reads
			e.touched.Store(true)
		}
		return e
	}
	return nil
}

// put remembers an answer. One that is larger than the whole cache is not.
func (c *cache) put(e *entry) {
	if e.size() > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	group := c.group([]byte(e.key))
	c.set(c.victim(group, e.key), e)
	for c.used > c.limit {
		c.hand = (c.hand + 1) & (len(c.slots) - 1)
		slot := &c.slots[c.hand]
		if old := slot.Load(); old != nil && old != e && !old.touched.Swap(false) {
			c.metrics.evictions.Inc()
			c.set(slot, nil)
		}
	}
}

// victim returns the slot of a group that a new entry takes: that of its predecessor, a free one, or one whose entry has no
// further use or was not used lately.
func (c *cache) victim(group []atomic.Pointer[entry], key string) *atomic.Pointer[entry] {
	var free *atomic.Pointer[entry]
	for i := range group {
		switch e := group[i].Load(); {
		case e == nil || !e.mark.Current():
			free = &group[i]
		case e.key == key:
			return &group[i]
		}
	}
	if free != nil {
		return free
	}
	c.metrics.evictions.Inc()
	for i := range group {
		if !group[i].Load().touched.Swap(false) {
			return &group[i]
		}
	}
	return &group[0]
}

// set fills or empties a slot.
func (c *cache) set(slot *atomic.Pointer[entry], e *entry) {
	if old := slot.Swap(e); old != nil {
		c.used -= old.size()
	}
	if e != nil {
		c.used += e.size()
	}
	c.metrics.octets.Set(float64(c.used))
}
