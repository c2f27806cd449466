//go:build pkcs11

package hsm

import (
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// Algorithms of DNSSEC that tokens are asked for (RFC 8624 §3.1).
const (
	rsaSHA256       = 8
	ecdsaP256SHA256 = 13
	rsaBits         = 2048
	wrapBits        = 256
	wrapLabel       = "mxseal kek"
	nonceSize       = 12
)

const (
	// retry is the least time between two attempts to open a token that has failed.
	retry           = 10 * time.Second
	defaultSessions = 4
)

// Token is an open token. Safe for concurrent use.
type Token struct {
	c Config

	mu     sync.RWMutex // held for reading while the context is used; guards what follows
	ctx    *crypto11.Context
	failed bool      // the last operation has failed: the context is not to be trusted
	next   time.Time // the earliest time of the next attempt
	refuse error     // why there will be no further attempt
}

// Open opens a token and logs in. A wrong PIN is ErrPIN, and was tried once.
func Open(c Config) (*Token, error) {
	if c.Sessions == 0 {
		c.Sessions = defaultSessions
	}
	t := &Token{c: c}
	return t, t.open()
}

// open makes a new context.
func (t *Token) open() error {
	pin, err := readPIN(t.c.PINFile)
	if err != nil {
		return err
	}
	// crypto11 keeps one session for itself.
	ctx, err := crypto11.Configure(&crypto11.Config{Path: t.c.Module, TokenLabel: t.c.Token, Pin: pin, MaxSessions: t.c.Sessions + 1})
	if err != nil {
		var code pkcs11.Error
		if errors.As(err, &code) && (code == pkcs11.CKR_PIN_INCORRECT || code == pkcs11.CKR_PIN_LOCKED || code == pkcs11.CKR_PIN_LEN_RANGE) {
			err, t.refuse = ErrPIN, ErrPIN
		}
		return fmt.Errorf("token %q of %s: %w", t.c.Token, t.c.Module, err)
	}
	t.ctx, t.failed = ctx, false
	return nil
}

// Close logs out. Operations that are at work end first.
func (t *Token) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx == nil {
		return nil
	}
	ctx := t.ctx
	t.ctx, t.refuse = nil, ErrGone
	return ctx.Close()
}

// with runs an operation. After one that has failed, but for reasons of its own (ErrNoKey, ErrAlgorithm), the token is opened
// anew before the next.
func (t *Token) with(what func(ctx *crypto11.Context) error) error {
	if err := t.revive(); err != nil {
		return err
	}
	t.mu.RLock()
	ctx := t.ctx
	err := ErrGone
	if ctx != nil {
		err = safely(func() error { return what(ctx) })
	}
	t.mu.RUnlock()
	if err == nil || errors.Is(err, ErrNoKey) || errors.Is(err, ErrAlgorithm) {
		return err
	}
	t.mu.Lock()
	t.failed = true
	t.mu.Unlock()
	return fmt.Errorf("%w: %w", ErrGone, err)
}

// revive opens the token anew if it has failed.
func (t *Token) revive() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch now := t.c.Now(); {
	case t.refuse != nil:
		return t.refuse
	case !t.failed && t.ctx != nil:
		return nil
	case now.Before(t.next):
		return fmt.Errorf("%w; it is tried again in %s", ErrGone, t.next.Sub(now))
	default:
		t.next = now.Add(retry)
	}
	if t.ctx != nil {
		if err := t.ctx.Close(); err != nil {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
		t.ctx = nil
	}
	return t.open()
}

// safely turns the panics with which crypto11 reports errors of ciphers into errors.
func safely(what func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	return what()
}

// label is for people who look into the token.
func label(id []byte) []byte { return fmt.Appendf(nil, "mxseal %x", id) }

// Generate makes a key pair of a DNSSEC algorithm (8 or 13) under an id (CKA_ID) and returns the public key.
func (t *Token) Generate(algorithm uint8, id []byte) (public crypto.PublicKey, err error) {
	err = t.with(func(ctx *crypto11.Context) error {
		var signer crypto.Signer
		var err error
		switch algorithm {
		case ecdsaP256SHA256:
			signer, err = ctx.GenerateECDSAKeyPairWithLabel(id, label(id), elliptic.P256())
		case rsaSHA256:
			signer, err = ctx.GenerateRSAKeyPairWithLabel(id, label(id), rsaBits)
		default:
			return ErrAlgorithm
		}
		if err != nil {
			return err
		}
		public = signer.Public()
		return nil
	})
	return public, err
}

// Signer returns the private key of an id, ErrNoKey if there is none. It is looked up anew for each signature, so that it
// outlives the token's being opened anew.
func (t *Token) Signer(id []byte) (crypto.Signer, error) {
	s := &signer{token: t, id: id}
	return s, t.with(func(ctx *crypto11.Context) error {
		pair, err := find(ctx, id)
		if err == nil {
			s.public = pair.Public()
		}
		return err
	})
}

func find(ctx *crypto11.Context, id []byte) (crypto11.Signer, error) {
	pairs, err := ctx.FindKeyPairs(id, nil)
	if err != nil {
		return nil, err
	}
	if len(pairs) == 0 {
		return nil, ErrNoKey
	}
	return pairs[0], nil
}

// wrapping finds the key that encrypts secrets, ErrNoKey if there is none.
func wrapping(ctx *crypto11.Context) (*crypto11.SecretKey, error) {
	keys, err := ctx.FindKeys(nil, []byte(wrapLabel))
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w %q", ErrNoKey, wrapLabel)
	}
	return keys[0], nil
}

type signer struct {
	token  *Token
	id     []byte
	public crypto.PublicKey
}

// Public implements crypto.Signer.
func (s *signer) Public() crypto.PublicKey { return s.public }

// Sign implements crypto.Signer.
func (s *signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) (signature []byte, err error) {
	err = s.token.with(func(ctx *crypto11.Context) error {
		pair, err := find(ctx, s.id)
		if err == nil {
			signature, err = pair.Sign(random, digest, opts)
		}
		return err
	})
	return signature, err
}

// Destroy removes a key pair; that there is none is no error.
func (t *Token) Destroy(id []byte) error {
	return t.with(func(ctx *crypto11.Context) error {
		pairs, err := ctx.FindKeyPairs(id, nil)
		for _, pair := range pairs {
			err = errors.Join(err, pair.Delete())
		}
		return err
	})
}

// Wrap encrypts a secret with AES-256-GCM under a key of the token, which the first call makes, bound to the additional data:
// 12 octets of nonce, then what Unwrap needs.
func (t *Token) Wrap(secret, additional []byte) (wrapped []byte, err error) {
	err = t.with(func(ctx *crypto11.Context) error {
		key, err := wrapping(ctx)
		if errors.Is(err, ErrNoKey) {
			id := make([]byte, 16)
			rand.Read(id) // never fails: it ends the program instead
			key, err = ctx.GenerateSecretKeyWithLabel(id, []byte(wrapLabel), wrapBits, crypto11.CipherAES)
		}
		if err != nil {
			return err
		}
		aead, err := key.NewGCM()
		if err != nil {
			return err
		}
		nonce := make([]byte, nonceSize)
		rand.Read(nonce)
		wrapped = aead.Seal(nonce, nonce, secret, additional)
		return nil
	})
	return wrapped, err
}

// Unwrap decrypts what Wrap has made.
func (t *Token) Unwrap(wrapped, additional []byte) (secret []byte, err error) {
	if len(wrapped) < nonceSize {
		return nil, errors.New("what is encrypted is too short")
	}
	err = t.with(func(ctx *crypto11.Context) error {
		key, err := wrapping(ctx)
		if err != nil {
			return err
		}
		aead, err := key.NewGCM()
		if err != nil {
			return err
		}
		secret, err = aead.Open(nil, wrapped[:nonceSize], wrapped[nonceSize:], additional)
		return err
	})
	return secret, err
}
