package signer

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mxseal/mxseal/internal/memo"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// What Sign may refuse with, besides the errors of a key.
var (
	ErrNoKeys  = errors.New("no key signs this type")
	ErrForeign = errors.New("the key set, the zone and the RRset do not belong together")
	ErrEmpty   = errors.New("the RRset is empty")
	ErrStock   = errors.New("no signature that was made ahead lasts long enough")
	ErrWindow  = errors.New("the signature window is too short for the TTL")
)

// Options configure a Signer.
type Options struct {
	// CacheSize is the most memory for signatures, in octets; one takes about 350, with RSA 600. Denials of names that do not exist
	// are not remembered: whole answers are by the server, and anybody can make up as many as they like.
	CacheSize int64
}

// Signer signs RRsets. It is safe for concurrent use.
type Signer struct {
	cache   cache
	scratch sync.Pool // of *scratch
	metrics *metrics
}

// scratch is memory for what is signed, and for what comes of it, while that is made.
type scratch struct {
	data, rdata []byte
	digest      [sha256.Size]byte
}

// New makes a Signer with an empty cache.
func New(o Options) *Signer {
	m := newMetrics()
	table := memo.New(memo.Options[remembered]{Limit: o.CacheSize, Evictions: m.evictions, Octets: m.octets,
		Spent: func(r *remembered, now int64) bool { return r.until < now }})
	return &Signer{cache: cache{table: table}, metrics: m, scratch: sync.Pool{New: func() any { return &scratch{} }}}
}

// Signed is an RRset with its signatures.
type Signed struct {
	RRset zone.RRset
	// Sigs has the RDATA of the RRSIG records in wire form, one for each algorithm. Their TTL is that of the
	// RRset (RFC 4034 §3).
	Sigs []string
	Span rrsig.Span // when these signatures are the ones to give out
}

// Sign returns set with one signature for each algorithm of the zone's keys, valid at now and for at least the TTL
// and zone.SignatureReserve beyond. With an error nothing may be answered. The errors wrap those of this package or
// come from a key; they are not remembered.
func (s *Signer) Sign(ks *keymgmt.KeySet, z *zone.Zone, set zone.RRset, now time.Time) (Signed, error) {
	signed, err := s.sign(ks, z, set, now)
	if err != nil {
		s.metrics.errors.Inc()
		return Signed{}, fmt.Errorf("sign %s %s: %w", set.Name(), set.Type(), err)
	}
	s.metrics.given(signed)
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
	if rrsig.OfKeys(z.Name, set.Name(), set.Type()) {
		return stocked(ks, set, now)
	}
	keys := ks.SigningKeys(set.Name(), set.Type())
	if len(keys) == 0 {
		return Signed{}, ErrNoKeys
	}
	w := rrsig.At(z.Signature, set.Name(), now)
	if !w.Outlives(set.TTL(), now) {
		return Signed{}, ErrWindow
	}
	next := w.Start + int64(max(time.Second, z.Signature.Quantum)/time.Second)
	span := rrsig.Span{From: w.Start, Until: min(next-1, w.UsableUntil(set.TTL()))}
	room := s.scratch.Get().(*scratch)
	defer s.scratch.Put(room)
	room.data = rrsig.AppendData(room.data[:0], z.Name, set, w)
	sigs := make([]string, len(keys))
	for i, key := range keys {
		rrsig.SetKey(room.data, key.Algorithm(), key.Tag())
		sig, err := s.signature(room, key, z.Name, set, span.Until, now)
		if err != nil {
			return Signed{}, err
		}
		sigs[i] = sig
	}
	return Signed{set, sigs, span}, nil
}

// stocked returns one of the RRsets that are signed ahead; only the key set itself has one.
func stocked(ks *keymgmt.KeySet, set zone.RRset, now time.Time) (Signed, error) {
	if !slices.ContainsFunc(ks.Apex(), func(own zone.RRset) bool { return own.Same(set) }) {
		return Signed{}, ErrForeign
	}
	sigs, span := ks.Stocked(set.Type(), now)
	if len(sigs) == 0 {
		return Signed{}, ErrStock
	}
	return Signed{set, sigs, span}, nil
}

// signature returns RRSIG RDATA for the signed data in room, remembered or made now; until is the last second in which it is the
// one to give out.
func (s *Signer) signature(room *scratch, key *keymgmt.SigningKey, apex zone.Name, set zone.RRset, until int64, now time.Time) (string, error) {
	room.digest = sha256.Sum256(room.data)
	if deniesName(set) {
		return s.makeRRSIG(room, key, apex)
	}
	var ck cacheKey
	id := key.ID()
	copy(ck[copy(ck[:], id[:]):], room.digest[:])
	rdata, hit, err := s.cache.get(&ck, now.Unix(), func() (remembered, error) {
		made, err := s.makeRRSIG(room, key, apex)
		return remembered{made, until}, err
	})
	if hit {
		s.metrics.hits.Inc()
	} else {
		s.metrics.misses.Inc()
	}
	return rdata, err
}

// makeRRSIG returns RRSIG RDATA for the signed data in room and its digest.
func (s *Signer) makeRRSIG(room *scratch, key *keymgmt.SigningKey, apex zone.Name) (string, error) {
	made, err := key.AppendSignature(append(room.rdata[:0], rrsig.Head(room.data, apex)...), room.data, &room.digest)
	if err != nil {
		return "", err
	}
	room.rdata = made
	s.metrics.made(key.Algorithm())
	return string(made), nil
}
