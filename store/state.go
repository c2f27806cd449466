package store

import (
	"fmt"
	"slices"

	"github.com/hashicorp/go-memdb"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// State is all rows at one revision, and the key sets that go with them. It is immutable, stays as it is whatever
// comes later, and is safe for concurrent use. It implements zone.View and zone.Keys.
type State struct {
	revision uint64
	format   uint8
	txn      *memdb.Txn // a snapshot; never written
	*zoneTable
	ring *keymgmt.Ring
}

// zoneTable is all zones: there are few, they hardly ever change, and every question asks for one and for what is below it.
type zoneTable struct {
	zones  map[zone.Name]*zone.Zone
	sorted []*zone.Zone               // by the text of their names
	shards map[zone.Name][]*zone.Zone // below each zone, in canonical order
}

func newZoneTable(sorted []*zone.Zone) *zoneTable {
	t := &zoneTable{zones: map[zone.Name]*zone.Zone{}, sorted: sorted, shards: map[zone.Name][]*zone.Zone{}}
	for _, z := range sorted {
		t.zones[z.Name] = z
	}
	for _, z := range sorted {
		t.shards[z.Name] = t.below(z.Name)
	}
	return t
}

// below returns the zones below a name, in canonical order.
func (t *zoneTable) below(apex zone.Name) []*zone.Zone {
	var below []*zone.Zone
	for _, z := range t.sorted {
		if z.Name != apex && z.Name.Within(apex) {
			below = append(below, z)
		}
	}
	slices.SortFunc(below, func(a, b *zone.Zone) int { return zone.CompareNames(a.Name, b.Name) })
	return slices.Clip(below)
}

// Revision is that of the last commit the state contains.
func (s *State) Revision() uint64 { return s.revision }

// Format is that of the database: what is written from this state is in it.
func (s *State) Format() uint8 { return s.format }

// Zone implements zone.View.
func (s *State) Zone(apex zone.Name) *zone.Zone { return s.zones[apex] }

// Shards implements zone.View.
func (s *State) Shards(apex zone.Name) []*zone.Zone {
	if s.zones[apex] == nil {
		return s.below(apex)
	}
	return s.shards[apex]
}

// Zones implements zone.View.
func (s *State) Zones(yield func(*zone.Zone) bool) {
	for _, z := range s.sorted {
		if !yield(z) {
			return
		}
	}
}

// Pool implements zone.View.
func (s *State) Pool(name string) *zone.Pool { return first[*zone.Pool](s, zone.KindPool, name) }

// Pools implements zone.View.
func (s *State) Pools(yield func(*zone.Pool) bool) { visit(s, zone.KindPool, byID, "", yield) }

// Tenant implements zone.View.
func (s *State) Tenant(id string) *zone.Tenant { return first[*zone.Tenant](s, zone.KindTenant, id) }

// Tenants implements zone.View.
func (s *State) Tenants(after string, yield func(*zone.Tenant) bool) {
	visit(s, zone.KindTenant, byID, after, yield)
}

// Host implements zone.View.
func (s *State) Host(apex zone.Name, label string) *zone.Host {
	return first[*zone.Host](s, zone.KindHost, hostKey(apex, label))
}

// HostsOf implements zone.View. An owner has only ever two labels, and the keys of hosts begin with the label: that saves an index
// with an entry for each host.
func (s *State) HostsOf(owner zone.Owner) (hosts []*zone.Host) {
	for _, label := range []string{zone.HashedLabel(owner), zone.PlainLabel(owner)} {
		for _, h := range all[*zone.Host](s, zone.KindHost, byID+"_prefix", label+"\x00") {
			if h.Owner == owner {
				hosts = append(hosts, h)
			}
		}
	}
	return hosts
}

// Keys returns the sealed keys of a zone.
func (s *State) Keys(apex zone.Name) []*keymgmt.KeyRecord {
	return all[*keymgmt.KeyRecord](s, keymgmt.KindKey, byZone, apex.String())
}

// Chain returns the chain of a zone, nil if there is none.
func (s *State) Chain(apex zone.Name) *keymgmt.Chain {
	return first[*keymgmt.Chain](s, keymgmt.KindChain, apex.String())
}

// Token returns nil for an unknown id.
func (s *State) Token(id string) *keymgmt.Token {
	return first[*keymgmt.Token](s, keymgmt.KindToken, id)
}

// Tokens visits all tokens in the order of their ids, until yield returns false.
func (s *State) Tokens(yield func(*keymgmt.Token) bool) { visit(s, keymgmt.KindToken, byID, "", yield) }

// KeySet returns the keys that a zone signs with, nil if it has none that can be used.
func (s *State) KeySet(apex zone.Name) *keymgmt.KeySet { return s.ring.KeySet(apex) }

// Apex implements zone.Keys.
func (s *State) Apex(apex zone.Name) []zone.RRset { return s.ring.Apex(apex) }

// DS implements zone.Keys.
func (s *State) DS(apex zone.Name) zone.RRset { return s.ring.DS(apex) }

// first returns the row with an id, nil if there is none.
func first[T zone.Row](s *State, kind zone.Kind, id string) T {
	raw, err := s.txn.First(string(kind), byID, id)
	if err != nil {
		panic(fmt.Sprintf("store: %s by id: %v", kind, err)) // the schema has all tables and indexes that are asked for
	}
	row, _ := raw.(T)
	return row
}

// all returns the rows with a value of a secondary index.
func all[T zone.Row](s *State, kind zone.Kind, index, value string) []T {
	it, err := s.txn.Get(string(kind), index, value)
	if err != nil {
		panic(fmt.Sprintf("store: %s by %s: %v", kind, index, err))
	}
	var rows []T
	for raw := it.Next(); raw != nil; raw = it.Next() {
		if row, ok := raw.(T); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

// visit goes through a table in the order of an index, from the row after the given one.
func visit[T zone.Row](s *State, kind zone.Kind, index, after string, yield func(T) bool) {
	it, err := s.txn.LowerBound(string(kind), index, after)
	if err != nil {
		panic(fmt.Sprintf("store: %s from %q: %v", kind, after, err))
	}
	for raw := it.Next(); raw != nil; raw = it.Next() {
		row, ok := raw.(T)
		if !ok || row.Ref().ID == after {
			continue
		}
		if !yield(row) {
			return
		}
	}
}
