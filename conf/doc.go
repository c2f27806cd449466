// Package conf is the configuration of a node: what can be set, what it means, and what is refused.
//
// Every key has one home, the list in keys.go: its name, meaning, unit, default and rule. [Reference] prints that
// list as a complete YAML file. A key is looked up in the environment first (dns.udp_size is MXSEAL_DNS_UDP_SIZE),
// then in the file, then its default is taken.
//
// Nothing is guessed: unknown and repeated keys, values of another type and variables that begin with MXSEAL_ and
// name no key are refused, and all that is wrong is reported together, as an [Invalid] error.
//
// A file and an environment go in, a plain value comes out. Nothing is opened but the file, and whether the
// directories and certificates that it names exist is for those to say who use them.
package conf
