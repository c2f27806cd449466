package keymgmt

import (
	"crypto"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// The KSK is lost, and with it whatever it would have to sign: another DNSKEY RRset, and a CDS RRset that asks for no DS. The DS is
// removed by hand, and when all caches have forgotten it the zone gets another KSK; with that it becomes secure again.
func TestALostKSK(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	for name, c := range map[string]struct {
		lose   func(t *testing.T) (b *bench, replace func() (sign func()))
		parent zone.ParentPolicy
		remove func(b *bench) // what somebody does at the parent, once the zone asks it for nothing
	}{
		"offline, the parent is asked":          {loseOffline, checkParent(server), func(b *bench) { b.says = []ParentAnswer{{Server: server}} }},
		"offline, the parent is manual":         {loseOffline, zone.ParentPolicy{Mode: zone.ParentManual}, (*bench).confirmNone},
		"offline, the parent is here":           {loseOffline, zone.ParentPolicy{Mode: zone.ParentHosted}, nil},
		"offline, another one is brought":       {replaceOffline, zone.ParentPolicy{Mode: zone.ParentManual}, (*bench).confirmNone},
		"in a token, the parent is asked":       {loseToken, checkParent(server), func(b *bench) { b.says = []ParentAnswer{{Server: server}} }},
		"in a token, the parent is manual":      {loseToken, zone.ParentPolicy{Mode: zone.ParentManual}, (*bench).confirmNone},
		"while it and the one before it signed": {loseIncoming, zone.ParentPolicy{Mode: zone.ParentManual}, (*bench).confirmNone},
	} {
		t.Run(name, func(t *testing.T) {
			b, replace := c.lose(t)
			lost := b.store.chains[b.apex].Goal.KSK
			b.says = []ParentAnswer{{Server: server, DS: b.store.keys[lost].DS(), TTL: 3600}}
			if c.parent.Mode == zone.ParentHosted {
				b.host()
			}
			c.parent.WithdrawDS = true
			b.setParent(c.parent)
			sign := replace()
			for range 4 { // nobody has done anything at the parent yet
				b.goOn(6 * time.Hour)
			}
			if c.remove != nil {
				if has := b.rdata(zone.TypeCDS); len(has) > 0 && has[0] != deleteCDS {
					t.Errorf("the parent is still asked for a DS: %x", has)
				}
				if s := b.status(); !strings.Contains(s.ToDo, "remove the DS") {
					t.Errorf("to do: %q", s.ToDo)
				}
				c.remove(b)
			}
			gone := b.at
			for hour := range 24 * 30 {
				b.goOn(time.Hour)
				if coming := b.status().Coming; hour == 3 && !slices.ContainsFunc(coming, func(e Event) bool { return e.Kind == StepPublish && e.At.After(b.at) }) {
					t.Errorf("that the lost key goes is not among the steps to come: %+v", coming)
				}
				if b.store.chains[b.apex].Stock.at(b.at) == nil {
					t.Fatalf("%d hours later there are no signatures of the DNSKEY RRset: %s", hour, b.planNow().describe())
				}
				published := slices.Contains(last(b.store.chains[b.apex].Keys).Keys, lost)
				if least := gone.Add(b.store.zones[b.apex].Keys.ParentDSTTL); !published && b.at.Before(least) && c.remove != nil {
					t.Fatalf("the lost key went %s after its DS, which caches have until %s", b.at.Sub(gone), least)
				}
			}
			if k := b.store.keys[lost]; k != nil && k.Retired.IsZero() {
				t.Fatalf("the lost key is still in use: %s", b.planNow().describe())
			}
			if cds := b.rdata(zone.TypeCDS); len(cds) != 1 || cds[0] != deleteCDS {
				t.Errorf("CDS %x with a new KSK, want that no DS is wanted", cds)
			}
			c.parent.WithdrawDS = false
			b.setParent(c.parent)
			b.goOn(0)
			sign()
			b.goOn(0)
			if ds := last(b.store.chains[b.apex].DS).Keys; len(ds) != 1 || ds[0] != b.store.chains[b.apex].Goal.KSK {
				t.Errorf("the parent is to have the DS of %v", ds)
			}
		})
	}
}

func checkParent(server netip.AddrPort) zone.ParentPolicy {
	return zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
}

// loseOffline is a zone whose offline KSK nobody has any more; another one is to be here.
func loseOffline(t *testing.T) (*bench, func() func()) {
	b, _, _ := offlineBench(t, 60*24*time.Hour)
	return b, b.wantSealed
}

// replaceOffline brings another offline one, which signs what it has to.
func replaceOffline(t *testing.T) (*bench, func() func()) {
	b, _, _ := offlineBench(t, 60*24*time.Hour)
	return b, func() func() {
		safe := testVault(t, 10)
		k := offlineKey(t, safe, b.store.zones[b.apex])
		b.goOn(0)
		if err := b.bring(k, PlaceOffline); err != nil {
			t.Fatal(err)
		}
		if err := b.roll(KSK, true); err != nil {
			t.Fatal(err)
		}
		b.goOn(0)
		sign := func() { b.ceremony(safe, 90*24*time.Hour, k) }
		sign()
		return sign
	}
}

// loseIncoming loses a key that signs beside the one before it.
func loseIncoming(t *testing.T) (*bench, func() func()) {
	b := newBench(t, offlinePolicy)
	b.confirmWanted()
	safe := testVault(t, 9)
	k := offlineKey(t, safe, b.store.zones[b.apex])
	if err := b.bring(k, PlaceOffline); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	b.ceremony(safe, 60*24*time.Hour, k)
	b.tick(time.Minute)
	if n := len(b.store.chains[b.apex].keySigners(finder(b.store.Keys(b.apex)))); n != 2 {
		t.Fatalf("%d keys sign the DNSKEY RRset", n)
	}
	return b, b.wantSealed
}

// loseToken is a zone whose KSK is in a token that does not come back.
func loseToken(t *testing.T) (*bench, func() func()) {
	b := newBench(t, func(s *zone.ZoneSpec) { s.Signature.DNSKEYStock = 30 * 24 * time.Hour })
	token := &softToken{keys: map[string]crypto.Signer{}}
	b.store.vault.hsm = token
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Keys.KSKPlace = zone.KSKToken
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.tick(24 * time.Hour)
		b.confirmWanted()
	}
	token.gone = true
	return b, b.wantSealed
}

// wantSealed asks for a KSK that is here, which needs no ceremonies.
func (b *bench) wantSealed() (sign func()) {
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Keys.KSKPlace = zone.KSKSealed
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		b.t.Fatal(err)
	}
	return func() {}
}

func (b *bench) setParent(p zone.ParentPolicy) {
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Parent = p
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) confirmNone() {
	if err := b.confirm(NoKey); err != nil {
		b.t.Fatal(err)
	}
}

// goOn is tick where steps may fail.
func (b *bench) goOn(d time.Duration) {
	b.at = b.at.Add(d)
	b.manager.Tick(b.t.Context())
}

func (b *bench) planNow() *plan {
	in, _ := b.manager.input(b.store, b.apex, Sighting{})
	return b.manager.planner.on(in, b.at)
}

// rdata returns what the zone publishes of its keys.
func (b *bench) rdata(typ zone.Type) []string {
	b.t.Helper()
	ks, err := b.store.vault.Open(b.store.zones[b.apex], b.store.Keys(b.apex), b.store.chains[b.apex])
	if err != nil {
		b.t.Fatal(err)
	}
	for _, set := range ks.Apex() {
		if set.Type() == typ {
			return rdataOf(set)
		}
	}
	return nil
}

// With a standby KSK the zone stays secure: its DS is there already, and it signs alone at once.
func TestALostKSKWithAStandby(t *testing.T) {
	b := newBench(t, func(s *zone.ZoneSpec) {
		offlinePolicy(s)
		s.Keys.StandbyKSK = true
	})
	b.confirmWanted()
	safes := []*Vault{testVault(t, 9), testVault(t, 10), testVault(t, 11)}
	keys := make([]*KeyRecord, len(safes))
	bring := func(i int) {
		t.Helper()
		keys[i] = offlineKey(t, safes[i], b.store.zones[b.apex])
		if err := b.bring(keys[i], PlaceOffline); err != nil {
			t.Fatal(err)
		}
	}
	bring(0)
	bring(1)
	b.tick(0)
	b.ceremony(safes[0], 60*24*time.Hour, keys[0])
	for range 10 {
		b.tick(24 * time.Hour)
		b.confirmWanted()
	}
	lost, standby := b.key("ksk"), b.key("standby")
	if lost.DNSKEY != Omnipresent || lost.Place != PlaceOffline || standby.DS != Omnipresent || standby.DNSKEY != Hidden {
		t.Fatalf("KSK %+v, standby %+v", lost, standby)
	}
	bring(2) // what is to be the standby from now on
	if err := b.roll(KSK, true); err != nil {
		t.Fatal(err)
	}
	b.ceremony(safes[1], 60*24*time.Hour, keys[1])
	b.tick(0)
	if keys := last(b.store.chains[b.apex].Keys).Keys; slices.Contains(keys, lost.ID) || !slices.Contains(keys, standby.ID) {
		t.Fatalf("the lost key has not gone at once: %s", b.planNow().describe())
	}
	for range 10 {
		b.tick(24 * time.Hour)
		b.confirmWanted()
	}
	if lost := b.store.keys[lost.ID]; lost.Retired.IsZero() || b.status().DSSeen.IsZero() || len(last(b.store.chains[b.apex].DS).Keys) != 2 {
		t.Errorf("at last %s", b.planNow().describe())
	}
}

// A KSK that is lost before it has signed anything hinders nobody: no validator knows it, and another one takes its place.
func TestAKSKThatIsLostBeforeItWasPublished(t *testing.T) {
	for name, replace := range map[string]func(b *bench) error{
		"by one that is here": func(b *bench) error {
			b.wantSealed()
			return nil
		},
		"by another offline one": func(b *bench) error {
			safe := testVault(t, 10)
			k := offlineKey(t, safe, b.store.zones[b.apex])
			err := errors.Join(b.bring(k, PlaceOffline), b.roll(KSK, false))
			b.tick(0)
			b.ceremony(safe, 60*24*time.Hour, k)
			return err
		},
	} {
		b := newBench(t, offlinePolicy)
		b.confirmWanted()
		if err := b.bring(offlineKey(t, testVault(t, 9), b.store.zones[b.apex]), PlaceOffline); err != nil {
			t.Fatal(err)
		}
		b.tick(0)
		lost, old := b.key("incoming").ID, b.key("outgoing").ID
		if err := replace(b); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			b.tick(24 * time.Hour)
			b.confirmWanted()
		}
		if b.store.keys[lost].Retired.IsZero() || b.store.keys[old].Retired.IsZero() || b.status().DSSeen.IsZero() {
			t.Errorf("%s: %s", name, b.planNow().describe())
		}
	}
}
