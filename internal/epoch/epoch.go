// Package epoch tells whether an answer that was made a while ago is still the current one.
package epoch

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/mxseal/mxseal/zone"
)

// labelSlots is how many epochs of labels there are. Labels that share one make each other's answers be made anew
// once too often, which changes no answer.
const labelSlots = 1 << 16

// Table counts the changes of zones and labels. A reader takes a [Mark] before it reads the state; whoever changes
// the state publishes it before it raises the epochs. As long as the mark is current, so is the answer made from the state.
// Safe for concurrent use.
type Table struct {
	seed   maphash.Seed
	zones  sync.Map // zone.Name → *atomic.Uint64; one for each zone that anybody has asked for
	labels []atomic.Uint64
}

// New makes a table in which nothing has changed.
func New() *Table {
	return &Table{seed: maphash.MakeSeed(), labels: make([]atomic.Uint64, labelSlots)}
}

// Mark is the epochs of a label and of its zone at some moment.
type Mark struct {
	zone, label   *atomic.Uint64
	zoneAt, labAt uint64
}

// Mark takes the present epochs of a label in a zone, or of the zone itself if the label is empty. The zone must be one that
// there is: each has a place in the table for ever.
func (t *Table) Mark(apex zone.Name, label string) Mark {
	m := Mark{zone: t.zoneCounter(apex), label: t.labelCounter(apex, label)}
	m.zoneAt, m.labAt = m.zone.Load(), m.label.Load()
	return m
}

// Current reports whether neither epoch has changed.
func (m Mark) Current() bool { return m.zone.Load() == m.zoneAt && m.label.Load() == m.labAt }

func (t *Table) labelCounter(apex zone.Name, label string) *atomic.Uint64 {
	var h maphash.Hash
	h.SetSeed(t.seed)
	h.WriteString(label)
	h.WriteByte(0)
	h.WriteString(apex.Wire())
	return &t.labels[h.Sum64()%labelSlots]
}

func (t *Table) zoneCounter(apex zone.Name) *atomic.Uint64 {
	counter, found := t.zones.Load(apex)
	if !found {
		counter, _ = t.zones.LoadOrStore(apex, &atomic.Uint64{})
	}
	return counter.(*atomic.Uint64)
}

// Raise begins new epochs of zones and labels.
func (t *Table) Raise(zones []zone.Name, hosts []*zone.Host) {
	for _, apex := range zones {
		t.zoneCounter(apex).Add(1)
	}
	for _, h := range hosts {
		t.labelCounter(h.Zone, h.Label).Add(1)
	}
}
