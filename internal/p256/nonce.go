package p256

import "crypto/sha256"

// nonces makes the secret numbers of signatures from key and digest: the HMAC generator of RFC 6979 §3.2.
type nonces struct{ k, v [sha256.Size]byte }

func newNonces(private, digest [halfSize]byte) nonces {
	g := nonces{}
	for i := range g.v {
		g.v[i] = 1
	}
	for separator := range byte(2) {
		var seed [sha256.Size + 1 + 2*halfSize]byte
		copy(seed[:], g.v[:])
		seed[sha256.Size] = separator
		copy(seed[sha256.Size+1:], private[:])
		copy(seed[sha256.Size+1+halfSize:], digest[:])
		g.k = hmac(&g.k, seed[:])
		g.v = hmac(&g.k, g.v[:])
	}
	return g
}

// next returns the next number from 1 to n - 1. That one is passed over, and so that time tells something about it, has a
// probability of 2^-32; it is then not used.
func (g *nonces) next() [halfSize]byte {
	for {
		g.v = hmac(&g.k, g.v[:])
		if s := reduced(&g.v); s.isZero() == 0 && s.bytes() == g.v {
			return g.v
		}
		g.skip()
	}
}

// skip goes on after a number that could not be used.
func (g *nonces) skip() {
	var seed [sha256.Size + 1]byte
	copy(seed[:], g.v[:])
	g.k = hmac(&g.k, seed[:])
	g.v = hmac(&g.k, g.v[:])
}

// hmac is HMAC-SHA-256 (RFC 2104) with a key of 32 octets, of at most maxMessage octets. crypto/hmac takes memory from the heap.
func hmac(key *[sha256.Size]byte, message []byte) [sha256.Size]byte {
	var inner [sha256.BlockSize + maxMessage]byte
	var outer [sha256.BlockSize + sha256.Size]byte
	for i := range sha256.BlockSize {
		inner[i], outer[i] = 0x36, 0x5c
	}
	for i, octet := range key {
		inner[i] ^= octet
		outer[i] ^= octet
	}
	length := sha256.BlockSize + copy(inner[sha256.BlockSize:], message)
	digest := sha256.Sum256(inner[:length])
	copy(outer[sha256.BlockSize:], digest[:])
	return sha256.Sum256(outer[:])
}

const maxMessage = sha256.Size + 1 + 2*halfSize
