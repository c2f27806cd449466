package signer

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// window is the validity period of signatures, in seconds since 1970. All signatures of one name and kind
// that are made from start until the next window starts have the same period.
type window struct {
	start, inception, expiration int64
}

// windowAt returns the window of an RRset at now. With p, lifetime L, quantum Q and backdate B:
//
//	    |<-- B -->|<------------- L ------------->|
//	inception   start                         expiration
//	              |<-- Q -->| next start
//
// Starts lie at multiples of Q plus an offset that depends on the name, so that names do not all change
// windows at once. They never go back while now goes forward.
func windowAt(p zone.SignaturePolicy, typ zone.Type, name zone.Name, now time.Time) window {
	lifetime, quantum := p.Lifetime, p.Quantum
	if signedByKSK(typ) {
		lifetime, quantum = p.DNSKEYLifetime, p.DNSKEYQuantum()
	}
	q := max(1, int64(quantum/time.Second))
	since := now.Unix() - offset(name, q)
	into := since % q
	if into < 0 { // before 1970
		into += q
	}
	start := now.Unix() - into
	return window{
		start:      start,
		inception:  start - int64(p.Backdate/time.Second),
		expiration: start + int64(lifetime/time.Second),
	}
}

// signedByKSK reports whether RRsets of a type are made from the keys and signed by the key that the DS
// points to (RFC 7344 §4.1).
func signedByKSK(typ zone.Type) bool {
	return typ == zone.TypeDNSKEY || typ == zone.TypeCDS || typ == zone.TypeCDNSKEY
}

// offset is the number of seconds, less than quantum, by which the windows of a name are shifted.
func offset(name zone.Name, quantum int64) int64 {
	var buf [zone.MaxNameLen]byte
	sum := sha256.Sum256(append(buf[:0], name.Wire()...))
	return int64(binary.BigEndian.Uint64(sum[:8]) % uint64(quantum))
}

// outlives reports whether at now a signature of the window still lasts for the TTL and the reserve.
func (w window) outlives(ttl uint32, now time.Time) bool {
	need := time.Duration(ttl)*time.Second + zone.SignatureReserve
	return !now.Add(need).After(time.Unix(w.expiration, 0))
}

// signatureTime reads an inception or expiration field. The field counts modulo 2^32 (RFC 4034 §3.1.5, serial
// number arithmetic of RFC 1982): the moment nearest to now is meant.
func signatureTime(field uint32, now time.Time) time.Time {
	distance := int32(field - uint32(now.Unix()))
	return time.Unix(now.Unix()+int64(distance), 0)
}
