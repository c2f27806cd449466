package keymgmt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/zone"
)

// bindText writes a private key as dnssec-keygen does.
func bindText(t testing.TB, private any) string {
	t.Helper()
	text := "Private-key-format: v1.3\n"
	b64 := base64.StdEncoding.EncodeToString
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		scalar, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return text + "Algorithm: 13 (ECDSAP256SHA256)\nPrivateKey: " + b64(scalar) + "\nCreated: 20260101000000\n"
	case ed25519.PrivateKey:
		return text + "Algorithm: 15 (ED25519)\nPrivateKey: " + b64(k.Seed()) + "\n"
	case *rsa.PrivateKey:
		e := big.NewInt(int64(k.E)).Bytes()
		return text + fmt.Sprintf("Algorithm: 8 (RSASHA256)\nModulus: %s\nPublicExponent: %s\nPrivateExponent: %s\nPrime1: %s\nPrime2: %s\n",
			b64(k.N.Bytes()), b64(e), b64(k.D.Bytes()), b64(k.Primes[0].Bytes()), b64(k.Primes[1].Bytes()))
	}
	t.Fatalf("no form for a %T", private)
	return ""
}

func pemText(t testing.TB, private any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// A zone that was signed by another server keeps its keys, in either form, of every algorithm.
func TestAZoneIsTakenOver(t *testing.T) {
	v := testVault(t, 1)
	for _, algorithm := range algorithms {
		ksk, err := newPrivateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		zsk, err := newPrivateKey(algorithm)
		if err != nil {
			t.Fatal(err)
		}
		z := testZone(algorithm, false)
		made, err := v.NewZone(z, []GivenKey{{ZSK, bindText(t, zsk)}, {KSK, pemText(t, ksk)}}, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		set, err := v.Open(z, made.Keys, made.Chain)
		if err != nil {
			t.Fatal(err)
		}
		for i, private := range []any{zsk, ksk} {
			public, err := publicField(algorithm, private.(crypto.Signer).Public())
			if err != nil || string(public) != string(made.Keys[i].PublicKey) {
				t.Errorf("%s: key %d is another one: %v", algorithm, i, err)
			}
		}
		if set.DS().Len() != 2 || made.Chain.Goal.KSK != made.Keys[1].ID {
			t.Errorf("%s: the goal is %+v", algorithm, made.Chain.Goal)
		}
	}
}

// A parent may have the DS of the other server's KSK. That it is to have none is not yet that it has none.
func TestAZoneIsTakenOverAndItsDSWithdrawn(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ECDSAP256SHA256, false)
	z.Parent.WithdrawDS = true
	var given []GivenKey
	for _, role := range []Role{KSK, ZSK} {
		k, err := newPrivateKey(zone.ECDSAP256SHA256)
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, GivenKey{role, pemText(t, k)})
	}
	for _, c := range []struct {
		given []GivenKey
		known bool
	}{{nil, true}, {given, false}} {
		made, err := v.NewZone(z, c.given, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Open(z, made.Keys, made.Chain); err != nil {
			t.Fatal(err)
		}
		ds, p := made.Chain.DS, newPlanner().on(Input{Zone: z, Keys: made.Keys, Chain: made.Chain}, now)
		if len(last(ds).Keys) != 0 || last(ds).Seen.IsZero() == c.known || p.referenced(made.Chain.Goal.KSK) == c.known {
			t.Errorf("with %d keys of another server: %+v", len(c.given), ds)
		}
	}
}

func TestKeysThatCannotBeTakenOver(t *testing.T) {
	v := testVault(t, 1)
	z := testZone(zone.ECDSAP256SHA256, false)
	key := func(curve elliptic.Curve) *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	good := pemText(t, key(elliptic.P256()))
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	same := bindText(t, key(elliptic.P256()))
	for name, c := range map[string]struct {
		given []GivenKey
		says  string
	}{
		"no ZSK":            {[]GivenKey{{KSK, good}}, "one key for each of [ksk zsk]"},
		"a CSK":             {[]GivenKey{{CSK, good}}, "one key for each"},
		"two KSKs":          {[]GivenKey{{KSK, good}, {KSK, good}}, "one key for each"},
		"another algorithm": {[]GivenKey{{KSK, good}, {ZSK, bindText(t, edwards)}}, "import_keys[1]"},
		"another curve":     {[]GivenKey{{KSK, pemText(t, key(elliptic.P384()))}, {ZSK, good}}, "import_keys[0]"},
		"one key twice":     {[]GivenKey{{CSK, same}}, "one key for each"},
		"nonsense":          {[]GivenKey{{KSK, "hello"}, {ZSK, good}}, "PKCS #8"},
		"an encrypted key":  {[]GivenKey{{KSK, strings.ReplaceAll(good, "PRIVATE", "ENCRYPTED PRIVATE")}, {ZSK, good}}, "not encrypted"},
		"half a BIND key":   {[]GivenKey{{KSK, "Private-key-format: v1.3\nAlgorithm: 13\n"}, {ZSK, good}}, "PrivateKey"},
	} {
		_, err := v.NewZone(z, c.given, nil, now)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		for _, g := range c.given {
			if err != nil && strings.Contains(err.Error(), g.Private) {
				t.Errorf("%s: the error shows the key", name)
			}
		}
	}
}

// FuzzParsePrivate: hostile text is refused, never more.
func FuzzParsePrivate(f *testing.F) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bindText(f, ec))
	f.Add(pemText(f, ec))
	f.Add("Private-key-format: v1.2\nAlgorithm: 8 (RSASHA256)\nModulus: AQAB\nPublicExponent: AQAB\nPrivateExponent: AQAB\nPrime1: AQAB\nPrime2: AQAB\n")
	f.Fuzz(func(t *testing.T, text string) {
		if key, err := parsePrivate(text); err == nil && key.Public() == nil {
			t.Error("a key without public part")
		}
	})
}

// FuzzParseDNSKEY: what is read is written again as it was meant.
func FuzzParseDNSKEY(f *testing.F) {
	apex := zone.MustParseName("mx.test.")
	f.Add("mx.test. 3600 IN DNSKEY 257 3 13 GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA==")
	f.Add("256 3 15 AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := parseDNSKEY(apex, text)
		if err != nil {
			return
		}
		again, err := parseDNSKEY(apex, k.Presentation())
		if err != nil || again.DNSKEY() != k.DNSKEY() || again.KeyTag != k.KeyTag {
			t.Errorf("%q became %q: %v", text, k.Presentation(), err)
		}
	})
}
