// Package rrsig knows when signatures begin and end, and which octets they are made over.
package rrsig

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Window is the validity period of signatures, in seconds since 1970. All signatures of one name and kind
// that are made from Start until the next window starts have the same period.
type Window struct {
	Start, Inception, Expiration int64
}

// At returns the window of an RRset at now, if it is not one of those that are signed ahead. With a quantum Q, lifetime L and backdate B:
//
//	    |<-- B -->|<------------- L ------------->|
//	inception   start                         expiration
//	              |<-- Q -->| next start
//
// Starts lie at multiples of Q plus an offset that depends on the name, so that names do not all change
// windows at once. They never go back while now goes forward.
func At(p zone.SignaturePolicy, name zone.Name, now time.Time) Window {
	q := max(1, int64(p.Quantum/time.Second))
	since := now.Unix() - offset(name, q)
	into := since % q
	if into < 0 { // before 1970
		into += q
	}
	return from(now.Unix()-into, p.Backdate, p.Lifetime)
}

// Ahead returns the window of RRsets that are made from the keys, and signed ahead, which begins at a time. Since they are
// signed once and stored, it needs no quantum. Nor may it have one: when such an RRset changes, its new signature begins
// later than the one before, by which parents tell new CDS RRsets from old ones (RFC 7344 §6.2.1).
func Ahead(p zone.SignaturePolicy, start time.Time) Window {
	return from(start.Unix(), p.Backdate, p.DNSKEYLifetime)
}

func from(start int64, backdate, lifetime time.Duration) Window {
	return Window{Start: start, Inception: start - int64(backdate/time.Second), Expiration: start + int64(lifetime/time.Second)}
}

// OfKeys reports whether an RRset of a zone is made from its keys and signed by the key that the DS
// points to (RFC 7344 §4.1). CDS and CDNSKEY records below the apex are those of other zones (RFC 9615 §3.1).
func OfKeys(apex, owner zone.Name, typ zone.Type) bool {
	return owner == apex && (typ == zone.TypeDNSKEY || typ == zone.TypeCDS || typ == zone.TypeCDNSKEY)
}

// offset is the number of seconds, less than quantum, by which the windows of a name are shifted.
func offset(name zone.Name, quantum int64) int64 {
	var buf [zone.MaxNameLen]byte
	sum := sha256.Sum256(append(buf[:0], name.Wire()...))
	return int64(binary.BigEndian.Uint64(sum[:8]) % uint64(quantum))
}

// UsableUntil is the last moment, in seconds since 1970, at which a signature of the window still lasts for the TTL and
// the reserve.
func (w Window) UsableUntil(ttl uint32) int64 {
	return w.Expiration - int64(ttl) - int64(zone.SignatureReserve/time.Second)
}

// Outlives reports whether at now a signature of the window still lasts for the TTL and the reserve.
func (w Window) Outlives(ttl uint32, now time.Time) bool {
	return !now.After(time.Unix(w.UsableUntil(ttl), 0))
}

// Span is the time, from one second to another in seconds since 1970, both included, in which certain signatures are the ones
// to give out.
type Span struct{ From, Until int64 }

// Both returns the time that is in two spans.
func (s Span) Both(o Span) Span { return Span{max(s.From, o.From), min(s.Until, o.Until)} }

// Has reports whether a moment is in the span.
func (s Span) Has(now time.Time) bool { return s.From <= now.Unix() && now.Unix() <= s.Until }

// Time reads an inception or expiration field. The field counts modulo 2^32 (RFC 4034 §3.1.5, serial
// number arithmetic of RFC 1982): the moment nearest to now is meant.
func Time(field uint32, now time.Time) time.Time {
	distance := int32(field - uint32(now.Unix()))
	return time.Unix(now.Unix()+int64(distance), 0)
}
