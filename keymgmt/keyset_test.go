package keymgmt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// oracle parses the RDATA of an RRset with code that did not make it.
func oracle(t *testing.T, set zone.RRset) []dns.RR {
	t.Helper()
	var rrs []dns.RR
	for i := range set.Len() {
		h := dns.RR_Header{Name: set.Name().String(), Rrtype: uint16(set.Type()), Class: dns.ClassINET, Ttl: set.TTL(), Rdlength: uint16(len(set.RData(i)))}
		rr, _, err := dns.UnpackRRWithHeader(h, []byte(set.RData(i)), 0)
		if err != nil {
			t.Fatal(err)
		}
		rrs = append(rrs, rr)
	}
	return rrs
}

// For every algorithm and both ways to split roles: flags, tags, DS and CDS are what miekg/dns computes from the
// DNSKEY records, CDNSKEY has the KSK alone, and TTLs are the zone's.
func TestKeySetPublishesConsistentRRsets(t *testing.T) {
	v := testVault(t, 1)
	for _, algorithm := range algorithms {
		for _, csk := range []bool{false, true} {
			z := testZone(algorithm, csk)
			records := generate(t, v, z)
			set := open(t, v, z, records)
			apex := set.Apex()
			if len(apex) != 3 || apex[0].Type() != zone.TypeDNSKEY || apex[1].Type() != zone.TypeCDS || apex[2].Type() != zone.TypeCDNSKEY {
				t.Fatalf("apex RRsets %v", apex)
			}
			want := map[string]bool{}
			flags := map[uint16]int{}
			for _, rr := range oracle(t, apex[0]) {
				k := rr.(*dns.DNSKEY)
				flags[k.Flags]++
				if k.Protocol != 3 || k.Algorithm != uint8(algorithm) {
					t.Errorf("DNSKEY %s", k)
				}
				if !hasTag(records, k.KeyTag()) {
					t.Errorf("tag %d is not recorded", k.KeyTag())
				}
				if k.Flags == 257 {
					want[k.ToDS(dns.SHA256).Digest], want[k.ToDS(dns.SHA384).Digest] = true, true
					if cdnskey := oracle(t, apex[2]); len(cdnskey) != 1 || cdnskey[0].(*dns.CDNSKEY).PublicKey != k.PublicKey {
						t.Errorf("CDNSKEY %v", cdnskey)
					}
				}
			}
			if flags[257] != 1 || flags[256] != len(records)-1 || csk != (len(records) == 1) {
				t.Errorf("%s csk=%t: flags %v", algorithm, csk, flags)
			}
			for _, rr := range oracle(t, set.DS()) {
				if ds := rr.(*dns.DS); !want[ds.Digest] || ds.Algorithm != uint8(algorithm) {
					t.Errorf("DS %s", ds)
				}
			}
			if set.DS().Len() != 2 || apex[1].Len() != 2 || apex[1].RData(0) != set.DS().RData(0) || apex[1].RData(1) != set.DS().RData(1) {
				t.Error("CDS and DS differ")
			}
			if apex[0].TTL() != z.TTL.DNSKEY || set.DS().TTL() != z.TTL.NS {
				t.Error("TTLs are not the zone's")
			}
		}
	}
}

func hasTag(records []*KeyRecord, tag uint16) bool {
	for _, r := range records {
		if r.KeyTag == tag {
			return true
		}
	}
	return false
}

func TestKSKSignsKeysAndZSKTheRest(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ECDSAP256SHA256, false)
	records := generate(t, v, z)
	set := open(t, v, z, records)
	for typ, role := range map[zone.Type]Role{zone.TypeDNSKEY: KSK, zone.TypeCDS: KSK, zone.TypeCDNSKEY: KSK, zone.TypeSOA: ZSK, zone.TypeNSEC: ZSK, zone.TypeDS: ZSK} {
		keys := set.SigningKeys(mxTest, typ)
		if len(keys) != 1 || roleOf(records, keys[0].Tag()) != role {
			t.Errorf("%s is not signed by the %s", typ, role)
		}
	}
	csk := testZone(zone.ED25519, true)
	single := open(t, v, csk, generate(t, v, csk))
	if a, b := single.SigningKeys(mxTest, zone.TypeDNSKEY), single.SigningKeys(mxTest, zone.TypeMX); len(a) != 1 || len(b) != 1 || a[0] != b[0] {
		t.Error("the CSK does not sign everything")
	}
}

func roleOf(records []*KeyRecord, tag uint16) Role {
	for _, r := range records {
		if r.KeyTag == tag {
			return r.Role
		}
	}
	return ""
}

// The same data gets the same signature from two vaults that opened the same records, as on two nodes.
func TestSignaturesAreDeterministicAndVerify(t *testing.T) {
	data := []byte("some data")
	digest := sha256.Sum256(data)
	for _, algorithm := range algorithms {
		z := testZone(algorithm, true)
		records := generate(t, testVault(t, 1), z)
		a := open(t, testVault(t, 1), z, records).SigningKeys(mxTest, zone.TypeA)[0]
		b := open(t, testVault(t, 1), z, records).SigningKeys(mxTest, zone.TypeA)[0]
		first, err := a.AppendSignature(nil, data, &digest)
		if err != nil {
			t.Fatal(err)
		}
		second, err := b.AppendSignature(nil, data, &digest)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: two signatures of the same data", algorithm)
		}
		if err := b.Verify(data, first); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
		first[0] ^= 1
		if err := b.Verify(data, first); err == nil {
			t.Errorf("%s: a changed signature verifies", algorithm)
		}
	}
}

// Rows go through JSON; what comes back opens, and nothing of a record can be changed without Open noticing.
func TestOpenRefusesRecordsThatWereChanged(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ECDSAP256SHA256, false)
	text, err := json.Marshal(generate(t, v, z))
	if err != nil {
		t.Fatal(err)
	}
	load := func() []*KeyRecord {
		var records []*KeyRecord
		if err := json.Unmarshal(text, &records); err != nil {
			t.Fatal(err)
		}
		return records
	}
	open(t, v, z, load())
	chain := chainOf(t, v, z, load())

	other := load()
	for name, change := range map[string]func(r []*KeyRecord) []*KeyRecord{
		"zone":            func(r []*KeyRecord) []*KeyRecord { r[0].Zone = zone.MustParseName("other.test."); return r },
		"zone id":         func(r []*KeyRecord) []*KeyRecord { r[0].ZoneID = "zone-2"; return r },
		"id":              func(r []*KeyRecord) []*KeyRecord { r[0].ID = strings.Repeat("0", 32); return r },
		"short id":        func(r []*KeyRecord) []*KeyRecord { r[0].ID = "00"; return r },
		"role":            func(r []*KeyRecord) []*KeyRecord { r[0].Role = CSK; return r[:1] },
		"unknown role":    func(r []*KeyRecord) []*KeyRecord { r[0].Role = "boss"; return r },
		"algorithm":       func(r []*KeyRecord) []*KeyRecord { r[0].Algorithm = zone.ED25519; return r },
		"flags":           func(r []*KeyRecord) []*KeyRecord { r[0].Flags = 256; return r },
		"public key":      func(r []*KeyRecord) []*KeyRecord { r[0].PublicKey = other[1].PublicKey; return r },
		"tag":             func(r []*KeyRecord) []*KeyRecord { r[0].KeyTag++; return r },
		"sealed":          func(r []*KeyRecord) []*KeyRecord { r[0].Sealed[20] ^= 1; return r },
		"sealed of other": func(r []*KeyRecord) []*KeyRecord { r[0].Sealed = other[1].Sealed; return r },
		"sealed format":   func(r []*KeyRecord) []*KeyRecord { r[0].Sealed[0] = 2; return r },
		"sealed empty":    func(r []*KeyRecord) []*KeyRecord { r[0].Sealed = nil; return r },
		"no ZSK":          func(r []*KeyRecord) []*KeyRecord { return r[:1] },
		"no KSK":          func(r []*KeyRecord) []*KeyRecord { return r[1:] },
	} {
		records := change(load())
		_, err := v.Open(z, records, chain)
		if err == nil {
			t.Errorf("%s: opened", name)
		} else if !strings.Contains(err.Error(), "mx.test.") {
			t.Errorf("%s: the error does not name the zone: %v", name, err)
		}
	}
	if _, err := v.Open(z, nil, nil); !errors.Is(err, ErrNoKeys) {
		t.Errorf("no records: %v", err)
	}
	if _, err := testVault(t, 2).Open(z, load(), chain); !errors.Is(err, ErrKEK) ||
		!strings.Contains(err.Error(), other[0].ID) && !strings.Contains(err.Error(), other[1].ID) {
		t.Errorf("other key-encryption key: %v", err)
	}
	again := *z
	again.ID = "zone-2"
	if _, err := v.Open(&again, load(), chain); err == nil {
		t.Error("a zone that was deleted and made again has opened the old keys")
	}
}

// A private key that is sealed correctly but is not that of the record must not sign.
func TestOpenRefusesAPrivateKeyOfAnotherPublicKey(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ECDSAP256SHA256, true)
	one, two := generate(t, v, z)[0], generate(t, v, z)[0]
	plain, err := v.open(v.KEK(), two.Sealed, two.additional())
	if err != nil {
		t.Fatal(err)
	}
	if one.Sealed, err = v.seal(v.KEK(), plain, one.additional()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Open(z, []*KeyRecord{one}, nil); err == nil || !strings.Contains(err.Error(), "recorded public key") {
		t.Errorf("got %v", err)
	}
}

// selfTest catches a signer that signs wrongly.
func TestSelfTestCatchesWrongSignatures(t *testing.T) {
	k := generate(t, testVault(t, 1), testZone(zone.ED25519, true))[0]
	if err := selfTest(k, func(_, _ []byte, _ *[32]byte) ([]byte, error) { return make([]byte, 64), nil }); err == nil {
		t.Error("a signature of zeros passed")
	}
	broken := errors.New("broken")
	if err := selfTest(k, func(_, _ []byte, _ *[32]byte) ([]byte, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

// New keys avoid the tags of existing keys and of their revoked forms, in both of their own forms.
func TestGenerateAvoidsTakenTags(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ED25519, false)
	asked := 0
	k, err := v.Generate(z, KSK, PlaceHere, now, func(uint16) bool { asked++; return asked <= 5 })
	if err != nil {
		t.Fatal(err)
	}
	tag, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
	if asked != 7 || tag != k.KeyTag || revoked == tag {
		t.Errorf("asked %d times, tag %d, recorded %d, revoked %d", asked, tag, k.KeyTag, revoked)
	}
	if d := (&dns.DNSKEY{Flags: 257 | 128, Protocol: 3, Algorithm: 15, PublicKey: oracleKey(k)}); d.KeyTag() != revoked {
		t.Errorf("revoked tag %d, want %d", revoked, d.KeyTag())
	}
	if _, err := v.Generate(z, KSK, PlaceHere, now, func(uint16) bool { return true }); !errors.Is(err, errTags) {
		t.Errorf("all tags taken: %v", err)
	}
	if _, err := v.Generate(z, "boss", PlaceHere, now, func(uint16) bool { return false }); err == nil {
		t.Error("made a key of an unknown role")
	}
	z.Keys.Algorithm = 5
	if _, err := v.NewZone(z, nil, nil, now); err == nil {
		t.Error("made a key of an unknown algorithm")
	}
}

func oracleKey(k *KeyRecord) string {
	return strings.Fields(oracleRR(k).String())[7]
}

func oracleRR(k *KeyRecord) dns.RR {
	h := dns.RR_Header{Name: ".", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Rdlength: uint16(len(k.DNSKEY()))}
	rr, _, err := dns.UnpackRRWithHeader(h, []byte(k.DNSKEY()), 0)
	if err != nil {
		return &dns.ANY{}
	}
	return rr
}

func TestRingIsImmutable(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ED25519, true)
	set := open(t, v, z, generate(t, v, z))
	var empty *Ring
	one := empty.With(set)
	none := one.Without(z.Name)
	if one.KeySet(z.Name) != set || len(one.Apex(z.Name)) != 3 || one.DS(z.Name).IsEmpty() {
		t.Error("the set is not in the ring")
	}
	for name, r := range map[string]*Ring{"nil": empty, "zero": {}, "without": none} {
		if r.KeySet(z.Name) != nil || r.Apex(z.Name) != nil || !r.DS(z.Name).IsEmpty() {
			t.Errorf("%s: has keys", name)
		}
	}
	var _ zone.Keys = one
}

func TestRecordsSurviveJSONAndNameTheirRow(t *testing.T) {
	k := generate(t, testVault(t, 1), testZone(zone.ED25519, true))[0]
	k.Revision = 7
	if ref := k.Ref(); ref != (zone.Ref{Kind: "keys", ID: k.ID, Revision: 7}) || len(k.ID) != 32 {
		t.Errorf("ref %v", ref)
	}
	if !k.Created.Equal(now) || k.Created.Location() != time.UTC {
		t.Errorf("created %s", k.Created)
	}
}
