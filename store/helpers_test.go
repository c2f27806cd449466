package store_test

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/enginetest"
	"github.com/mxseal/mxseal/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func newVault(t testing.TB) *keymgmt.Vault {
	t.Helper()
	v, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return strings.Repeat("5a", 32), true }})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// world is a store over an engine in memory.
type world struct {
	t      testing.TB
	vault  *keymgmt.Vault
	engine *enginetest.Memory
	store  *store.Store
	log    strings.Builder
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, vault: newVault(t), engine: enginetest.NewMemory()}
	w.start()
	return w
}

// start makes the store on what the engine has.
func (w *world) start() {
	w.t.Helper()
	s, err := w.tryStart()
	if err != nil {
		w.t.Fatal(err)
	}
	w.store = s
	w.t.Cleanup(func() { s.Close() })
}

func (w *world) tryStart() (*store.Store, error) {
	return store.Start(context.Background(), w.engine, store.Options{
		Open: func(z *zone.Zone, records []*keymgmt.KeyRecord, chain *keymgmt.Chain) (*keymgmt.KeySet, error) {
			return w.vault.Open(z, records, chain)
		}, Metrics: store.NewMetrics(), Log: slog.New(slog.NewTextHandler(&w.log, nil)),
	})
}

// restart closes the store and starts another one on what the engine has written.
func (w *world) restart() {
	w.t.Helper()
	w.store.Close()
	w.engine = w.engine.Reopen()
	w.start()
}

func (w *world) update(plan func(*store.State) (zone.Changes, error)) (uint64, error) {
	return w.store.Update(context.Background(), plan)
}

func (w *world) must(plan func(*store.State) (zone.Changes, error)) uint64 {
	w.t.Helper()
	revision, err := w.update(plan)
	if err != nil {
		w.t.Fatal(err)
	}
	return revision
}

func (w *world) putPool(name string, last byte) uint64 {
	w.t.Helper()
	spec := zone.PoolSpec{MXPreference: 10,
		Hosts: []zone.MailServer{{Name: "a", Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, last})}}}}
	return w.must(func(st *store.State) (zone.Changes, error) {
		c, _, err := zone.PlanPutPool(st, name, spec, nil)
		return c, err
	})
}

func (w *world) putZone(text string, change func(*zone.ZoneSpec)) uint64 {
	w.t.Helper()
	apex := zone.MustParseName(text)
	spec := zone.DefaultZoneSpec(apex)
	spec.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	if change != nil {
		change(&spec)
	}
	return w.must(func(st *store.State) (zone.Changes, error) {
		c, z, err := zone.PlanPutZone(st, apex, spec, now, "id of "+text, nil)
		if err != nil || st.Zone(apex) != nil {
			return c, err
		}
		keys, err := w.vault.NewZone(z, nil, nil, now)
		if err != nil {
			return zone.Changes{}, err
		}
		c.Puts = append(c.Puts, keys.Rows()...)
		return c, nil
	})
}

func putTenant(id, apex string, domains ...zone.Domain) func(*store.State) (zone.Changes, error) {
	return func(st *store.State) (zone.Changes, error) {
		spec := zone.TenantSpec{Pool: "default", DANE: true, Domains: domains}
		if apex != "" {
			spec.Zone = zone.MustParseName(apex)
		}
		c, _, err := zone.PlanPutTenant(st, id, spec, now, nil)
		return c, err
	}
}

// provisioned is a world with a pool, a zone and a tenant.
func provisioned(t testing.TB) *world {
	w := newWorld(t)
	w.putPool("default", 1)
	w.putZone("mx.test.", nil)
	w.must(putTenant("acme", "", "contoso.com"))
	return w
}
