// Package memo remembers what was made, in a bounded amount of memory.
package memo

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// ways is how many entries may have one place in the table.
const ways = 4

// Memory that an entry takes besides what it holds, and least memory of one: there are as many slots as such entries
// would fit.
const (
	overhead   = 192
	leastEntry = 256
)

// Table remembers values by key. To read takes no lock and allocates nothing; to write takes one lock. What makes room is what
// was not used lately (CLOCK), first in the place of the new entry, then anywhere. It is safe for concurrent use.
type Table[V any] struct {
	seed  maphash.Seed
	slots []atomic.Pointer[entry[V]] // a power of two, in groups of ways
	o     Options[V]

	mu   sync.Mutex // of writers; guards what follows
	used int64      // octets
	hand int
}

// Options configure a Table. All fields are needed.
type Options[V any] struct {
	Limit     int64                      // most memory for entries, in octets
	Spent     func(v *V, now int64) bool // whether a value has no use any more in second now
	Evictions interface{ Inc() }         // counts values that had to go and were not spent
	Octets    interface{ Set(float64) }  // memory in use
}

// entry is never changed, but for touched.
type entry[V any] struct {
	key     string
	value   V
	octets  int64
	touched atomic.Bool
}

// New makes an empty table.
func New[V any](o Options[V]) *Table[V] {
	slots := ways
	for int64(slots)*leastEntry < o.Limit {
		slots *= 2
	}
	return &Table[V]{seed: maphash.MakeSeed(), slots: make([]atomic.Pointer[entry[V]], slots), o: o}
}

// Hash is the hash of a key.
func (t *Table[V]) Hash(key []byte) uint64 { return maphash.Bytes(t.seed, key) }

// group returns the slots in which a key may be.
func (t *Table[V]) group(hash uint64) []atomic.Pointer[entry[V]] {
	at := int(hash) & (len(t.slots) - 1) &^ (ways - 1)
	return t.slots[at : at+ways]
}

// Get returns the value of a key, nil if there is none, and whether it was asked for before, as far as is remembered: what is about
// to make room has to be asked for again. It may be spent. It must not be changed.
func (t *Table[V]) Get(key []byte) (v *V, again bool) {
	group := t.group(t.Hash(key))
	for i := range group {
		e := group[i].Load()
		if e == nil || e.key != string(key) {
			continue
		}
		if again = e.touched.Load(); !again { // not to write what every core reads
			e.touched.Store(true)
		}
		return &e.value, again
	}
	return nil, false
}

// together is how many keys Fetch takes at a time.
const together = 64

// Fetch reads what Get is about to read for keys of these hashes, of which the first 64 count, so that it is in the processor's
// caches then. Each step is taken for all keys before the next one, and reads that do not depend on each other run at the same time:
// the processor waits for memory once for each step instead of once for each key. The function read does the same for what a value
// refers to; its result, as that of Fetch, is any number that depends on what was read, so that no compiler leaves it out.
func (t *Table[V]) Fetch(hashes []uint64, read func(*V) int) (sum int) {
	var room [together * ways]*entry[V]
	entries := room[:0]
	for _, hash := range hashes[:min(len(hashes), together)] {
		group := t.group(hash)
		for i := range group {
			if e := group[i].Load(); e != nil {
				entries = append(entries, e)
			}
		}
	}
	for _, e := range entries {
		sum += len(e.key)
	}
	for _, e := range entries {
		if e.key != "" {
			sum += int(e.key[0])
		}
		sum += read(&e.value)
	}
	return sum
}

// Scan calls f with the entries from a slot on, until f returns false, and returns the slot to go on with: 0 at the end of the
// table. Used is whether somebody asked for the value, as Get has it. To scan is not to ask.
func (t *Table[V]) Scan(slot int, f func(key string, v *V, used bool) bool) (next int) {
	for ; slot < len(t.slots); slot++ {
		if e := t.slots[slot].Load(); e != nil && !f(e.key, &e.value, e.touched.Load()) {
			return (slot + 1) % len(t.slots)
		}
	}
	return 0
}

// Put remembers a value that refers to a number of octets besides the key, in second now. One that is larger than the whole
// table is not.
func (t *Table[V]) Put(key string, value V, octets int, now int64) {
	e := &entry[V]{key: key, value: value, octets: int64(len(key) + octets + overhead)}
	if e.octets > t.o.Limit {
		return
	}
	group := t.group(maphash.String(t.seed, key))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(t.victim(group, key, now), e, now)
	for t.used > t.o.Limit {
		t.hand = (t.hand + 1) & (len(t.slots) - 1)
		slot := &t.slots[t.hand]
		if old := slot.Load(); old != nil && old != e && (t.o.Spent(&old.value, now) || !old.touched.Swap(false)) {
			t.set(slot, nil, now)
		}
	}
	t.o.Octets.Set(float64(t.used))
}

// victim returns the slot of a group that a new entry takes: that of its predecessor, a free one, or one whose entry has no
// further use or was not used lately.
func (t *Table[V]) victim(group []atomic.Pointer[entry[V]], key string, now int64) *atomic.Pointer[entry[V]] {
	var free *atomic.Pointer[entry[V]]
	for i := range group {
		switch e := group[i].Load(); {
		case e != nil && e.key == key:
			return &group[i]
		case e == nil || t.o.Spent(&e.value, now):
			free = &group[i]
		}
	}
	if free != nil {
		return free
	}
	for i := range group {
		if !group[i].Load().touched.Swap(false) {
			return &group[i]
		}
	}
	return &group[0]
}

// set fills or empties a slot.
func (t *Table[V]) set(slot *atomic.Pointer[entry[V]], e *entry[V], now int64) {
	if old := slot.Swap(e); old != nil {
		t.used -= old.octets
		if (e == nil || e.key != old.key) && !t.o.Spent(&old.value, now) {
			t.o.Evictions.Inc()
		}
	}
	if e != nil {
		t.used += e.octets
	}
}
