//go:build linux

package main

import (
	"fmt"
	"slices"

	"github.com/miekg/dns"
)

// verify asks for every type at the first, the middle and the last host, and returns an error unless the answers are
// what the zone file says, each with a signature.
func verify(s *server, tenants int) error {
	for _, i := range []int{0, tenants / 2, tenants - 1} {
		for _, qtype := range []uint16{dns.TypeMX, dns.TypeA, dns.TypeAAAA, dns.TypeTLSA} {
			want, err := expected(i, qtype)
			if err != nil {
				return err
			}
			name := host(i)
			if qtype == dns.TypeTLSA {
				name = "_25._tcp." + name
			}
			m := new(dns.Msg).SetQuestion(name, qtype)
			m.SetEdns0(1232, true)
			answer, err := dns.Exchange(m, s.addr())
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, dns.TypeToString[qtype], err)
			}
			if err := compare(answer, qtype, want); err != nil {
				return fmt.Errorf("%w:\n%s", err, answer)
			}
		}
	}
	return nil
}

// compare looks at one answer.
func compare(answer *dns.Msg, qtype uint16, want []string) error {
	if answer.Rcode != dns.RcodeSuccess || answer.Truncated || !answer.Authoritative {
		return fmt.Errorf("not an authoritative, complete answer")
	}
	var got []string
	signatures := 0
	for _, rr := range answer.Answer {
		if sig, ok := rr.(*dns.RRSIG); ok {
			if sig.TypeCovered != qtype || sig.Algorithm != dns.ECDSAP256SHA256 {
				return fmt.Errorf("another signature than asked for")
			}
			signatures++
			continue
		}
		got = append(got, rr.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || signatures != 1 {
		return fmt.Errorf("%d signatures over %q, want 1 over %q", signatures, got, want)
	}
	return nil
}
