package p256

import (
	"encoding/binary"
	"math/big"
	"math/bits"
)

// scalar is an integer modulo the order n of the group, in four limbs, the lowest first, and less than n. In the Montgomery domain
// a is kept as a·R mod n with R = 2^256. No function branches on, or looks up by, a value.
type scalar [4]uint64

// n is the order of P-256 (FIPS 186-5, SP 800-186 §3.2.1.3).
var n = scalar{0xf3b9cac2fc632551, 0xbce6faada7179e84, 0xffffffffffffffff, 0xffffffff00000000}

var order = func() *big.Int {
	b := n.bytes()
	return new(big.Int).SetBytes(b[:])
}()

// negInverse is -1/n mod 2^64.
const negInverse = 0xccd1c8aaee00bc4f

// rSquared is R² mod n: by it, mul takes a scalar into the Montgomery domain.
var rSquared = scalar{0x83244c95be79eea2, 0x4699799c49bd6fa6, 0x2845b2392b6bec59, 0x66e12d94f3d95620}

// reduced reads 32 octets, the highest first, modulo n. 2^256 < 2n, so that n goes off at most once.
func reduced(b *[32]byte) scalar {
	var s scalar
	for i := range s {
		s[i] = binary.BigEndian.Uint64(b[24-8*i:])
	}
	return s.lessN(0)
}

// bytes is the inverse of reduced.
func (s *scalar) bytes() (b [32]byte) {
	for i := range s {
		binary.BigEndian.PutUint64(b[24-8*i:], s[i])
	}
	return b
}

// lessN returns s + carry·2^256, which is less than 2n, modulo n.
func (s *scalar) lessN(carry uint64) scalar {
	var d scalar
	var borrow uint64
	d[0], borrow = bits.Sub64(s[0], n[0], 0)
	d[1], borrow = bits.Sub64(s[1], n[1], borrow)
	d[2], borrow = bits.Sub64(s[2], n[2], borrow)
	d[3], borrow = bits.Sub64(s[3], n[3], borrow)
	_, borrow = bits.Sub64(carry, 0, borrow)
	keep := -borrow // all ones if s < n
	for i := range d {
		d[i] = d[i]&^keep | s[i]&keep
	}
	return d
}

// isZero returns 1 if s is zero, 0 if not.
func (s *scalar) isZero() uint64 {
	or := s[0] | s[1] | s[2] | s[3]
	return 1 ^ (or|-or)>>63
}

// add sets s to a + b mod n.
func (s *scalar) add(a, b *scalar) {
	var carry uint64
	var sum scalar
	sum[0], carry = bits.Add64(a[0], b[0], 0)
	sum[1], carry = bits.Add64(a[1], b[1], carry)
	sum[2], carry = bits.Add64(a[2], b[2], carry)
	sum[3], carry = bits.Add64(a[3], b[3], carry)
	*s = sum.lessN(carry)
}

// mul sets s to a·b/R mod n: Montgomery multiplication, one limb of b after the other. Before and after each the sum t is less
// than 2n, so that its fifth limb is 0 or 1.
func (s *scalar) mul(a, b *scalar) {
	var t scalar
	var t4, t5, c uint64
	for _, limb := range b {
		// t += a·limb
		h0, l0 := bits.Mul64(a[0], limb)
		h1, l1 := bits.Mul64(a[1], limb)
		h2, l2 := bits.Mul64(a[2], limb)
		h3, l3 := bits.Mul64(a[3], limb)
		l1, c = bits.Add64(l1, h0, 0)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c
		t[0], c = bits.Add64(t[0], l0, 0)
		t[1], c = bits.Add64(t[1], l1, c)
		t[2], c = bits.Add64(t[2], l2, c)
		t[3], c = bits.Add64(t[3], l3, c)
		t4, t5 = bits.Add64(t4, h3, c)

		// t = (t + m·n) / 2^64, with the m that makes the lowest limb zero. The upper limbs of n are 2^64 - 1 and 2^64 - 2^32.
		m := t[0] * negInverse
		h0, l0 = bits.Mul64(n[0], m)
		h1, l1 = bits.Mul64(n[1], m)
		l2, c = bits.Sub64(0, m, 0)
		h2 = m - c
		l3, c = bits.Sub64(0, m<<32, 0)
		h3 = m - m>>32 - c
		l1, c = bits.Add64(l1, h0, 0)
		l2, c = bits.Add64(l2, h1, c)
		l3, c = bits.Add64(l3, h2, c)
		h3 += c
		_, c = bits.Add64(t[0], l0, 0)
		t[0], c = bits.Add64(t[1], l1, c)
		t[1], c = bits.Add64(t[2], l2, c)
		t[2], c = bits.Add64(t[3], l3, c)
		t[3], c = bits.Add64(t4, h3, c)
		t4 = t5 + c
	}
	*s = t.lessN(t4)
}

// invert sets s to 1/a mod n; neither is zero. blind must be secret, uniform, not zero, and used once. math/big takes a time that
// depends on what it inverts, but that is a·blind, which says nothing about a. To invert in constant time, by powers (Fermat), takes
// half as long as all the rest of a signature.
func (s *scalar) invert(a, blind *scalar) {
	var blinded scalar
	blinded.mul(a, blind) // a·blind/R
	octets := blinded.bytes()
	inverse := new(big.Int).SetBytes(octets[:])
	inverse.ModInverse(inverse, order).FillBytes(octets[:])
	blinded = reduced(&octets) // R/(a·blind)
	s.mul(&blinded, blind)
}
