package keymgmt

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// sourcesOf gives keys as variables of the environment.
func sourcesOf(fills ...byte) Sources {
	s := Sources{Lookup: func(name string) (string, bool) { return hex.EncodeToString(testKEK(name[0])), true }}
	for i, fill := range fills {
		if i == 0 {
			s.KEK = "env:" + string(rune(fill))
		} else {
			s.Earlier = append(s.Earlier, "env:"+string(rune(fill)))
		}
	}
	return s
}

// While the key-encryption key is replaced, everything opens at every moment; afterwards the earlier one opens nothing.
func TestTheKeyEncryptionKeyIsReplaced(t *testing.T) {
	old, err := OpenVault(sourcesOf('a'))
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, nil)
	b.store.vault, b.manager.o.Vault = old, old
	b.store.keys, b.store.chains = map[string]*KeyRecord{}, nil
	z := b.store.zones[b.apex]
	made, err := old.NewZone(z, nil, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	secret, token, err := old.NewToken(ScopeAdmin, "", time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	b.store.tokens = []*Token{token}
	for _, k := range made.Keys {
		b.store.keys[k.ID] = k
	}
	b.store.chains = map[zone.Name]*Chain{b.apex: made.Chain}

	// Whoever forgets the earlier key goes on with it.
	kek := old.KEK()
	if err := b.manager.ReloadKEKs(sourcesOf('b')); !errors.Is(err, ErrKEK) || !strings.Contains(err.Error(), "keys.earlier_keks") || old.KEK() != kek {
		t.Errorf("keys that open nothing: %v, %s", err, old.KEK())
	}
	if err := b.manager.ReloadKEKs(sourcesOf('b', 'a')); err != nil {
		t.Fatal(err)
	}
	if err := old.CheckToken(token, secret, now); err != nil {
		t.Errorf("a token under the earlier key: %v", err)
	}
	if _, err := old.Open(z, b.store.Keys(b.apex), b.store.chains[b.apex]); err != nil {
		t.Errorf("keys under the earlier key: %v", err)
	}
	b.tick(0)

	after, err := OpenVault(sourcesOf('b'))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := after.Open(z, b.store.Keys(b.apex), b.store.chains[b.apex]); err != nil {
		t.Errorf("under the new key alone: %v", err)
	}
	if err := after.CheckToken(b.store.tokens[0], secret, now); err != nil {
		t.Errorf("a token under the new key alone: %v", err)
	}
	before, err := OpenVault(sourcesOf('a'))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.Open(z, b.store.Keys(b.apex), b.store.chains[b.apex]); !errors.Is(err, ErrKEK) {
		t.Errorf("under the earlier key: %v", err)
	}
	if err := before.CheckToken(b.store.tokens[0], secret, now); !errors.Is(err, ErrTokenWrong) {
		t.Errorf("a token under the earlier key: %v", err)
	}
	revision := b.store.revision
	b.tick(time.Minute)
	if b.store.revision != revision {
		t.Error("what is sealed under the present key was sealed again")
	}

	// A source that cannot be read leaves the vault as it is.
	if err := b.manager.ReloadKEKs(Sources{KEK: "file:/nowhere", Lookup: noEnv}); err == nil || old.KEK() != after.KEK() {
		t.Errorf("a reload that failed: %v, %s", err, old.KEK())
	}
}

// What a token may do is bound to its secret: with the store alone nobody changes it.
func TestATokenThatWasChangedIsRefused(t *testing.T) {
	v := testVault(t, 1)
	secret, token, err := v.NewToken(ScopeRead, "", now.Add(time.Hour), now)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(t *Token){
		"scope":   func(t *Token) { t.Scope = ScopeAdmin },
		"id":      func(t *Token) { t.ID = "0123456789abcdef" },
		"expires": func(t *Token) { t.Expires = t.Expires.AddDate(1, 0, 0) },
		"sealed":  func(t *Token) { t.Sealed = append([]byte{}, t.Sealed...); t.Sealed[20] ^= 1 },
	} {
		changed := *token
		change(&changed)
		if err := v.CheckToken(&changed, secret, now); !errors.Is(err, ErrTokenWrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
