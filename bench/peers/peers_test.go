//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/bench/stats"
)

// The zone file has for each host what verify expects of the servers.
func TestZoneFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "zone")
	if err := writeZone(name, 3); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]bool{}
	zone := dns.NewZoneParser(f, "", name)
	for rr, ok := zone.Next(); ok; rr, ok = zone.Next() {
		all[rr.String()] = true
	}
	if err := zone.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) != 3+3*9 {
		t.Errorf("%d records", len(all))
	}
	for i := range 3 {
		for qtype, n := range map[uint16]int{dns.TypeMX: 1, dns.TypeA: 4, dns.TypeAAAA: 2, dns.TypeTLSA: 2} {
			lines, err := expected(i, qtype)
			if err != nil || len(lines) != n {
				t.Errorf("host %d: %q %v", i, lines, err)
			}
			for _, line := range lines {
				if !all[line] {
					t.Errorf("%s is not in the zone", line)
				}
			}
		}
	}
}

// Only the right records with one signature over them are accepted.
func TestCompare(t *testing.T) {
	want, err := expected(0, dns.TypeMX)
	if err != nil {
		t.Fatal(err)
	}
	sig := host(0) + " 300 IN RRSIG MX 13 3 300 20300101000000 20290101000000 1 mx.test. AAAA"
	for name, c := range map[string]struct {
		change func(*dns.Msg)
		lines  []string
		good   bool
	}{
		"good":         {nil, []string{want[0], sig}, true},
		"no signature": {nil, want, false},
		"no records":   {nil, []string{sig}, false},
		"another TTL":  {nil, []string{strings.Replace(want[0], "300", "60", 1), sig}, false},
		"another type": {nil, []string{want[0], strings.Replace(sig, "RRSIG MX", "RRSIG A", 1), sig}, false},
		"too much":     {nil, []string{want[0], want[0], sig}, false},
		"RSA":          {nil, []string{want[0], strings.Replace(sig, "MX 13", "MX 8", 1)}, false},
		"an error":     {func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, []string{want[0], sig}, false},
		"truncated":    {func(m *dns.Msg) { m.Truncated = true }, []string{want[0], sig}, false},
		"from a cache": {func(m *dns.Msg) { m.Authoritative = false }, []string{want[0], sig}, false},
		"two":          {nil, []string{want[0], sig, sig}, false},
	} {
		m := new(dns.Msg)
		m.Authoritative = true
		for _, line := range c.lines {
			rr, err := dns.NewRR(line)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		if c.change != nil {
			c.change(m)
		}
		if err := compare(m, dns.TypeMX, want); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Ratios are taken within a round, and what cannot be trusted is said.
func TestReport(t *testing.T) {
	r := &report{Rounds: 3, Signing: []signing{{10, 5}, {20, 5}, {30, 5}}}
	for round, noise := range []float64{1, 0.5, 0.25} {
		add := func(phase, server string, q float64, lost int) {
			r.Runs = append(r.Runs, measurement{phase, server, round, 1 - noise, stats.Result{QPS: q * noise, ServerCPU: 10, ServerBusy: noise, Lost: lost}})
		}
		add(warm, "peer", 100, 2)
		add(warm, mxseal, 250, 0)
		add(cold, mxseal, 4, 0)
	}
	var out bytes.Buffer
	r.write(&out)
	for _, want := range []string{
		"| peer | 50 | 2.50 | 10.00 | 1.00 |", "| mxseal | 125 | 1.00 |", "| cold | 0.10 | 0.50 |", "20 signatures/s, 5.0 us",
		"- warm, peer: 6 queries lost", "- warm, peer: the server was not busy in 2 of 3 rounds; it had 25 % of its core in the worst, others up to 75 %",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "generator was busy") {
		t.Errorf("the generator is doubted:\n%s", &out)
	}
}

func TestSignAlone(t *testing.T) {
	if s, err := signAlone(0, 1); err != nil || s.PerSecond <= 0 {
		t.Errorf("%+v %v", s, err)
	}
}

func TestIdleShare(t *testing.T) {
	before := "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 100 0 50 1000 10 0 0 0 7 0\ncpu1 1 1 1 1 1 1 1 1 1 1\n"
	after := "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 110 0 55 1070 20 0 5 0 99 0\ncpu1 1 1 1 1 1 1 1 1 1 1\n"
	for core, want := range []float64{0.8, 1, 1} {
		if got := idleShare(before, after, core); got != want {
			t.Errorf("core %d was idle for %v, want %v", core, got, want)
		}
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{0: nil, 3: {3}, 2.5: {4, 1, 2, 3}, 5: {9, 5, 1}} {
		if got := median(values); got != want {
			t.Errorf("the median of %v is %v, want %v", values, got, want)
		}
	}
}
