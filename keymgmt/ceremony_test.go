package keymgmt

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// offlineKey makes a key as the machine that has it does.
func offlineKey(t *testing.T, v *Vault, z *zone.Zone) *KeyRecord {
	t.Helper()
	k, err := v.Generate(&zone.Zone{Name: z.Name, ZoneSpec: z.ZoneSpec}, KSK, PlaceHere, now, func(uint16) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func offlinePolicy(s *zone.ZoneSpec) { s.Keys.KSKPlace = zone.KSKOffline }

// hold has keys sign what is foreseen.
func (b *bench) hold(safe *Vault, ahead time.Duration, keys ...*KeyRecord) *Response {
	b.t.Helper()
	r, err := b.manager.ExportRequest(b.t.Context(), b.apex, ahead)
	if err != nil {
		b.t.Fatal(err)
	}
	signed, err := safe.Sign(r, keys)
	if err != nil {
		b.t.Fatal(err)
	}
	return signed
}

// confirmWanted says that the parent has the DS that it is asked for.
func (b *bench) confirmWanted() {
	b.t.Helper()
	if wanted := last(b.store.chains[b.apex].DS); wanted.Seen.IsZero() {
		for _, id := range wanted.Keys {
			if err := b.confirm(id); err != nil {
				b.t.Fatal(err)
			}
		}
	}
}

func (b *bench) bring(k *KeyRecord, place Place) error {
	return b.manager.Add(b.t.Context(), b.apex, k.Presentation(), place)
}

// The KSK moves out of the server; with one ceremony for half a year all ZSKs roll without it, each key set is signed at
// every moment, and nothing that was not signed is published.
func TestAnOfflineKSK(t *testing.T) {
	b := newBench(t, offlinePolicy)
	safe := testVault(t, 9)
	first := b.key("ksk")
	if err := b.confirm(first.ID); err != nil {
		t.Fatal(err)
	}
	if s := b.status(); !strings.Contains(s.Wanted, "offline KSK") {
		t.Errorf("wanted %q", s.Wanted)
	}
	k := offlineKey(t, safe, b.store.zones[b.apex])
	for range 2 { // again changes nothing
		if err := b.bring(k, PlaceOffline); err != nil {
			t.Fatal(err)
		}
	}
	b.tick(0)
	if s := b.status(); s.Wanted != ceremonyWanted || len(s.Keys) != 3 || b.key("incoming").Place != PlaceOffline {
		t.Fatalf("after the key was brought: %+v", s)
	}
	if err := b.manager.ImportResponse(t.Context(), b.apex, b.hold(safe, 200*24*time.Hour, k)); err != nil {
		t.Fatal(err)
	}
	zsks := map[string]bool{}
	for day := range 180 {
		b.tick(24 * time.Hour)
		b.confirmWanted() // the operator of the parent is quick
		c := b.store.chains[b.apex]
		zsks[last(c.Signers).Keys[0]] = true
		ks, err := b.store.vault.Open(b.store.zones[b.apex], b.store.Keys(b.apex), c)
		if err != nil {
			t.Fatalf("day %d: %v", day, err)
		}
		if sigs, span := ks.Stocked(zone.TypeDNSKEY, b.at); sigs == nil || !span.Has(b.at) {
			t.Fatalf("day %d: no signatures, or only for %v", day, span)
		}
	}
	if got := b.key("ksk"); got.Place != PlaceOffline || string(got.PublicKey) != string(k.PublicKey) {
		t.Errorf("the KSK is %s, %s", got.KeyRecord, got.Place)
	}
	if len(zsks) < 6 {
		t.Errorf("%d ZSKs signed in half a year, want one a month", len(zsks))
	}
	for _, r := range b.store.Keys(b.apex) {
		if r.ID == first.ID && r.Retired.IsZero() {
			t.Error("the sealed KSK is still in use")
		}
	}
	if err := b.roll(KSK, false); !errors.Is(err, zone.ErrConflict) || !strings.Contains(err.Error(), "offline KSK") {
		t.Errorf("a rollover without a new key: %v", err)
	}
}

// A key set of a rollover that is long over has signatures for a few days more. It is not published before there are new ones:
// they would end before anybody can hold a ceremony.
func TestSignaturesThatEndSoonAreNotUsed(t *testing.T) {
	b := newBench(t, offlinePolicy)
	safe := testVault(t, 9)
	k := offlineKey(t, safe, b.store.zones[b.apex])
	if err := b.bring(k, PlaceOffline); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	ceremony := func() {
		t.Helper()
		if err := b.manager.ImportResponse(t.Context(), b.apex, b.hold(safe, 90*24*time.Hour, k)); err != nil {
			t.Fatal(err)
		}
	}
	ceremony()
	first := last(b.store.chains[b.apex].Signers).Keys[0]
	retired := func() bool { return !finder(b.store.Keys(b.apex))(first).Retired.IsZero() }
	for range 60 * 24 {
		b.tick(time.Hour)
		if b.confirmWanted(); retired() {
			break
		}
	}
	for range 12 {
		b.tick(24 * time.Hour)
	}
	if err := b.manager.Restore(t.Context(), b.apex, first); err != nil {
		t.Fatal(err)
	}
	for range 3 * 24 {
		b.tick(time.Hour)
		if b.store.chains[b.apex].Stock.at(b.at) == nil {
			t.Fatalf("%s: no signatures are left", b.at)
		}
	}
	if slices.Contains(last(b.store.chains[b.apex].Keys).Keys, first) || b.status().Wanted != ceremonyWanted {
		t.Fatalf("the restored key is published, or %q is wanted", b.status().Wanted)
	}
	ceremony()
	b.tick(0)
	if !slices.Contains(last(b.store.chains[b.apex].Keys).Keys, first) {
		t.Fatal("the restored key is not published after a ceremony")
	}
}

// Signatures that hardly last are asked for so often that there is no gap between them.
func TestSignaturesFromACeremonyHaveNoGaps(t *testing.T) {
	b := newBench(t, func(s *zone.ZoneSpec) {
		offlinePolicy(s)
		s.TTL.DNSKEY = 60
		s.Signature.DNSKEYLifetime, s.Signature.DNSKEYStock = 2*time.Hour, 48*time.Hour
	})
	safe := testVault(t, 9)
	k := offlineKey(t, safe, b.store.zones[b.apex])
	if err := b.bring(k, PlaceOffline); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	if err := b.manager.ImportResponse(t.Context(), b.apex, b.hold(safe, 30*24*time.Hour, k)); err != nil {
		t.Fatal(err)
	}
	for range 5 * 24 * 12 {
		b.tick(5 * time.Minute)
		if b.store.chains[b.apex].Stock.at(b.at) == nil {
			t.Fatalf("%s: no signatures", b.at)
		}
	}
}

// offlineBench is a zone whose KSK has moved out of the server, and is with safe; key sets are signed for a time.
func offlineBench(t *testing.T, signed time.Duration) (b *bench, safe *Vault, k *KeyRecord) {
	b, safe = newBench(t, offlinePolicy), testVault(t, 9)
	b.confirmWanted()
	k = offlineKey(t, safe, b.store.zones[b.apex])
	if err := b.bring(k, PlaceOffline); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	b.ceremony(safe, signed, k)
	for range 10 {
		b.tick(24 * time.Hour)
		b.confirmWanted()
	}
	return b, safe, k
}

// ceremony has keys sign what is foreseen, and takes it in.
func (b *bench) ceremony(safe *Vault, ahead time.Duration, keys ...*KeyRecord) {
	b.t.Helper()
	if err := b.manager.ImportResponse(b.t.Context(), b.apex, b.hold(safe, ahead, keys...)); err != nil {
		b.t.Fatal(err)
	}
}

// signedUntil is how long an offline key has signed what is served.
func (b *bench) signedUntil(id string) time.Time {
	s := b.store.chains[b.apex].signedBy(id)
	return (&Stock{TTL: s.TTL, Periods: s.Periods}).End()
}

func TestACeremonyKeepsWhatWasSignedForLonger(t *testing.T) {
	b, safe, k := offlineBench(t, 200*24*time.Hour)
	id := b.key("ksk").ID
	before := b.signedUntil(id)
	b.ceremony(safe, 24*time.Hour, k)
	if after := b.signedUntil(id); after.Before(before) {
		t.Errorf("what is served was signed until %s, after another ceremony until %s", before, after)
	}
}

// While two KSKs sign, the one that signs the next request first does not leave the zone without signatures of both.
func TestCeremoniesOfTwoKeysNeedNotBeHeldTogether(t *testing.T) {
	b, safe, k := offlineBench(t, 200*24*time.Hour)
	otherSafe := testVault(t, 10)
	other := offlineKey(t, otherSafe, b.store.zones[b.apex])
	if err := errors.Join(b.bring(other, PlaceOffline), b.roll(KSK, false)); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	r, err := b.manager.ExportRequest(t.Context(), b.apex, 200*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(safe *Vault, k *KeyRecord) {
		t.Helper()
		signed, err := safe.Sign(r, []*KeyRecord{k})
		if err == nil {
			err = b.manager.ImportResponse(t.Context(), b.apex, signed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sign(safe, k)
	sign(otherSafe, other)
	for range 3 { // nobody confirms the DS: both stay in the DNSKEY RRset
		b.tick(24 * time.Hour)
	}
	b.tick(12 * time.Hour)
	if r, err = b.manager.ExportRequest(t.Context(), b.apex, 300*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	both := func() (until time.Time) {
		in, _ := b.manager.input(b.store, b.apex, Sighting{})
		for _, w := range signableWindows(in, in.Chain, b.at) {
			until = later(until, time.Unix(w.UsableUntil(in.Chain.Stock.TTL), 0))
		}
		return until
	}
	before := both()
	sign(safe, k)
	if after := both(); after.Before(before) || len(last(b.store.chains[b.apex].Keys).Keys) < 3 {
		t.Fatalf("both have signed until %s, after a ceremony of one of them until %s", before, after)
	}
	for b.at.Add(time.Hour).Before(before) {
		if b.tick(time.Hour); b.store.chains[b.apex].Stock.at(b.at) == nil {
			t.Fatalf("%s: no signatures of both are left", b.at)
		}
	}
	sign(otherSafe, other)
	for range 2 {
		if b.tick(24 * time.Hour); b.store.chains[b.apex].Stock.at(b.at) == nil {
			t.Fatalf("%s: no signatures of both are left although both have signed", b.at)
		}
	}
}

// Ceremonies that are held every day leave no more behind than is of use; nor do responses that are taken in again.
func TestCeremoniesDoNotFillTheChain(t *testing.T) {
	b, safe, k := offlineBench(t, 60*24*time.Hour)
	most := func() (n int) {
		for _, s := range b.store.chains[b.apex].Signed {
			if !slices.IsSortedFunc(s.Periods, inOrder) {
				t.Fatal("periods are not in order")
			}
			n = max(n, len(s.Periods))
		}
		return n
	}
	before := most()
	var old *Response
	for day := range 30 {
		b.tick(24 * time.Hour)
		r := b.hold(safe, 60*24*time.Hour, k)
		if day == 20 {
			old = r
		}
		if err := b.manager.ImportResponse(t.Context(), b.apex, r); err != nil {
			t.Fatal(err)
		}
	}
	if after := most(); after > 2*before {
		t.Errorf("%d periods of one key set, %d before", after, before)
	}
	end := b.signedUntil(b.key("ksk").ID)
	for range 2 {
		if err := b.manager.ImportResponse(t.Context(), b.apex, old); err != nil {
			t.Fatal(err)
		}
	}
	if after := most(); after > 3*before || b.signedUntil(b.key("ksk").ID).Before(end) {
		t.Errorf("%d periods after an old response was taken in again; signed until %s, before until %s", after, b.signedUntil(b.key("ksk").ID), end)
	}
}

// What was not signed waits, and the zone goes on with what it has; an emergency asks for a ceremony.
func TestAnEmergencyWithAnOfflineKSKWaitsForACeremony(t *testing.T) {
	b := newBench(t, offlinePolicy)
	safe := testVault(t, 9)
	k := offlineKey(t, safe, b.store.zones[b.apex])
	b.says = nil
	if err := errors.Join(b.confirm(b.key("ksk").ID), b.bring(k, PlaceOffline)); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	if err := b.manager.ImportResponse(t.Context(), b.apex, b.hold(safe, 100*24*time.Hour, k)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.tick(24 * time.Hour)
		if wanted := last(b.store.chains[b.apex].DS); wanted.Seen.IsZero() {
			if err := b.confirm(wanted.Keys[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := b.key("zsk").ID
	// Two rollovers at once are more than was foreseen: the second ZSK of the reserve comes before its time.
	for range 2 {
		if err := b.roll(ZSK, true); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		b.tick(24 * time.Hour)
	}
	if s := b.status(); s.Wanted != ceremonyWanted {
		t.Fatalf("wanted %q; the keys %v", s.Wanted, s.Keys)
	}
	if err := b.manager.ImportResponse(t.Context(), b.apex, b.hold(safe, 100*24*time.Hour, k)); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		b.tick(24 * time.Hour)
	}
	if after := b.key("zsk").ID; after == before {
		t.Error("the ZSK has not changed")
	}
}

func TestResponsesThatAreNotGoodAreRefused(t *testing.T) {
	b := newBench(t, offlinePolicy)
	safe := testVault(t, 9)
	sealed := b.key("ksk").ID
	k, stranger := offlineKey(t, safe, b.store.zones[b.apex]), offlineKey(t, safe, b.store.zones[b.apex])
	if _, err := b.manager.ExportRequest(t.Context(), b.apex, 30*24*time.Hour); !errors.Is(err, zone.ErrConflict) {
		t.Errorf("a request without an offline key: %v", err)
	}
	if _, err := b.manager.ExportRequest(t.Context(), b.apex, time.Hour); !errors.Is(err, zone.ErrInvalid) {
		t.Errorf("a request for an hour: %v", err)
	}
	if err := b.bring(k, PlaceOffline); err != nil {
		t.Fatal(err)
	}
	b.tick(0)
	r, err := b.manager.ExportRequest(t.Context(), b.apex, 30*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, rk := range r.Keys {
		if rk.Signs != (rk.DNSKEY == k.Presentation()) {
			t.Errorf("%s has to sign: %t", rk.DNSKEY, rk.Signs)
		}
	}
	if _, err := safe.Sign(r, []*KeyRecord{stranger}); err == nil {
		t.Error("a key that is in no set has signed")
	}
	if _, err := testVault(t, 3).Sign(r, []*KeyRecord{k}); !errors.Is(err, ErrKEK) {
		t.Errorf("signed with another key-encryption key: %v", err)
	}
	for name, c := range map[string]struct {
		change func(s *Response)
		kind   error
	}{
		"a changed signature":    {func(s *Response) { s.Signed[0].Periods[1].DNSKEY[0][40] ^= 1 }, zone.ErrInvalid},
		"a changed window":       {func(s *Response) { s.Signed[0].Periods[1].Expiration += 3600 }, zone.ErrInvalid},
		"a missing signature":    {func(s *Response) { s.Signed[0].Periods[1].CDS = nil }, zone.ErrInvalid},
		"another set":            {func(s *Response) { s.Signed[0].Keys = s.Signed[0].Keys[:1] }, zone.ErrInvalid},
		"no periods":             {func(s *Response) { s.Signed[0].Periods = nil }, zone.ErrInvalid},
		"periods out of order":   {func(s *Response) { slices.Reverse(s.Signed[0].Periods) }, zone.ErrInvalid},
		"an unknown key":         {func(s *Response) { s.Signed[0].Key = "nobody" }, zone.ErrInvalid},
		"a key that is here":     {func(s *Response) { s.Signed[0].Key = sealed }, zone.ErrInvalid},
		"another TTL":            {func(s *Response) { s.Signed[0].TTL++ }, zone.ErrInvalid},
		"another zone":           {func(s *Response) { s.Zone = "x.test." }, zone.ErrInvalid},
		"a zone of before":       {func(s *Response) { s.ZoneID = "other" }, zone.ErrConflict},
		"a set with no such key": {func(s *Response) { s.Signed[0].DS = []string{"nobody"} }, zone.ErrInvalid},
	} {
		signed, err := safe.Sign(r, []*KeyRecord{k})
		if err != nil {
			t.Fatal(err)
		}
		c.change(signed)
		before := b.store.revision
		if err := b.manager.ImportResponse(t.Context(), b.apex, signed); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
		if b.store.revision != before {
			t.Errorf("%s: something was written", name)
		}
	}
	wide := *r
	wide.Sets = slices.Clone(r.Sets)
	wide.Sets[0].Windows = []RequestWindow{{Start: now.Unix(), Inception: now.Unix(), Expiration: now.AddDate(1, 0, 0).Unix()}}
	if _, err := safe.Sign(&wide, []*KeyRecord{k}); err == nil || !strings.Contains(err.Error(), "window") {
		t.Errorf("a signature for a year: %v", err)
	}
}

func TestKeysThatAreBrought(t *testing.T) {
	b := newBench(t, nil)
	v := testVault(t, 9)
	other := b.store.zones[b.apex]
	foreign := []*KeyRecord{}
	for _, role := range []Role{ZSK, KSK} {
		k, err := v.Generate(other, role, PlaceHere, now, func(uint16) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, k)
	}
	refusal(t, b.manager.Add(t.Context(), b.apex, "257 3 13 AAAA", PlaceOffline), zone.ErrInvalid, "dnskey", "public key")
	refusal(t, b.manager.Add(t.Context(), b.apex, "x.test. IN DNSKEY 257 3 13 AAAA", PlaceOffline), zone.ErrInvalid, "dnskey", "not of mx.test.")
	refusal(t, b.manager.Add(t.Context(), b.apex, "nonsense", PlaceOffline), zone.ErrInvalid, "dnskey", "DNSKEY record")
	refusal(t, b.bring(foreign[0], "moon"), zone.ErrInvalid, "place", "offline or foreign")
	refusal(t, b.bring(foreign[0], PlaceOffline), zone.ErrInvalid, "dnskey", "257")
	refusal(t, b.bring(b.key("ksk").KeyRecord, PlaceForeign), zone.ErrConflict, "dnskey", "key tag")
	refusal(t, b.manager.Remove(t.Context(), b.apex, b.key("ksk").ID), zone.ErrConflict, "key", "signed with")
	refusal(t, b.manager.Remove(t.Context(), b.apex, "nobody"), zone.ErrNotFound, "key", "no key")

	// RFC 8901 §2.1.2: the ZSK of another signer is published, its KSK has a DS; neither signs anything here.
	if err := errors.Join(b.confirm(b.key("ksk").ID), b.bring(foreign[0], PlaceForeign), b.bring(foreign[1], PlaceForeign)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		b.tick(24 * time.Hour)
	}
	ks, err := b.store.vault.Open(other, b.store.Keys(b.apex), b.store.chains[b.apex])
	if err != nil {
		t.Fatal(err)
	}
	if keys := rdataOf(ks.Apex()[0]); len(keys) != 3 || !slices.Contains(keys, foreign[0].DNSKEY()) {
		t.Errorf("DNSKEY RRset of %d keys", len(keys))
	}
	if ds := rdataOf(ks.DS()); len(ds) != 4 || !slices.Contains(ds, foreign[1].DS()[0]) {
		t.Errorf("DS RRset of %d records", len(ds))
	}
	if len(ks.SigningKeys(mxTest, zone.TypeA)) != 1 || len(ks.SigningKeys(mxTest, zone.TypeDNSKEY)) != 1 {
		t.Error("a key of another signer signs")
	}
	var ids []string
	for _, k := range b.status().Keys {
		if k.Use == "foreign" {
			ids = append(ids, fmt.Sprint(k.KeyTag))
		}
	}
	for _, id := range ids {
		if err := b.manager.Remove(t.Context(), b.apex, id); err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		b.tick(24 * time.Hour)
	}
	if keys := last(b.store.chains[b.apex].Keys).Keys; len(keys) != 2 || len(ids) != 2 {
		t.Errorf("after they were given up: %v", keys)
	}
	if err := b.bring(foreign[0], PlaceForeign); err != nil {
		t.Errorf("once more, out of the trash: %v", err)
	}
}
