package p256

import (
	"crypto/sha256"
	"errors"

	"filippo.io/nistec"
)

// Size is that of a signature and of half of one: r and s (RFC 6605 §4).
const (
	Size     = 2 * halfSize
	halfSize = 32
)

// What cannot be signed with or made, the latter with a probability of 2^-256.
var (
	errKey       = errors.New("a P-256 private key is a number of 32 octets from 1 to the order of the curve less 1")
	errSignature = errors.New("no P-256 signature can be made of this digest with this key")
)

// Key is a private key. It is immutable.
type Key struct {
	octets     [halfSize]byte
	montgomery scalar
}

// NewKey takes a private key as the number of 32 octets that it is, the highest octet first.
func NewKey(private []byte) (*Key, error) {
	k := &Key{}
	if copy(k.octets[:], private) != len(private) || len(private) != halfSize {
		return nil, errKey
	}
	s := reduced(&k.octets)
	if s.isZero() == 1 || s.bytes() != k.octets {
		return nil, errKey
	}
	k.montgomery.mul(&s, &rSquared)
	return k, nil
}

// Append appends the signature of a SHA-256 digest to b: the same one each time.
func (k *Key) Append(b []byte, digest *[sha256.Size]byte) ([]byte, error) {
	hash := reduced(digest) // bits2octets of RFC 6979 §2.3.4, and the e of FIPS 186-5 §6.4.1
	source := newNonces(k.octets, hash.bytes())
	nonce := source.next()
	source.skip()
	blind := source.next()
	var point nistec.P256Point
	if _, err := point.ScalarBaseMult(nonce[:]); err != nil {
		return b, err
	}
	x, err := point.BytesX()
	if err != nil {
		return b, err
	}
	r := reduced((*[halfSize]byte)(x))
	var s, inverse scalar
	s.mul(&r, &k.montgomery) // leaves the domain
	s.add(&s, &hash)
	inverse.invert(new(reduced(&nonce)), new(reduced(&blind)))
	s.mul(&s, &inverse)
	s.mul(&s, &rSquared) // (hash + r·private) / nonce
	if r.isZero()|s.isZero() == 1 {
		return b, errSignature
	}
	first, second := r.bytes(), s.bytes()
	return append(append(b, first[:]...), second[:]...), nil
}
