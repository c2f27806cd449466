// Package p256 makes deterministic ECDSA signatures over P-256 with SHA-256 (RFC 6979), in the form that DNSSEC has them (RFC 6605
// §4). They are those that crypto/ecdsa makes, to the octet, in two thirds of the time and with a seventh of the garbage: what
// crypto/ecdsa spends besides is on a generator behind interfaces, on ASN.1, and on an inversion in constant time where one of a
// blinded number does. The arithmetic of the curve is
// filippo.io/nistec's, which is Go's own; that modulo its order is here. All of it takes the same time whatever the secrets are.
package p256
