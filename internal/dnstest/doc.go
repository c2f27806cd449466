// Package dnstest says what a correct signed answer is, and checks answers against it with code that did not
// make them: every signature is verified by miekg/dns, every denial is read as a validator reads it.
//
// The rules are plain functions that return an error, for programs that sweep a running server; [Verify] and
// [Case] bring them into tests. Nothing here is used by the server.
package dnstest
