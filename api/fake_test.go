package api_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// memState is an immutable state: rows by kind and id.
type memState struct {
	revision uint64
	rows     map[zone.Kind]map[string]zone.Row
}

func get[T zone.Row](s *memState, kind zone.Kind, id string) T {
	row, _ := s.rows[kind][id].(T)
	return row
}

// visit goes through a table in the order of its ids, after the given one.
func visit[T zone.Row](s *memState, kind zone.Kind, after string, yield func(T) bool) {
	for _, id := range slices.Sorted(maps.Keys(s.rows[kind])) {
		if id > after && !yield(get[T](s, kind, id)) {
			return
		}
	}
}

func (s *memState) Revision() uint64             { return s.revision }
func (s *memState) Format() uint8                { return 1 }
func (s *memState) Zone(n zone.Name) *zone.Zone  { return get[*zone.Zone](s, zone.KindZone, n.String()) }
func (s *memState) Pool(n string) *zone.Pool     { return get[*zone.Pool](s, zone.KindPool, n) }
func (s *memState) Tenant(n string) *zone.Tenant { return get[*zone.Tenant](s, zone.KindTenant, n) }
func (s *memState) Host(apex zone.Name, label string) *zone.Host {
	return get[*zone.Host](s, zone.KindHost, label+"."+apex.String())
}
func (s *memState) Token(id string) *keymgmt.Token { return get[*keymgmt.Token](s, tokens, id) }

func (s *memState) Zones(yield func(*zone.Zone) bool) { visit(s, zone.KindZone, "", yield) }
func (s *memState) Pools(yield func(*zone.Pool) bool) { visit(s, zone.KindPool, "", yield) }
func (s *memState) Tenants(after string, yield func(*zone.Tenant) bool) {
	visit(s, zone.KindTenant, after, yield)
}
func (s *memState) Tokens(yield func(*keymgmt.Token) bool) { visit(s, tokens, "", yield) }

func (s *memState) Shards(apex zone.Name) (below []*zone.Zone) {
	s.Zones(func(z *zone.Zone) bool {
		if z.Name != apex && z.Name.Within(apex) {
			below = append(below, z)
		}
		return true
	})
	slices.SortFunc(below, func(a, b *zone.Zone) int { return zone.CompareNames(a.Name, b.Name) })
	return below
}

func (s *memState) HostsOf(o zone.Owner) (hosts []*zone.Host) {
	visit(s, zone.KindHost, "", func(h *zone.Host) bool {
		if h.Owner == o {
			hosts = append(hosts, h)
		}
		return true
	})
	return hosts
}

func (s *memState) Keys(apex zone.Name) (records []*keymgmt.KeyRecord) {
	visit(s, keys, "", func(k *keymgmt.KeyRecord) bool {
		if k.Zone == apex {
			records = append(records, k)
		}
		return true
	})
	return records
}

func (s *memState) Chain(apex zone.Name) *keymgmt.Chain {
	c, _ := s.rows[keymgmt.KindChain][apex.String()].(*keymgmt.Chain)
	return c
}

func (s *memState) Apex(apex zone.Name) []zone.RRset {
	var rdata []string
	for _, k := range s.Keys(apex) {
		rdata = append(rdata, string([]byte{byte(k.Flags >> 8), byte(k.Flags), 3, byte(k.Algorithm)})+string(k.PublicKey))
	}
	if rdata == nil {
		return nil
	}
	return []zone.RRset{zone.NewRRset(apex, zone.TypeDNSKEY, 3600, rdata), zone.NewRRset(apex, zone.TypeCDS, 3600, []string{dsData})}
}

const dsData = "\x30\x39\x0d\x02\xab\xcd"

func (s *memState) DS(apex zone.Name) zone.RRset {
	if len(s.Keys(apex)) == 0 {
		return zone.RRset{}
	}
	return zone.NewRRset(apex, zone.TypeDS, 3600, []string{dsData})
}

const (
	tokens zone.Kind = "tokens"
	keys   zone.Kind = "keys"
)

// memStore is a Store in memory that keeps the contract: all or nothing, and only on the revisions that the
// plan has seen. meddle, if set, runs between plan and commit: what another client does at the worst moment.
type memStore struct {
	mu      sync.Mutex
	state   *memState
	fail    error
	meddle  func()
	portion int
	sizes   []int // of the commits
}

func newMemStore() *memStore {
	return &memStore{portion: math.MaxInt, state: &memState{rows: map[zone.Kind]map[string]zone.Row{}}}
}

func (s *memStore) Portion() int { return s.portion }

func (s *memStore) State() api.State { return s.current() }

func (s *memStore) current() *memState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func (s *memStore) Update(ctx context.Context, plan func(api.State) (zone.Changes, error)) (uint64, error) {
	for range 100 {
		changes, err := plan(s.current())
		if err != nil {
			return 0, err
		}
		if meddle := s.meddle; meddle != nil {
			s.meddle = nil
			meddle()
		}
		revision, err := s.commit(changes)
		if !errors.Is(err, zone.ErrRetry) {
			return revision, err
		}
	}
	return 0, zone.ErrRetry
}

func (s *memStore) commit(c zone.Changes) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return 0, s.fail
	}
	if c.IsEmpty() {
		return s.state.revision, nil
	}
	s.sizes = append(s.sizes, c.Len())
	expected := slices.Concat(c.Requires, c.Deletes)
	for _, row := range c.Puts {
		expected = append(expected, row.Ref())
	}
	for _, ref := range expected {
		var have uint64
		if row, found := s.state.rows[ref.Kind][ref.ID]; found {
			have = row.Ref().Revision
		}
		if have != ref.Revision {
			return 0, zone.ErrRetry
		}
	}
	next := &memState{revision: s.state.revision + 1, rows: map[zone.Kind]map[string]zone.Row{}}
	for kind, table := range s.state.rows {
		next.rows[kind] = maps.Clone(table)
	}
	for _, ref := range c.Deletes {
		delete(next.rows[ref.Kind], ref.ID)
	}
	for _, row := range c.Puts {
		ref := row.Ref()
		if next.rows[ref.Kind] == nil {
			next.rows[ref.Kind] = map[string]zone.Row{}
		}
		next.rows[ref.Kind][ref.ID] = withRevision(row, next.revision)
	}
	s.state = next
	return next.revision, nil
}

func withRevision(row zone.Row, revision uint64) zone.Row {
	switch r := row.(type) {
	case *zone.Zone:
		c := *r
		c.Revision = revision
		return &c
	case *zone.Pool:
		c := *r
		c.Revision = revision
		return &c
	case *zone.Tenant:
		c := *r
		c.Revision = revision
		return &c
	case *zone.Host:
		c := *r
		c.Revision = revision
		return &c
	case *keymgmt.Token:
		c := *r
		c.Revision = revision
		return &c
	case *keymgmt.Chain:
		c := *r
		c.Revision = revision
		return &c
	case *keymgmt.KeyRecord:
		c := *r
		c.Revision = revision
		return &c
	}
	panic(fmt.Sprintf("row of type %T", row))
}

// backupParts is what a backup of memStore consists of.
var backupParts = []string{"one ", "consistent ", "copy"}

func (s *memStore) Backup(w io.Writer) error {
	for _, part := range backupParts {
		if _, err := io.WriteString(w, part); err != nil {
			return err
		}
		if s.fail != nil {
			return s.fail
		}
	}
	return nil
}

// memVault is a Vault without cryptography.
type memVault struct {
	destroyed func(k *keymgmt.KeyRecord) // is told what is to go from the token
}

func (v memVault) DestroyAll(keys []*keymgmt.KeyRecord, _ *slog.Logger) {
	for _, k := range keys {
		v.destroyed(k)
	}
}

func (memVault) CheckPolicy(zone.KeyPolicy) error { return nil }

func (memVault) NewZone(z *zone.Zone, _ []keymgmt.GivenKey, existing []*keymgmt.KeyRecord, now time.Time) (keymgmt.ZoneKeys, error) {
	if len(existing) > 0 {
		return keymgmt.ZoneKeys{}, errors.New("the zone has keys")
	}
	record := func(role keymgmt.Role, flags uint16) *keymgmt.KeyRecord {
		return &keymgmt.KeyRecord{ID: strings.ToLower(rand.Text()), Zone: z.Name, ZoneID: z.ID, Role: role, Algorithm: z.Keys.Algorithm,
			Flags: flags, PublicKey: []byte("public " + role), KeyTag: 12345, Created: now, Sealed: []byte("SEALED")}
	}
	return keymgmt.ZoneKeys{Keys: []*keymgmt.KeyRecord{record("ksk", 257), record("zsk", 256)}, Chain: &keymgmt.Chain{Zone: z.Name, ZoneID: z.ID}}, nil
}

func (memVault) NewToken(scope keymgmt.Scope, description string, expires, now time.Time) (string, *keymgmt.Token, error) {
	// The API takes the id out of a secret with keymgmt.TokenID: the fake has to keep to its format.
	var random [40]byte
	rand.Read(random[:])
	id := hex.EncodeToString(random[:8])
	secret := "mxs_" + id + "_" + base64.RawURLEncoding.EncodeToString(random[8:])
	return secret, &keymgmt.Token{ID: id, Sealed: hash(secret), Scope: scope, Description: description, Created: now, Expires: expires}, nil
}

func hash(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

func (memVault) CheckToken(t *keymgmt.Token, secret string, now time.Time) error {
	if !slices.Equal(t.Sealed, hash(secret)) {
		return errors.New("wrong secret")
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return errors.New("expired")
	}
	return nil
}

// memKeys is a KeyManager that remembers nothing.
type memKeys struct{ store api.Store }

func (m memKeys) Status(apex zone.Name, now time.Time) (keymgmt.Status, bool) {
	s := keymgmt.Status{Zone: m.store.State().Zone(apex), Wanted: "a step", Because: "a reason", Until: now.Add(time.Hour), Stock: now.Add(24 * time.Hour),
		Past: []keymgmt.Event{{At: now, Kind: keymgmt.StepGoal, Why: "a start"}}, Coming: []keymgmt.Event{{At: now.Add(time.Hour), Kind: keymgmt.StepPublish, Why: "a step"}},
		Parents: []keymgmt.ParentAnswer{{Server: netip.MustParseAddrPort("192.0.2.1:53"), DS: []string{dsData}, TTL: 60}, {Err: errors.New("no answer")}}}
	for _, k := range m.store.State().Keys(apex) {
		s.Keys = append(s.Keys, keymgmt.KeyStatus{KeyRecord: k, Use: string(k.Role), DNSKEY: keymgmt.Omnipresent})
	}
	return s, len(s.Keys) > 0
}

// busy is refused.
var busy = &zone.RefusedError{Kind: zone.ErrConflict, FieldError: zone.FieldError{Field: "role", Rule: "not before then"}}

func (m memKeys) Roll(_ context.Context, apex zone.Name, role keymgmt.Role, emergency bool) (keymgmt.Rollover, error) {
	if role == keymgmt.ZSK && !emergency {
		return keymgmt.Rollover{}, busy
	}
	return m.DryRun(apex, role, emergency, time.Time{})
}

func (memKeys) DryRun(_ zone.Name, role keymgmt.Role, emergency bool, now time.Time) (keymgmt.Rollover, error) {
	r := keymgmt.Rollover{Steps: []keymgmt.Event{{At: now, Kind: keymgmt.StepGoal, Why: "roll " + string(role)}}}
	if emergency {
		r.Queued = "an emergency is queued"
	}
	return r, nil
}

func (m memKeys) ConfirmDS(_ context.Context, apex zone.Name, id string) error {
	return m.known(apex, id)
}

func (memKeys) Add(context.Context, zone.Name, string, keymgmt.Place) error { return errNotFaked }
func (memKeys) Remove(context.Context, zone.Name, string) error             { return errNotFaked }
func (memKeys) ExportRequest(context.Context, zone.Name, time.Duration) (*keymgmt.Request, error) {
	return nil, errNotFaked
}
func (memKeys) ImportResponse(context.Context, zone.Name, *keymgmt.Response) error {
	return errNotFaked
}

// errNotFaked is what a manager without planner says; the true one is called in e2e.
var errNotFaked = &zone.RefusedError{Kind: zone.ErrConflict, FieldError: zone.FieldError{Field: "key", Rule: "is not there"}}

func (m memKeys) Restore(_ context.Context, apex zone.Name, id string) error {
	return m.known(apex, id)
}

func (m memKeys) known(apex zone.Name, id string) error {
	for _, k := range m.store.State().Keys(apex) {
		if k.ID == id {
			return nil
		}
	}
	return &zone.RefusedError{Kind: zone.ErrNotFound, FieldError: zone.FieldError{Field: "key", Rule: "there is no such key"}}
}

func (memKeys) Wake() {}
