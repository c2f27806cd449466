package signer

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"github.com/mxseal/mxseal/internal/rrsig"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// RFC 8080 §6.1: the signed data that we build, signed with the RFC's key, gives the RFC's signature.
func TestSignedDataIsThatOfRFC8080(t *testing.T) {
	seed, err := base64.StdEncoding.DecodeString("ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI=")
	if err != nil {
		t.Fatal(err)
	}
	want, err := base64.StdEncoding.DecodeString("oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg==")
	if err != nil {
		t.Fatal(err)
	}
	apex := zone.MustParseName("example.com.")
	set := zone.NewRRset(apex, zone.TypeMX, 3600, []string{zone.MXRData(10, zone.MustParseName("mail.example.com."))})
	data := rrsig.AppendData(nil, apex, set, rrsig.Window{Inception: 1438207200, Expiration: 1440021600})
	rrsig.SetKey(data, 15, 3613)
	if got := ed25519.Sign(ed25519.NewKeyFromSeed(seed), data); !bytes.Equal(got, want) {
		t.Errorf("signature %x of data %x", got, data)
	}
}

// testSets has RRsets of every shape that is served, and shapes that are hard to sign.
func testSets(t testing.TB, z *zone.Zone, ks *keymgmt.KeySet, s *Signer) []zone.RRset {
	host := zone.MustParseName("acme.mx.test.")
	wildcard := zone.MustParseName("*.mx.test.")
	sets := append(slices.Clone(ks.Apex()), z.SOA(), ks.DS(),
		addresses(t, "acme.mx.test.", 300, "192.0.2.200", "192.0.2.1", "10.0.0.1"),
		zone.NewRRset(host, zone.TypeMX, 300, []string{zone.MXRData(10, host)}),
		zone.NewRRset(zone.MustParseName("_25._tcp.acme.mx.test."), zone.TypeTLSA, 300, []string{zone.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: make([]byte, 32)}.RData()}),
		zone.NewRRset(wildcard, zone.TypeA, 300, []string{"\x01\x02\x03\x04"}),
		s.Denial(absent(z, host)),
		s.Denial(absent(z, zone.MustParseName(`\000\255\.x.mx.test.`))),
	)
	var many []string
	for i := range 100 {
		many = append(many, string([]byte{10, 0, 1, byte(i)}))
	}
	return append(sets, zone.NewRRset(host, zone.TypeA, 1, many))
}

// miekg/dns, which did not make them, accepts every signature of every algorithm.
func TestSignaturesVerifyForOthers(t *testing.T) {
	for _, algorithm := range algorithms {
		z := testZone(algorithm)
		ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
		keys := oracleKeys(t, ks)[z.Name]
		for _, set := range testSets(t, z, ks, s) {
			signed := mustSign(t, s, ks, z, set, now)
			if err := Verify(ks, signed, now); err != nil {
				t.Error(err)
			}
			rrs, err := dnstest.SignedRecords(signed.RRset, signed.Sigs)
			if err != nil {
				t.Fatal(err)
			}
			sig := rrs[len(rrs)-1].(*dns.RRSIG)
			i := slices.IndexFunc(keys, func(k *dns.DNSKEY) bool { return k.KeyTag() == sig.KeyTag })
			if i < 0 || len(signed.Sigs) != 1 {
				t.Fatalf("%s %s: signatures %v", set.Name(), set.Type(), signed.Sigs)
			}
			if err := sig.Verify(keys[i], rrs[:len(rrs)-1]); err != nil || !sig.ValidityPeriod(now) {
				t.Errorf("%s %s %s: %v", algorithm, set.Name(), set.Type(), err)
			}
			if isKSK := keys[i].Flags == 257; isKSK != rrsig.OfKeys(z.Name, set.Name(), set.Type()) {
				t.Errorf("%s is signed by a key with flags %d", set.Type(), keys[i].Flags)
			}
		}
	}
}

// Two signers without a common cache, at two moments of one window, give the same bytes; in the next window others.
func TestTwoSignersGiveTheSameBytes(t *testing.T) {
	for _, algorithm := range algorithms {
		z := testZone(algorithm)
		ks := testKeys(t, z)
		a, b := New(Options{CacheSize: 1 << 20}), New(Options{CacheSize: 1 << 20})
		for _, set := range testSets(t, z, ks, a) {
			w := rrsig.At(z.Signature, set.Name(), now)
			begin := time.Unix(w.Start, 0)
			first := mustSign(t, a, ks, z, set, begin)
			if second := mustSign(t, b, ks, z, set, begin.Add(59*time.Minute)); !slices.Equal(first.Sigs, second.Sigs) {
				t.Errorf("%s %s: signatures differ", algorithm, set.Type())
			}
			if next := mustSign(t, a, ks, z, set, begin.Add(13*time.Hour)); slices.Equal(first.Sigs, next.Sigs) {
				t.Errorf("%s %s: the signature does not change with the window", algorithm, set.Type())
			}
		}
	}
}

// At any moment of two days a signer with a cache hands out what a validator accepts for the TTL and an hour more.
func TestServedSignaturesLast(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	sets := testSets(t, z, ks, s)
	for at := now; at.Before(now.Add(48 * time.Hour)); at = at.Add(11*time.Minute + 13*time.Second) {
		for _, set := range sets {
			signed := mustSign(t, s, ks, z, set, at)
			for _, moment := range []time.Time{at, at.Add(-z.Signature.Backdate), at.Add(time.Duration(set.TTL())*time.Second + zone.SignatureReserve)} {
				if err := Verify(ks, signed, moment); err != nil {
					t.Fatalf("served at %s, used at %s: %v", at, moment, err)
				}
			}
		}
	}
}

func TestSignRefuses(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	set := addresses(t, "acme.mx.test.", 300, "192.0.2.1")
	other := *z
	other.Name = zone.MustParseName("other.test.")
	short := *z
	short.Signature.Lifetime = time.Hour + 299*time.Second
	for name, c := range map[string]struct {
		ks   *keymgmt.KeySet
		z    *zone.Zone
		set  zone.RRset
		want error
	}{
		"no keys":              {nil, z, set, ErrNoKeys},
		"empty key set":        {&keymgmt.KeySet{}, &zone.Zone{}, set, ErrForeign},
		"empty RRset":          {ks, z, zone.RRset{}, ErrEmpty},
		"keys of another zone": {ks, &other, set, ErrForeign},
		"name outside":         {ks, z, addresses(t, "acme.example.", 300, "192.0.2.1"), ErrForeign},
		"name next to it":      {ks, z, addresses(t, "amx.test.", 300, "192.0.2.1"), ErrForeign},
		"TTL too long":         {ks, z, addresses(t, "acme.mx.test.", 8*3600, "192.0.2.1"), ErrWindow},
		"window too short":     {ks, &short, set, ErrWindow},
	} {
		before := testutil.ToFloat64(s.metrics.errors)
		signed, err := s.Sign(c.ks, c.z, c.set, now)
		if !errors.Is(err, c.want) || len(signed.Sigs) > 0 {
			t.Errorf("%s: got %v, %v", name, signed.Sigs, err)
		}
		if testutil.ToFloat64(s.metrics.errors) != before+1 {
			t.Errorf("%s: not counted", name)
		}
	}
	if testutil.ToFloat64(s.metrics.octets) > 0 {
		t.Error("errors are remembered")
	}
}

// Verify does not accept what a validator would not.
func TestVerifyRefuses(t *testing.T) {
	z := testZone(zone.ECDSAP256SHA256)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	signed := mustSign(t, s, ks, z, addresses(t, "acme.mx.test.", 300, "192.0.2.1"), now)
	for name, c := range map[string]Signed{
		"other data":   {addresses(t, "acme.mx.test.", 300, "192.0.2.2"), signed.Sigs, rrsig.Span{}},
		"other name":   {addresses(t, "bcme.mx.test.", 300, "192.0.2.1"), signed.Sigs, rrsig.Span{}},
		"other TTL":    {addresses(t, "acme.mx.test.", 301, "192.0.2.1"), signed.Sigs, rrsig.Span{}},
		"other type":   {zone.NewRRset(signed.RRset.Name(), zone.TypeTXT, 300, []string{"\xc0\x00\x02\x01"}), signed.Sigs, rrsig.Span{}},
		"no signature": {signed.RRset, nil, rrsig.Span{}},
		"two":          {signed.RRset, append(signed.Sigs, signed.Sigs...), rrsig.Span{}},
		"cut":          {signed.RRset, []string{signed.Sigs[0][:30]}, rrsig.Span{}},
		"empty":        {signed.RRset, []string{""}, rrsig.Span{}},
		"no RRset":     {zone.RRset{}, signed.Sigs, rrsig.Span{}},
	} {
		if err := Verify(ks, c, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for i := range signed.Sigs[0] {
		changed := []byte(signed.Sigs[0])
		changed[i] ^= 1
		if err := Verify(ks, Signed{signed.RRset, []string{string(changed)}, rrsig.Span{}}, now); err == nil {
			t.Errorf("accepted with octet %d changed", i)
		}
	}
	for _, at := range []time.Time{now.Add(-3 * time.Hour), now.Add(9 * time.Hour)} {
		if err := Verify(ks, signed, at); !errors.Is(err, rrsig.ErrPeriod) {
			t.Errorf("at %s: %v", at, err)
		}
	}
}

// Many goroutines share a signer whose cache is much too small; all get good signatures.
func TestConcurrentSigning(t *testing.T) {
	z := testZone(zone.ECDSAP256SHA256)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 60 {
				name := zone.MustParseName(fmt.Sprintf("host%d.mx.test.", (g+i)%16))
				set := zone.NewRRset(name, zone.TypeA, 300, []string{"\x01\x02\x03\x04"})
				if i%3 == 0 {
					set = s.Denial(absent(z, name))
				}
				signed, err := s.Sign(ks, z, set, now)
				if err == nil {
					err = Verify(ks, signed, now)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMetricsCountWhatHappens(t *testing.T) {
	z := testZone(zone.ED25519)
	ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
	set, denial := addresses(t, "acme.mx.test.", 300, "192.0.2.1"), s.Denial(absent(z, zone.MustParseName("b.mx.test.")))
	for range 3 {
		mustSign(t, s, ks, z, set, now)
		mustSign(t, s, ks, z, denial, now)
	}
	for name, c := range map[string]struct{ got, want float64 }{
		"made":   {testutil.ToFloat64(s.metrics.byAlgorithm[zone.ED25519]), 4}, // the denial each time
		"misses": {testutil.ToFloat64(s.metrics.misses), 1},
		"hits":   {testutil.ToFloat64(s.metrics.hits), 2},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
	for _, c := range s.Collectors() {
		if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	for _, algorithm := range algorithms {
		z := testZone(algorithm)
		ks := testKeys(b, z)
		set := addresses(b, "acme.mx.test.", 300, "192.0.2.1", "192.0.2.2")
		b.Run("cold/"+algorithm.String(), func(b *testing.B) {
			s := New(Options{CacheSize: 1 << 20})
			at := now
			for b.Loop() {
				at = at.Add(z.Signature.Quantum) // a new window: never a hit
				mustSign(b, s, ks, z, set, at)
			}
		})
		b.Run("cached/"+algorithm.String(), func(b *testing.B) {
			s := New(Options{CacheSize: 1 << 20})
			for b.Loop() {
				mustSign(b, s, ks, z, set, now)
			}
		})
	}
}
