package keymgmt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// bench is a manager with one zone, whose time the test decides.
type bench struct {
	t       *testing.T
	at      time.Time
	apex    zone.Name
	store   *memory
	manager *Manager
	says    []ParentAnswer // what the servers of the parent answer
	offset  time.Duration  // what the clock shows more than the true time
	doubt   bool           // the clock is not synchronised
}

func (b *bench) Read() Reading {
	return Reading{Wall: b.at.Add(b.offset), Mono: b.at.Sub(now), Synchronised: !b.doubt}
}

func (b *bench) AskDS(context.Context, zone.Name, []netip.AddrPort) []ParentAnswer { return b.says }

func (*bench) Push(context.Context, zone.Name, netip.AddrPort, string, []string, uint32) error {
	return errors.New("takes no updates")
}

func (b *bench) Notify(context.Context, zone.Name, []netip.AddrPort) (string, error) {
	return "", errors.New("nobody wants to know")
}

func newBench(t *testing.T, change func(s *zone.ZoneSpec)) *bench {
	b := &bench{t: t, at: now, apex: zone.MustParseName("mx.test."), store: newMemory(testVault(t, 1))}
	spec := zone.DefaultZoneSpec(b.apex)
	spec.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	if change != nil {
		change(&spec)
	}
	if err := b.store.put(b.apex, spec, now); err != nil {
		t.Fatal(err)
	}
	b.manager = NewManager(Options{Store: b.store, Vault: b.store.vault, Clock: b, Parents: b, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics()})
	b.tick(0)
	return b
}

// tick lets time go by.
func (b *bench) tick(d time.Duration) {
	b.at = b.at.Add(d)
	b.manager.Tick(b.t.Context())
	if err := b.manager.failing[b.apex]; err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) status() Status {
	b.t.Helper()
	s, ok := b.manager.Status(b.apex, b.at)
	if !ok {
		b.t.Fatal("no status")
	}
	return s
}

// key returns the key that has a use.
func (b *bench) key(use string) KeyStatus {
	b.t.Helper()
	for _, k := range b.status().Keys {
		if k.Use == use {
			return k
		}
	}
	b.t.Fatalf("no key is %s", use)
	return KeyStatus{}
}

func (b *bench) roll(role Role, emergency bool) error {
	_, err := b.manager.Roll(b.t.Context(), b.apex, role, emergency)
	return err
}

func (b *bench) confirm(id string) error {
	return b.manager.ConfirmDS(b.t.Context(), b.apex, id)
}

// refusal checks that an error is of a kind, about a field, and says something.
func refusal(t *testing.T, err, kind error, field, says string) {
	t.Helper()
	var r *zone.RefusedError
	if !errors.Is(err, kind) || !errors.As(err, &r) || r.Field != field || !strings.Contains(err.Error(), says) {
		t.Errorf("error %v, want %v of %s with %q", err, kind, field, says)
	}
}

func TestRequestsThatWouldBreakTheChainAreRefused(t *testing.T) {
	b := newBench(t, nil)
	refusal(t, b.roll("boss", false), zone.ErrInvalid, "role", "ksk or zsk")
	refusal(t, b.roll(CSK, false), zone.ErrInvalid, "role", "has no CSK")
	_, err := b.manager.Roll(t.Context(), zone.MustParseName("x.test."), ZSK, false)
	refusal(t, err, zone.ErrNotFound, "zone", "no zone")
	refusal(t, b.confirm("nope"), zone.ErrNotFound, "key", "no key")
	refusal(t, b.confirm(b.key("zsk").ID), zone.ErrInvalid, "key", "has no DS")
	refusal(t, b.manager.Restore(t.Context(), b.apex, b.key("zsk").ID), zone.ErrConflict, "key", "not in the trash")

	// A second rollover has to wait for the first; the refusal says until when: the DNSKEY TTL and the propagation delay.
	if err := b.roll(ZSK, false); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	refusal(t, b.roll(ZSK, false), zone.ErrConflict, "role", "not before "+b.at.Add(65*time.Minute).Format(time.RFC3339))
	if err := b.roll(ZSK, true); err != nil {
		t.Errorf("an emergency: %v", err)
	}

	// The DS of a new KSK is not confirmed before the parent was asked for it.
	if err := b.confirm(b.key("ksk").ID); err != nil {
		t.Fatal(err)
	}
	if err := b.roll(KSK, false); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	var fresh KeyStatus
	for _, k := range b.status().Keys {
		if k.Role == KSK && k.Use == "incoming" {
			fresh = k
		}
	}
	refusal(t, b.confirm(fresh.ID), zone.ErrConflict, "key", "not before")
	b.tick(66 * time.Minute)
	if err := b.confirm(fmt.Sprint(fresh.KeyTag)); err != nil { // its id in other tests
		t.Errorf("once it is asked for: %v", err)
	}
	for range 3 {
		b.tick(48 * time.Hour)
	}
	for _, k := range b.status().Keys {
		if k.Role == KSK && k.Use == "retired" {
			refusal(t, b.confirm(k.ID), zone.ErrConflict, "key", "is retired")
			if err := b.manager.Restore(t.Context(), b.apex, fmt.Sprint(k.KeyTag)); err != nil {
				t.Errorf("the KSK of before: %v", err)
			}
			return
		}
	}
	t.Error("the KSK of before is not in the trash")
}

// Who moves the DS by hand is told what to do until that is done, and nobody else is.
func TestWhatIsToBeDoneAtTheParent(t *testing.T) {
	b := newBench(t, func(s *zone.ZoneSpec) { s.Keys.StandbyKSK = true })
	asked := func() (commands int) {
		if s := b.status().ToDo; strings.Contains(s, "mxseal zone ds mx.test.") {
			commands = strings.Count(s, "mxseal key confirm-ds mx.test. ")
		}
		return commands
	}
	if n := asked(); n != 2 {
		t.Errorf("%d keys are to be confirmed, want the KSK and the standby", n)
	}
	if err := b.confirm(b.key("ksk").ID); err != nil || asked() != 1 {
		t.Errorf("with the KSK confirmed: %q, %v", b.status().ToDo, err)
	}
	b.confirmWanted()
	if s := b.status().ToDo; s != "" {
		t.Errorf("with all confirmed: %q", s)
	}
	b.withdraw()
	if s := b.status().ToDo; !strings.Contains(s, "remove the DS") || !strings.HasSuffix(s, "mxseal key confirm-ds mx.test. none") {
		t.Errorf("to withdraw the DS: %q", s)
	}
	other := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}}
	})
	if s := other.status(); s.ToDo != "" || !s.DSSeen.IsZero() {
		t.Errorf("a parent that takes CDS: %q", s.ToDo)
	}
}

// withdraw has the policy ask for no DS.
func (b *bench) withdraw() {
	b.t.Helper()
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Parent.WithdrawDS = true
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		b.t.Fatal(err)
	}
	b.tick(0)
}

// That the DS is gone can be said, and then the KSK rolls. Where the policy names the servers of the parent, they are asked.
func TestAWithdrawnDSIsConfirmed(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	for name, servers := range map[string][]netip.AddrPort{"said": nil, "asked": {server}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(s *zone.ZoneSpec) { s.Parent.Servers = servers })
			ksk := b.key("ksk")
			b.says = []ParentAnswer{{Server: server, DS: ksk.KeyRecord.DS()}}
			refusal(t, b.confirm(NoKey), zone.ErrConflict, "key", "")
			b.confirmWanted()
			refusal(t, b.confirm(NoKey), zone.ErrConflict, "key", "is to have the DS of ksk")
			b.withdraw()
			refusal(t, b.confirm(ksk.ID), zone.ErrConflict, "key", "")
			if servers != nil {
				refusal(t, b.confirm(NoKey), zone.ErrConflict, "key", "do not confirm")
			}
			b.says = []ParentAnswer{{Server: server}}
			for range 2 { // again changes nothing
				if err := b.confirm(NoKey); err != nil {
					t.Fatal(err)
				}
			}
			if s := b.status(); s.ToDo != "" || s.DSSeen.IsZero() {
				t.Errorf("after it was confirmed: %q, seen %s", s.ToDo, s.DSSeen)
			}
			if err := b.roll(KSK, false); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				b.tick(24 * time.Hour)
			}
			if slices.Contains(last(b.store.chains[b.apex].Keys).Keys, ksk.ID) {
				t.Error("the old KSK does not go")
			}
		})
	}
	hosted := newBench(t, func(s *zone.ZoneSpec) { s.Parent.WithdrawDS = true })
	hosted.host()
	refusal(t, hosted.confirm(NoKey), zone.ErrConflict, "key", "zone of this server")
}

// host brings the parent to this server.
func (b *bench) host() {
	b.enclose()
	z := *b.store.zones[b.apex]
	z.Parent.Mode = zone.ParentHosted
	b.store.zones[b.apex] = &z
}

// enclose makes a zone above the zone.
func (b *bench) enclose() {
	above := zone.DefaultZoneSpec(zone.MustParseName("test."))
	above.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
	b.store.zones[zone.MustParseName("test.")] = &zone.Zone{Name: zone.MustParseName("test."), ID: "above", ZoneSpec: above, Revision: 1}
}

// That the parent has a DS of a key which the zone does not have is said above all else, as long as a cache may have it.
func TestADSOfAnUnknownKeyIsTold(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
	})
	unknown := func() bool { return strings.Contains(b.status().Wanted, "give up 1 DS") }
	b.says = []ParentAnswer{{Server: server, DS: []string{"\x00\x01\x0d\x02xx"}, TTL: 3600}}
	for range 60 {
		b.tick(time.Hour)
	}
	if !unknown() {
		t.Fatalf("wanted %q", b.status().Wanted)
	}
	b.says = []ParentAnswer{{Server: server, DS: b.key("ksk").KeyRecord.DS(), TTL: 3600}}
	for range 60 {
		b.tick(time.Hour)
	}
	if unknown() {
		t.Errorf("long after the parent has given it up: %q", b.status().Wanted)
	}
}

// With the servers of the parent in the policy, a confirmation is checked with them.
func TestConfirmationsAreChecked(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) { s.Parent.Servers = []netip.AddrPort{server} })
	ksk := b.key("ksk")
	for what, says := range map[string][]ParentAnswer{
		"silent":     {{Server: server, Err: errors.New("time-out")}},
		"none":       {{Server: server}},
		"another":    {{Server: server, DS: b.key("zsk").KeyRecord.DS()}},
		"more":       {{Server: server, DS: append(ksk.KeyRecord.DS(), "\x00\x01\x0d\x02xx")}},
		"one of two": {{Server: server, DS: ksk.KeyRecord.DS()}, {Server: server}},
	} {
		b.says = says
		if err := b.confirm(ksk.ID); !errors.Is(err, zone.ErrConflict) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.says = []ParentAnswer{{Server: server, DS: ksk.KeyRecord.DS()}}
	if err := b.confirm(ksk.ID); err != nil || b.status().DSSeen.IsZero() {
		t.Errorf("confirmed: %v", err)
	}
}

// A whole rollover of a ZSK, told as it goes; the old key can be brought back from the trash, and leaves it after its time.
func TestRolloverIsToldAsItGoes(t *testing.T) {
	b := newBench(t, nil)
	first := b.key("zsk").ID
	if r, err := b.manager.DryRun(b.apex, ZSK, false, b.at); err != nil || len(r.Steps) < 5 || r.Steps[0].Kind != StepGoal || r.Steps[1].Kind != StepPublish {
		t.Errorf("dry run %v, %v", r, err)
	}
	if len(b.status().Keys) != 2 {
		t.Error("the dry run has made a key")
	}
	if err := b.roll(ZSK, false); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	if k := b.key("incoming"); k.DNSKEY != Rumoured || k.RRSIG != Hidden {
		t.Errorf("new key: DNSKEY %s, RRSIG %s", k.DNSKEY, k.RRSIG)
	}
	if s := b.status(); s.Until.IsZero() || s.Because == "" || len(s.Past) != 2 || len(s.Coming) < 3 {
		t.Errorf("status %+v", s)
	}
	b.tick(65 * time.Minute)
	if k := b.key("zsk"); k.ID == first || k.DNSKEY != Omnipresent || k.RRSIG != Rumoured {
		t.Errorf("the key that signs: %+v", k)
	}
	b.tick(65 * time.Minute)
	b.tick(65 * time.Minute)
	if k := b.key("retired"); k.ID != first || k.DNSKEY != Hidden {
		t.Errorf("the old key: %+v", k)
	}
	if err := b.manager.Restore(t.Context(), b.apex, first); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	if b.key("incoming").ID != first {
		t.Error("the restored key does not come")
	}
}

// What is said of a rollover ends with it, also if it is queued behind another one; and that it is queued is said too.
func TestStepsEndWithTheRollover(t *testing.T) {
	for name, change := range map[string]func(s *zone.ZoneSpec){
		"ksk and zsk":   nil,
		"csk":           func(s *zone.ZoneSpec) { s.Keys.CSK = true },
		"a standby ksk": func(s *zone.ZoneSpec) { s.Keys.StandbyKSK = true },
	} {
		b := newBench(t, change)
		for _, role := range []Role{KSK, ZSK} {
			expect := func(r Rollover, err error, starts int, queued bool) {
				t.Helper()
				for _, e := range r.Steps {
					if e.Kind == StepGoal {
						starts--
					}
				}
				if err != nil || starts != 0 || len(r.Steps) == 0 || r.Steps[len(r.Steps)-1].Kind != StepRetire || strings.Contains(r.Queued, "not before") != queued {
					t.Errorf("%s, %s: %d starts are missing of %+v, %v", name, role, starts, r, err)
				}
			}
			b.confirmWanted()
			r, err := b.manager.DryRun(b.apex, role, false, b.at)
			expect(r, err, 1, false)
			r, err = b.manager.Roll(t.Context(), b.apex, role, false)
			expect(r, err, 0, false)
			b.tick(0)
			r, err = b.manager.DryRun(b.apex, role, true, b.at)
			expect(r, err, 2, false)
			for range 2 {
				r, err = b.manager.Roll(t.Context(), b.apex, role, true)
				expect(r, err, 1, true)
				r, err = b.manager.DryRun(b.apex, role, true, b.at)
				expect(r, err, 1, true)
			}
			for range 10 {
				b.tick(48 * time.Hour)
				b.confirmWanted()
			}
		}
	}
}

// Nothing moves while the clock is not synchronised, and what is asked for is refused.
func TestUnsynchronisedClockHoldsEverything(t *testing.T) {
	b := newBench(t, nil)
	b.doubt = true
	b.manager.Tick(t.Context())
	refusal(t, b.roll(ZSK, false), zone.ErrUnavailable, "keys", "not synchronised")
	if b.status().Holding == "" {
		t.Error("the status does not say so")
	}
}

// A zone whose deletion was interrupted is still answered for: its key sets are signed ahead, also by offline keys, and its metrics
// go on. Nothing else happens until the deletion is repeated, or the zone is to be kept.
func TestAnInterruptedDeletion(t *testing.T) {
	b, safe, k := offlineBench(t, 60*24*time.Hour)
	z := *b.store.zones[b.apex]
	z.Closing = true
	b.store.zones[b.apex] = &z
	goal := b.store.chains[b.apex].Goal
	refusal(t, b.roll(ZSK, true), zone.ErrConflict, "zone", "interrupted")
	_, err := b.manager.DryRun(b.apex, ZSK, true, b.at)
	refusal(t, err, zone.ErrConflict, "zone", "interrupted")
	for day := range 100 {
		b.tick(24 * time.Hour)
		if b.store.chains[b.apex].Stock.at(b.at) == nil {
			t.Fatalf("no signatures of the DNSKEY RRset are left after %d days", day)
		}
		if !b.manager.o.Metrics.stock.DeleteLabelValues(b.apex.String()) {
			t.Fatal("the metrics do not tell of it")
		}
		if day == 30 {
			b.ceremony(safe, 90*24*time.Hour, k)
		}
	}
	if now := b.store.chains[b.apex].Goal; now.ZSK != goal.ZSK || now.KSK != goal.KSK || !strings.Contains(b.status().Holding, "interrupted") {
		t.Errorf("the goal was %+v, and is %+v; %q", goal, now, b.status().Holding)
	}
	if err := b.store.put(b.apex, z.ZoneSpec, b.at); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	if b.store.chains[b.apex].Goal.ZSK == goal.ZSK || b.status().Holding != "" {
		t.Errorf("the zone does not go on: %q", b.status().Holding)
	}
}

// A DS that nobody here has asked for is told.
func TestUnknownDSAtTheParent(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
	})
	b.says = []ParentAnswer{{Server: server, DS: []string{"\x00\x01\x0d\x02" + strings.Repeat("x", 32)}, TTL: 60}}
	for range 4 {
		b.tick(time.Hour)
	}
	if n := unknownIn(alive(b.store.chains[b.apex].DS, b.at)); n != 1 {
		t.Errorf("%d unknown DS", n)
	}
	if !b.status().DSSeen.IsZero() {
		t.Error("a DS of somebody else counts as ours")
	}
}

// Key sets that were signed while the clock was a month ahead are not served when it is right again, but signed anew.
func TestStockOfAWrongClockIsNotServed(t *testing.T) {
	b := newBench(t, nil)
	right := b.at
	b.tick(30 * 24 * time.Hour) // the stock is signed from there on
	if b.store.chains[b.apex].Stock.at(right) != nil {
		t.Error("signatures that begin in a month are served")
	}
	b.at = right.Add(time.Minute)
	b.tick(0)
	if p := b.store.chains[b.apex].Stock.at(b.at); p == nil || p.Inception > b.at.Unix() {
		t.Errorf("the key sets are not signed anew: %+v", p)
	}
}

// While the clock is not to be trusted the key sets are still signed ahead, and nothing else of them changes.
func TestHoldingSignsAheadAndNothingElse(t *testing.T) {
	b := newBench(t, nil)
	spec := b.store.zones[b.apex].ZoneSpec
	spec.TTL.DNSKEY = 60
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		t.Fatal(err)
	}
	end := b.store.chains[b.apex].Stock.End()
	b.at = b.at.Add(10 * 24 * time.Hour)
	b.doubt = true
	b.manager.Tick(t.Context())
	stock := b.store.chains[b.apex].Stock
	if !stock.End().After(end) || stock.TTL != 3600 {
		t.Errorf("signed until %s, before until %s; TTL %d", stock.End(), end, stock.TTL)
	}
	b.doubt = false
	b.tick(time.Hour)
	if stock := b.store.chains[b.apex].Stock; stock.TTL != 60 || stock.Doubtful {
		t.Errorf("TTL %d when the clock is right again", stock.TTL)
	}
}

// A parent that always says something else does not make us remember it all.
func TestParentCannotFillTheChain(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
	})
	for i := range 300 {
		b.says = []ParentAnswer{{Server: server, DS: []string{"\x00\x01" + string([]byte{byte(i), 2}) + strings.Repeat("x", 32)}}}
		b.tick(time.Hour)
	}
	if n := len(b.store.chains[b.apex].DS); n > maxVersions {
		t.Errorf("%d DS RRsets are remembered", n)
	}
}

// A parent that comes to this server has what it is asked for, whatever the one before had, once the zone's policy says that it is the
// parent: before it is delegated here its zone is made here. A zone that starts asks nobody.
func TestParentComesToThisServer(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
	})
	b.says = []ParentAnswer{{Server: server, DS: b.key("ksk").KeyRecord.DS()}}
	for range agreements {
		b.tick(time.Hour)
	}
	b.says = []ParentAnswer{{Server: server, DS: []string{"\x00\x01\x0d\x02" + strings.Repeat("x", 32)}}}
	b.tick(2 * time.Hour)
	b.enclose()
	if ds := alive(b.store.chains[b.apex].DS, b.at); unknownIn(ds) != 1 {
		t.Errorf("before it is the parent: DS RRsets %+v", ds)
	}
	b.host()
	b.says = nil
	b.tick(time.Hour)
	for range 2 {
		b.tick(48 * time.Hour)
	}
	if ds := alive(b.store.chains[b.apex].DS, b.at); len(ds) != 1 || ds[0].Seen.IsZero() {
		t.Errorf("DS RRsets %+v", ds)
	}
	asked := 0
	m := NewManager(Options{Store: b.store, Vault: b.store.vault, Clock: b, Parents: countingParents{&asked}, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics()})
	z := *b.store.zones[b.apex]
	z.Parent.Mode = zone.ParentCheck
	b.store.zones[b.apex] = &z
	m.CatchUp(t.Context())
	if asked != 0 {
		t.Error("the start waits for the servers of the parent")
	}
	m.Tick(t.Context())
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// countingParents counts how often it is asked.
type countingParents struct{ asked *int }

func (c countingParents) AskDS(context.Context, zone.Name, []netip.AddrPort) []ParentAnswer {
	*c.asked++
	return nil
}

func (countingParents) Push(context.Context, zone.Name, netip.AddrPort, string, []string, uint32) error {
	return errors.New("takes no updates")
}

func (countingParents) Notify(context.Context, zone.Name, []netip.AddrPort) (string, error) {
	return "", nil
}
