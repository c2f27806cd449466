// Package server answers DNS queries: sockets in, bytes out. It has read loops of its own for UDP and TCP, and one
// responder that turns the bytes of a query into the bytes of the reply. It knows nothing of stores or of where keys
// come from: state and signatures come through the interfaces [State] and [Signer].
//
// Answers are remembered while they are current. Those in use are made ahead, in the background and within a budget, when their
// signatures are about to come to their end: no query waits because an hour is over. It is most useful for denials: all of a zone
// end with the signature of its SOA, and each that says that a name does not exist needs a signature of its own then.
//
// An answer is signed or it is not given. Whatever goes wrong becomes SERVFAIL without records, a counter and a line
// in the log, never an unsigned answer and never "no such name".
package server
