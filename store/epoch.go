package store

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/mxseal/mxseal/zone"
)

// labelSlots is how many epochs of labels there are. Labels that share one make each other's answers be made anew
// once too often, which changes no answer.
const labelSlots = 1 << 16

// Epoch tells whether an answer may still be the current one.
type Epoch struct{ zone, label uint64 }

// epochs count the changes of zones and labels. A reader takes the epoch before it reads the state; whoever changes
// the state publishes it before it raises the epochs. As long as the epoch is the one that was taken, the answer made
// from the state is current.
type epochs struct {
	seed   maphash.Seed
	zones  sync.Map // zone.Name → *atomic.Uint64; one for each zone that was ever changed
	labels []atomic.Uint64
}

func newEpochs() *epochs {
	return &epochs{seed: maphash.MakeSeed(), labels: make([]atomic.Uint64, labelSlots)}
}

func (e *epochs) label(apex zone.Name, label string) *atomic.Uint64 {
	var h maphash.Hash
	h.SetSeed(e.seed)
	h.WriteString(label)
	h.WriteByte(0)
	h.WriteString(apex.Wire())
	return &e.labels[h.Sum64()%labelSlots]
}

func (e *epochs) zone(apex zone.Name) *atomic.Uint64 {
	if counter, found := e.zones.Load(apex); found {
		return counter.(*atomic.Uint64)
	}
	return &atomic.Uint64{}
}

// raise sets the epochs of what changes touch to a revision. labels has the labels by their zones.
func (e *epochs) raise(revision uint64, zones []zone.Name, labels []*zone.Host) {
	for _, apex := range zones {
		counter, _ := e.zones.LoadOrStore(apex, &atomic.Uint64{})
		counter.(*atomic.Uint64).Store(revision)
	}
	for _, h := range labels {
		e.label(h.Zone, h.Label).Store(revision)
	}
}
