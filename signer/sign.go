package signer

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// What Sign may refuse with, besides the errors of a key.
var (
	ErrNoKeys  = errors.New("no key signs this type")
	ErrForeign = errors.New("the key set, the zone and the RRset do not belong together")
	ErrEmpty   = errors.New("the RRset is empty")
	ErrWindow  = errors.New("the signature window is too short for the TTL")
)

// Options configure a Signer.
type Options struct {
	// CacheEntries is the largest number of signatures that are remembered, at least 2; an entry takes about 400
	// octets, with RSA 700. A quarter is for denials of names that do not exist, the rest for everything else.
	CacheEntries int
}

// Signer signs RRsets. It is safe for concurrent use.
type Signer struct {
	known   *cache
	unknown *cache // denials of names that do not exist: anybody can make us sign as many as they like
	metrics *metrics
}

// New makes a Signer with an empty cache.
func New(o Options) *Signer {
	m := newMetrics()
	unknown := max(1, o.CacheEntries/4)
	return &Signer{
		known:   newCache(max(1, o.CacheEntries-unknown), m.known),
		unknown: newCache(unknown, m.unknown),
		metrics: m,
	}
}

// Signed is an RRset with its signatures.
type Signed struct {
	RRset zone.RRset
	// Sigs has the RDATA of the RRSIG records in wire form, one for each algorithm. Their TTL is that of the
	// RRset (RFC 4034 §3).
	Sigs []string
}

// Layout of the fixed part of RRSIG RDATA (RFC 4034 §3.1). The signer's name and the signature follow.
const (
	atAlgorithm  = 2
	atLabels     = 3
	atTTL        = 4
	atExpiration = 8
	atInception  = 12
	atKeyTag     = 16
	atSigner     = 18
)

const classIN = 1

// cacheKey identifies a signature: the id of the key, and the SHA-256 of the signed data, which contains the window.
type cacheKey [16 + sha256.Size]byte

// Sign returns set with one signature for each algorithm of the zone's keys, valid at now and for at least the TTL
// and zone.SignatureReserve beyond. With an error nothing may be answered. The errors wrap those of this package or
// come from a key; they are not remembered.
func (s *Signer) Sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, now time.Time) (Signed, error) {
	signed, err := s.sign(ks, z, set, now)
	if err != nil {
		s.metrics.errors.Inc()
		return Signed{}, fmt.Errorf("sign %s %s: %w", set.Name(), set.Type(), err)
	}
	return signed, nil
}

func (s *Signer) sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, now time.Time) (Signed, error) {
	switch {
	case set.IsEmpty():
		return Signed{}, ErrEmpty
	case ks == nil:
		return Signed{}, ErrNoKeys
	case ks.Zone() != z.Name || !set.Name().Within(z.Name):
		return Signed{}, ErrForeign
	}
	keys := ks.SigningKeys(set.Type())
	if len(keys) == 0 {
		return Signed{}, ErrNoKeys
	}
	w := windowAt(z.Signature, set.Type(), set.Name(), now)
	if !w.outlives(set.TTL(), now) {
		return Signed{}, ErrWindow
	}
	var buf [1024]byte // enough for all but large apex RRsets, which spill to the heap
	data := appendRecords(appendHead(buf[:0], z.Name, set, w), set)
	sigs := make([]string, len(keys))
	for i, key := range keys {
		data[atAlgorithm] = byte(key.Algorithm())
		binary.BigEndian.PutUint16(data[atKeyTag:], key.Tag())
		sig, err := s.signature(key, z.Name, set, data, w, now)
		if err != nil {
			return Signed{}, err
		}
		sigs[i] = sig
	}
	return Signed{set, sigs}, nil
}

// signature returns RRSIG RDATA for the signed data, remembered or made now.
func (s *Signer) signature(key *keymgmt.SigningKey, apex zone.Name, set zone.RRset, data []byte, w window, now time.Time) (string, error) {
	memory := s.known
	if deniesName(set) {
		memory = s.unknown
	}
	digest := sha256.Sum256(data)
	var ck cacheKey
	id := key.ID()
	copy(ck[copy(ck[:], id[:]):], digest[:])
	if rdata, found := memory.get(ck, now.Unix()); found {
		return rdata, nil
	}
	signature, err := key.Sign(bytes.Clone(data), digest) // a copy, so that the buffer of a hit stays on the stack
	if err != nil {
		return "", err
	}
	s.metrics.made(key.Algorithm())
	rdata := string(data[:atSigner+len(apex.Wire())]) + string(signature)
	usable := w.expiration - int64(set.TTL()) - int64(zone.SignatureReserve/time.Second)
	memory.put(ck, rdata, usable, now.Unix())
	return rdata, nil
}

// appendHead appends RRSIG RDATA up to the signature, without algorithm and key tag.
func appendHead(b []byte, apex zone.Name, set zone.RRset, w window) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(set.Type()))
	b = append(b, 0, labelCount(set.Name()))
	b = binary.BigEndian.AppendUint32(b, set.TTL())
	b = binary.BigEndian.AppendUint32(b, uint32(w.expiration)) // modulo 2^32, RFC 4034 §3.1.5
	b = binary.BigEndian.AppendUint32(b, uint32(w.inception))
	b = append(b, 0, 0)
	return append(b, apex.Wire()...)
}

// labelCount is the labels field: neither the root nor a leading asterisk counts (RFC 4034 §3.1.3).
func labelCount(name zone.Name) byte {
	n := name.Labels()
	if name.FirstLabel() == "*" {
		n--
	}
	return byte(n)
}

// appendRecords appends the records in canonical form and order (RFC 4034 §3.1.8.1, §6), which is how an RRset
// has them.
func appendRecords(b []byte, set zone.RRset) []byte {
	for i := range set.Len() {
		rdata := set.RData(i)
		b = append(b, set.Name().Wire()...)
		b = binary.BigEndian.AppendUint16(b, uint16(set.Type()))
		b = binary.BigEndian.AppendUint16(b, classIN)
		b = binary.BigEndian.AppendUint32(b, set.TTL())
		b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
		b = append(b, rdata...)
	}
	return b
}
