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
// # Rollovers
//
// A [Chain] is the state of a rollover, the planner decides on the next step, the [Manager] carries it out. What caches
// may hold of each record of a key (DNSKEY, RRSIG, DS) goes through these states, which follow from the chain:
//
//	          published                    all versions without it
//	          (signs, asked for)           are forgotten
//	hidden ─────────────────▶ rumoured ─────────────────▶ omnipresent
//	  ▲                          │                             │
//	  │                          └──────────┬──────────────────┘
//	  │   all versions with it              │ withdrawn
//	  └─────────── are forgotten ──── unretentive
//
// A version is forgotten when every node has heard of its successor and the largest TTL with which it was served is over
// (RFC 7583 §3.2, §3.3); a DS RRset also needs to be seen gone at every server of the parent. An arrow is only taken if
// every DS RRset, DNSKEY RRset and signed record that any cache may hold then still validate together; see check.
//
// The package reads no clock; all its types are safe for concurrent use.
package keymgmt
