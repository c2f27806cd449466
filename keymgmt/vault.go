package keymgmt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Vault makes and opens what needs the key-encryption key. Three keys are derived from that one with
// HKDF-SHA-256 (RFC 5869): one seals, one authenticates tokens, one is the public identity.
//
// A sealed private key is one octet of format version (1), 12 octets of random nonce, and the AES-256-GCM
// encryption of the PKCS #8 form with its tag. The additional data is what [KeyRecord] says about the key: a
// record of which any part was changed does not open.
type Vault struct {
	redacted
	id   string
	seal func(plain, additional []byte) []byte
	open func(sealed, additional []byte) ([]byte, error)
	mac  func(message string) []byte
}

const (
	sealVersion = 1
	infoSeal    = "mxseal 1 seal private keys"
	infoToken   = "mxseal 1 authenticate tokens"
	infoID      = "mxseal 1 identity"
	idSize      = 8 // of a key-encryption key's identity, in octets

	// tagAttempts bounds the search for a key whose tags are free. A zone has so few of the 65,536 tags that
	// the second attempt hardly ever happens.
	tagAttempts = 64
)

var (
	errSealed  = errors.New("the sealed key does not belong to this record, or was changed")
	errVersion = errors.New("the sealed key has a format that this version does not know")
	// ErrAway means that the private part of a key is not on this machine.
	ErrAway = errors.New("the private key is somewhere else")
	errTags = errors.New("no key with a free key tag was found")
)

// newVault derives the keys; kek is not kept.
func newVault(kek []byte) (*Vault, error) {
	derived := make(map[string][]byte, 3)
	for info, size := range map[string]int{infoSeal: 32, infoToken: 32, infoID: idSize} {
		key, err := hkdf.Key(sha256.New, kek, nil, info, size)
		if err != nil {
			return nil, fmt.Errorf("%w: derive: %w", ErrKEK, err)
		}
		derived[info] = key
	}
	block, err := aes.NewCipher(derived[infoSeal])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKEK, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKEK, err)
	}
	return &Vault{
		id: hex.EncodeToString(derived[infoID]),
		seal: func(plain, additional []byte) []byte {
			return aead.Seal([]byte{sealVersion}, nil, plain, additional)
		},
		open: func(sealed, additional []byte) ([]byte, error) {
			if len(sealed) == 0 || sealed[0] != sealVersion {
				return nil, errVersion
			}
			plain, err := aead.Open(nil, nil, sealed[1:], additional)
			if err != nil {
				return nil, errSealed
			}
			return plain, nil
		},
		mac: func(message string) []byte {
			h := hmac.New(sha256.New, derived[infoToken])
			h.Write([]byte(message))
			return h.Sum(nil)
		},
	}, nil
}

// KEK returns the public identity of the key-encryption key: 64 bits derived from it, in hex.
func (v *Vault) KEK() string { return v.id }

// ZoneKeys is what a zone needs before it can be answered for.
type ZoneKeys struct {
	Keys  []*KeyRecord
	Chain *Chain
}

// Rows returns what has to be written together with the zone.
func (k ZoneKeys) Rows() []zone.Row {
	rows := make([]zone.Row, 0, len(k.Keys)+1)
	for _, r := range k.Keys {
		rows = append(rows, r)
	}
	return append(rows, k.Chain)
}

// NewZone makes what a zone needs before it can be answered for: its keys by the policy, a CSK or a KSK and a ZSK, and
// the chain that publishes them. Key tags, and those of revoked forms, differ from those of existing keys.
func (v *Vault) NewZone(z *zone.Zone, existing []*KeyRecord, now time.Time) (ZoneKeys, error) {
	roles := make([]Role, 0, 3)
	for _, s := range slots(z.Keys) {
		roles = append(roles, s.role(z.Keys))
	}
	made, err := v.generate(z, roles, existing, now)
	if err != nil {
		return ZoneKeys{}, err
	}
	c := newChain(z, made, now)
	c.Stock, err = v.SignAhead(z, c, made, now)
	return ZoneKeys{made, c}, err
}

// generate makes keys of roles, all with tags of their own.
func (v *Vault) generate(z *zone.Zone, roles []Role, existing []*KeyRecord, now time.Time) ([]*KeyRecord, error) {
	taken := map[uint16]bool{}
	take := func(k *KeyRecord) {
		tag, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
		taken[tag], taken[revoked] = true, true
	}
	for _, k := range existing {
		take(k)
	}
	made := make([]*KeyRecord, len(roles))
	for i, role := range roles {
		k, err := v.Generate(z, role, now, func(tag uint16) bool { return taken[tag] })
		if err != nil {
			return nil, err
		}
		take(k)
		made[i] = k
	}
	return made, nil
}

// Generate makes a key of the zone's algorithm. Neither its key tag nor that of its revoked form is taken.
func (v *Vault) Generate(z *zone.Zone, role Role, now time.Time, taken func(tag uint16) bool) (*KeyRecord, error) {
	if !role.known() {
		return nil, fmt.Errorf("make a key of zone %s: there is no role %q", z.Name, role)
	}
	for range tagAttempts {
		k, plain, err := newKey(z, role)
		if err != nil {
			return nil, fmt.Errorf("make a %s of zone %s: %w", role, z.Name, err)
		}
		tag, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
		if taken(tag) || taken(revoked) {
			clear(plain)
			continue
		}
		k.KeyTag, k.Created, k.KEK = tag, now.UTC(), v.id
		k.Sealed = v.seal(plain, k.additional())
		clear(plain)
		return k, nil
	}
	return nil, fmt.Errorf("make a %s of zone %s: %w", role, z.Name, errTags)
}

// newKey makes a private key, in PKCS #8 form, and the part of its record that follows from it.
func newKey(z *zone.Zone, role Role) (k *KeyRecord, plain []byte, err error) {
	private, err := newPrivateKey(z.Keys.Algorithm)
	if err != nil {
		return nil, nil, err
	}
	public, err := publicField(z.Keys.Algorithm, private)
	if err != nil {
		return nil, nil, err
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return nil, nil, err
	}
	plain, err = x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return &KeyRecord{
		ID: hex.EncodeToString(id), Zone: z.Name, ZoneID: z.ID, Role: role, Algorithm: z.Keys.Algorithm,
		Flags: role.flags(), PublicKey: public,
	}, plain, nil
}

// additional is what the sealed private key is bound to. Every part has its length before it, so that no two
// records have the same.
func (k *KeyRecord) additional() []byte {
	var b []byte
	for _, part := range []string{
		k.Zone.Wire(), k.ZoneID, k.ID, string(k.Role), k.DNSKEY(), k.KEK,
	} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// unseal returns the signing function of a key. It proves that the private key is the one the record is about.
func (v *Vault) unseal(k *KeyRecord) (signFunc, error) {
	if k.KEK != v.id {
		return nil, fmt.Errorf("%w: the key is sealed under %q, not under the configured one, %q", ErrKEK, k.KEK, v.id)
	}
	if err := k.checkTag(); err != nil {
		return nil, err
	}
	plain, err := v.open(k.Sealed, k.additional())
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	private, err := parsePKCS8(plain)
	if err != nil {
		return nil, err
	}
	public, err := publicField(k.Algorithm, private)
	if err != nil {
		return nil, err
	}
	if string(public) != string(k.PublicKey) {
		return nil, errors.New("the private key is not that of the recorded public key")
	}
	sign, err := newSignFunc(private)
	if err != nil {
		return nil, err
	}
	return sign, selfTest(k, sign)
}

// private returns the signing function of a key, wherever the private part is.
func (v *Vault) private(k *KeyRecord) (signFunc, error) {
	if k.Place != PlaceHere {
		return nil, ErrAway
	}
	return v.unseal(k)
}

// selfTest signs once and verifies with the recorded public key: a fault in memory or in the cryptography shows
// here and not in every resolver.
func selfTest(k *KeyRecord, sign signFunc) error {
	data := []byte("mxseal self-test " + k.ID)
	signature, err := sign(data, sha256.Sum256(data))
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if err := Verify(k.Algorithm, k.PublicKey, data, signature); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	return nil
}
