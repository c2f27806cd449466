package keymgmt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// softToken is a token of this process.
type softToken struct {
	keys map[string]crypto.Signer
	gone bool
	full bool // makes no keys, and signs with those that it has
}

var (
	errTokenGone = errors.New("pulled out")
	errTokenFull = errors.New("no room for another key")
)

func (s *softToken) Generate(_ uint8, id []byte) (crypto.PublicKey, error) {
	switch {
	case s.gone:
		return nil, errTokenGone
	case s.full:
		return nil, errTokenFull
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
	b.store.broken = disk
	if err := b.roll(KSK, false); !errors.Is(err, disk) || len(token.keys) != 2 {
		t.Fatalf("%d keys in the token after a rollover that could not be written: %v", len(token.keys), err)
	}
	delete(b.store.zones, b.apex)
	b.manager.Tick(t.Context())
	if len(token.keys) != 1 {
		t.Errorf("%d keys in the token when the zone is gone, want that which it has had", len(token.keys))
	}
}

// That no KSK can be made is told, and hinders nothing else: the key sets go on being signed ahead, and ZSKs roll.
func TestATokenThatMakesNoKeys(t *testing.T) {
	for name, ready := range map[string]func(b *bench, token *softToken){
		"the KSK is sealed": func(*bench, *softToken) {},
		"the KSK is in the token, and its lifetime ends": func(b *bench, token *softToken) {
			token.full = false
			for range 10 {
				b.tick(24 * time.Hour)
				b.confirmWanted()
			}
			token.full = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			token := &softToken{keys: map[string]crypto.Signer{}, full: true}
			b.store.vault.hsm = token
			spec := b.store.zones[b.apex].ZoneSpec
			spec.Keys.KSKPlace = zone.KSKToken
			if err := b.store.put(b.apex, spec, b.at); err != nil {
				t.Fatal(err)
			}
			ready(b, token)
			zsks, failed := map[string]bool{}, 0
			for tick := range 2 * 450 {
				b.at = b.at.Add(12 * time.Hour)
				b.manager.Tick(t.Context())
				c := b.store.chains[b.apex]
				if c.Stock.at(b.at) == nil {
					t.Fatalf("no signatures of the DNSKEY RRset are left after %d days", tick/2)
				}
				zsks[last(c.Signers).Keys[0]] = true
				if err := b.manager.failing[b.apex]; err != nil {
					if failed++; !strings.Contains(err.Error(), errTokenFull.Error()) {
						t.Fatal(err)
					}
				}
			}
			if says := b.status().Failing; failed == 0 || !strings.Contains(says, errTokenFull.Error()) || len(zsks) < 10 {
				t.Errorf("failed %d times, at last with %q; %d ZSKs have signed", failed, says, len(zsks))
			}
		})
	}
}
