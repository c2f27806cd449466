// Package keymgmt holds the keys that sign the zones and the tokens that admit to the API.
//
// Who is trusted with what:
//
//   - The key-encryption key is trusted: who has it and the store can sign as us and forge tokens. It is read
//     once, from a file that only we can read or from the environment, and lives inside a [Vault].
//   - The store is not trusted with secrets: a [KeyRecord] has the private key sealed with AES-256-GCM, bound to
//     its zone, its identity and its public key; a [Token] has an HMAC of the secret. Who can write to the store
//     can remove keys and tokens, or bring back old ones, but can neither make up new ones nor move a key to
//     another zone.
//   - The rest of the program is trusted to ask for signatures, not with the keys that make them: no exported
//     function returns private material, and a private key is held in a closure, out of the reach of reflection
//     and of every printing or encoding package. What holds one prints as "[redacted]".
//   - The machine's random source is trusted when keys and tokens are made. Signatures need none: they are
//     deterministic (RFC 6979 for ECDSA), so that all nodes give the same bytes.
//
// The package reads no clock and keeps no state; all its types are safe for concurrent use.
package keymgmt
