package e2e

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// TestRevokeTouchesNobodyElse: revoking one of a thousand tenants leaves every other answer as it was, to the
// octet.
func TestRevokeTouchesNobodyElse(t *testing.T) {
	t.Parallel()
	const tenants = 1000
	s := startServer(t)
	id := func(i int) string { return fmt.Sprintf("tenant%d", i) }
	var all []int
	for i := range tenants {
		all = append(all, i)
	}
	each(t, all, func(i int) error {
		_, err := s.PutTenant(t.Context(), id(i), api.TenantSpec{Pool: pool, Domains: []string{id(i) + ".example"}})
		return err
	})
	var questions []dnstest.Query
	for _, i := range all[2:] {
		questions = append(questions, mailQuestions(hostOf(id(i)+".example", apex))...)
	}
	const first, second = 0, 1
	s.expectUnchanged(t, questions,
		func() { checkForget(t, s, id(first)) },
		func() { checkForget(t, s, id(second)) })

	keys := s.keys(t, apex)
	for _, i := range []int{first, second} {
		if err := s.expectNoHost(keys, hostOf(id(i)+".example", apex)); err != nil {
			t.Error(err)
		}
	}
}

// TestRestartChangesNothing: signatures are deterministic, so that a server which has forgotten all that it signed
// gives the same answers as before, to the octet. So do the other nodes of a provider.
func TestRestartChangesNothing(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	var questions []dnstest.Query
	for _, z := range testZones {
		z.populate(t, s)
		for _, n := range z.samples(t, s) {
			questions = append(questions, mailQuestions(n.name)...)
			for _, typ := range n.types {
				questions = append(questions, dnstest.Query{Name: n.name, Type: typ, DO: true})
			}
		}
	}
	restart := func() {
		s.stop(t)
		s.launch(t)
	}
	s.expectUnchanged(t, questions, restart, restart)
}

// mailQuestions are what a sender asks about a host.
func mailQuestions(host string) []dnstest.Query {
	questions := []dnstest.Query{{Name: "_25._tcp." + host, Type: dns.TypeTLSA, DO: true}}
	for _, typ := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX} {
		questions = append(questions, dnstest.Query{Name: host, Type: typ, DO: true})
	}
	return questions
}

// expectUnchanged fails the test if an answer changes by do. In the time between two sweeps the window of a name may
// end: it gets new signatures, and so does every denial if that name is the apex with its SOA. That happens to a name
// once in an hour, so that it is no excuse for the same answers a second time, when doAgain does the same again.
func (s *server) expectUnchanged(t *testing.T, questions []dnstest.Query, do, doAgain func()) {
	t.Helper()
	changed := s.changedBy(t, questions, do)
	t.Logf("%d answers compared, %d again because their signatures were due", len(questions), len(changed))
	if changed = s.changedBy(t, changed, doAgain); len(changed) > 0 {
		t.Errorf("%d answers change each time, such as %s", len(changed), changed[0])
	}
}

// changedBy returns the questions that have another answer after do, compared octet by octet.
func (s *server) changedBy(t *testing.T, questions []dnstest.Query, do func()) (changed []dnstest.Query) {
	t.Helper()
	record := func() map[dnstest.Query][]byte {
		var mu sync.Mutex
		answers := map[dnstest.Query][]byte{}
		each(t, questions, func(q dnstest.Query) error {
			m := q.Message()
			m.Id = 4711
			packet, err := m.Pack()
			if err != nil {
				return err
			}
			reply, err := s.dns("udp").Exchange(packet)
			mu.Lock()
			defer mu.Unlock()
			answers[q] = reply
			return err
		})
		return answers
	}
	before := record()
	do()
	after := record()
	for _, q := range questions {
		if !bytes.Equal(before[q], after[q]) {
			changed = append(changed, q)
		}
	}
	return changed
}

// checkForget revokes a tenant and looks at the times in the answer: they are in the future, replay ends after
// honest caches have forgotten, and both are bounded by the defaults of TTLs and lifetimes.
func checkForget(t *testing.T, s *server, tenant string) {
	t.Helper()
	before := time.Now()
	got := must[*api.Tenant](t)(s.RevokeTenant(t.Context(), tenant))
	if got.State != "revoked" || got.Forget == nil {
		t.Fatalf("the revocation answers %+v", got)
	}
	// 5 min propagation and a TTL of 5 min; a lifetime of 8 h, a window that starts in at most 1 h, 1 h of skew.
	if d := got.CachesForgetBy.Sub(before); d < 5*time.Minute || d > 15*time.Minute {
		t.Errorf("caches forget after %v", d)
	}
	if d := got.ReplayEndsBy.Sub(before); d < 7*time.Hour || d > 11*time.Hour {
		t.Errorf("replay ends after %v", d)
	}
	if got.ReplayEndsBy.Before(got.CachesForgetBy) {
		t.Errorf("replay ends at %v, before caches forget at %v", got.ReplayEndsBy, got.CachesForgetBy)
	}
}
