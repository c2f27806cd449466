package keymgmt

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

var mxTest = zone.MustParseName("mx.test.")

var algorithms = []zone.Algorithm{zone.ECDSAP256SHA256, zone.ED25519, zone.RSASHA256}

func testKEK(fill byte) []byte {
	kek := make([]byte, kekSize)
	for i := range kek {
		kek[i] = fill + byte(i)*7
	}
	return kek
}

func vaultOf(kek []byte) (*Vault, error) {
	v := &Vault{}
	return v, v.load(Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return hex.EncodeToString(kek), true }})
}

func testVault(t *testing.T, fill byte) *Vault {
	t.Helper()
	v, err := vaultOf(testKEK(fill))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func testZone(algorithm zone.Algorithm, csk bool) *zone.Zone {
	apex := zone.MustParseName("mx.test.")
	z := &zone.Zone{Name: apex, ID: "zone-1", ZoneSpec: zone.DefaultZoneSpec(apex)}
	z.Keys.Algorithm, z.Keys.CSK = algorithm, csk
	return z
}

func generate(t *testing.T, v *Vault, z *zone.Zone) []*KeyRecord {
	t.Helper()
	keys, err := v.NewZone(z, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	return keys.Keys
}

// chainOf publishes keys as those of a new zone.
func chainOf(t *testing.T, v *Vault, z *zone.Zone, records []*KeyRecord) *Chain {
	t.Helper()
	c := newChain(z, records, true, now)
	var err error
	if c.Stock, err = v.SignAhead(z, c, records, now); err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t *testing.T, v *Vault, z *zone.Zone, records []*KeyRecord) *KeySet {
	t.Helper()
	set, err := v.Open(z, records, chainOf(t, v, z, records))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}
