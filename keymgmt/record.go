package keymgmt

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Kinds of the rows of this package.
const (
	KindKey   zone.Kind = "keys"
	KindToken zone.Kind = "tokens"
)

// Role says what a key signs.
type Role string

// The roles of RFC 6781 §3.1.
const (
	KSK Role = "ksk" // signs DNSKEY, CDS and CDNSKEY; the parent's DS points to it
	ZSK Role = "zsk" // signs everything else
	CSK Role = "csk" // signs everything; the parent's DS points to it
)

// Place is where the private part of a key is.
type Place string

// The places.
const (
	PlaceHere    Place = zone.KSKSealed  // in the record, sealed
	PlaceToken   Place = zone.KSKToken   // in a PKCS #11 token, under the id of the record
	PlaceOffline Place = zone.KSKOffline // with somebody who signs the key sets in a ceremony
	PlaceForeign Place = "foreign"       // with another signer of the zone (RFC 8901 §2.1.2); we publish the key, nothing more
)

// Flags of a DNSKEY (RFC 4034 §2.1.1, RFC 5011 §7).
const (
	flagZone   = 0x0100
	flagRevoke = 0x0080
	flagSEP    = 0x0001
)

// dnskeyProtocol is the only value of the protocol field (RFC 4034 §2.1.2).
const dnskeyProtocol = 3

func (r Role) known() bool     { return r == KSK || r == ZSK || r == CSK }
func (r Role) signsKeys() bool { return r == KSK || r == CSK }
func (r Role) signsRest() bool { return r == ZSK || r == CSK }
func (r Role) flags() uint16 {
	if r.signsKeys() {
		return flagZone | flagSEP
	}
	return flagZone
}

// KeyRecord is a key as the store has it: the private part is sealed. Rows are immutable and made by a [Vault].
type KeyRecord struct {
	ID        string         `json:"id"`         // 128 random bits in lower-case hex
	Zone      zone.Name      `json:"zone"`       // apex
	ZoneID    string         `json:"zone_id"`    // of the zone's row
	Role      Role           `json:"role"`       //
	Algorithm zone.Algorithm `json:"algorithm"`  //
	Flags     uint16         `json:"flags"`      // 257 for KSK and CSK, 256 for ZSK
	PublicKey []byte         `json:"public_key"` // public key field of the DNSKEY record (RFC 4034 §2.1.4)
	KeyTag    uint16         `json:"key_tag"`    // RFC 4034 Appendix B
	Created   time.Time      `json:"created"`    // UTC
	KEK       string         `json:"kek"`        // identity of the key-encryption key that Sealed needs
	Place     Place          `json:"place,omitempty"`
	Sealed    []byte         `json:"sealed"`           // private key, see [Vault]; empty unless the place is here
	Retired   time.Time      `json:"retired,omitzero"` // UTC, when it went to the trash: no cache remembers it
	Revision  uint64         `json:"-"`                // of the last write, 0 before the first
}

// Ref names the row and the version it was derived from.
func (k *KeyRecord) Ref() zone.Ref { return zone.Ref{Kind: KindKey, ID: k.ID, Revision: k.Revision} }

// String names the key for messages.
func (k *KeyRecord) String() string {
	return fmt.Sprintf("%s %s of zone %s (%s, tag %d)", k.Role, k.ID, k.Zone, k.Algorithm, k.KeyTag)
}

// DNSKEY returns the RDATA of the key's DNSKEY record (RFC 4034 §2.1). It is also that of its CDNSKEY record
// (RFC 7344 §3.2).
func (k *KeyRecord) DNSKEY() string { return dnskey(k.Flags, k.Algorithm, k.PublicKey) }

func dnskey(flags uint16, algorithm zone.Algorithm, public []byte) string {
	b := binary.BigEndian.AppendUint16(make([]byte, 0, 4+len(public)), flags)
	b = append(b, dnskeyProtocol, byte(algorithm))
	return string(append(b, public...))
}

// DS returns the RDATA of the key's DS records (RFC 4034 §5.1) in digests 2 (SHA-256, RFC 4509) and 4 (SHA-384,
// RFC 6605). It is also that of its CDS records (RFC 7344 §3.1).
func (k *KeyRecord) DS() []string {
	signed := []byte(k.Zone.Wire() + k.DNSKEY())
	head := binary.BigEndian.AppendUint16(nil, k.KeyTag)
	head = append(head, byte(k.Algorithm))
	sha2, sha4 := sha256.Sum256(signed), sha512.Sum384(signed)
	return []string{
		string(head) + "\x02" + string(sha2[:]),
		string(head) + "\x04" + string(sha4[:]),
	}
}

// tags returns the key tag and that of the revoked form of the key (RFC 5011 §2.1).
func tags(flags uint16, algorithm zone.Algorithm, public []byte) (tag, revoked uint16) {
	return keyTag(dnskey(flags, algorithm, public)), keyTag(dnskey(flags|flagRevoke, algorithm, public))
}

// keyTag computes the key tag of DNSKEY RDATA (RFC 4034 Appendix B).
func keyTag(rdata string) uint16 {
	var sum uint32
	for i := range len(rdata) {
		if i%2 == 0 {
			sum += uint32(rdata[i]) << 8
		} else {
			sum += uint32(rdata[i])
		}
	}
	sum += sum >> 16
	return uint16(sum)
}

// isForeign reports whether a key belongs to another signer.
func (k *KeyRecord) isForeign() bool { return k.Place == PlaceForeign }

// checkTag makes sure that the recorded key tag is that of the public key.
func (k *KeyRecord) checkTag() error {
	if tag, _ := tags(k.Flags, k.Algorithm, k.PublicKey); tag != k.KeyTag {
		return fmt.Errorf("the recorded key tag is %d, that of the public key is %d", k.KeyTag, tag)
	}
	return nil
}
