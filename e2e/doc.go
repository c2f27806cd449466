// Package e2e tests the mxseal binary against the software that its answers are for: validating resolvers, the
// tools that operators debug with, and a mail server that sends with DANE.
//
// Everything runs in one sandbox of its own, see sandbox_test.go: namespaces for the network, for processes and for
// mounts. So every server has its well-known port, on an address that no other test uses; nothing on the machine is
// touched; and no process survives the tests, however they end. That needs root.
//
// Nodes that lose each other have network namespaces of their own within it, between which it is the router: see network_test.go.
//
// Resolvers start at a root of ours, which has secure delegations to mxseal: see authority_test.go.
//
// Nothing is timed. Tests wait for conditions, with a deadline that only a broken program reaches.
package e2e
