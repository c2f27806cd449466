package store

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/go-memdb"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

type opener = func(z *zone.Zone, records []*keymgmt.KeyRecord, chain *keymgmt.Chain) (*keymgmt.KeySet, error)

// loader builds the first state from the records of an engine, in one transaction on a database that nobody sees yet. Records
// are decoded beside each other, and inserted in their order.
type loader struct {
	o       Options
	how     strictness
	format  uint8 // of the database, as far as is known
	db      *memdb.MemDB
	batch   *batch
	batches sync.Pool     // of those that are decoded
	queue   chan decoding // in the order of the records
	done    chan struct{} // closed when all that was queued is inserted, or one could not be
	err     error         // why not; to be read when done is closed
}

const (
	loadBatch  = 512       // records
	loadOctets = 128 << 10 // of their values; a larger one is alone
	loadAhead  = 64        // batches
)

// batch is records that are decoded together, and the memory of their values. Both are used again.
type batch struct {
	records []Record
	values  []byte
}

func newBatch() any { return &batch{make([]Record, 0, loadBatch), make([]byte, 0, loadOctets)} }

// take makes an empty batch the present one.
func (l *loader) take() { l.batch, _ = l.batches.Get().(*batch) }

// decoding is a batch on its way.
type decoding chan decoded

type decoded struct {
	rows []loaded
	err  error
}

type loaded struct {
	kind zone.Kind
	zone.Row
}

// strictness is what a load does with keys that do not open. At a start they are errors. A node that answers already does as with
// commits: it goes on without.
type strictness bool

const (
	strict   strictness = true
	tolerant strictness = false
)

func newLoader(o Options, how strictness) *loader {
	l := &loader{o: o, how: how, format: 1, batches: sync.Pool{New: newBatch}, queue: make(chan decoding, loadAhead), done: make(chan struct{})}
	l.take()
	go func() {
		defer close(l.done)
		db, err := memdb.NewMemDB(schema())
		if l.err = err; err == nil {
			l.db = db.Snapshot() // unlike the first one, does not keep account of what it would have to tell watchers: there are none
			l.err = l.insert()
		}
	}()
	return l
}

// insert takes the batches in order.
func (l *loader) insert() error {
	txn := l.db.Txn(true)
	defer txn.Abort()
	for batch := range l.queue {
		d := <-batch
		if d.err != nil {
			return d.err
		}
		for _, row := range d.rows {
			if err := txn.Insert(string(row.kind), row.Row); err != nil {
				return fmt.Errorf("record %q of kind %q: %w", row.Ref().ID, row.kind, err)
			}
		}
	}
	txn.Commit()
	return nil
}

// add takes a record. An error may be about one that was added before.
func (l *loader) add(r Record) error {
	switch r.Kind {
	case KindFormat:
		l.format = max(1, r.Format)
	case zone.KindOwner: // a third of all records, and there is nothing to decode
		return nil
	}
	if n := len(l.batch.records); n == loadBatch || n > 0 && len(l.batch.values)+len(r.Value) > cap(l.batch.values) {
		if err := l.send(); err != nil {
			return err
		}
	}
	b := l.batch
	start := len(b.values)
	b.values = append(b.values, r.Value...) // stays where it is, unless this is the first one
	r.Value = b.values[start:]
	b.records = append(b.records, r)
	return nil
}

// send has the batch decoded.
func (l *loader) send() error {
	full, next := l.batch, make(decoding, 1)
	l.take()
	go func() {
		next <- decodeAll(full.records)
		full.records, full.values = full.records[:0], full.values[:0]
		l.batches.Put(full)
	}()
	select {
	case l.queue <- next:
		return nil
	case <-l.done:
		return l.err
	}
}

func decodeAll(records []Record) (d decoded) {
	d.rows = make([]loaded, 0, len(records))
	for _, r := range records {
		row, err := decode(r)
		if err != nil {
			return decoded{err: err}
		}
		if row != nil {
			d.rows = append(d.rows, loaded{r.Kind, row})
		}
	}
	return d
}

// stop ends a load that has failed.
func (l *loader) stop() {
	close(l.queue)
	<-l.done
}

func (l *loader) finish(revision uint64) (*writer, error) {
	_ = l.send() // stop says the same
	if l.stop(); l.err != nil {
		return nil, l.err
	}
	if err := CheckFormat(Format, l.format); err != nil {
		return nil, err
	}
	s := snapshot(l.db, revision, nil, &keymgmt.Ring{})
	s.format = l.format
	w := newWriter(l.db, s, l.o)
	for _, z := range s.sorted {
		if l.how == tolerant {
			s.ring = w.reopen(s, z.Name)
			continue
		}
		set, err := l.o.Open(z, s.keysOf(z), s.chainOf(z))
		if err != nil {
			return nil, err
		}
		s.ring = s.ring.With(set)
	}
	return w, nil
}

// snapshot is the state of a database, with key sets that are known already. So may be the zones; nil if not.
func snapshot(db *memdb.MemDB, revision uint64, zones *zoneTable, ring *keymgmt.Ring) *State {
	s := &State{revision: revision, txn: db.Txn(false), zoneTable: zones, ring: ring}
	if zones == nil {
		var sorted []*zone.Zone
		visit(s, zone.KindZone, byID, "", func(z *zone.Zone) bool { sorted = append(sorted, z); return true })
		s.zoneTable = newZoneTable(sorted)
	}
	return s
}

// keysOf returns the keys of a zone. A zone of the same name that was there before has other keys.
func (s *State) keysOf(z *zone.Zone) []*keymgmt.KeyRecord {
	return slices.DeleteFunc(s.Keys(z.Name), func(k *keymgmt.KeyRecord) bool { return k.ZoneID != z.ID })
}

// chainOf returns the chain of a zone, nil if there is none, or only that of an earlier zone of the same name.
func (s *State) chainOf(z *zone.Zone) *keymgmt.Chain {
	if c := s.Chain(z.Name); c != nil && c.ZoneID == z.ID {
		return c
	}
	return nil
}

// checkKeys opens the key sets that changes would lead to.
func checkKeys(state *State, changes zone.Changes, open opener) error {
	put, deleted := map[string]*keymgmt.KeyRecord{}, map[string]bool{}
	zones, chains := map[zone.Name]*zone.Zone{}, map[zone.Name]*keymgmt.Chain{}
	concerns := func(apex zone.Name) {
		if z := state.Zone(apex); z != nil && zones[apex] == nil {
			zones[apex] = z
		}
	}
	for _, ref := range changes.Deletes {
		deleted[ref.ID] = ref.Kind == keymgmt.KindKey
		if k := first[*keymgmt.KeyRecord](state, keymgmt.KindKey, ref.ID); k != nil && deleted[ref.ID] {
			concerns(k.Zone)
		}
	}
	for _, row := range changes.Puts {
		switch r := row.(type) {
		case *zone.Zone:
			zones[r.Name] = r
		case *keymgmt.KeyRecord:
			put[r.ID] = r
			concerns(r.Zone)
		case *keymgmt.Chain:
			chains[r.Zone] = r
			concerns(r.Zone)
		}
	}
	for _, ref := range changes.Deletes {
		if name, err := zone.ParseName(ref.ID); ref.Kind == zone.KindZone && err == nil {
			delete(zones, name)
		}
	}
	for _, z := range zones {
		chain := chains[z.Name]
		if chain == nil {
			chain = state.chainOf(z)
		}
		if _, err := open(z, keysAfter(state, z, put, deleted), chain); err != nil {
			return err
		}
	}
	return nil
}

// keysAfter returns the keys that a zone will have.
func keysAfter(state *State, z *zone.Zone, put map[string]*keymgmt.KeyRecord, deleted map[string]bool) []*keymgmt.KeyRecord {
	records := maps.Clone(put)
	for _, k := range state.keysOf(z) {
		if records[k.ID] == nil && !deleted[k.ID] {
			records[k.ID] = k
		}
	}
	maps.DeleteFunc(records, func(_ string, k *keymgmt.KeyRecord) bool { return k.ZoneID != z.ID })
	return slices.Collect(maps.Values(records))
}

// writer applies commits. It is owned by the feed.
type writer struct {
	db   *memdb.MemDB
	last *State
	o    Options
}

func newWriter(db *memdb.MemDB, first *State, o Options) *writer { return &writer{db, first, o} }

// apply returns the state after a commit, and the zones and hosts whose answers may differ in it. With an error the
// state stays as it was, and no later commit can be applied.
func (w *writer) apply(c Commit) (next *State, zones []zone.Name, hosts []*zone.Host, err error) {
	txn := w.db.Txn(true)
	defer txn.Abort()
	t := touched{zones: map[zone.Name]bool{}, keys: map[zone.Name]bool{}}
	for _, write := range c.Writes {
		row, old, err := w.write(txn, c.Record(write))
		if err != nil {
			return nil, nil, nil, err
		}
		t.note(old)
		t.note(row)
	}
	txn.Commit()
	table := w.last.zoneTable
	if slices.ContainsFunc(c.Writes, func(write Write) bool { return write.Kind == zone.KindZone }) {
		table = nil
	}
	next = snapshot(w.db, c.Revision, table, w.last.ring)
	next.format = formatAfter(w.last.format, c)
	for apex := range t.keys {
		next.ring = w.reopen(next, apex)
	}
	zones, hosts = t.concerned(w.last, next)
	w.last = next
	return next, zones, hosts, nil
}

// formatAfter is the format of the database after a commit.
func formatAfter(format uint8, c Commit) uint8 {
	for _, w := range c.Writes {
		if w.Kind == KindFormat {
			format = max(1, w.Format)
		}
	}
	return format
}

// write changes one row; a nil row was deleted or has no place in memory.
func (w *writer) write(txn *memdb.Txn, r Record) (row, old zone.Row, err error) {
	if !slices.Contains(loadedKinds, r.Kind) {
		if r.Value != nil {
			_, err = decode(r) // of a kind that is not known it is an error
		}
		return nil, nil, err
	}
	raw, err := txn.First(string(r.Kind), byID, keyOf(r.Kind, r.ID))
	if err != nil {
		return nil, nil, err
	}
	old, _ = raw.(zone.Row)
	if r.Revision == 0 {
		if raw != nil {
			err = txn.Delete(string(r.Kind), raw)
		}
		return nil, old, err
	}
	row, err = decode(r)
	if err != nil {
		return nil, nil, err
	}
	return row, old, txn.Insert(string(r.Kind), row)
}

// reopen returns the ring with the present keys of a zone. If they do not open, the zone has none, and is answered with
// SERVFAIL.
func (w *writer) reopen(s *State, apex zone.Name) *keymgmt.Ring {
	z := s.Zone(apex)
	if z == nil {
		return s.ring.Without(apex)
	}
	set, err := w.o.Open(z, s.keysOf(z), s.chainOf(z))
	if err != nil {
		w.o.Log.Error("a zone has no keys to sign with", "zone", apex, "error", err)
		w.o.Metrics.keyErrors.Inc()
		return s.ring.Without(apex)
	}
	return s.ring.With(set)
}

// openMissing returns a state in which the keys of zones that had none are open, and those zones.
func (w *writer) openMissing() (next *State, zones []zone.Name) {
	next = snapshot(w.db, w.last.revision, w.last.zoneTable, w.last.ring)
	next.format = w.last.format
	for _, z := range next.sorted {
		if next.ring.KeySet(z.Name) == nil {
			if next.ring = w.reopen(next, z.Name); next.ring.KeySet(z.Name) != nil {
				zones = append(zones, z.Name)
			}
		}
	}
	w.last = next
	return next, zones
}

// touched collects what a commit changes.
type touched struct {
	zones    map[zone.Name]bool // their own answers change
	keys     map[zone.Name]bool // their key sets have to be made anew
	allZones bool
	hosts    []*zone.Host
	tenants  []*zone.Tenant
}

func (t *touched) note(row zone.Row) {
	switch r := row.(type) {
	case *zone.Zone:
		t.zones[r.Name], t.keys[r.Name] = true, true
	case *keymgmt.KeyRecord:
		t.zones[r.Zone], t.keys[r.Zone] = true, true
	case *keymgmt.Chain:
		t.zones[r.Zone], t.keys[r.Zone] = true, true
	case *zone.Pool:
		t.allZones = true
	case *zone.Host:
		t.hosts = append(t.hosts, r)
	case *zone.Tenant:
		t.tenants = append(t.tenants, r)
	}
}

// atOnce is how many hosts may change in a commit before their zones are taken to have changed: the epoch of a zone is raised for all its
// names at once, those of labels one after the other, and meanwhile the answers are in part those of before.
const atOnce = 1024

// concerned names the zones and hosts whose answers may differ between two states. What a zone says of itself its
// enclosing zones say too, at the zone cut. A host is made from its tenant's row.
func (t *touched) concerned(before, after *State) (zones []zone.Name, hosts []*zone.Host) {
	hosts = t.hostsIn(after)
	many := map[zone.Name]bool{}
	if len(hosts) > atOnce {
		for _, h := range hosts {
			many[h.Zone] = true
		}
		hosts = nil
	}
	for _, state := range []*State{before, after} {
		for _, z := range state.sorted {
			below := func(apex zone.Name, _ bool) bool { return apex.Within(z.Name) }
			if t.allZones || many[z.Name] || anyOf(t.zones, below) {
				zones = append(zones, z.Name)
			}
		}
	}
	slices.SortFunc(zones, func(a, b zone.Name) int { return strings.Compare(a.Wire(), b.Wire()) })
	return slices.Compact(zones), hosts
}

// hostsIn returns the hosts whose answers may differ, each once. One that is not written itself, but whose tenant is, has the same row
// before and after.
func (t *touched) hostsIn(after *State) []*zone.Host {
	hosts := t.hosts
	for _, tenant := range t.tenants {
		for _, owner := range tenant.Owners() {
			for _, h := range after.HostsOf(owner) {
				if h.Tenant == tenant.ID {
					hosts = append(hosts, h)
				}
			}
		}
	}
	slices.SortFunc(hosts, func(a, b *zone.Host) int {
		return cmp.Or(strings.Compare(a.Label, b.Label), strings.Compare(a.Zone.Wire(), b.Zone.Wire()))
	})
	return slices.CompactFunc(hosts, func(a, b *zone.Host) bool { return a.Label == b.Label && a.Zone == b.Zone })
}

func anyOf[K comparable, V any](m map[K]V, match func(K, V) bool) bool {
	for k, v := range m {
		if match(k, v) {
			return true
		}
	}
	return false
}
