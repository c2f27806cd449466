package signer

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

var now = time.Date(2026, 3, 1, 12, 34, 56, 789, time.UTC)

var algorithms = []zone.Algorithm{zone.ECDSAP256SHA256, zone.ED25519, zone.RSASHA256}

func testZone(algorithm zone.Algorithm) *zone.Zone {
	apex := zone.MustParseName("mx.test.")
	z := &zone.Zone{Name: apex, ID: "zone-1", ZoneSpec: zone.DefaultZoneSpec(apex), Serial: 1}
	z.Keys.Algorithm = algorithm
	z.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns1.example.net.")}}
	return z
}

func testKeys(t testing.TB, z *zone.Zone) *keymgmt.KeySet {
	t.Helper()
	vault, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) {
		return "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", true
	}})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := vault.NewZone(z, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	ks, err := vault.Open(z, keys.Keys, keys.Chain)
	if err != nil {
		t.Fatal(err)
	}
	return ks
}

func oracleKeys(t testing.TB, ks *keymgmt.KeySet) dnstest.Keys {
	t.Helper()
	keys, err := dnstest.KeysOf(ks.Apex()...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func addresses(t testing.TB, name string, ttl uint32, texts ...string) zone.RRset {
	t.Helper()
	var rdata []string
	for _, text := range texts {
		rdata = append(rdata, zone.AddressRData(netip.MustParseAddr(text)))
	}
	return zone.NewRRset(zone.MustParseName(name), zone.TypeA, ttl, rdata)
}

func mustSign(t testing.TB, s *Signer, ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, at time.Time) Signed {
	t.Helper()
	signed, err := s.Sign(ks, z, set, at)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// absent is the answer for a name that does not exist.
func absent(z *zone.Zone, name zone.Name) zone.Answer {
	return zone.Answer{Outcome: zone.NoName, Zone: z, Name: name, Types: []zone.Type{zone.TypeNXNAME}}
}
