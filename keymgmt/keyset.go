package keymgmt

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

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

// Sign returns the signature field of an RRSIG over data; digest is the SHA-256 of data. The same data gets the
// same signature every time, everywhere.
func (k *SigningKey) Sign(data []byte, digest [sha256.Size]byte) ([]byte, error) {
	signature, err := k.sign(data, digest)
	if err != nil {
		return nil, fmt.Errorf("sign with key %x: %w", k.id, err)
	}
	return signature, nil
}

// Verify returns nil if signature is one of this key over data.
func (k *SigningKey) Verify(data, signature []byte) error {
	return Verify(k.algorithm, k.public, data, signature)
}

// KeySet is all that is signed and published with the keys of one zone. It is immutable.
type KeySet struct {
	redacted
	zone    zone.Name
	apex    []zone.RRset
	ds      zone.RRset
	forKeys []*SigningKey
	forRest []*SigningKey
}

// Zone returns the apex.
func (s *KeySet) Zone() zone.Name { return s.zone }

// Apex returns the DNSKEY, CDS and CDNSKEY RRsets. The slice is shared.
func (s *KeySet) Apex() []zone.RRset { return s.apex }

// DS returns the DS RRset for the parent: digests 2 and 4 of each KSK and CSK, in the zone's TTL for delegations.
func (s *KeySet) DS() zone.RRset { return s.ds }

// SigningKeys returns the keys that sign RRsets of type t: KSK or CSK for the types that Apex returns, ZSK or
// CSK for all others, exactly one for each algorithm (RFC 4035 §2.2). The slice is shared.
func (s *KeySet) SigningKeys(t zone.Type) []*SigningKey {
	switch t {
	case zone.TypeDNSKEY, zone.TypeCDS, zone.TypeCDNSKEY:
		return s.forKeys
	}
	return s.forRest
}

// Open unseals the keys of a zone, tests each, and builds the key set. Every algorithm must have exactly one key
// that signs the keys and one that signs the rest. The errors name the zone and the key; with no records at all
// the error is ErrNoKeys.
func (v *Vault) Open(z *zone.Zone, records []*KeyRecord) (*KeySet, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("open the keys of zone %s: %w", z.Name, ErrNoKeys)
	}
	s := &KeySet{zone: z.Name}
	for _, r := range sortedByID(records) {
		if err := v.openKey(z, r, s); err != nil {
			return nil, fmt.Errorf("open key %s of zone %s: %w", r.ID, z.Name, err)
		}
	}
	if err := s.checkComplete(records); err != nil {
		return nil, fmt.Errorf("open the keys of zone %s: %w", z.Name, err)
	}
	s.publish(z, records)
	return s, nil
}

// sortedByID makes the order of signatures in an answer the same on all nodes.
func sortedByID(records []*KeyRecord) []*KeyRecord {
	return slices.SortedFunc(slices.Values(records), func(a, b *KeyRecord) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
}

// openKey adds a key to the set.
func (v *Vault) openKey(z *zone.Zone, r *KeyRecord, s *KeySet) error {
	switch {
	case r.Zone != z.Name || r.ZoneID != z.ID:
		return fmt.Errorf("it belongs to zone %s with id %q, not to the one with id %q", r.Zone, r.ZoneID, z.ID)
	case !r.Role.known():
		return fmt.Errorf("there is no role %q", r.Role)
	case r.Flags != r.Role.flags():
		return fmt.Errorf("a %s has flags %d, not %d", r.Role, r.Role.flags(), r.Flags)
	}
	key := &SigningKey{tag: r.KeyTag, algorithm: r.Algorithm, public: r.PublicKey}
	id, err := hex.DecodeString(r.ID)
	if err != nil || len(id) != len(key.id) {
		return errors.New("its id is not 128 bits in hex")
	}
	copy(key.id[:], id)
	if key.sign, err = v.unseal(r); err != nil {
		return err
	}
	if r.Role.signsKeys() {
		s.forKeys = append(s.forKeys, key)
	}
	if r.Role.signsRest() {
		s.forRest = append(s.forRest, key)
	}
	return nil
}

// checkComplete makes sure that every RRset will be signed once in every algorithm of the DNSKEY RRset
// (RFC 4035 §2.2), and that no two keys share a tag.
func (s *KeySet) checkComplete(records []*KeyRecord) error {
	algorithms, seen := map[zone.Algorithm]bool{}, map[uint16]bool{}
	for _, r := range records {
		algorithms[r.Algorithm] = true
		if seen[r.KeyTag] {
			return fmt.Errorf("two keys have the tag %d", r.KeyTag)
		}
		seen[r.KeyTag] = true
	}
	for a := range algorithms {
		isOf := func(k *SigningKey) bool { return k.algorithm == a }
		if n := count(s.forKeys, isOf); n != 1 {
			return fmt.Errorf("%d keys of algorithm %s sign the keys; one KSK or CSK is needed", n, a)
		}
		if n := count(s.forRest, isOf); n != 1 {
			return fmt.Errorf("%d keys of algorithm %s sign the records; one ZSK or CSK is needed", n, a)
		}
	}
	return nil
}

func count[T any](all []T, match func(T) bool) (n int) {
	for _, x := range all {
		if match(x) {
			n++
		}
	}
	return n
}

// publish builds the RRsets.
func (s *KeySet) publish(z *zone.Zone, records []*KeyRecord) {
	var keys, cds, cdnskey []string
	for _, r := range records {
		keys = append(keys, r.DNSKEY())
		if r.Role.signsKeys() {
			cds = append(cds, r.DS()...)
			cdnskey = append(cdnskey, r.DNSKEY())
		}
	}
	s.apex = []zone.RRset{
		zone.NewRRset(z.Name, zone.TypeDNSKEY, z.TTL.DNSKEY, keys),
		zone.NewRRset(z.Name, zone.TypeCDS, z.TTL.DNSKEY, cds),
		zone.NewRRset(z.Name, zone.TypeCDNSKEY, z.TTL.DNSKEY, cdnskey),
	}
	s.ds = zone.NewRRset(z.Name, zone.TypeDS, z.TTL.NS, cds)
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
