package p256

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	hmaclib "crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/hex"
	"math/big"
	"testing"
)

func pair(t testing.TB) (*Key, *ecdsa.PrivateKey) {
	t.Helper()
	theirs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return with(t, theirs), theirs
}

func with(t testing.TB, theirs *ecdsa.PrivateKey) *Key {
	t.Helper()
	private, err := theirs.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := NewKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return ours
}

// same fails unless our signature is that of crypto/ecdsa.
func same(t testing.TB, ours *Key, theirs *ecdsa.PrivateKey, digest [sha256.Size]byte) {
	t.Helper()
	got, err := ours.Append([]byte("before"), &digest)
	if err != nil {
		t.Fatal(err)
	}
	der, err := theirs.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	var sig struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &sig); err != nil {
		t.Fatal(err)
	}
	want := append([]byte("before"), make([]byte, Size)...)
	sig.R.FillBytes(want[6:][:halfSize])
	sig.S.FillBytes(want[6+halfSize:])
	if !bytes.Equal(got, want) {
		t.Fatalf("of digest %x: got %x, want %x", digest, got, want)
	}
}

func TestSignaturesAreThoseOfCryptoECDSA(t *testing.T) {
	for range 20 {
		ours, theirs := pair(t)
		var digest [sha256.Size]byte
		for range 50 {
			rand.Read(digest[:])
			same(t, ours, theirs, digest)
		}
		order := n.bytes()
		for _, digest := range [][sha256.Size]byte{{}, {31: 1}, order, [sha256.Size]byte(bytes.Repeat([]byte{0xff}, 32))} {
			same(t, ours, theirs, digest)
		}
	}
}

// RFC 6979 A.2.5.
func TestSignatureOfRFC6979(t *testing.T) {
	key, err := NewKey(unhex(t, "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721"))
	if err != nil {
		t.Fatal(err)
	}
	for message, want := range map[string]string{
		"sample": "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
		"test":   "f1abb023518351cd71d881567b1ea663ed3efcf6c5132b354f28d3b0b7d38367019f4113742a2b14bd25926b49c649155f267e60d3814b4c0cc84250e46f0083",
	} {
		digest := sha256.Sum256([]byte(message))
		if got, err := key.Append(nil, &digest); err != nil || !bytes.Equal(got, unhex(t, want)) {
			t.Errorf("%s: %x, %v", message, got, err)
		}
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrivateKeysOutsideOfTheRange(t *testing.T) {
	order := n.bytes()
	last := order
	last[halfSize-1]--
	for _, private := range [][]byte{nil, make([]byte, 31), make([]byte, 32), append([]byte{1}, make([]byte, 32)...), order[:], bytes.Repeat([]byte{0xff}, 32)} {
		if _, err := NewKey(private); err == nil {
			t.Errorf("%x is taken", private)
		}
	}
	if _, err := NewKey(last[:]); err != nil {
		t.Error(err)
	}
}

// What follows a number that cannot be used, which happens once in 2^32 times, is that of RFC 6979 §3.2 h.
func TestNumbersAfterOneThatIsPassedOver(t *testing.T) {
	mac := func(key []byte, parts ...[]byte) []byte {
		h := hmaclib.New(sha256.New, key)
		h.Write(bytes.Join(parts, nil))
		return h.Sum(nil)
	}
	var private, digest [halfSize]byte
	rand.Read(private[1:])
	rand.Read(digest[1:])
	k, v := make([]byte, 32), bytes.Repeat([]byte{1}, 32)
	for _, separator := range []byte{0, 1} {
		k = mac(k, v, []byte{separator}, private[:], digest[:])
		v = mac(k, v)
	}
	g := newNonces(private, digest)
	for range 5 {
		v = mac(k, v)
		if got := g.next(); !bytes.Equal(got[:], v) {
			t.Fatalf("got %x, want %x", got, v)
		}
		k = mac(k, v, []byte{0})
		v = mac(k, v)
		g.skip()
	}
}

func FuzzSign(f *testing.F) {
	f.Add(make([]byte, 32), make([]byte, 32))
	f.Fuzz(func(t *testing.T, private, digest []byte) {
		theirs, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), private)
		if err != nil {
			if _, err := NewKey(private); err == nil {
				t.Fatalf("%x is taken", private)
			}
			return
		}
		var d [sha256.Size]byte
		copy(d[:], digest)
		same(t, with(t, theirs), theirs, d)
	})
}

func BenchmarkSign(b *testing.B) {
	ours, theirs := pair(b)
	digest := [sha256.Size]byte{1}
	b.Run("p256", func(b *testing.B) {
		buffer := make([]byte, 0, Size)
		b.ReportAllocs()
		for b.Loop() {
			digest[0]++
			if _, err := ours.Append(buffer, &digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("crypto-ecdsa", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			digest[0]++
			if _, err := theirs.Sign(nil, digest[:], crypto.SHA256); err != nil {
				b.Fatal(err)
			}
		}
	})
}
