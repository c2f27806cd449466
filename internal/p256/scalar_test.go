package p256

import (
	"math/big"
	"math/rand/v2"
	"testing"
)

func (s *scalar) big() *big.Int {
	b := s.bytes()
	return new(big.Int).SetBytes(b[:])
}

// interesting returns numbers of 256 bits of which many limbs are at the ends of their range or those of the order.
func interesting(r *rand.Rand) [32]byte {
	var s scalar
	for i := range s {
		s[i] = [...]uint64{0, 1, ^uint64(0), ^uint64(0) - 1, n[i], n[i] - 1, n[i] + 1, 1 << 63, 1 << 32, r.Uint64(), r.Uint64(), r.Uint64()}[r.IntN(12)]
	}
	return s.bytes()
}

func TestScalarsAgainstMathBig(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	inverseOfR := new(big.Int).ModInverse(new(big.Int).Lsh(big.NewInt(1), 256), order)
	mod := func(x *big.Int) *big.Int { return x.Mod(x, order) }
	for range 200_000 {
		x, y := interesting(r), interesting(r)
		a, b := reduced(&x), reduced(&y)
		if want := mod(new(big.Int).SetBytes(x[:])); a.big().Cmp(want) != 0 {
			t.Fatalf("%x mod n: got %x, want %x", x, a.big(), want)
		}
		var sum, product scalar
		sum.add(&a, &b)
		if want := mod(new(big.Int).Add(a.big(), b.big())); sum.big().Cmp(want) != 0 {
			t.Fatalf("%x + %x: got %x, want %x", a.big(), b.big(), sum.big(), want)
		}
		product.mul(&a, &b)
		if want := mod(new(big.Int).Mul(new(big.Int).Mul(a.big(), b.big()), inverseOfR)); product.big().Cmp(want) != 0 {
			t.Fatalf("%x * %x: got %x, want %x", a.big(), b.big(), product.big(), want)
		}
		if zero := a.big().Sign() == 0; zero != (a.isZero() == 1) {
			t.Fatalf("%x is zero: %v", a.big(), a.isZero())
		}
	}
}

func TestInverses(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		x, y := interesting(r), interesting(r)
		a, blind := reduced(&x), reduced(&y)
		if a.isZero()|blind.isZero() == 1 {
			continue
		}
		var inverse scalar
		inverse.invert(&a, &blind)
		if want := new(big.Int).ModInverse(a.big(), order); inverse.big().Cmp(want) != 0 {
			t.Fatalf("1/%x: got %x, want %x", a.big(), inverse.big(), want)
		}
	}
}
