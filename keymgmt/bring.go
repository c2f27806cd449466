package keymgmt

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// maxBrought bounds the keys of other signers, and the offline keys that wait, of one zone.
const maxBrought = 8

// Add takes in the public part of a key that somebody else has: an offline KSK, which waits until the zone's KSK is rolled;
// or a key of another signer of the zone (RFC 8901 §2.1.2), of which a ZSK is published and a KSK gets a DS. The text is a
// DNSKEY record, or its RDATA, in presentation form. To add a key again changes nothing.
func (m *Manager) Add(ctx context.Context, apex zone.Name, dnskey string, place Place) error {
	return m.request(ctx, apex, func(p *plan) (*Step, error) {
		k, err := parseDNSKEY(apex, dnskey)
		if err != nil {
			return nil, refuse(zone.ErrInvalid, "dnskey", "%s", err)
		}
		s := &Step{Kind: StepReserve, Why: fmt.Sprintf("a %s key was brought: %s %d", place, k.Role, k.KeyTag), Chain: p.in.Chain.clone()}
		known := slices.IndexFunc(p.in.Keys, func(o *KeyRecord) bool { return o.DNSKEY() == k.DNSKEY() && o.Place == place })
		switch {
		case known >= 0 && p.in.Keys[known].Retired.IsZero():
			return nil, nil
		case known >= 0:
			k, s.Unretire = p.in.Keys[known], p.in.Keys[known].ID
		default:
			if err := p.addable(k, place); err != nil {
				return nil, err
			}
			k.ID, k.ZoneID, k.Created, k.Place = newKeyID(), p.in.Zone.ID, p.now, place
			s.Add = []*KeyRecord{k}
		}
		if g := &s.Chain.Goal; place == PlaceForeign {
			g.Foreign = append(g.Foreign, k.ID)
		} else {
			g.Reserve = append(g.Reserve, k.ID)
		}
		return s, nil
	})
}

// brought counts the keys of other signers and the offline keys that wait; ZSKs that were made ahead are in the reserve too.
func (p *plan) brought() int {
	n := len(p.in.Chain.Goal.Foreign)
	for _, id := range p.in.Chain.Goal.Reserve {
		if k := p.find(id); k != nil && k.Place == PlaceOffline {
			n++
		}
	}
	return n
}

// addable checks a key that is brought.
func (p *plan) addable(k *KeyRecord, place Place) error {
	switch {
	case place != PlaceOffline && place != PlaceForeign:
		return refuse(zone.ErrInvalid, "place", "must be offline or foreign")
	case place == PlaceOffline && k.Role != KSK:
		return refuse(zone.ErrInvalid, "dnskey", "must have the flags 257: a ZSK signs every answer and cannot be offline")
	case k.Algorithm != p.in.Zone.Keys.Algorithm:
		return refuse(zone.ErrInvalid, "dnskey", "is of algorithm %s, and the zone is signed with %s", k.Algorithm, p.in.Zone.Keys.Algorithm)
	case p.brought() >= maxBrought:
		return refuse(zone.ErrConflict, "dnskey", "the zone has %d such keys already", maxBrought)
	}
	mine, revoked := tags(k.Flags, k.Algorithm, k.PublicKey)
	for _, other := range p.in.Keys {
		a, b := tags(other.Flags, other.Algorithm, other.PublicKey)
		if slices.Contains([]uint16{a, b}, mine) || slices.Contains([]uint16{a, b}, revoked) {
			return refuse(zone.ErrConflict, "dnskey", "has a key tag in common with %s, also in its revoked form; make another key", other)
		}
	}
	return nil
}

// Remove gives up a key of another signer, or an offline KSK that waits. Of other keys that is a rollover.
func (m *Manager) Remove(ctx context.Context, apex zone.Name, key string) error {
	return m.request(ctx, apex, func(p *plan) (*Step, error) {
		k, err := p.named(key)
		if err != nil {
			return nil, err
		}
		id, g := k.ID, p.in.Chain.Goal
		switch {
		case !slices.Contains(g.Foreign, id) && !slices.Contains(g.Reserve, id):
			return nil, refuse(zone.ErrConflict, "key", "is one that the zone is signed with; it goes when it is rolled")
		}
		return p.aim("a key was given up: "+p.names([]string{id}), nil, func(g *Goal) {
			g.spend(id)
			g.Foreign = slices.DeleteFunc(g.Foreign, func(f string) bool { return f == id })
		}), nil
	})
}

// GivenKey is a private key with which a zone was signed by another server.
type GivenKey struct {
	Role    Role
	Private string // PKCS #8 in PEM, or the private-key format of BIND
}

// String hides the key.
func (GivenKey) String() string { return "[redacted]" }

// GoString is String.
func (GivenKey) GoString() string { return "[redacted]" }

// takeOver makes records of the keys of a zone that another server has signed. All that the policy asks for must be there:
// caches know the DNSKEY RRset of the other server, and a key that is not in it validates nothing.
func (v *Vault) takeOver(z *zone.Zone, given []GivenKey, existing []*KeyRecord, now time.Time) ([]*KeyRecord, error) {
	var want, got []Role
	for _, s := range slots(zone.KeyPolicy{CSK: z.Keys.CSK}) {
		want = append(want, s.role(z.Keys))
	}
	for _, g := range given {
		got = append(got, g.Role)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) {
		return nil, refuse(zone.ErrInvalid, "import_keys", "must be one key for each of %v, not %v: caches know no key that the other server has not published", want, got)
	}
	taken := map[uint16]bool{}
	for _, k := range existing {
		a, b := tags(k.Flags, k.Algorithm, k.PublicKey)
		taken[a], taken[b] = true, true
	}
	var made []*KeyRecord
	for i, g := range given {
		k := &KeyRecord{ID: newKeyID(), Zone: z.Name, ZoneID: z.ID, Role: g.Role, Algorithm: z.Keys.Algorithm, Flags: g.Role.flags(), Created: now.UTC()}
		private, err := parsePrivate(g.Private)
		if err == nil {
			err = k.setPublic(private.Public(), func(tag uint16) bool { return taken[tag] })
		}
		if err == nil {
			err = checkPublic(k.Algorithm, k.PublicKey)
		}
		if err != nil {
			return nil, refuse(zone.ErrInvalid, fmt.Sprintf("import_keys[%d].private_key", i), "%s (the zone's algorithm is %s)", err, z.Keys.Algorithm)
		}
		a, b := tags(k.Flags, k.Algorithm, k.PublicKey)
		taken[a], taken[b] = true, true
		if err := v.sealInto(k, private); err != nil {
			return nil, err
		}
		made = append(made, k)
	}
	return made, nil
}
