package conf

import (
	"log/slog"
	"net/netip"
	"time"
)

// Config is a valid configuration, parsed. It is not changed once it is made, nor are its slices. What each key
// means and does is said by [Reference].
type Config struct {
	DataDir string // data_dir
	DNS     DNS
	API     API
	Metrics Metrics
	Store   Store
	Keys    Keys
	Signer  Signer
	Log     Log
}

// DNS is the section dns.
type DNS struct {
	Listen  []netip.AddrPort // dns.listen; at least one, each once, none a wildcard
	UDPSize int              // dns.udp_size; octets
	NSID    string           // dns.nsid; empty: the option is not answered
	Chaos   bool             // dns.chaos
	TCP     TCP

	CacheSize int // dns.cache_size; octets
}

// TCP is the section dns.tcp.
type TCP struct {
	IdleTimeout    time.Duration // dns.tcp.idle_timeout
	MaxConnections int           // dns.tcp.max_connections
	MaxPerClient   int           // dns.tcp.max_per_client; at most MaxConnections
}

// API is the section api.
type API struct {
	Listen netip.AddrPort // api.listen; on loopback unless TLS is on
	TLS    TLS
}

// TLS is the section api.tls: names of PEM files. Cert and Key are both empty, which means no TLS, or both given;
// ClientCA is given only with them.
type TLS struct {
	Cert     string // api.tls.cert
	Key      string // api.tls.key
	ClientCA string // api.tls.client_ca
}

// Metrics is the section metrics.
type Metrics struct {
	Listen netip.AddrPort // metrics.listen
}

// Store is the section store.
type Store struct {
	Engine string // store.engine; "bolt" or "etcd"
	Etcd   Etcd
}

// Etcd is the section store.etcd, which is for the engine etcd alone.
type Etcd struct {
	Endpoints    []string      // store.etcd.endpoints; at least one
	Prefix       string        // store.etcd.prefix; begins with a slash and does not end with one
	Node         string        // store.etcd.node
	CA           string        // store.etcd.tls.ca; empty: no TLS
	Cert         string        // store.etcd.tls.cert; like Key; only with CA
	Key          string        // store.etcd.tls.key
	User         string        // store.etcd.user; empty: no password
	PasswordFile string        // store.etcd.password_file; given with User
	StaleAfter   time.Duration // store.etcd.stale_after; whole seconds
}

// Keys is the section keys.
type Keys struct {
	KEK        string   // keys.kek; "file:PATH", "env:NAME" or "pkcs11:PATH"
	Earlier    []string // keys.earlier_keks; like KEK
	PKCS11     PKCS11
	TSIGFile   string // keys.tsig_file; empty: there are no TSIG keys
	TrustClock bool   // keys.clock is "trusted"
}

// PKCS11 is the section keys.pkcs11: all are given, or none.
type PKCS11 struct {
	Module  string // keys.pkcs11.module
	Token   string // keys.pkcs11.token
	PINFile string // keys.pkcs11.pin_file
}

// Signer is the section signer.
type Signer struct {
	CacheSize int // signer.cache_size; octets
}

// Log is the section log.
type Log struct {
	Level  slog.Level // log.level
	Format string     // log.format; "json" or "text"
}
