// Package signer turns RRsets into signed RRsets while the question waits: signature windows, RRSIGs
// (RFC 4034 §3), compact denial of existence (RFC 9824) and a bounded cache of signatures.
//
// Signatures are deterministic and their windows quantised: all nodes that sign the same RRset with the same key
// in the same window give the same bytes. A signature that would not outlive the TTL of its RRset by
// [zone.SignatureReserve] is never handed out; there is an error instead, and no answer without signatures.
//
// There is no second in which many signatures come to their end. The windows of a name are shifted by a hash of it, to the second:
// with a quantum of an hour, one in 3600 names changes in each. Three things are common to many names. The signature of a zone's SOA is
// in all its denials; but it is one, and those over the NSEC of names that exist are remembered here beyond its end. DNSKEY, CDS and
// CDNSKEY are signed ahead and stored. A new key makes all signatures anew, as they are asked for; that is a commit and not a time.
//
// A signature that several cores miss at once is made once. Time is an argument of Sign, and may lie ahead: the server asks for the
// signatures of answers in use some minutes before their window begins.
//
// Keys are trusted as [keymgmt.KeySet] gives them. Owner names may come from anybody: what they can make us
// remember is bounded, and of names that do not exist nothing is remembered here. The clock is the
// caller's.
package signer
