package keymgmt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/mxseal/mxseal/zone"
)

var errPrivateText = errors.New("is neither PKCS #8 in PEM nor the private-key format of BIND")

// parsePrivate reads a private key: PKCS #8 in PEM (RFC 5958, RFC 7468 §10), or the file with the suffix .private that
// dnssec-keygen of BIND makes, in version 1. The errors do not repeat what was read.
func parsePrivate(text string) (crypto.Signer, error) {
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if block.Type != "PRIVATE KEY" {
			return nil, fmt.Errorf("is PEM of type %q, not PRIVATE KEY (PKCS #8, not encrypted)", block.Type)
		}
		return parsePKCS8(block.Bytes)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(line, ":"); found {
			fields[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	if !strings.HasPrefix(fields["Private-key-format"], "v1.") {
		return nil, errPrivateText
	}
	number, _, _ := strings.Cut(fields["Algorithm"], " ")
	algorithm, _ := zone.ParseAlgorithm(number)
	switch algorithm {
	case zone.ECDSAP256SHA256:
		return parseECDSA(fields)
	case zone.ED25519:
		seed, err := octets(fields, "PrivateKey")
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, errKeyType
		}
		return ed25519.NewKeyFromSeed(seed), nil
	case zone.RSASHA256:
		return parseRSAPrivate(fields)
	}
	return nil, errors.New("is of an algorithm that is not supported")
}

func octets(fields map[string]string, name string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(fields[name])
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("has no field %s in base64", name)
	}
	return b, nil
}

func parseECDSA(fields map[string]string) (crypto.Signer, error) {
	scalar, err := octets(fields, "PrivateKey")
	if err != nil {
		return nil, err
	}
	if len(scalar) < p256Size { // some programs leave leading zeros out
		scalar = append(make([]byte, p256Size-len(scalar)), scalar...)
	}
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	if err != nil {
		return nil, errKeyType
	}
	return key, nil
}

func parseRSAPrivate(fields map[string]string) (crypto.Signer, error) {
	var n [5]*big.Int
	for i, name := range []string{"Modulus", "PublicExponent", "PrivateExponent", "Prime1", "Prime2"} {
		b, err := octets(fields, name)
		if err != nil {
			return nil, err
		}
		n[i] = new(big.Int).SetBytes(b)
	}
	if n[0].BitLen() != rsaBits || !n[1].IsInt64() || n[1].Int64() != rsaExponent {
		return nil, fmt.Errorf("must be an RSA key of %d bits with the exponent %d", rsaBits, rsaExponent)
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n[0], E: rsaExponent}, D: n[2], Primes: n[3:]}
	if err := key.Validate(); err != nil {
		return nil, errKeyType
	}
	key.Precompute()
	return key, nil
}
