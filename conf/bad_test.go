package conf

import (
	"strings"
	"testing"
)

// listen is what a file needs besides the line under test.
const listen = "MXSEAL_DNS_LISTEN=127.0.0.1:53"

func TestBadFile(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       []string
	}{
		{"not YAML", "a: [", []string{"f: "}},
		{"a list", "- a", []string{"f: While parsing config: must be keys and values"}},
		{"a word", "a", []string{"f: While parsing config: must be keys and values"}},
		{"two documents", "data_dir: /a\n---\ndata_dir: /b", []string{"f: While parsing config: must be a single YAML document"}},
		{"unknown key", "log:\n  lvl: debug", []string{"log.lvl (line 2): no such key"}},
		{"unknown section", "dbs: {a: 1, b: 2}", []string{"dbs (line 1): no such key"}},
		{"other case", "Data_Dir: /x", []string{"Data_Dir (line 1): no such key"}},
		{"a path as a key", "api.listen: 127.0.0.1:1", []string{"api.listen (line 1): no such key"}},
		{"number as a key", "1: 2", []string{"1 (line 1): no such key"}},
		{"list as a key", "? [a]\n: 2", []string{" (line 1): no such key"}},
		{"merge key", "log: {<<: {level: info}}", []string{"log.<< (line 1): no such key"}},
		{"key twice", "data_dir: /a\ndata_dir: /b", []string{"data_dir (line 2): the key is there twice"}},
		{"section twice", "log: {level: info}\nlog: {format: text}", []string{"log (line 2): the key is there twice"}},
		{"value for a section", "log: debug", []string{"log (line 1): must be a section"}},
		{"section for a value", "data_dir: {a: b}", []string{"data_dir.a (line 1): no such key", "data_dir (line 1): must be text, not a section"}},
		{"number for text", "data_dir: 7", []string{"data_dir (line 1): must be text, not 7"}},
		{"text for number", `dns: {udp_size: "1232"}`, []string{`dns.udp_size (line 1): must be a whole number from 512 to 4096, not "1232"`}},
		{"fraction for number", "dns: {udp_size: 1232.0}", []string{"dns.udp_size (line 1): must be a whole number"}},
		{"text for bool", `dns: {chaos: "true"}`, []string{"dns.chaos (line 1): must be true or false"}},
		{"number for bool", "dns: {chaos: 1}", []string{"dns.chaos (line 1): must be true or false, not 1"}},
		{"duration without unit", "dns: {tcp: {idle_timeout: 10}}", []string{"dns.tcp.idle_timeout (line 1): must be a duration with its unit"}},
		{"list for text", "data_dir: [a]", []string{"data_dir (line 1): must be text, not a list"}},
		{"list for a word", "log: {format: [json]}", []string{"log.format (line 1): must be json or text, not a list"}},
		{"date for text", "data_dir: 2020-01-01", []string{"data_dir (line 1): must be text"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load("f", []byte(c.file), []string{listen})
			wantProblems(t, problems(t, got, err), c.want...)
		})
	}
}

func TestBadListInFile(t *testing.T) {
	for _, c := range []struct{ name, list, want string }{
		{"text", `"127.0.0.1:53"`, "must be a list of addresses"},
		{"number inside", "[53]", "must be an IP address and a port"},
		{"list inside", `[["127.0.0.1:53"]]`, "must be an IP address and a port"},
		{"empty", "[]", "must have at least one address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := load("f", []byte("dns: {listen: "+c.list+"}"), nil)
			wantProblems(t, problems(t, got, err), "dns.listen (line 1): "+c.want)
		})
	}
}

func TestBadValues(t *testing.T) {
	for _, c := range []struct {
		environ string // separated by spaces
		want    []string
	}{
		{"MXSEAL_DATA_DIR=", []string{"data_dir (MXSEAL_DATA_DIR): must not be empty"}},
		{"MXSEAL_DNS_LISTEN=", []string{"dns.listen (MXSEAL_DNS_LISTEN): must have at least one address"}},
		{"MXSEAL_DNS_LISTEN=0.0.0.0:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): 0.0.0.0:53 is not allowed: answers could leave"}},
		{"MXSEAL_DNS_LISTEN=[::]:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): [::]:53 is not allowed"}},
		{"MXSEAL_DNS_LISTEN=:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): must be an IP address and a port"}},
		{"MXSEAL_DNS_LISTEN=127.0.0.1", []string{"dns.listen (MXSEAL_DNS_LISTEN): must be an IP address and a port"}},
		{"MXSEAL_DNS_LISTEN=127.0.0.1:0", []string{"dns.listen (MXSEAL_DNS_LISTEN): must have a port"}},
		{"MXSEAL_DNS_LISTEN=127.0.0.1:65536", []string{"dns.listen (MXSEAL_DNS_LISTEN): must be an IP address and a port"}},
		{"MXSEAL_DNS_LISTEN=224.0.0.1:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): must be an address of one machine"}},
		{"MXSEAL_DNS_LISTEN=[::ffff:127.0.0.1]:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): must have an IPv4 address in its own form (127.0.0.1)"}},
		{"MXSEAL_DNS_LISTEN=[::1]:53,[0:0::1]:53", []string{"dns.listen (MXSEAL_DNS_LISTEN): [::1]:53 is there twice"}},
		{"MXSEAL_DNS_UDP_SIZE=511", []string{"dns.udp_size (MXSEAL_DNS_UDP_SIZE): must be a whole number from 512 to 4096, not 511"}},
		{"MXSEAL_DNS_UDP_SIZE=4097", []string{"dns.udp_size (MXSEAL_DNS_UDP_SIZE): must be"}},
		{"MXSEAL_DNS_UDP_SIZE=big", []string{`dns.udp_size (MXSEAL_DNS_UDP_SIZE): must be a whole number from 512 to 4096, not "big"`}},
		{"MXSEAL_DNS_CHAOS=yes", []string{`dns.chaos (MXSEAL_DNS_CHAOS): must be true or false, not "yes"`}},
		{"MXSEAL_DNS_NSID=münchen", []string{"dns.nsid (MXSEAL_DNS_NSID): must be at most 64 printable"}},
		{"MXSEAL_DNS_NSID=" + strings.Repeat("n", 65), []string{"dns.nsid (MXSEAL_DNS_NSID): must be at most 64 printable"}},
		{"MXSEAL_DNS_TCP_IDLE_TIMEOUT=0s", []string{"dns.tcp.idle_timeout (MXSEAL_DNS_TCP_IDLE_TIMEOUT): must be a duration"}},
		{"MXSEAL_DNS_TCP_IDLE_TIMEOUT=11m", []string{"dns.tcp.idle_timeout (MXSEAL_DNS_TCP_IDLE_TIMEOUT): must be a duration"}},
		{"MXSEAL_DNS_TCP_MAX_CONNECTIONS=0", []string{"dns.tcp.max_connections (MXSEAL_DNS_TCP_MAX_CONNECTIONS): must be a whole number"}},
		{"MXSEAL_DNS_TCP_MAX_CONNECTIONS=63", []string{"dns.tcp.max_per_client: must be at most dns.tcp.max_connections, 63, not 64"}},
		{"MXSEAL_API_LISTEN=localhost:8053", []string{"api.listen (MXSEAL_API_LISTEN): must be an IP address and a port"}},
		{"MXSEAL_API_LISTEN=[::]:8053", []string{"api.tls.cert: must be given: api.listen, [::]:8053, is not on loopback"}},
		{"MXSEAL_API_TLS_CERT=c", []string{"api.tls.key: must be given"}},
		{"MXSEAL_API_TLS_KEY=k", []string{"api.tls.cert: must be given"}},
		{"MXSEAL_API_TLS_CLIENT_CA=a", []string{"api.tls.cert: must be given: api.tls.client_ca is"}},
		{"MXSEAL_METRICS_LISTEN=metrics.example:9153", []string{"metrics.listen (MXSEAL_METRICS_LISTEN): must be an IP address and a port"}},
		{"MXSEAL_METRICS_LISTEN=127.0.0.1:8053", []string{"metrics.listen (MXSEAL_METRICS_LISTEN): 127.0.0.1:8053 is taken by api.listen"}},
		{"MXSEAL_METRICS_LISTEN=0.0.0.0:53", []string{"metrics.listen (MXSEAL_METRICS_LISTEN): 0.0.0.0:53 is taken by dns.listen"}},
		{"MXSEAL_API_LISTEN=127.0.0.1:53", []string{"api.listen (MXSEAL_API_LISTEN): 127.0.0.1:53 is taken by dns.listen"}},
		{"MXSEAL_STORE_ENGINE=redis", []string{`store.engine (MXSEAL_STORE_ENGINE): must be bolt or etcd, not "redis"`}},
		{"MXSEAL_STORE_ETCD_ENDPOINTS=http://a", []string{`store.etcd.endpoints (MXSEAL_STORE_ETCD_ENDPOINTS): must be absent: store.engine is bolt`}},
		{"MXSEAL_STORE_ENGINE=etcd", []string{"store.etcd.endpoints: must have at least one address", "store.etcd.node: must be 1 to 64 letters"}},
		{"MXSEAL_STORE_ENGINE=etcd MXSEAL_STORE_ETCD_ENDPOINTS=http://a MXSEAL_STORE_ETCD_NODE=n MXSEAL_STORE_ETCD_PREFIX=x/", []string{"store.etcd.prefix (MXSEAL_STORE_ETCD_PREFIX): must begin with a slash"}},
		{"MXSEAL_STORE_ENGINE=etcd MXSEAL_STORE_ETCD_ENDPOINTS=http://a MXSEAL_STORE_ETCD_NODE=n MXSEAL_STORE_ETCD_TLS_CERT=c MXSEAL_STORE_ETCD_TLS_KEY=k", []string{"store.etcd.tls.ca: must be given"}},
		{"MXSEAL_STORE_ENGINE=etcd MXSEAL_STORE_ETCD_ENDPOINTS=http://a MXSEAL_STORE_ETCD_NODE=n MXSEAL_STORE_ETCD_USER=u", []string{"store.etcd.password_file: must be given with store.etcd.user"}},
		{"MXSEAL_KEYS_KEK=", []string{"keys.kek (MXSEAL_KEYS_KEK): must be file:PATH, env:NAME or pkcs11:PATH"}},
		{"MXSEAL_KEYS_KEK=file:", []string{"keys.kek (MXSEAL_KEYS_KEK): must be file:PATH, env:NAME or pkcs11:PATH"}},
		{"MXSEAL_KEYS_KEK=env:A-B", []string{"keys.kek (MXSEAL_KEYS_KEK): must be file:PATH, env:NAME or pkcs11:PATH"}},
		{"MXSEAL_SIGNER_CACHE_SIZE=0", []string{"signer.cache_size (MXSEAL_SIGNER_CACHE_SIZE): must be a whole number"}},
		{"MXSEAL_LOG_LEVEL=INFO", []string{`log.level (MXSEAL_LOG_LEVEL): must be debug or info or warn or error, not "INFO"`}},
		{"MXSEAL_LOG_FORMAT=xml", []string{`log.format (MXSEAL_LOG_FORMAT): must be json or text, not "xml"`}},
		{"MXSEAL_DATADIR=/x", []string{"MXSEAL_DATADIR (environment): no key has this variable"}},
		{"MXSEAL_=/x", []string{"MXSEAL_ (environment): no key has this variable"}},
	} {
		t.Run(c.environ, func(t *testing.T) {
			got, err := load("", nil, append([]string{listen}, strings.Fields(c.environ)...))
			wantProblems(t, problems(t, got, err), c.want...)
		})
	}
}

func TestProblemsAreReportedTogetherInTheOrderOfTheKeys(t *testing.T) {
	file := `log: {level: loud, colour: true}
keys: {kek: secret}
dns: {listen: ["0.0.0.0:53", "0.0.0.0:53"], udp_size: 100}
api: {listen: "192.0.2.1:443"}
log: {}
`
	got, err := load("f", []byte(file), []string{"MXSEAL_DATA_DIR=", "MXSEAL_DNS_PORT=53"})
	all := problems(t, got, err)
	wantProblems(t, all,
		"log.colour (line 1): no such key",
		"log (line 5): the key is there twice",
		"data_dir (MXSEAL_DATA_DIR): must not be empty",
		"dns.listen (line 3): 0.0.0.0:53 is not allowed",
		"dns.listen (line 3): 0.0.0.0:53 is not allowed",
		"dns.listen (line 3): 0.0.0.0:53 is there twice",
		"dns.udp_size (line 3): must be",
		"api.tls.cert: must be given: api.listen, 192.0.2.1:443,",
		"keys.kek (line 2): must be file:PATH, env:NAME or pkcs11:PATH",
		"log.level (line 1): must be",
		"MXSEAL_DNS_PORT (environment): no key")
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("what may be a key is shown: %v", err)
	}
}

func TestRefusedValuesAreShownShort(t *testing.T) {
	got, err := load("", nil, []string{listen, "MXSEAL_LOG_FORMAT=" + strings.Repeat("x\n", 5000)})
	if all := problems(t, got, err); len(all[0]) > 300 || strings.Contains(all[0], "\n") {
		t.Errorf("%d octets: %q", len(all[0]), all[0])
	}
}
