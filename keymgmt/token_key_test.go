package keymgmt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/mxseal/mxseal/zone"
)

// softToken is a token of this process.
type softToken struct {
	keys map[string]crypto.Signer
	gone bool
}

var errTokenGone = errors.New("pulled out")

func (s *softToken) Generate(_ uint8, id []byte) (crypto.PublicKey, error) {
	if s.gone {
		return nil, errTokenGone
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.keys[string(id)] = k
	return k.Public(), err
}

func (s *softToken) Signer(id []byte) (crypto.Signer, error) {
	if k := s.keys[string(id)]; k != nil && !s.gone {
		return k, nil
	}
	return nil, errTokenGone
}

func (s *softToken) Destroy(id []byte) error {
	delete(s.keys, string(id))
	return nil
}

func (s *softToken) Wrap(secret, _ []byte) ([]byte, error)    { return secret, nil }
func (s *softToken) Unwrap(wrapped, _ []byte) ([]byte, error) { return wrapped, nil }

// KSKs are made in the token and signed with there; without it nothing changes; attempts that fail do not fill it; and what
// leaves the trash leaves the token.
func TestKSKsInAToken(t *testing.T) {
	b := newBench(t, nil)
	token := &softToken{keys: map[string]crypto.Signer{}}
	b.store.vault.hsm = token
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Keys.KSKPlace = zone.KSKToken
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		t.Fatal(err)
	}
	disk := errors.New("disk full")
	b.store.broken = disk
	for range 10 {
		b.manager.Tick(t.Context())
	}
	if err := b.manager.failing[b.apex]; !errors.Is(err, disk) || len(token.keys) != 1 {
		t.Errorf("%v; the token has %d keys after attempts that failed", err, len(token.keys))
	}
	b.store.broken = nil
	days := func(n int) {
		for range n {
			b.tick(24 * 3600e9)
			if wanted := last(b.store.chains[b.apex].DS); wanted.Seen.IsZero() {
				if err := b.confirm(wanted.Keys[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	days(10)
	if k := b.key("ksk"); k.Place != PlaceToken || len(token.keys) != 1 {
		t.Errorf("the KSK is %s, the token has %d keys", k.Place, len(token.keys))
	}
	token.gone = true
	refusal(t, b.roll(KSK, false), zone.ErrUnavailable, "keys.ksk_place", "pulled out")
	token.gone = false
	if err := b.roll(KSK, false); err != nil {
		t.Fatal(err)
	}
	days(10)
	if len(token.keys) != 2 {
		t.Errorf("%d keys in the token, want the new one and the one in the trash", len(token.keys))
	}
	days(40)
	if len(token.keys) != 1 {
		t.Errorf("%d keys in the token after the trash was emptied", len(token.keys))
	}
}
