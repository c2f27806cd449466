// Package server answers DNS queries: sockets in, bytes out. It has read loops of its own for UDP and TCP, and one
// responder that turns the bytes of a query into the bytes of the reply. It knows nothing of stores or of where keys
// come from: state and signatures come through the interfaces [State] and [Signer].
//
// An answer is signed or it is not given. Whatever goes wrong becomes SERVFAIL without records, a counter and a line
// in the log, never an unsigned answer and never "no such name".
package server
