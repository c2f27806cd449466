//go:build pkcs11

package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

const module = "/usr/lib/softhsm/libsofthsm2.so"

// The library reads its configuration once, when it is loaded: all tests share one directory of tokens.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		panic(err)
	}
	config := filepath.Join(dir, "softhsm2.conf")
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "tokens"), 0o700),
		os.WriteFile(config, fmt.Appendf(nil, "directories.tokendir = %s/tokens\n", dir), 0o600), os.Setenv("SOFTHSM2_CONF", config)); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// newToken makes a token in SoftHSM.
func newToken(t *testing.T) Config {
	t.Helper()
	out, err := exec.Command("softhsm2-util", "--init-token", "--free", "--label", t.Name(), "--pin", "1234", "--so-pin", "5678").CombinedOutput()
	if err != nil {
		t.Fatalf("softhsm2-util (Debian package softhsm2): %v: %s", err, out)
	}
	return Config{Module: module, Token: t.Name(), PINFile: writePIN(t, "1234\n", 0o600), Now: time.Now}
}

func openToken(t *testing.T, c Config) *Token {
	t.Helper()
	token, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { token.Close() })
	return token
}

func sign(t *testing.T, token *Token, id []byte, public crypto.PublicKey) {
	t.Helper()
	s, err := token.Signer(id)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("hello"))
	signature, err := s.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	good := false
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		good = ecdsa.VerifyASN1(k, digest[:], signature)
	case *rsa.PublicKey:
		good = rsa.VerifyPKCS1v15(k, crypto.SHA256, digest[:], signature) == nil
	}
	if !good {
		t.Errorf("a signature of %T does not verify", public)
	}
}

func TestKeysSignAndOutliveARestart(t *testing.T) {
	c := newToken(t)
	token := openToken(t, c)
	publics := map[byte]crypto.PublicKey{}
	for _, algorithm := range []uint8{rsaSHA256, ecdsaP256SHA256} {
		public, err := token.Generate(algorithm, []byte{algorithm})
		if err != nil {
			t.Fatal(err)
		}
		publics[algorithm] = public
		sign(t, token, []byte{algorithm}, public)
	}
	if _, err := token.Generate(15, []byte{15}); !errors.Is(err, ErrAlgorithm) {
		t.Errorf("Ed25519: %v", err)
	}
	if err := token.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := token.Signer([]byte{13}); !errors.Is(err, ErrGone) {
		t.Errorf("a closed token: %v", err)
	}
	token = openToken(t, c)
	for id, public := range publics {
		sign(t, token, []byte{id}, public)
	}
	if err := errors.Join(token.Destroy([]byte{8}), token.Destroy([]byte{8})); err != nil {
		t.Errorf("destroy, twice: %v", err)
	}
	if _, err := token.Signer([]byte{8}); !errors.Is(err, ErrNoKey) {
		t.Errorf("a destroyed key: %v", err)
	}
	sign(t, token, []byte{13}, publics[13])
}

func TestTokensThatCannotBeOpened(t *testing.T) {
	c := newToken(t)
	wrong := c
	wrong.PINFile = writePIN(t, "9999", 0o600)
	if _, err := Open(wrong); !errors.Is(err, ErrPIN) || bytes.Contains([]byte(err.Error()), []byte("9999")) {
		t.Errorf("a wrong PIN: %v", err)
	}
	wrong = c
	wrong.Token = "another"
	if _, err := Open(wrong); err == nil {
		t.Error("a token that is not there was opened")
	}
	wrong = c
	wrong.Module = "/nowhere.so"
	if _, err := Open(wrong); err == nil {
		t.Error("a library that is not there was opened")
	}
	openToken(t, c)
}

// A token that fails is opened anew, not more often than every ten seconds, and not at all with a PIN that was refused.
func TestATokenThatWasGoneComesBack(t *testing.T) {
	c := newToken(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.Now = func() time.Time { return now }
	token := openToken(t, c)
	public, err := token.Generate(ecdsaP256SHA256, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if err := token.ctx.Close(); err != nil { // as if the daemon of the token had ended
		t.Fatal(err)
	}
	if _, err := token.Signer([]byte{1}); !errors.Is(err, ErrGone) {
		t.Fatalf("while it is gone: %v", err)
	}
	token.mu.Lock()
	token.ctx = nil // closed above
	token.mu.Unlock()
	sign(t, token, []byte{1}, public)

	token.mu.Lock()
	token.failed = true
	token.mu.Unlock()
	if _, err := token.Signer([]byte{1}); !errors.Is(err, ErrGone) {
		t.Errorf("again, too soon: %v", err)
	}
	now = now.Add(retry)
	sign(t, token, []byte{1}, public)

	if err := os.WriteFile(c.PINFile, []byte("9999"), 0o600); err != nil {
		t.Fatal(err)
	}
	token.mu.Lock()
	token.failed = true
	token.mu.Unlock()
	now = now.Add(retry)
	if _, err := token.Signer([]byte{1}); !errors.Is(err, ErrPIN) {
		t.Errorf("with another PIN: %v", err)
	}
	if err := os.WriteFile(c.PINFile, []byte("1234"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if _, err := token.Signer([]byte{1}); !errors.Is(err, ErrPIN) {
		t.Errorf("a PIN was tried after one was refused: %v", err)
	}
}

func TestSecretsAreWrapped(t *testing.T) {
	token := openToken(t, newToken(t))
	secret := bytes.Repeat([]byte{7}, 32)
	wrapped, err := token.Wrap(secret, []byte("for this"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, secret[:8]) {
		t.Error("the secret is there to be read")
	}
	if got, err := token.Unwrap(wrapped, []byte("for this")); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("%x, %v", got, err)
	}
	again, err := token.Wrap(secret, []byte("for this"))
	if err != nil || bytes.Equal(again, wrapped) {
		t.Errorf("twice the same: %v", err)
	}
}

func TestWhatWasChangedIsNotUnwrapped(t *testing.T) {
	c := newToken(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c.Now = func() time.Time { now = now.Add(retry); return now }
	token := openToken(t, c)
	wrapped, err := token.Wrap(bytes.Repeat([]byte{7}, 32), []byte("for this"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range wrapped {
		changed := bytes.Clone(wrapped)
		changed[i] ^= 1
		if _, err := token.Unwrap(changed, []byte("for this")); err == nil {
			t.Fatalf("octet %d was changed", i)
		}
	}
	if _, err := token.Unwrap(wrapped, []byte("for that")); err == nil {
		t.Error("unwrapped for another purpose")
	}
	if _, err := token.Unwrap(nil, nil); err == nil {
		t.Error("nothing was unwrapped")
	}
}

func TestManyUseOneToken(t *testing.T) {
	token := openToken(t, newToken(t))
	public, err := token.Generate(ecdsaP256SHA256, []byte{1})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				s, err := token.Signer([]byte{1})
				if err != nil {
					t.Error(err)
					return
				}
				digest := sha256.Sum256([]byte("hello"))
				signature, err := s.Sign(nil, digest[:], crypto.SHA256)
				if err != nil || !ecdsa.VerifyASN1(public.(*ecdsa.PublicKey), digest[:], signature) {
					t.Error("a bad signature", err)
					return
				}
			}
		})
	}
	wg.Wait()
}
