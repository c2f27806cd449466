package keymgmt

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/zone"
)

func unbase64(t *testing.T, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// RFC 6979 A.2.5: the nonce comes from key and message, so the signature is known beforehand.
func TestECDSAIsThatOfRFC6979(t *testing.T) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(),
		unhex(t, "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"))
	if err != nil {
		t.Fatal(err)
	}
	sign, err := newSignFunc(private)
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]string{
		"sample": "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716" +
			"F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
		"test": "F1ABB023518351CD71D881567B1EA663ED3EFCF6C5132B354F28D3B0B7D38367" +
			"019F4113742A2B14BD25926B49C649155F267E60D3814B4C0CC84250E46F0083",
	} {
		got, err := sign(nil, []byte(message), new(sha256.Sum256([]byte(message))))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%s: got %X, want %s", message, got, want)
		}
	}
}

// signedData builds what RFC 4034 §3.1.8.1 says from the fields of an example.
func signedData(owner, signer string, typ, algorithm, labels byte, expiration, inception uint32, tag uint16, rdata string) []byte {
	const ttl = 3600
	name, apex := zone.MustParseName(owner).Wire(), zone.MustParseName(signer).Wire()
	b := []byte{0, typ, algorithm, labels}
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint32(b, expiration)
	b = binary.BigEndian.AppendUint32(b, inception)
	b = binary.BigEndian.AppendUint16(b, tag)
	b = append(append(b, apex...), name...)
	b = append(b, 0, typ, 0, 1)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
	return append(b, rdata...)
}

func checkRecord(t *testing.T, k *KeyRecord, wantTag uint16, wantDS string) {
	t.Helper()
	if tag, _ := tags(k.Flags, k.Algorithm, k.PublicKey); tag != wantTag {
		t.Errorf("tag %d, want %d", tag, wantTag)
	}
	if got := hex.EncodeToString([]byte(k.DS()[0][4:])); got != wantDS {
		t.Errorf("DS %s, want %s", got, wantDS)
	}
}

// RFC 6605 §6.1. The RFC's signature was made with a random nonce: it verifies, ours differs and verifies too.
func TestRFC6605Example(t *testing.T) {
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), unbase64(t, "GU6SnQ/Ou+xC5RumuIUIuJZteXT2z0O/ok1s38Et6mQ="))
	if err != nil {
		t.Fatal(err)
	}
	public, err := publicField(zone.ECDSAP256SHA256, private.Public())
	if err != nil {
		t.Fatal(err)
	}
	if want := "GojIhhXUN/u4v54ZQqGSnyhWJwaubCvTmeexv7bR6edbkrSqQpF64cYbcB7wNcP+e+MAnLr+Wi9xMWyQLc8NAA=="; !bytes.Equal(public, unbase64(t, want)) {
		t.Errorf("public key %x", public)
	}
	k := &KeyRecord{Zone: zone.MustParseName("example.net."), KeyTag: 55648, Algorithm: 13, Flags: 257, PublicKey: public}
	checkRecord(t, k, 55648, "b4c8c1fe2e7477127b27115656ad6256f424625bf5c1e2770ce6d6e37df61d17")

	data := signedData("www.example.net.", "example.net.", 1, 13, 3, 1284026679, 1281607479, 55648, "\xc0\x00\x02\x01")
	if err := Verify(13, public, data,
		unbase64(t, "qx6wLYqmh+l9oCKTN6qIc+bw6ya+KJ8oMz0YP107epXAyGmt+3SNruPFKG7tZoLBLlUzGGus7ZwmwWep666VCw==")); err != nil {
		t.Errorf("the RFC's signature: %v", err)
	}
	sign, err := newSignFunc(private)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := sign(nil, data, new(sha256.Sum256(data)))
	if err != nil {
		t.Fatal(err)
	}
	if err := Verify(13, public, data, signature); err != nil {
		t.Errorf("our signature: %v", err)
	}
}

// RFC 8080 §6.1: Ed25519 is deterministic, so ours must be the RFC's.
func TestRFC8080Example(t *testing.T) {
	private := ed25519.NewKeyFromSeed(unbase64(t, "ODIyNjAzODQ2MjgwODAxMjI2NDUxOTAyMDQxNDIyNjI="))
	public, err := publicField(zone.ED25519, private.Public())
	if err != nil {
		t.Fatal(err)
	}
	k := &KeyRecord{Zone: zone.MustParseName("example.com."), KeyTag: 3613, Algorithm: 15, Flags: 257, PublicKey: public}
	checkRecord(t, k, 3613, "3aa5ab37efce57f737fc1627013fee07bdf241bd10f3b1964ab55c78e79a304b")

	rdata := "\x00\x0a" + zone.MustParseName("mail.example.com.").Wire()
	data := signedData("example.com.", "example.com.", 15, 15, 2, 1440021600, 1438207200, 3613, rdata)
	sign, err := newSignFunc(private)
	if err != nil {
		t.Fatal(err)
	}
	got, err := sign(nil, data, new(sha256.Sum256(data)))
	if err != nil {
		t.Fatal(err)
	}
	want := "oL9krJun7xfBOIWcGHi7mag5/hdZrKWw15jPGrHpjQeRAvTdszaPD+QLs3fx8A4M3e23mRZ9VrbpMngwcrqNAg=="
	if !bytes.Equal(got, unbase64(t, want)) {
		t.Errorf("got %x", got)
	}
}

// The halves of a signature keep their 32 octets however short the integers are, and come back unchanged.
func TestFixedSignatureKeepsLeadingZeros(t *testing.T) {
	for _, halves := range [][2]string{
		{"01", "7f"}, {"80", "ff"}, {strings.Repeat("ff", 32), "01"}, {"00ff" + strings.Repeat("00", 29), strings.Repeat("80", 32)},
	} {
		sig := make([]byte, 64)
		r, s := unhex(t, halves[0]), unhex(t, halves[1])
		copy(sig[32-len(r):], r)
		copy(sig[64-len(s):], s)
		got, err := fixedSignature(derSignature(sig))
		if err != nil || !bytes.Equal(got, sig) {
			t.Errorf("%x became %x, %v", sig, got, err)
		}
	}
}

func TestFixedSignatureRefusesWhatIsNoSignature(t *testing.T) {
	good := derSignature(bytes.Repeat([]byte{0x11}, 64))
	bad := [][]byte{nil, {0x30}, good[:len(good)-1], append(bytes.Clone(good), 0), bytes.Replace(good, []byte{0x02}, []byte{0x03}, 1)}
	long := append([]byte{0x30, 38, 0x02, 33}, bytes.Repeat([]byte{1}, 33)...)
	bad = append(bad, append(long, 0x02, 1, 1), []byte{0x30, 2, 0x02, 9})
	for _, der := range bad {
		if sig, err := fixedSignature(der); err == nil {
			t.Errorf("%x became %x", der, sig)
		}
	}
}
