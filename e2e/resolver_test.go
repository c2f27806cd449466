package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
)

// resolver is a validating resolver that trusts the root of the test and nothing else.
type resolver struct {
	*daemon
	name string
	addr netip.Addr
	tcp  bool // asks authorities over TCP alone
	// refuses has the types that the program does not ask an authority for, beside metaTypes.
	refuses []refusal
}

// refusal is a range of types that are not asked, and why.
type refusal struct {
	first, last uint16
	why         string
}

// metaTypes have a meaning of their own in a question (RFC 6895 §3.1); a resolver does not pass them on.
var metaTypes = []refusal{
	{dns.TypeOPT, dns.TypeOPT, "no type of data (RFC 6891 §6.1.1)"},
	{dns.TypeRRSIG, dns.TypeRRSIG, "has no signatures itself, so that nothing about it can be validated (RFC 4035 §2.2)"},
	{dns.TypeNXNAME, dns.TypeNXNAME, "FORMERR at the authority (RFC 9824 §3.5)"},
	{dns.TypeTKEY, dns.TypeTKEY, "about the connection (RFC 2930 §2)"},
	{dns.TypeTSIG, dns.TypeTSIG, "about the message (RFC 8945 §4)"},
	{dns.TypeIXFR, dns.TypeAXFR, "zone transfers"},
	{dns.TypeMAILB, dns.TypeMAILA, "groups of types (RFC 1035 §3.2.3)"},
	{dns.TypeANY, dns.TypeANY, "all types: what comes back is up to what is in the cache (RFC 8482)"},
}

// notAsked are all types that make no sense as a question to the resolver.
func (r *resolver) notAsked() []refusal { return slices.Concat(metaTypes, r.refuses) }

func (r *resolver) asks(typ uint16) bool {
	return !slices.ContainsFunc(r.notAsked(), func(not refusal) bool { return not.first <= typ && typ <= not.last })
}

// ask sends a question to a resolver, with DO or only with AD set: both ask whether the answer is validated. What
// is lost on the way is sent again, as stub resolvers do.
func ask(addr netip.Addr, name string, typ uint16, do bool) (*dns.Msg, error) {
	m := dnstest.Query{Name: name, Type: typ, DO: do, Size: 1232}.Message()
	m.RecursionDesired, m.AuthenticatedData = true, true
	client := &dns.Client{Timeout: 5 * time.Second, UDPSize: 1232}
	var reply *dns.Msg
	var err error
	for range 12 {
		reply, _, err = client.Exchange(m, dnsPort(addr))
		if err == nil && reply.Truncated {
			client.Net = "tcp"
			reply, _, err = client.Exchange(m, dnsPort(addr))
		}
		if err == nil {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("%s %s: %w", name, dns.Type(typ), err)
}

// expectAnswer is a condition: a server answers with records.
func expectAnswer(addr netip.Addr, name string, typ uint16) error {
	m, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion(name, typ), dnsPort(addr))
	if err == nil && len(m.Answer) == 0 {
		err = fmt.Errorf("no answer:\n%s", m)
	}
	return err
}

// expectSecure is a condition: a resolver answers with validated records. That it validates at all is proven with
// it: without the trust anchor AD would be clear.
func expectSecure(addr netip.Addr, name string, typ uint16) error {
	m, err := ask(addr, name, typ, true)
	if err == nil && (!m.AuthenticatedData || len(m.Answer) == 0) {
		err = fmt.Errorf("no secure answer:\n%s", m)
	}
	return err
}

// question is one of many.
type question struct {
	name string
	typ  uint16
	// exists says whether there are records.
	exists bool
}

// isSecure returns nil if m is a secure answer, whatever it says.
func isSecure(m *dns.Msg) error {
	switch {
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return errors.New("is a failure")
	case !m.AuthenticatedData:
		return errors.New("is not secure")
	}
	return nil
}

// check returns nil if m is a secure answer to the question.
func (q question) check(m *dns.Msg) error {
	if err := isSecure(m); err != nil {
		return err
	}
	switch {
	case q.exists && (len(m.Answer) == 0 || m.Rcode != dns.RcodeSuccess):
		return errors.New("denies what exists")
	case !q.exists && len(m.Answer) > 0:
		return errors.New("has what does not exist")
	}
	return nil
}

const (
	sweepers  = 8  // questions that are under way at a time
	maxErrors = 10 // that are worth reading
)

// each calls do for all items, several at a time, until there are too many errors. It returns how many items were
// done.
func each[T any](t testing.TB, items []T, do func(T) error) (done int) {
	t.Helper()
	var mu sync.Mutex // guards next, done and failed
	var next, failed int
	var workers sync.WaitGroup
	for range sweepers {
		workers.Go(func() {
			for {
				mu.Lock()
				if next == len(items) || failed >= maxErrors {
					mu.Unlock()
					return
				}
				item := items[next]
				next++
				mu.Unlock()
				err := do(item)
				mu.Lock()
				if err != nil {
					t.Error(err)
					failed++
				} else {
					done++
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return done
}

// sweep asks a resolver all questions and checks that every answer is secure. It returns how many were.
func (r *resolver) sweep(t testing.TB, questions []question) int {
	t.Helper()
	return each(t, questions, func(q question) error {
		m, err := ask(r.addr, q.name, q.typ, true)
		if err == nil {
			err = q.check(m)
		}
		if err != nil {
			return fmt.Errorf("%s: the answer to %s %s %w\n%v", r.name, q.name, dns.Type(q.typ), err, m)
		}
		return nil
	})
}
