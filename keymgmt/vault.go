package keymgmt

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Vault makes and opens what needs the key-encryption key. Two keys are derived from that one with
// HKDF-SHA-256 (RFC 5869): one seals, one is the public identity. While the key-encryption key is being replaced there are
// earlier ones, which open and do not seal.
//
// A sealed private key is one octet of format version (1), 12 octets of random nonce, and the AES-256-GCM
// encryption of the PKCS #8 form with its tag. The additional data is what [KeyRecord] says about the key: a
// record of which any part was changed does not open.
type Vault struct {
	redacted
	hsm     HSM // nil if there is none
	sealers atomic.Pointer[sealers]
}

// HSM is a PKCS #11 token in which KSKs may be. Safe for concurrent use.
type HSM interface {
	// Generate makes a key pair under an id; the private key never leaves the token.
	Generate(algorithm uint8, id []byte) (crypto.PublicKey, error)
	// Signer returns the private key of an id.
	Signer(id []byte) (crypto.Signer, error)
	// Destroy removes a key pair; that there is none is no error.
	Destroy(id []byte) error
	// Wrap encrypts a secret under a key of the token, bound to the additional data.
	Wrap(secret, additional []byte) ([]byte, error)
	// Unwrap decrypts what Wrap has made.
	Unwrap(wrapped, additional []byte) ([]byte, error)
}

// sealers is the key-encryption keys: the first seals, all of them open.
type sealers []*sealer

// sealer seals under one key-encryption key.
type sealer struct {
	id   string
	aead cipher.AEAD
}

const (
	sealVersion = 1
	infoSeal    = "mxseal 1 seal private keys"
	infoID      = "mxseal 1 identity"
	idSize      = 8 // of a key-encryption key's identity, in octets

	// tagAttempts bounds the search for a key whose tags are free. A zone has so few of the 65,536 tags that
	// the second attempt hardly ever happens.
	tagAttempts = 64
)

var (
	errSealed  = errors.New("what is sealed does not belong to this record, or was changed")
	errVersion = errors.New("what is sealed has a format that this version does not know")
	// ErrAway means that the private part of a key is not on this machine.
	ErrAway = errors.New("the private key is somewhere else")
	errTags = errors.New("no key with a free key tag was found")
	errHSM  = errors.New("the key is in a PKCS #11 token, and none is configured (keys.pkcs11.module)")
)

// newSealer derives the keys; kek is not kept.
func newSealer(kek []byte) (*sealer, error) {
	derived := make(map[string][]byte, 2)
	for info, size := range map[string]int{infoSeal: 32, infoID: idSize} {
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
	return &sealer{hex.EncodeToString(derived[infoID]), aead}, nil
}

// KEK returns the public identity of the key-encryption key that seals: 64 bits derived from it, in hex.
func (v *Vault) KEK() string { return (*v.sealers.Load())[0].id }

// seal encrypts under the present key-encryption key. The caller's additional data has the identity of that one: kek.
func (v *Vault) seal(kek string, plain, additional []byte) ([]byte, error) {
	s, err := v.sealer(kek)
	if err != nil {
		return nil, err
	}
	return s.aead.Seal([]byte{sealVersion}, nil, plain, additional), nil
}

// open decrypts what was sealed under a key-encryption key.
func (v *Vault) open(kek string, sealed, additional []byte) ([]byte, error) {
	s, err := v.sealer(kek)
	if err != nil {
		return nil, err
	}
	if len(sealed) == 0 || sealed[0] != sealVersion {
		return nil, errVersion
	}
	plain, err := s.aead.Open(nil, nil, sealed[1:], additional)
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

func (v *Vault) sealer(kek string) (*sealer, error) {
	all := *v.sealers.Load()
	for _, s := range all {
		if s.id == kek {
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: it is sealed under %q, not under the configured one, %q", ErrKEK, kek, all[0].id)
}

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

// CheckPolicy refuses a policy that needs a token where there is none.
func (v *Vault) CheckPolicy(p zone.KeyPolicy) error {
	if Place(p.KSKPlace) == PlaceToken && v.hsm == nil {
		return refuse(zone.ErrInvalid, "keys.ksk_place", "pkcs11 needs a token, and this server has none (keys.pkcs11.module)")
	}
	return nil
}

// NewZone makes what a zone needs before it can be answered for: its keys by the policy, a CSK or a KSK and a ZSK, and
// the chain that publishes them. Key tags, and those of revoked forms, differ from those of existing keys. A zone that was
// signed by another server keeps its keys, if all of them are given.
func (v *Vault) NewZone(z *zone.Zone, given []GivenKey, existing []*KeyRecord, now time.Time) (ZoneKeys, error) {
	var made []*KeyRecord
	var err error
	if len(given) > 0 {
		made, err = v.takeOver(z, given, existing, now)
	} else {
		made, err = v.generate(z, slots(z.Keys), existing, now)
	}
	if err != nil {
		return ZoneKeys{}, err
	}
	c := newChain(z, made, len(given) == 0, now)
	c.Stock, err = v.SignAhead(z, c, made, now)
	return ZoneKeys{made, c}, err
}

// generate makes keys that take slots, all with tags of their own. An offline key is made by somebody else: until it is
// brought, a zone has a sealed one.
func (v *Vault) generate(z *zone.Zone, slots []Slot, existing []*KeyRecord, now time.Time) ([]*KeyRecord, error) {
	taken := map[uint16]bool{}
	take := func(k *KeyRecord) {
		tag, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
		taken[tag], taken[revoked] = true, true
	}
	for _, k := range existing {
		take(k)
	}
	made := make([]*KeyRecord, len(slots))
	for i, slot := range slots {
		place := slot.place(z.Keys)
		if place == PlaceOffline {
			place = PlaceHere
		}
		k, err := v.Generate(z, slot.role(z.Keys), place, now, func(tag uint16) bool { return taken[tag] })
		if err != nil {
			return nil, err
		}
		take(k)
		made[i] = k
	}
	return made, nil
}

// Generate makes a key of the zone's algorithm. Neither its key tag nor that of its revoked form is taken.
func (v *Vault) Generate(z *zone.Zone, role Role, place Place, now time.Time, taken func(tag uint16) bool) (*KeyRecord, error) {
	if !role.known() {
		return nil, fmt.Errorf("make a key of zone %s: there is no role %q", z.Name, role)
	}
	for range tagAttempts {
		k := &KeyRecord{ID: newKeyID(), Zone: z.Name, ZoneID: z.ID, Role: role, Algorithm: z.Keys.Algorithm,
			Flags: role.flags(), Created: now.UTC(), Place: place}
		err := v.fillIn(k, taken)
		if err == nil {
			return k, nil
		}
		if place == PlaceToken && !errors.Is(err, errTags) {
			return nil, refuse(zone.ErrUnavailable, "keys.ksk_place", "no key can be made in the token: %s", err)
		}
		if !errors.Is(err, errTags) {
			return nil, fmt.Errorf("make a %s of zone %s: %w", role, z.Name, err)
		}
	}
	return nil, fmt.Errorf("make a %s of zone %s: %w", role, z.Name, errTags)
}

func newKeyID() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails: it ends the program instead
	return hex.EncodeToString(id)
}

// fillIn makes the key pair of a record, in the place that it names. The error is errTags if a tag is taken.
func (v *Vault) fillIn(k *KeyRecord, taken func(tag uint16) bool) (err error) {
	if k.Place == PlaceToken {
		return v.fillInToken(k, taken)
	}
	private, err := newPrivateKey(k.Algorithm)
	if err != nil {
		return err
	}
	if err := k.setPublic(private.Public(), taken); err != nil {
		return err
	}
	return v.sealInto(k, private)
}

// fillInToken makes the key pair in the token.
func (v *Vault) fillInToken(k *KeyRecord, taken func(tag uint16) bool) error {
	if v.hsm == nil {
		return errHSM
	}
	id, err := hex.DecodeString(k.ID)
	if err != nil {
		return err
	}
	public, err := v.hsm.Generate(uint8(k.Algorithm), id)
	if err != nil {
		return err
	}
	if err := k.setPublic(public, taken); err != nil {
		return errors.Join(err, v.hsm.Destroy(id))
	}
	return nil
}

// setPublic sets what follows from the public key.
func (k *KeyRecord) setPublic(public crypto.PublicKey, taken func(tag uint16) bool) (err error) {
	if k.PublicKey, err = publicField(k.Algorithm, public); err != nil {
		return err
	}
	tag, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
	if taken(tag) || taken(revoked) {
		return errTags
	}
	k.KeyTag = tag
	return nil
}

// sealInto seals a private key into its record.
func (v *Vault) sealInto(k *KeyRecord, private crypto.Signer) error {
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	defer clear(plain)
	k.KEK = v.KEK()
	k.Sealed, err = v.seal(k.KEK, plain, k.additional())
	return err
}

// Destroy removes the private part of a key from the token that it is in. Of other keys it is gone with the record.
func (v *Vault) Destroy(k *KeyRecord) error {
	if k.Place != PlaceToken {
		return nil
	}
	if v.hsm == nil {
		return errHSM
	}
	id, err := hex.DecodeString(k.ID)
	if err != nil {
		return err
	}
	return v.hsm.Destroy(id)
}

// DestroyAll is Destroy for keys whose rows are gone. Should it fail, they stay in the token, and are known to nobody but the log.
func (v *Vault) DestroyAll(keys []*KeyRecord, log *slog.Logger) {
	for _, k := range keys {
		if err := v.Destroy(k); err != nil {
			log.Warn("a key that is no longer needed is still in the token", "zone", k.Zone, "key", k.ID, "error", err)
		}
	}
}

// Reseal returns the rows, of keys and tokens, that are sealed under an earlier key-encryption key, sealed under the present
// one.
func (v *Vault) Reseal(keys []*KeyRecord, tokens []*Token) (rows []zone.Row, err error) {
	kek := v.KEK()
	for _, k := range keys {
		if k.Place != PlaceHere || k.KEK == kek {
			continue
		}
		next := *k
		next.KEK = kek
		if next.Sealed, err = v.reseal(k.KEK, k.Sealed, k.additional(), kek, next.additional()); err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		rows = append(rows, &next)
	}
	for _, t := range tokens {
		if t.KEK == kek {
			continue
		}
		next := *t
		next.KEK = kek
		if next.Sealed, err = v.reseal(t.KEK, t.Sealed, t.additional(), kek, next.additional()); err != nil {
			return nil, fmt.Errorf("token %s: %w", t.ID, err)
		}
		rows = append(rows, &next)
	}
	return rows, nil
}

func (v *Vault) reseal(from string, sealed, additional []byte, to string, next []byte) ([]byte, error) {
	plain, err := v.open(from, sealed, additional)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return v.seal(to, plain, next)
}

// additional is what the sealed private key is bound to. Every part has its length before it, so that no two
// records have the same.
func (k *KeyRecord) additional() []byte {
	return lengthPrefixed(k.Zone.Wire(), k.ZoneID, k.ID, string(k.Role), k.DNSKEY(), k.KEK)
}

func lengthPrefixed(parts ...string) (b []byte) {
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// unseal returns the signing function of a key. It proves that the private key is the one the record is about.
func (v *Vault) unseal(k *KeyRecord) (signFunc, error) {
	plain, err := v.open(k.KEK, k.Sealed, k.additional())
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	private, err := parsePKCS8(plain)
	if err != nil {
		return nil, err
	}
	return k.use(private, newSignFunc)
}

// inToken is unseal for a key in the token.
func (v *Vault) inToken(k *KeyRecord) (signFunc, error) {
	if v.hsm == nil {
		return nil, errHSM
	}
	id, err := hex.DecodeString(k.ID)
	if err != nil {
		return nil, err
	}
	private, err := v.hsm.Signer(id)
	if err != nil {
		return nil, err
	}
	return k.use(private, tokenSignFunc)
}

// use makes the signing function of a private key, and tests it.
func (k *KeyRecord) use(private crypto.Signer, make func(crypto.Signer) (signFunc, error)) (signFunc, error) {
	if err := k.checkTag(); err != nil {
		return nil, err
	}
	public, err := publicField(k.Algorithm, private.Public())
	if err != nil {
		return nil, err
	}
	if string(public) != string(k.PublicKey) {
		return nil, errors.New("the private key is not that of the recorded public key")
	}
	sign, err := make(private)
	if err != nil {
		return nil, err
	}
	return sign, selfTest(k, sign)
}

// private returns the signing function of a key, wherever the private part is.
func (v *Vault) private(k *KeyRecord) (signFunc, error) {
	switch k.Place {
	case PlaceHere:
		return v.unseal(k)
	case PlaceToken:
		return v.inToken(k)
	}
	return nil, ErrAway
}

// selfTest signs once and verifies with the recorded public key: a fault in memory or in the cryptography shows
// here and not in every resolver.
func selfTest(k *KeyRecord, sign signFunc) error {
	data := []byte("mxseal self-test " + k.ID)
	signature, err := sign(nil, data, new(sha256.Sum256(data)))
	if err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	if err := Verify(k.Algorithm, k.PublicKey, data, signature); err != nil {
		return fmt.Errorf("self-test: %w", err)
	}
	return nil
}
