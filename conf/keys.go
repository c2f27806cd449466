package conf

import (
	"strings"
	"time"
)

// envPrefix begins the name of every variable that belongs to mxseal.
const envPrefix = "MXSEAL_"

// key is one thing that can be set.
type key struct {
	name     string // as a path: dns.tcp.idle_timeout
	value    value
	standard string // the default, written as in an environment variable
	example  string // instead of a default: the key must be given
	doc      string // meaning, unit and consequence, for people
}

// env is the name of the key's variable.
func (k key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// keys lists every key there is, each bound to its place in c. Keys of a section are neighbours.
func (c *Config) keys() []key {
	return []key{{
		name: "data_dir", value: text(&c.DataDir), standard: "/var/lib/mxseal",
		doc: `Directory of the database: zones, tenants, and keys sealed under keys.kek. "mxseal init" makes it; "mxseal serve"
refuses an empty one, so that a lost disk does not become a new key. Two nodes cannot share it. If store.engine is etcd, it has the image
from which this node starts when etcd cannot be reached.`,
	}, {
		name: "dns.listen", value: addresses(&c.DNS.Listen), example: "192.0.2.53:53,[2001:db8::53]:53",
		doc: `Addresses, with port, on which DNS is answered, over UDP and TCP. Must be given: the addresses that the NS records
lead to. The wildcards 0.0.0.0 and [::] are refused: on a machine with several addresses the answer could leave from
another one than was asked, and resolvers drop it.`,
	}, {
		name: "dns.udp_size", value: number(&c.DNS.UDPSize, 512, 4096), standard: "1232",
		doc: `Largest answer over UDP, in octets; clients may ask for less. Longer answers are truncated and asked again over TCP.
Above 1232 answers may be fragmented on the way, which loses some and lets others be forged (RFC 9715).`,
	}, {
		name: "dns.cache_size", value: number(&c.DNS.CacheSize, 1<<20, 1<<40), standard: "268435456",
		doc: `Most memory for answers that are given again as they are, in octets: an answer takes about 500, a host has one for each type and
way in which it is asked. A quarter is for names that do not exist. What does not fit is made anew, which takes processor time and
changes no answer.`,
	}, {
		name: "dns.nsid", value: text(&c.DNS.NSID), standard: "",
		doc: `Name of this node for those who ask which one answered (RFC 5001): up to 64 printable ASCII characters, public.
Empty: the option is not answered.`,
	}, {
		name: "dns.chaos", value: boolean(&c.DNS.Chaos), standard: "false",
		doc: `Whether version.bind is answered with the version of mxseal, and id.server with dns.nsid, in class CHAOS (RFC 4892).
Helps to debug; tells everybody what runs here. Off, they are refused.`,
	}, {
		name: "dns.tcp.idle_timeout", value: duration(&c.DNS.TCP.IdleTimeout, time.Second, 10*time.Minute), standard: "10s",
		doc: `How long a TCP connection may stay without a query before it is closed (RFC 7766). Longer saves handshakes; idle
connections count against the limits below.`,
	}, {
		name: "dns.tcp.max_connections", value: number(&c.DNS.TCP.MaxConnections, 1, 1_000_000), standard: "2048",
		doc: `Most TCP connections at a time, on all addresses together. More are closed at once. Each takes a file descriptor.`,
	}, {
		name: "dns.tcp.max_per_client", value: number(&c.DNS.TCP.MaxPerClient, 1, 1_000_000), standard: "64",
		doc: `Most TCP connections at a time from one client address; at most dns.tcp.max_connections. More are closed at once.
Too low hurts big resolvers behind one address; too high lets one client take all connections.`,
	}, {
		name: "api.listen", value: address(&c.API.Listen), standard: "127.0.0.1:8053",
		doc: `Address, with port, of the admin API. Unless it is on loopback, api.tls.cert must be given: tokens would be readable
on the network.`,
	}, {
		name: "api.tls.cert", value: text(&c.API.TLS.Cert), standard: "",
		doc: `PEM file with the certificate chain of the admin API, the node's own certificate first. Empty: no TLS.`,
	}, {
		name: "api.tls.key", value: text(&c.API.TLS.Key), standard: "",
		doc: `PEM file with the private key of api.tls.cert; given if and only if that is.`,
	}, {
		name: "api.tls.client_ca", value: text(&c.API.TLS.ClientCA), standard: "",
		doc: `PEM file with the authorities of client certificates. If given, a client needs a certificate of theirs as well as
its token; api.tls.cert is needed too. Empty: the token is enough.`,
	}, {
		name: "metrics.listen", value: address(&c.Metrics.Listen), standard: "127.0.0.1:9153",
		doc: `Address, with port, of /metrics, /healthz and /readyz. There is neither TLS nor a token: whoever reaches it reads the
metrics. They never name tenants.`,
	}, {
		name: "store.engine", value: choice(&c.Store.Engine, options("bolt", "etcd")), standard: "bolt",
		doc: `What keeps the data: bolt, a file in data_dir, for one node; or etcd, a cluster that several nodes share.`,
	}, {
		name: "store.etcd.endpoints", value: words(&c.Store.Etcd.Endpoints), standard: "",
		doc: `Addresses of the members of the etcd cluster, such as https://etcd1.example.:2379. Name all of them: when one is gone the others are
asked.`,
	}, {
		name: "store.etcd.prefix", value: text(&c.Store.Etcd.Prefix), standard: "/mxseal",
		doc: `What the keys in etcd begin with. Nodes with the same prefix are one cluster.`,
	}, {
		name: "store.etcd.node", value: text(&c.Store.Etcd.Node), standard: "",
		doc: `Name of this node, which no other node of the cluster may have: 1 to 64 letters, digits, dots and hyphens.`,
	}, {
		name: "store.etcd.tls.ca", value: text(&c.Store.Etcd.CA), standard: "",
		doc: `PEM file with the certificate authorities of etcd's members. Empty: no TLS; who reaches the network between can then change
tenants.`,
	}, {
		name: "store.etcd.tls.cert", value: text(&c.Store.Etcd.Cert), standard: "",
		doc: `PEM file with the client certificate for etcd; its name is the user there if etcd is told so (--client-cert-auth).`,
	}, {
		name: "store.etcd.tls.key", value: text(&c.Store.Etcd.Key), standard: "",
		doc: `PEM file with the private key of the client certificate.`,
	}, {
		name: "store.etcd.user", value: text(&c.Store.Etcd.User), standard: "",
		doc: `User of etcd, if that asks for a password.`,
	}, {
		name: "store.etcd.password_file", value: text(&c.Store.Etcd.PasswordFile), standard: "",
		doc: `File with the password of store.etcd.user, which only its owner may read.`,
	}, {
		name: "store.etcd.stale_after", value: duration(&c.Store.Etcd.StaleAfter, 10*time.Second, 30*24*time.Hour), standard: "72h",
		doc: `For how long this node answers without hearing of etcd. Then it answers SERVFAIL: the others may have rolled the keys. They wait as
long with that for a node that cannot be heard of; "mxseal node forget" says that it is gone.`,
	}, {
		name: "keys.kek", value: text(&c.Keys.KEK), standard: "file:/etc/mxseal/kek",
		doc: `Where the key-encryption key is: file:PATH, a file that only its owner may read; env:NAME, an environment
variable; or pkcs11:PATH, a file with the key as the token of keys.pkcs11 has encrypted it. Who has it and the database can
sign as you; without it the zones' private keys are lost. Keep a copy, and not with the backups of data_dir. Read again on SIGHUP.`,
	}, {
		name: "keys.earlier_keks", value: words(&c.Keys.Earlier), standard: "",
		doc: `Key-encryption keys that keys.kek replaces, in the same form. What they have sealed is sealed under keys.kek when the server
starts, or on SIGHUP; then they can be removed here. Backups of before still need them.`,
	}, {
		name: "keys.pkcs11.module", value: text(&c.Keys.PKCS11.Module), standard: "",
		doc: `PKCS #11 library of the token for zones with ksk_place pkcs11, and for keys.kek. Empty: there is none. Needs a mxseal that was
built with it.`,
	}, {
		name: "keys.pkcs11.token", value: text(&c.Keys.PKCS11.Token), standard: "",
		doc: `Label of the token.`,
	}, {
		name: "keys.pkcs11.pin_file", value: text(&c.Keys.PKCS11.PINFile), standard: "",
		doc: `File with the PIN of the token's user, which only its owner may read. A wrong PIN is tried once.`,
	}, {
		name: "keys.tsig_file", value: text(&c.Keys.TSIGFile), standard: "",
		doc: `File, which only its owner may read, with the TSIG keys (RFC 8945) for zones whose parent takes the DS by DNS UPDATE: a line for
each, with algorithm, name and secret in base64, such as "hmac-sha256 mxseal.example. c2VjcmV0". Empty: there are none.`,
	}, {
		name: "keys.clock", value: choice(&c.Keys.TrustClock, []option[bool]{{"synchronised", false}, {"trusted", true}}), standard: "synchronised",
		doc: `When keys may be rolled: synchronised, only while the system says that something keeps its clock right (see "timedatectl");
else everything stays as it is and mxseal_key_holding is 1. trusted, always: for machines whose clock is kept from outside.
Every waiting time of a rollover is counted on this clock. A clock that is set is noticed in either case.`,
	}, {
		name: "signer.cache_size", value: number(&c.Signer.CacheSize, 1<<20, 1<<40), standard: "67108864",
		doc: `Most memory, in octets, for signatures that are kept for reuse, about 350 each (RSA: 600). Answers are remembered with their
signatures, see dns.cache_size; these are for answers that are made anew after a change.`,
	}, {
		name: "log.level", value: choice(&c.Log.Level, levels()), standard: "info",
		doc: `Least severity that is logged: debug, info, warn or error. At debug, what clients do wrong is logged as well.`,
	}, {
		name: "log.format", value: choice(&c.Log.Format, options("json", "text")), standard: "json",
		doc: `Form of the log lines on standard error: json for programs, text for people.`,
	}}
}
