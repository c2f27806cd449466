package conf

import (
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// defaults is what a file that gives only dns.listen means.
func defaults(listen ...string) Config {
	return Config{
		DataDir: "/var/lib/mxseal",
		DNS: DNS{Listen: addrs(listen...), UDPSize: 1232, CacheSize: 256 << 20,
			TCP: TCP{IdleTimeout: 10 * time.Second, MaxConnections: 2048, MaxPerClient: 64}},
		API:     API{Listen: netip.MustParseAddrPort("127.0.0.1:8053")},
		Metrics: Metrics{Listen: netip.MustParseAddrPort("127.0.0.1:9153")},
		Store:   Store{Engine: "bolt", Etcd: Etcd{Prefix: "/mxseal", StaleAfter: 72 * time.Hour}},
		Keys:    Keys{KEK: "file:/etc/mxseal/kek"},
		Signer:  Signer{CacheSize: 64 << 20},
		Log:     Log{Level: slog.LevelInfo, Format: "json"},
	}
}

func addrs(list ...string) []netip.AddrPort {
	var out []netip.AddrPort
	for _, s := range list {
		out = append(out, netip.MustParseAddrPort(s))
	}
	return out
}

// same fails the test unless a configuration was accepted and is the wanted one.
func same(t *testing.T, got Config, err error, want Config) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// problems are the lines of the Invalid error; an empty configuration must come with it.
func problems(t *testing.T, got Config, err error) []string {
	t.Helper()
	var invalid *Invalid
	if !errors.As(err, &invalid) {
		t.Fatalf("got %+v, %v; want an *Invalid error", got, err)
	}
	if !reflect.DeepEqual(got, Config{}) {
		t.Errorf("a refused configuration was returned: %+v", got)
	}
	var out []string
	for _, p := range invalid.Problems {
		out = append(out, p.String())
		if !strings.Contains(err.Error(), p.String()) {
			t.Errorf("%q does not tell %q", err, p)
		}
	}
	return out
}

// wantProblems compares problems by their beginning: key, source and the rule's first words.
func wantProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	ok := len(got) == len(want)
	for i := 0; ok && i < len(got); i++ {
		ok = strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("problems:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestReferenceIsTheDefaults(t *testing.T) {
	got, err := load("reference", []byte(Reference()), nil)
	same(t, got, err, defaults("192.0.2.53:53", "[2001:db8::53]:53"))
}

func TestEveryFieldHasADocumentedKey(t *testing.T) {
	var c Config
	keys := c.keys()
	for _, k := range keys {
		if k.doc == "" || !strings.Contains(Reference(), "# "+k.env()+"; ") {
			t.Errorf("%s is not in the reference", k.name)
		}
		if strings.ToLower(k.name) != k.name {
			t.Errorf("%s: viper keeps keys in lower case", k.name)
		}
	}
	if n := countLeaves(reflect.TypeFor[Config]()); n != len(keys) {
		t.Errorf("%d fields, %d keys", n, len(keys))
	}
	// Values that are no field's zero value or default must all arrive.
	got, err := load("", nil, everyVariable())
	if err != nil {
		t.Fatal(err)
	}
	unset(t, "Config", reflect.ValueOf(got))
}

func countLeaves(t reflect.Type) int {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[netip.AddrPort]() {
		return 1
	}
	n := 0
	for i := range t.NumField() {
		n += countLeaves(t.Field(i).Type)
	}
	return n
}

func unset(t *testing.T, path string, v reflect.Value) {
	if v.IsZero() {
		t.Errorf("%s is not set by any key", path)
	}
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[netip.AddrPort]() {
		for i := range v.NumField() {
			unset(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}

func everyVariable() []string {
	return []string{
		"MXSEAL_DATA_DIR=/d", "MXSEAL_DNS_LISTEN=127.0.0.1:53, [::1]:53", "MXSEAL_DNS_UDP_SIZE=4096", "MXSEAL_DNS_CACHE_SIZE=2097152", "MXSEAL_DNS_NSID=n1",
		"MXSEAL_DNS_CHAOS=true", "MXSEAL_DNS_TCP_IDLE_TIMEOUT=1m", "MXSEAL_DNS_TCP_MAX_CONNECTIONS=7",
		"MXSEAL_DNS_TCP_MAX_PER_CLIENT=3", "MXSEAL_API_LISTEN=[::]:8053", "MXSEAL_API_TLS_CERT=c", "MXSEAL_API_TLS_KEY=k",
		"MXSEAL_KEYS_EARLIER_KEKS=file:/a, env:B", "MXSEAL_KEYS_PKCS11_MODULE=m", "MXSEAL_KEYS_PKCS11_TOKEN=t", "MXSEAL_KEYS_PKCS11_PIN_FILE=p", "MXSEAL_KEYS_TSIG_FILE=f",
		"MXSEAL_API_TLS_CLIENT_CA=a", "MXSEAL_METRICS_LISTEN=192.0.2.1:1", "MXSEAL_STORE_ENGINE=etcd",
		"MXSEAL_STORE_ETCD_ENDPOINTS=a, b", "MXSEAL_STORE_ETCD_PREFIX=/x/y", "MXSEAL_STORE_ETCD_NODE=n-1", "MXSEAL_STORE_ETCD_TLS_CA=ca", "MXSEAL_STORE_ETCD_TLS_CERT=ec",
		"MXSEAL_STORE_ETCD_TLS_KEY=ek", "MXSEAL_STORE_ETCD_USER=u", "MXSEAL_STORE_ETCD_PASSWORD_FILE=pw",
		"MXSEAL_STORE_ETCD_STALE_AFTER=1h", "MXSEAL_KEYS_KEK=env:MXSEAL_SECRET", "MXSEAL_KEYS_CLOCK=trusted", "MXSEAL_SIGNER_CACHE_SIZE=5242880", "MXSEAL_LOG_LEVEL=debug", "MXSEAL_LOG_FORMAT=text",
		"MXSEAL_SECRET=x", "MXSEAL_SERVER=s", "MXSEAL_TOKEN=t", "PATH=/bin", "mxseal_x=1",
	}
}

func TestEnvironmentGivesEveryKeyAndWinsOverTheFile(t *testing.T) {
	file := []byte("data_dir: /f\ndns: {listen: [\"192.0.2.9:53\"], chaos: false, udp_size: 600}\nlog: {level: error}\n")
	got, err := load("f", file, everyVariable())
	same(t, got, err, Config{
		DataDir: "/d",
		DNS: DNS{Listen: addrs("127.0.0.1:53", "[::1]:53"), UDPSize: 4096, NSID: "n1", Chaos: true, CacheSize: 2 << 20,
			TCP: TCP{IdleTimeout: time.Minute, MaxConnections: 7, MaxPerClient: 3}},
		API:     API{Listen: netip.MustParseAddrPort("[::]:8053"), TLS: TLS{Cert: "c", Key: "k", ClientCA: "a"}},
		Metrics: Metrics{Listen: netip.MustParseAddrPort("192.0.2.1:1")},
		Store:   Store{Engine: "etcd", Etcd: Etcd{Endpoints: []string{"a", "b"}, Prefix: "/x/y", Node: "n-1", CA: "ca", Cert: "ec", Key: "ek", User: "u", PasswordFile: "pw", StaleAfter: time.Hour}},
		Keys:    Keys{KEK: "env:MXSEAL_SECRET", TrustClock: true, Earlier: []string{"file:/a", "env:B"}, PKCS11: PKCS11{"m", "t", "p"}, TSIGFile: "f"},
		Signer:  Signer{CacheSize: 5 << 20},
		Log:     Log{Level: slog.LevelDebug, Format: "text"},
	})
}

func TestEmptyVariableWinsOverTheFile(t *testing.T) {
	file := []byte("dns: {listen: [\"127.0.0.1:53\"], nsid: n1}")
	got, err := load("f", file, []string{"MXSEAL_DNS_NSID="})
	same(t, got, err, defaults("127.0.0.1:53"))
}

func TestProcessEnvironmentIsNotReadBehindTheCaller(t *testing.T) {
	t.Setenv("MXSEAL_DATA_DIR", "/process")
	t.Setenv("MXSEAL_TYPO", "1")
	got, err := load("f", []byte(`dns: {listen: ["127.0.0.1:53"]}`), nil)
	same(t, got, err, defaults("127.0.0.1:53"))
}

func TestKeysWithoutValueAreNotGiven(t *testing.T) {
	file := []byte("data_dir:\napi:\n  # listen: x\nkeys: ~\ndns:\n  listen: [\"127.0.0.1:53\"]\n  udp_size:\n  tcp:\n")
	got, err := load("f", file, nil)
	same(t, got, err, defaults("127.0.0.1:53"))
}

func TestLoadReadsTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mxseal.yaml")
	if err := os.WriteFile(file, []byte(`{data_dir: /x, dns: {listen: ["127.0.0.1:53"]}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := defaults("127.0.0.1:53")
	want.DataDir = "/x"
	got, err := Load(file, nil)
	same(t, got, err, want)

	if _, err := Load(file+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent file: %v", err)
	}
	got, err = Load("", []string{"MXSEAL_DNS_LISTEN=127.0.0.1:53"})
	same(t, got, err, defaults("127.0.0.1:53"))
}

func TestDev(t *testing.T) {
	dev := defaults("127.0.0.1:5300", "[::1]:5300")
	dev.Log.Format = "text"
	for _, c := range []struct {
		name, dir    string
		environ      []string
		wantDir, kek string
	}{
		{"nothing given", "", nil, "./mxseal-dev", "file:mxseal-dev/kek"},
		{"argument", "/a", nil, "/a", "file:/a/kek"},
		{"variable", "", []string{"MXSEAL_DATA_DIR=/v"}, "/v", "file:/v/kek"},
		{"argument wins", "/a", []string{"MXSEAL_DATA_DIR=/v"}, "/a", "file:/a/kek"},
		{"key elsewhere", "/a", []string{"MXSEAL_KEYS_KEK=file:/k"}, "/a", "file:/k"},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := dev
			want.DataDir, want.Keys.KEK = c.wantDir, c.kek
			got, err := Dev(c.dir, c.environ)
			same(t, got, err, want)
		})
	}
	got, err := Dev("", []string{"MXSEAL_DNS_LISTEN=127.0.0.1:5301", "MXSEAL_API_LISTEN=192.0.2.1:80", "MXSEAL_LISTEN=x"})
	wantProblems(t, problems(t, got, err), "api.tls.cert: must be given: api.listen, 192.0.2.1:80, is not on loopback",
		"MXSEAL_LISTEN (environment): no key")
}

// In Kubernetes a service that is named like us puts variables that look like ours into every container.
func TestServiceLinksAreNoMistakes(t *testing.T) {
	environ := []string{"MXSEAL_DNS_LISTEN=127.0.0.1:53", "MXSEAL_SERVICE_HOST=10.0.0.1", "MXSEAL_SERVICE_PORT=53", "MXSEAL_SERVICE_PORT_DNS_TCP=53", "MXSEAL_PORT=tcp://10.0.0.1:53",
		"MXSEAL_PORT_53_TCP=tcp://10.0.0.1:53", "MXSEAL_PORT_53_UDP_ADDR=10.0.0.1", "MXSEAL_API_SERVICE_HOST=10.0.0.1", "MXSEAL_API_PORT=tcp://10.0.0.1:8053"}
	if _, err := Load("", environ); err != nil {
		t.Error(err)
	}
	for _, mistake := range []string{"MXSEAL_PORT=53", "MXSEAL_DNS_PORT=53", "MXSEAL_HOST=192.0.2.1", "MXSEAL_SERVICE=x"} {
		if _, err := Load("", []string{environ[0], mistake}); err == nil {
			t.Errorf("%s was accepted", mistake)
		}
	}
}
