//go:build !pkcs11

package hsm

import "crypto"

// Token is what a program without PKCS #11 cannot have.
type Token struct{}

// Open returns ErrNotBuilt.
func Open(Config) (*Token, error) { return nil, ErrNotBuilt }

// Generate returns ErrNotBuilt.
func (*Token) Generate(uint8, []byte) (crypto.PublicKey, error) { return nil, ErrNotBuilt }

// Signer returns ErrNotBuilt.
func (*Token) Signer([]byte) (crypto.Signer, error) { return nil, ErrNotBuilt }

// Destroy returns ErrNotBuilt.
func (*Token) Destroy([]byte) error { return ErrNotBuilt }

// Wrap returns ErrNotBuilt.
func (*Token) Wrap(_, _ []byte) ([]byte, error) { return nil, ErrNotBuilt }

// Unwrap returns ErrNotBuilt.
func (*Token) Unwrap(_, _ []byte) ([]byte, error) { return nil, ErrNotBuilt }

// Close does nothing.
func (*Token) Close() error { return nil }
