package e2e

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

const (
	apex = "mx.test."
	pool = "default"
)

// server is a running mxseal with the data directory of its development mode.
type server struct {
	*daemon
	*client.Client
	site site
	host *host  // that it runs on; nil: none of its own
	cert string // PEM file, of the API; empty: no TLS
	dir  string
	addr netip.Addr // of its DNS service, port 53
	more []string   // further variables of its environment
	args []string   // instead of those of the development mode
	next bool       // it is one of the next format
}

// startServer starts mxseal with an empty database.
func startServer(t testing.TB) *server {
	t.Helper()
	return startServerIn(t, filepath.Join(t.TempDir(), "data"))
}

// startServerIn starts mxseal with the database in a directory; there may be none yet.
func startServerIn(t testing.TB, dir string) *server {
	t.Helper()
	at := newSite()
	s := &server{site: at, dir: dir, addr: at.addr(53)}
	s.launch(t)
	return s
}

// launch starts the program on the server's directory and addresses, where it may have run before.
func (s *server) launch(t testing.TB) {
	t.Helper()
	args := s.args
	if args == nil {
		args = []string{"serve", "--dev", "--data", s.dir}
	}
	program := binary
	if s.next {
		program = nextBinary
	}
	s.daemon = s.host.start(t, s.env(), program, args...)
	s.await(t, "is ready", func() error { return get(s.monitor("readyz")) })
	s.Client = s.client(t, client.Config{})
}

// client is a client of the API that is as cfg says besides.
func (s *server) client(t testing.TB, cfg client.Config) *client.Client {
	t.Helper()
	cfg.Server, cfg.Token, cfg.CA, cfg.Timeout = s.url(), s.token(t), s.cert, patience
	return must[*client.Client](t)(client.New(cfg))
}

func (s *server) env() []string {
	return append([]string{
		"MXSEAL_DNS_LISTEN=" + dnsPort(s.addr),
		fmt.Sprintf("MXSEAL_API_LISTEN=%s:8053", s.inside()),
		fmt.Sprintf("MXSEAL_METRICS_LISTEN=%s:9153", s.inside()),
	}, s.more...)
}

// inside is the address of API and metrics.
func (s *server) inside() netip.Addr {
	if s.host != nil {
		return s.site.addr(1)
	}
	return s.site.loopback()
}

func (s *server) url() string {
	if s.cert != "" {
		return fmt.Sprintf("https://%s:8053", s.inside())
	}
	return fmt.Sprintf("http://%s:8053", s.inside())
}

// monitor is the URL of /metrics, /readyz or /healthz.
func (s *server) monitor(path string) string {
	return fmt.Sprintf("http://%s:9153/%s", s.inside(), path)
}

// tokenFile is where the development mode puts the first admin token.
func (s *server) tokenFile() string { return filepath.Join(s.dir, "admin.token") }

func (s *server) token(t testing.TB) string {
	t.Helper()
	token, err := os.ReadFile(s.tokenFile())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// get is a condition: the URL answers with success.
func get(url string) error {
	res, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// count returns the sum of all counters of a name that have a label, by the server's own metrics.
func (s *server) count(t testing.TB, metric, label string) (n int) {
	t.Helper()
	n, err := metricAt(s.monitor("metrics"), metric, label)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// metricAt is count for any program with such metrics.
func metricAt(url, metric, label string) (n int, err error) {
	res, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if base, _, _ := strings.Cut(name, "{"); base != metric || !strings.Contains(name, label) {
			continue
		}
		count, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, err
		}
		n += int(count)
	}
	return n, lines.Err()
}

// expectNoFailure fails the test if the server has failed to answer, whatever its clients have made of it.
func (s *server) expectNoFailure(t testing.TB) {
	t.Helper()
	for _, metric := range []string{"mxseal_dns_failures_total", "mxseal_dns_panics_total", "mxseal_dns_dropped_total"} {
		if n := s.count(t, metric, ""); n > 0 {
			t.Errorf("%s is %d", metric, n)
		}
	}
}

// dns is how dnstest asks the server.
func (s *server) dns(network string) dnstest.Client {
	return dnstest.Client{Addr: dnsPort(s.addr), Net: network, Timeout: 10 * time.Second}
}

// ds returns the DS records of a zone as the API tells them.
func (s *server) ds(t testing.TB, zone string) []string {
	t.Helper()
	answer, err := s.ZoneDS(t.Context(), zone)
	if err != nil {
		t.Fatal(err)
	}
	return answer.DS
}

// keys fetches the keys of zones, with the DS records of the API as trust anchors.
func (s *server) keys(t testing.TB, zones ...string) dnstest.Keys {
	t.Helper()
	all := dnstest.Keys{}
	for _, zone := range zones {
		var anchors []*dns.DS
		for _, line := range s.ds(t, zone) {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			anchor := rr.(*dns.DS)
			anchor.Digest = strings.ToLower(anchor.Digest)
			anchors = append(anchors, anchor)
		}
		keys, err := dnstest.FetchKeys(s.dns("tcp").Ask, zone, anchors, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for apex, records := range keys {
			all[apex] = records
		}
	}
	return all
}

// lookup asks the server, and checks the answer as a validator does.
func (s *server) lookup(keys dnstest.Keys, name string, typ uint16) (*dns.Msg, error) {
	q := dnstest.Query{Name: name, Type: typ, DO: true}
	m, err := s.dns("udp").Ask(q)
	if err != nil {
		return nil, err
	}
	return m, dnstest.CheckAnswer(keys, q, m, time.Now())
}

// expectHost returns nil if a host has signed addresses.
func (s *server) expectHost(keys dnstest.Keys, host string) error {
	m, err := s.lookup(keys, host, dns.TypeA)
	if err == nil && len(m.Answer) == 0 {
		err = fmt.Errorf("%s does not exist:\n%s", host, m)
	}
	return err
}

// expectNoHost returns nil if it is proven that there is no such name.
func (s *server) expectNoHost(keys dnstest.Keys, host string) error {
	m, err := s.lookup(keys, host, dns.TypeA)
	if err != nil {
		return err
	}
	for _, rr := range m.Ns {
		if nsec, ok := rr.(*dns.NSEC); ok && len(nsec.TypeBitMap) == 3 && nsec.TypeBitMap[2] == dns.TypeNXNAME {
			return nil
		}
	}
	return fmt.Errorf("%s is not denied:\n%s", host, m)
}

// must fails the test if an API call has failed.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// hostOf is the host name of a short domain.
func hostOf(domain, zone string) string { return strings.ReplaceAll(domain, ".", "-") + "." + zone }

// examplePool has documentation addresses and the digest of no key.
func examplePool(address string, digest byte) api.PoolSpec {
	data := make([]byte, 32)
	for i := range data {
		data[i] = digest
	}
	return api.PoolSpec{
		Hosts: []api.MailServer{{Name: "in1", Addresses: []string{address, "2001:db8::10"}}},
		TLSA:  []api.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: hex.EncodeToString(data)}},
	}
}
