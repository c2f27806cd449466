package keymgmt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// ErrNoKeys means that a zone has no keys at all.
var ErrNoKeys = errors.New("the zone has no keys")

// SigningKey is a private key that can sign, and nothing else.
type SigningKey struct {
	redacted
	id        [16]byte
	tag       uint16
	algorithm zone.Algorithm
	public    []byte
	sign      signFunc
}

// ID returns the 128 bits that name the key.
func (k *SigningKey) ID() [16]byte { return k.id }

// Tag returns the key tag (RFC 4034 Appendix B).
func (k *SigningKey) Tag() uint16 { return k.tag }

// Algorithm returns the algorithm.
func (k *SigningKey) Algorithm() zone.Algorithm { return k.algorithm }

// AppendSignature appends the signature field of an RRSIG over data to b; digest is the SHA-256 of data. The same data gets
// the same signature every time, everywhere.
func (k *SigningKey) AppendSignature(b, data []byte, digest *[sha256.Size]byte) ([]byte, error) {
	b, err := k.sign(b, data, digest)
	if err != nil {
		return nil, fmt.Errorf("sign with key %x: %w", k.id, err)
	}
	return b, nil
}

// Verify returns nil if signature is one of this key over data.
func (k *SigningKey) Verify(data, signature []byte) error {
	return Verify(k.algorithm, k.public, data, signature)
}

// KeySet is all that is signed and published with the keys of one zone at one moment. It is immutable.
type KeySet struct {
	redacted
	zone    zone.Name
	apex    []zone.RRset
	ds      zone.RRset
	stock   *Stock
	forKeys []*SigningKey
	forRest []*SigningKey
}

// Zone returns the apex.
func (s *KeySet) Zone() zone.Name { return s.zone }

// Apex returns the DNSKEY, CDS and CDNSKEY RRsets, as far as there are any. The slice is shared.
func (s *KeySet) Apex() []zone.RRset { return s.apex }

// DS returns the DS RRset that is wanted at the parent: digests 2 and 4 of each of its keys, in the zone's TTL for
// delegations. It is empty if the zone is to be insecure.
func (s *KeySet) DS() zone.RRset { return s.ds }

// SigningKeys returns the keys that sign an RRset: each KSK or CSK for those that Apex returns, ZSK or
// CSK for all others, one for each algorithm (RFC 4035 §2.2). Those of the first kind cannot sign; see Stocked. The slice
// is shared.
func (s *KeySet) SigningKeys(owner zone.Name, t zone.Type) []*SigningKey {
	if rrsig.OfKeys(s.zone, owner, t) {
		return s.forKeys
	}
	return s.forRest
}

// Stocked returns the RDATA of the RRSIG records over one of the RRsets that Apex returns, signed ahead, and when they are the
// ones to give out; nil if there are none that outlive the TTL and zone.SignatureReserve.
func (s *KeySet) Stocked(t zone.Type, now time.Time) ([]string, rrsig.Span) {
	if s.stock == nil || !rrsig.OfKeys(s.zone, s.zone, t) {
		return nil, rrsig.Span{}
	}
	p := s.stock.at(now)
	if p == nil {
		return nil, rrsig.Span{}
	}
	sigs := *p.of(t)
	out := make([]string, len(sigs))
	for i, sig := range sigs {
		out[i] = string(sig)
	}
	return out, s.stock.span(p)
}

// Open unseals the keys that sign in a chain, tests each, verifies what was signed ahead, and builds the key set. KSKs that
// the vault has are tested too, and not kept. The errors name the zone and the key; with no records at all the error is
// ErrNoKeys. Without a chain (a database of a version that had none) the set is empty, and nothing can be answered with it
// until the Manager has made one.
func (v *Vault) Open(z *zone.Zone, records []*KeyRecord, chain *Chain) (*KeySet, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("open the keys of zone %s: %w", z.Name, ErrNoKeys)
	}
	s := &KeySet{zone: z.Name}
	keys := map[string]*SigningKey{}
	for _, r := range records {
		key, err := v.openKey(z, r)
		if err != nil {
			return nil, fmt.Errorf("open key %s of zone %s: %w", r.ID, z.Name, err)
		}
		keys[r.ID] = key
	}
	if chain == nil {
		return s, nil
	}
	if err := s.build(z, records, chain, keys); err != nil {
		return nil, fmt.Errorf("open the keys of zone %s: %w", z.Name, err)
	}
	return s, nil
}

// openKey tests a key and returns what can be done with it.
func (v *Vault) openKey(z *zone.Zone, r *KeyRecord) (*SigningKey, error) {
	switch {
	case r.Zone != z.Name || r.ZoneID != z.ID:
		return nil, fmt.Errorf("it belongs to zone %s with id %q, not to the one with id %q", r.Zone, r.ZoneID, z.ID)
	case !r.Role.known():
		return nil, fmt.Errorf("there is no role %q", r.Role)
	case r.Flags != r.Role.flags():
		return nil, fmt.Errorf("a %s has flags %d, not %d", r.Role, r.Role.flags(), r.Flags)
	}
	key := &SigningKey{tag: r.KeyTag, algorithm: r.Algorithm, public: r.PublicKey, sign: cannotSign}
	id, err := hex.DecodeString(r.ID)
	if err != nil || len(id) != len(key.id) {
		return nil, errors.New("its id is not 128 bits in hex")
	}
	copy(key.id[:], id)
	if r.Place != PlaceHere {
		return key, r.checkTag()
	}
	sign, err := v.unseal(r)
	if err == nil && r.Role.signsRest() {
		key.sign = sign
	}
	return key, err
}

var errSignedAhead = errors.New("what this key signs is signed ahead")

func cannotSign(_, _ []byte, _ *[sha256.Size]byte) ([]byte, error) { return nil, errSignedAhead }

// build makes the set of what the chain publishes and signs with at present.
func (s *KeySet) build(z *zone.Zone, records []*KeyRecord, c *Chain, keys map[string]*SigningKey) error {
	if c.Zone != z.Name || c.ZoneID != z.ID {
		return fmt.Errorf("the chain belongs to zone %s with id %q, not to the one with id %q", c.Zone, c.ZoneID, z.ID)
	}
	find := finder(records)
	sets, err := c.keySets(find, c.Stock.TTL)
	if err != nil {
		return err
	}
	signers := c.keySigners(find)
	if err := c.Stock.verify(z.Name, sets, signers); err != nil {
		return err
	}
	for _, k := range signers {
		s.forKeys = append(s.forKeys, keys[k.ID])
	}
	for _, id := range last(c.Signers).Keys {
		if k := find(id); k == nil || !k.Role.signsRest() || k.Place != PlaceHere {
			return fmt.Errorf("key %s is to sign and cannot", id)
		}
		s.forRest = append(s.forRest, keys[id])
	}
	if err := c.checkPresent(find); err != nil {
		return err
	}
	s.apex, s.stock = sets, &c.Stock
	if len(last(c.DS).Keys) > 0 && !c.NoCDS {
		s.ds = zone.NewRRset(z.Name, zone.TypeDS, z.TTL.NS, rdataOf(sets[1]))
	}
	return nil
}

// checkPresent applies the rules that hold whatever caches have: what is served now validates, no two keys in the DNSKEY
// RRset share a tag, and no RRset has more than two signatures, which is all that some resolvers try.
func (c *Chain) checkPresent(find func(id string) *KeyRecord) error {
	algorithm := func(id string) zone.Algorithm { return algorithmIn(find, id) }
	ds, keys, signers := last(c.DS).Keys, last(c.Keys).Keys, last(c.Signers).Keys
	if a, ok := covers(ds, ds, keys, algorithm); !ok {
		return fmt.Errorf("no %s key that is wanted at the parent is in the DNSKEY RRset", a)
	}
	if a, ok := covers(keys, keys, signers, algorithm); !ok {
		return fmt.Errorf("no %s key in the DNSKEY RRset signs the records", a)
	}
	seen := map[uint16]bool{}
	for _, id := range keys {
		tag := find(id).KeyTag
		if seen[tag] {
			return fmt.Errorf("two keys have the tag %d", tag)
		}
		seen[tag] = true
	}
	if len(signers) > maxSignatures || len(c.keySigners(find)) > maxSignatures {
		return fmt.Errorf("more than %d keys sign one RRset", maxSignatures)
	}
	for _, id := range keys {
		a := algorithm(id)
		if !slices.ContainsFunc(c.keySigners(find), func(k *KeyRecord) bool { return k.Algorithm == a }) {
			return fmt.Errorf("no %s key signs the DNSKEY RRset", a)
		}
	}
	return nil
}

// maxSignatures is the largest number of signatures of one RRset: PowerDNS Recursor looks at two and no more.
const maxSignatures = 2

func rdataOf(set zone.RRset) []string {
	out := make([]string, set.Len())
	for i := range out {
		out[i] = set.RData(i)
	}
	return out
}

// Ring is the key sets of all zones. It is immutable; the nil Ring is empty.
type Ring struct {
	redacted
	sets map[zone.Name]*KeySet
}

// KeySet returns the keys of a zone, nil if there are none.
func (r *Ring) KeySet(apex zone.Name) *KeySet {
	if r == nil {
		return nil
	}
	return r.sets[apex]
}

// Apex implements zone.Keys.
func (r *Ring) Apex(apex zone.Name) []zone.RRset {
	if s := r.KeySet(apex); s != nil {
		return s.Apex()
	}
	return nil
}

// DS implements zone.Keys.
func (r *Ring) DS(apex zone.Name) zone.RRset {
	if s := r.KeySet(apex); s != nil {
		return s.DS()
	}
	return zone.RRset{}
}

// With returns a ring in which the set replaces that of the same zone.
func (r *Ring) With(set *KeySet) *Ring {
	sets := r.clone()
	sets[set.zone] = set
	return &Ring{sets: sets}
}

// Without returns a ring that has no keys of a zone.
func (r *Ring) Without(apex zone.Name) *Ring {
	sets := r.clone()
	delete(sets, apex)
	return &Ring{sets: sets}
}

func (r *Ring) clone() map[zone.Name]*KeySet {
	if r == nil || r.sets == nil {
		return map[zone.Name]*KeySet{}
	}
	return maps.Clone(r.sets)
}
