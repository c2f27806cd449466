package server_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

const secret = "what the key store said"

// When an answer cannot be signed or must not be given, nothing is said: SERVFAIL, no record, the reason counted and
// logged, and not told to the client.
func TestFailures(t *testing.T) {
	s := standard(t, ecdsa)
	shard := zone.MustParseName("o-v1.mx.test.")
	failing := func(w *world) { w.signer.before = func(zone.RRset) error { return errors.New(secret) } }
	for _, c := range []struct {
		name   string
		query  dnstest.Query
		state  *state // nil: not loaded
		spoil  func(w *world)
		reason string
		ede    int
	}{
		{"not loaded", dnstest.Query{Name: host, Type: dns.TypeA, DO: true}, nil, nil, "not_ready", 14},
		{"not loaded, transfer", dnstest.Query{Name: host, Type: dns.TypeAXFR, DO: true}, nil, nil, "not_ready", 14},
		{"no keys", dnstest.Query{Name: host, Type: dns.TypeA, DO: true}, s.with(func(s *state) { s.Ring = s.Ring.Without(shard) }), nil, "no_keys", 0},
		{"no keys, unsigned", dnstest.Query{Name: host, Type: dns.TypeA, Size: 1232}, s.with(func(s *state) { s.Ring = s.Ring.Without(shard) }), nil, "no_keys", 0},
		{"no keys, no name", dnstest.Query{Name: "absent." + shard.String(), Type: dns.TypeA, DO: true}, s.with(func(s *state) { s.Ring = s.Ring.Without(shard) }), nil, "no_keys", 0},
		{"no pool", dnstest.Query{Name: host, Type: dns.TypeA, Size: 1232}, s.with(func(s *state) { delete(s.pools, "default") }), nil, "broken", 0},
		{"no drain pool", dnstest.Query{Name: "_25._tcp.drained.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true}, s.with(func(s *state) { delete(s.pools, "drain") }), nil, "broken", 0},
		{"positive", dnstest.Query{Name: host, Type: dns.TypeA, DO: true}, s, failing, "signing", 0},
		{"no data", dnstest.Query{Name: host, Type: dns.TypeTXT, DO: true}, s, failing, "signing", 0},
		{"no name", dnstest.Query{Name: "absent.mx.test.", Type: dns.TypeTXT, DO: true}, s, failing, "signing", 0},
		{"own RRSIG without DO", dnstest.Query{Name: host, Type: dns.TypeRRSIG, Size: 1232}, s, failing, "signing", 0},
		{"own NSEC", dnstest.Query{Name: host, Type: dns.TypeNSEC, DO: true}, s, failing, "signing", 0},
		{"NSEC alone cannot be signed", dnstest.Query{Name: host, Type: dns.TypeTXT, DO: true}, s, func(w *world) {
			w.signer.before = func(set zone.RRset) error {
				if set.Type() == zone.TypeNSEC {
					return errors.New(secret)
				}
				return nil
			}
		}, "signing", 0},
		{"success without a signature", dnstest.Query{Name: host, Type: dns.TypeA, DO: true}, s, func(w *world) {
			w.signer.spoil = func(zone.RRset, []string) []string { return nil }
		}, "signing", 0},
		{"clock before the keys' windows", dnstest.Query{Name: host, Type: dns.TypeA, DO: true}, s.with(func(s *state) {
			z := *s.zones[shard]
			z.Signature.Lifetime = time.Hour // less than is needed for the reserve
			s.zones[shard] = &z
		}), nil, "signing", 0},
	} {
		w := newWorld(t, s)
		w.loaded.Store(c.state)
		if c.spoil != nil {
			c.spoil(w)
		}
		for _, via := range []server.Transport{server.UDP, server.TCP} {
			m, err := c.query.Ask(w.exchange(via))
			if err != nil {
				t.Fatal(err)
			}
			if m.Rcode != dns.RcodeServerFailure || m.Authoritative || m.Truncated || edeOf(m) != c.ede || strings.Contains(m.String(), secret) {
				t.Errorf("%s: %s", c.name, m)
			}
			checkEmpty(t, m)
		}
		if n := counted(t, w.opts.Metrics, `mxseal_dns_failures_total{reason="`+c.reason+`"}`); n != 2 {
			t.Errorf("%s: counted %v times", c.name, n)
		}
		if n := strings.Count(w.log.String(), "reason="+c.reason); n != 1 { // the clock stands still, so the second is held back
			t.Errorf("%s: logged %d times:\n%s", c.name, n, w.log)
		}
	}
}

// What needs no signature is still answered when there can be none.
func TestSigningIsNotAskedForWithoutNeed(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	w.signer.before = func(zone.RRset) error { return errors.New(secret) }
	for _, q := range []dnstest.Query{{Name: host, Type: dns.TypeA}, {Name: host, Type: dns.TypeTXT}, {Name: "absent.mx.test.", Type: dns.TypeA, CO: true}, {Name: host, Type: dns.TypeNSEC}} {
		m, err := w.ask(q)
		if err != nil {
			t.Fatal(err)
		}
		dnstest.Verify(t, w.keys, q, m, now)
	}
}

// An answer that fits into no message is not sent in part.
func TestAnswerOver64KiB(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	w.signer.spoil = func(_ zone.RRset, sigs []string) []string { return append(sigs, strings.Repeat("x", 65000)) }
	q := dnstest.Query{Name: host, Type: dns.TypeTXT, DO: true}
	m, err := q.Ask(w.exchange(server.TCP))
	if err != nil {
		t.Fatal(err)
	}
	if m.Rcode != dns.RcodeServerFailure || m.Truncated || m.Authoritative {
		t.Errorf("got %s", m)
	}
	checkEmpty(t, m)
	if n := counted(t, w.opts.Metrics, `mxseal_dns_failures_total{reason="too_large"}`); n != 1 {
		t.Errorf("counted %v times", n)
	}
}

// A panic costs one query.
func TestPanic(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	w.signer.before = func(set zone.RRset) error {
		if set.Type() == zone.TypeMX {
			panic("at the disco")
		}
		return nil
	}
	bad := pack(t, dnstest.Query{Name: host, Type: dns.TypeMX, DO: true}.Message())
	for range 2 {
		reply := w.Respond([]byte("before"), bad, server.UDP)
		if m := parse(t, reply[6:]); string(reply[:6]) != "before" || m.Rcode != dns.RcodeServerFailure || len(m.Answer) > 0 {
			t.Errorf("%q: %s", reply[:6], m)
		}
		checkReply(t, w, pack(t, query()), server.UDP)
	}
	for _, series := range []string{"mxseal_dns_panics_total", `mxseal_dns_failures_total{reason="panic"}`, `mxseal_dns_responses_total{outcome="servfail",transport="udp"}`} {
		if n := counted(t, w.opts.Metrics, series); n != 2 {
			t.Errorf("%s: %v", series, n)
		}
	}
	if log := w.log.String(); strings.Count(log, "at the disco") != 1 || !strings.Contains(log, "failure_test.go") {
		t.Errorf("the log has no stack, or several: %s", log)
	}
}

// Failures are logged again after a while, with the number of those in between.
func TestFailuresAreLoggedSeldom(t *testing.T) {
	clock := now
	w := newWorld(t, standard(t, ecdsa), func(o *server.Options) { o.Now = func() time.Time { return clock } })
	w.loaded.Store(nil)
	for _, step := range []time.Duration{0, time.Second, 8 * time.Second, time.Second, time.Second, -time.Hour} {
		clock = clock.Add(step)
		w.mustAsk(t, query())
	}
	var held []string
	for line := range strings.Lines(w.log.String()) {
		_, n, _ := strings.Cut(strings.TrimSpace(line), "not_logged=")
		held = append(held, n)
	}
	if got := strings.Join(held, " "); got != "0 2 1" {
		t.Errorf("not logged in between: %q\n%s", got, w.log)
	}
}
