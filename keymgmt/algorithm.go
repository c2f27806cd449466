package keymgmt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"

	"github.com/mxseal/mxseal/internal/p256"
	"github.com/mxseal/mxseal/zone"
)

const (
	rsaBits     = 2048
	rsaExponent = 65537
	p256Size    = 32 // of a coordinate and of each half of a signature, in octets
)

var (
	errKeyType      = errors.New("private key is not of the recorded algorithm")
	errBadSignature = errors.New("signature does not verify")
	errBadPublic    = errors.New("public key is malformed")
)

// signFunc signs data, whose SHA-256 is digest, and appends the signature field of an RRSIG to b. It is the only
// place where a private key lives.
type signFunc func(b, data []byte, digest *[sha256.Size]byte) ([]byte, error)

// newPrivateKey makes a private key.
func newPrivateKey(algorithm zone.Algorithm) (crypto.Signer, error) {
	switch algorithm {
	case zone.ECDSAP256SHA256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case zone.ED25519:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case zone.RSASHA256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("algorithm %s is not supported", algorithm)
}

// publicField encodes a public key as in a DNSKEY record: RFC 6605 §4, RFC 8080 §3,
// RFC 3110 §2. The error is errKeyType.
func publicField(algorithm zone.Algorithm, key crypto.PublicKey) ([]byte, error) {
	switch public := key.(type) {
	case *ecdsa.PublicKey:
		if algorithm != zone.ECDSAP256SHA256 || public.Curve != elliptic.P256() {
			return nil, errKeyType
		}
		point, err := public.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encode the public key: %w", err)
		}
		return point[1:], nil // without the octet that says "uncompressed"
	case ed25519.PublicKey:
		if algorithm != zone.ED25519 {
			return nil, errKeyType
		}
		return bytes.Clone(public), nil
	case *rsa.PublicKey:
		if algorithm != zone.RSASHA256 || public.E != rsaExponent {
			return nil, errKeyType
		}
		return append([]byte{3, rsaExponent >> 16, rsaExponent >> 8 & 0xff, rsaExponent & 0xff}, public.N.Bytes()...), nil
	}
	return nil, errKeyType
}

// newSignFunc closes over a private key. No random source is involved in signing: ECDSA is that of RFC 6979,
// the other two are deterministic by nature.
func newSignFunc(private crypto.Signer) (signFunc, error) {
	switch key := private.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve != elliptic.P256() {
			return nil, errKeyType
		}
		number, err := key.Bytes()
		if err != nil {
			return nil, err
		}
		defer clear(number)
		fast, err := p256.NewKey(number)
		if err != nil {
			return nil, err
		}
		return func(b, _ []byte, digest *[sha256.Size]byte) ([]byte, error) { return fast.Append(b, digest) }, nil
	case ed25519.PrivateKey:
		return func(b, data []byte, _ *[sha256.Size]byte) ([]byte, error) {
			return append(b, ed25519.Sign(key, data)...), nil
		}, nil
	case *rsa.PrivateKey:
		return func(b, _ []byte, digest *[sha256.Size]byte) ([]byte, error) {
			signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
			return append(b, signature...), err
		}, nil
	}
	return nil, errKeyType
}

// tokenSignFunc signs with a private key in a token, which has a random source of its own for ECDSA: signatures differ each
// time. That is no harm where they are stored.
func tokenSignFunc(private crypto.Signer) (signFunc, error) {
	return func(b, _ []byte, digest *[sha256.Size]byte) ([]byte, error) {
		signature, err := private.Sign(rand.Reader, digest[:], crypto.SHA256)
		if _, isECDSA := private.Public().(*ecdsa.PublicKey); err == nil && isECDSA {
			signature, err = fixedSignature(signature)
		}
		return append(b, signature...), err
	}, nil
}

// fixedSignature turns an ASN.1 P-256 signature, SEQUENCE of two INTEGERs, into r and s of 32 octets each
// (RFC 6605 §4). Both integers are under 2^256, so that every length fits in one octet.
func fixedSignature(der []byte) ([]byte, error) {
	const sequence, integer = 0x30, 0x02
	sig := make([]byte, 2*p256Size)
	if len(der) < 2 || der[0] != sequence || int(der[1]) != len(der)-2 {
		return nil, errBadSignature
	}
	rest := der[2:]
	for half := 0; half < len(sig); half += p256Size {
		if len(rest) < 2 || rest[0] != integer || len(rest)-2 < int(rest[1]) {
			return nil, errBadSignature
		}
		value := bytes.TrimLeft(rest[2:2+rest[1]], "\x00")
		rest = rest[2+rest[1]:]
		if len(value) > p256Size {
			return nil, errBadSignature
		}
		copy(sig[half+p256Size-len(value):], value)
	}
	if len(rest) > 0 {
		return nil, errBadSignature
	}
	return sig, nil
}

// derSignature is the inverse of fixedSignature.
func derSignature(sig []byte) []byte {
	der := []byte{0x30, 0}
	for half := 0; half < 2*p256Size; half += p256Size {
		value := bytes.TrimLeft(sig[half:half+p256Size], "\x00")
		if len(value) == 0 || value[0] >= 0x80 { // INTEGER is signed
			value = append([]byte{0}, value...)
		}
		der = append(append(der, 0x02, byte(len(value))), value...)
	}
	der[1] = byte(len(der) - 2)
	return der
}

// checkPublic makes sure that a public key field is one that signatures can be verified with.
func checkPublic(algorithm zone.Algorithm, public []byte) error {
	if err := Verify(algorithm, public, nil, nil); !errors.Is(err, errBadSignature) {
		return fmt.Errorf("has a bad public key: %w", err)
	}
	return nil
}

// Verify checks the signature field of an RRSIG over data with the public key field of a DNSKEY. It returns
// nil if the signature is good.
func Verify(algorithm zone.Algorithm, public, data, signature []byte) error {
	digest := sha256.Sum256(data)
	good := false
	switch algorithm {
	case zone.ECDSAP256SHA256:
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, public...))
		if err != nil {
			return fmt.Errorf("%w: %w", errBadPublic, err)
		}
		good = len(signature) == 2*p256Size && ecdsa.VerifyASN1(key, digest[:], derSignature(signature))
	case zone.ED25519:
		if len(public) != ed25519.PublicKeySize {
			return errBadPublic
		}
		good = ed25519.Verify(public, data, signature)
	case zone.RSASHA256:
		key, err := parseRSA(public)
		if err != nil {
			return err
		}
		good = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
	default:
		return fmt.Errorf("algorithm %s is not supported", algorithm)
	}
	if !good {
		return errBadSignature
	}
	return nil
}

// parsePKCS8 decodes a private key. The error does not repeat what was decoded.
func parsePKCS8(der []byte) (crypto.Signer, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errKeyType
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, errKeyType
	}
	return private, nil
}

// parseRSA reads the public keys that publicField makes (RFC 3110 §2).
func parseRSA(public []byte) (*rsa.PublicKey, error) {
	if len(public) != 4+rsaBits/8 || public[0] != 3 {
		return nil, errBadPublic
	}
	e := int(public[1])<<16 | int(public[2])<<8 | int(public[3])
	return &rsa.PublicKey{E: e, N: new(big.Int).SetBytes(public[4:])}, nil
}
