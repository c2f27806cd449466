package store

import (
	"fmt"
	"strings"

	"github.com/hashicorp/go-memdb"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// Names of indexes. Tables are named like the kinds of their rows.
const (
	byID   = "id"   // go-memdb wants this name for the primary index
	byZone = "zone" // of keys
)

// loadedKinds are those that have rows in memory.
var loadedKinds = []zone.Kind{zone.KindZone, zone.KindPool, zone.KindTenant, zone.KindHost, keymgmt.KindKey, keymgmt.KindChain, keymgmt.KindToken}

func schema() *memdb.DBSchema {
	s := &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{}}
	for _, kind := range loadedKinds {
		s.Tables[string(kind)] = &memdb.TableSchema{Name: string(kind), Indexes: map[string]*memdb.IndexSchema{
			byID: {Name: byID, Unique: true, Indexer: index(rowKey)},
		}}
	}
	s.Tables[string(keymgmt.KindKey)].Indexes[byZone] = &memdb.IndexSchema{Name: byZone,
		Indexer: index(func(row zone.Row) string {
			if k, ok := row.(*keymgmt.KeyRecord); ok {
				return k.Zone.String()
			}
			return ""
		})}
	return s
}

// rowKey is what identifies a row in its table: the id, but for hosts, of which there are most and for which every question asks.
func rowKey(row zone.Row) string {
	if h, ok := row.(*zone.Host); ok {
		return hostKey(h.Zone, h.Label)
	}
	return row.Ref().ID
}

// keyOf is rowKey for a row of which only kind and id are known.
func keyOf(kind zone.Kind, id string) string {
	label, rest, _ := strings.Cut(id, ".")
	if apex, err := zone.ParseName(rest); kind == zone.KindHost && err == nil {
		return hostKey(apex, label)
	}
	return id
}

// hostKey begins with the label and ends like no other key. Labels have no zero octet.
func hostKey(apex zone.Name, label string) string { return label + "\x00" + apex.Wire() }

// index finds rows by a text. go-memdb's own indexers use reflection and print whole rows in errors.
type index func(row zone.Row) string

// FromObject implements memdb.SingleIndexer. The key has exactly its length as capacity: go-memdb appends to it.
func (f index) FromObject(raw any) (bool, []byte, error) {
	row, ok := raw.(zone.Row)
	if !ok {
		return false, nil, fmt.Errorf("a %T is not a row", raw)
	}
	return true, key(f(row)), nil
}

// FromArgs implements memdb.Indexer.
func (f index) FromArgs(args ...any) ([]byte, error) {
	if len(args) == 1 {
		if text, ok := args[0].(string); ok {
			return key(text), nil
		}
	}
	return nil, fmt.Errorf("index: one text expected, got %d arguments", len(args))
}

// PrefixFromArgs implements memdb.PrefixIndexer.
func (f index) PrefixFromArgs(args ...any) ([]byte, error) {
	k, err := f.FromArgs(args...)
	if err != nil {
		return nil, err
	}
	return k[:len(k)-1], nil
}

// key ends in a zero octet, which no id has, so that no key is the beginning of another one.
func key(text string) []byte {
	k := make([]byte, len(text)+1)
	copy(k, text)
	return k
}
