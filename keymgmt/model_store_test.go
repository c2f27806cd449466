package keymgmt

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// memory is a Store that is as durable as the test that holds it.
type memory struct {
	vault    *Vault
	zones    map[zone.Name]*zone.Zone
	keys     map[string]*KeyRecord
	chains   map[zone.Name]*Chain
	tokens   []*Token
	revision uint64
	// committed is called with the key set of a zone after each commit, and crash before it may end the program.
	committed func(z *zone.Zone, ks *KeySet)
	crash     func()
	broken    error // of every write
}

func newMemory(v *Vault) *memory {
	return &memory{vault: v, zones: map[zone.Name]*zone.Zone{}, keys: map[string]*KeyRecord{}, chains: map[zone.Name]*Chain{},
		committed: func(*zone.Zone, *KeySet) {}, crash: func() {}}
}

func (m *memory) View() View { return m }

func (m *memory) Zone(apex zone.Name) *zone.Zone { return m.zones[apex] }

func (m *memory) Zones(yield func(*zone.Zone) bool) {
	for _, z := range m.zones {
		if !yield(z) {
			return
		}
	}
}

// Of the namespace no manager asks.
func (m *memory) Tenant(string) *zone.Tenant              { return nil }
func (m *memory) Tenants(string, func(*zone.Tenant) bool) {}
func (m *memory) Pools(func(*zone.Pool) bool)             {}
func (m *memory) HostsOf(zone.Owner) []*zone.Host         { return nil }
func (m *memory) Shards(zone.Name) []*zone.Zone           { return nil }
func (m *memory) Pool(string) *zone.Pool                  { return nil }
func (m *memory) Host(zone.Name, string) *zone.Host       { return nil }
func (m *memory) Tokens(yield func(*Token) bool) {
	for _, t := range m.tokens {
		if !yield(t) {
			return
		}
	}
}
func (m *memory) Chain(apex zone.Name) *Chain { return m.chains[apex] }

func (m *memory) Keys(apex zone.Name) (keys []*KeyRecord) {
	for _, k := range m.keys {
		if k.Zone == apex {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *KeyRecord) int { // the ids are random
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(string(a.Role), string(b.Role)))
	})
	return keys
}

// Update writes what plan returns, if its preconditions hold and the key sets that it leads to open.
func (m *memory) Update(_ context.Context, plan func(View) (zone.Changes, error)) error {
	c, err := plan(m)
	if err != nil || c.IsEmpty() {
		return err
	}
	m.crash()
	if m.broken != nil {
		return m.broken
	}
	for _, ref := range c.Requires {
		if err := m.holds(ref); err != nil {
			return err
		}
	}
	m.revision++
	var concerned []zone.Name
	for _, row := range c.Puts {
		if err := m.holds(row.Ref()); err != nil {
			return err
		}
		switch r := row.(type) {
		case *zone.Zone:
			copied := *r
			copied.Revision = m.revision
			m.zones[r.Name] = &copied
			concerned = append(concerned, r.Name)
		case *KeyRecord:
			copied := *r
			copied.Revision = m.revision
			m.keys[r.ID] = &copied
		case *Token:
			m.tokens = slices.DeleteFunc(m.tokens, func(t *Token) bool { return t.ID == r.ID })
			m.tokens = append(m.tokens, r)
		case *Chain:
			copied := r.clone()
			copied.Revision = m.revision
			m.chains[r.Zone] = copied
			concerned = append(concerned, r.Zone)
		}
	}
	for _, ref := range c.Deletes {
		delete(m.keys, ref.ID)
	}
	for _, apex := range concerned {
		if m.chains[apex] == nil {
			continue
		}
		ks, err := m.vault.Open(m.zones[apex], m.Keys(apex), m.chains[apex])
		if err != nil {
			return fmt.Errorf("a step was written that does not open: %w", err)
		}
		m.committed(m.zones[apex], ks)
	}
	return nil
}

func (m *memory) holds(ref zone.Ref) error {
	var have uint64
	switch ref.Kind {
	case zone.KindZone:
		for _, z := range m.zones {
			if z.Ref().ID == ref.ID {
				have = z.Revision
			}
		}
	case KindKey:
		if k := m.keys[ref.ID]; k != nil {
			have = k.Revision
		}
	case KindChain:
		for _, c := range m.chains {
			if c.Ref().ID == ref.ID {
				have = c.Revision
			}
		}
	default:
		return nil
	}
	if have != ref.Revision {
		return fmt.Errorf("%s %s has revision %d, not %d", ref.Kind, ref.ID, have, ref.Revision)
	}
	return nil
}

// put writes a zone as the API does.
func (m *memory) put(apex zone.Name, spec zone.ZoneSpec, at time.Time) error {
	return m.Update(context.Background(), func(View) (zone.Changes, error) {
		c, z, err := zone.PlanPutZone(m, apex, spec, at, "id of "+apex.String(), nil)
		if err != nil || m.chains[apex] != nil {
			return c, err
		}
		keys, err := m.vault.NewZone(z, nil, nil, at)
		if err == nil {
			c.Puts = append(c.Puts, keys.Rows()...)
		}
		return c, err
	})
}
