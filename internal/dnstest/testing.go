package dnstest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Verify fails the test if CheckAnswer finds something wrong.
func Verify(t testing.TB, keys Keys, q Query, m *dns.Msg, now time.Time) {
	t.Helper()
	if err := CheckAnswer(keys, q, m, now); err != nil {
		t.Error(err)
	}
}

// Case is a row of a table: a query and what must come back.
type Case struct {
	Query
	Rcode int
	// Answer has the records of the answer section as in a zone file, in any order, without signatures.
	Answer []string
	// Bitmap has the types of the NSEC record, in ascending order: "A MX RRSIG NSEC". Empty: there is none.
	Bitmap string
}

// Check returns nil if m is a correct answer, see [CheckAnswer], and has what the case says. For other RCODEs than
// NOERROR and NXDOMAIN it must be empty.
func (c Case) Check(keys Keys, m *dns.Msg, now time.Time) error {
	if m.Rcode != c.Rcode {
		return fmt.Errorf("%s: RCODE %s, want %s", c.Query, dns.RcodeToString[m.Rcode], dns.RcodeToString[c.Rcode])
	}
	if c.Rcode != dns.RcodeSuccess && c.Rcode != dns.RcodeNameError {
		if len(m.Answer)+len(m.Ns) > 0 {
			return fmt.Errorf("%s: a refusal with records\n%s", c.Query, m)
		}
		return nil
	}
	if err := CheckAnswer(keys, c.Query, m, now); err != nil {
		return err
	}
	want, err := c.wanted()
	if err != nil {
		return err
	}
	var got []string
	for _, rr := range m.Answer {
		if rr.Header().Rrtype != dns.TypeRRSIG {
			got = append(got, strings.ToLower(rr.String()))
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%s: answer\n%s\nwant\n%s", c.Query, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	var types []string
	for _, typ := range bitmapOf(m) {
		types = append(types, dns.Type(typ).String())
	}
	if bitmap := strings.Join(types, " "); bitmap != c.Bitmap {
		return fmt.Errorf("%s: bitmap %q, want %q", c.Query, bitmap, c.Bitmap)
	}
	return nil
}

// wanted brings the wanted records into the form of those that were got.
func (c Case) wanted() ([]string, error) {
	var want []string
	for _, text := range c.Answer {
		rr, err := dns.NewRR(text)
		if err != nil {
			return nil, fmt.Errorf("case %s: record %q: %w", c.Query, text, err)
		}
		want = append(want, strings.ToLower(rr.String()))
	}
	slices.Sort(want)
	return want, nil
}
