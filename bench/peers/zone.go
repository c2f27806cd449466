//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
)

const (
	zoneName = "mx.test."
	pattern  = "d%d-example-com." + zoneName // of hosts, for the load generator
)

// domain is the accepted domain whose host has number i.
func domain(i int) string { return fmt.Sprintf("d%d.example.com", i) }

// host is the name that mxseal gives the domain.
func host(i int) string { return strings.ReplaceAll(pattern, "%d", fmt.Sprint(i)) }

// addresses and digests are those of every host.
func addresses() (v4, v6, digests []string) {
	return []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"}, []string{"2001:db8::1", "2001:db8::2"},
		[]string{strings.Repeat("1a", 32), strings.Repeat("2b", 32)}
}

// pool is the same for mxseal.
func pool() (spec api.PoolSpec) {
	v4, v6, digests := addresses()
	spec.Hosts = []api.MailServer{{Name: "in1", Addresses: v4}, {Name: "in2", Addresses: v6}}
	for _, digest := range digests {
		spec.TLSA = append(spec.TLSA, api.TLSA{Usage: 3, Selector: 1, MatchingType: 1, Data: digest})
	}
	return spec
}

// records are those of host i as lines of a zone file, TTLs and all.
func records(i int) (lines []string) {
	v4, v6, digests := addresses()
	add := func(prefix, rest string) { lines = append(lines, fmt.Sprintf("%s%s 300 IN %s", prefix, host(i), rest)) }
	add("", "MX 10 "+host(i))
	for _, address := range v4 {
		add("", "A "+address)
	}
	for _, address := range v6 {
		add("", "AAAA "+address)
	}
	for _, digest := range digests {
		add("_25._tcp.", "TLSA 3 1 1 "+digest)
	}
	return lines
}

// expected are the records of one type, as miekg/dns prints them.
func expected(i int, qtype uint16) (lines []string, err error) {
	for _, line := range records(i) {
		rr, err := dns.NewRR(line)
		if err != nil {
			return nil, err
		}
		if rr.Header().Rrtype == qtype {
			lines = append(lines, rr.String())
		}
	}
	return lines, nil
}

// writeZone writes the zone file with all hosts, unsigned.
func writeZone(name string, tenants int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "%[1]s 60 IN SOA ns1.%[1]s hostmaster.%[1]s 1 3600 600 86400 60\n%[1]s 3600 IN NS ns1.%[1]s\nns1.%[1]s 3600 IN A 127.0.0.1\n", zoneName)
	for i := range tenants {
		for _, line := range records(i) {
			io.WriteString(w, line+"\n")
		}
	}
	if err := w.Flush(); err != nil { // tells what the writes before it have met
		return err
	}
	return f.Close()
}
