// Package signer turns RRsets into signed RRsets while the question waits: signature windows, RRSIGs
// (RFC 4034 §3), compact denial of existence (RFC 9824) and a bounded cache of signatures.
//
// Signatures are deterministic and their windows quantised: all nodes that sign the same RRset with the same key
// in the same window give the same bytes. A signature that would not outlive the TTL of its RRset by
// [zone.SignatureReserve] is never handed out; there is an error instead, and no answer without signatures.
//
// Keys are trusted as [keymgmt.KeySet] gives them. Owner names may come from anybody: what they can make us
// remember is bounded, and of names that do not exist nothing is remembered here. The clock is the
// caller's.
package signer
