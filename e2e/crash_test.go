package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

const (
	crashes    = 20
	writers    = 64
	acksMin    = 100 // acknowledged calls before a crash, at least
	acksSpread = 900 // and at most so many more
)

// ledger is what the server has acknowledged. A call that was not answered may have had its effect or not, so that
// its tenant is left out from then on.
type ledger struct {
	mu    sync.Mutex      // guards the following fields
	state map[string]bool // by domain: true if it must be there, false if it must be gone
	acks  int
}

func (l *ledger) ack(domain string, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state[domain] = there
	l.acks++
}

// forget is called before a call that changes the fate of a domain.
func (l *ledger) forget(domain string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.state, domain)
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// any is one of the domains, if there is one.
func (l *ledger) any() (domain string, found bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for domain := range l.state { // in no order
		return domain, true
	}
	return "", false
}

// TestCrash kills the server again and again while many clients provision. What it had acknowledged before must be
// there when it is back: a provisioning system never asks twice.
func TestCrash(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	l := &ledger{state: map[string]bool{}}
	for round := range crashes + 1 {
		until := l.count() + acksMin + rand.IntN(acksSpread)
		var clients sync.WaitGroup
		for n := range writers {
			clients.Go(func() { provision(t, s, l, fmt.Sprintf("r%dc%d", round, n)) })
		}
		s.await(t, "acknowledges calls", func() error {
			if n := l.count(); n < until {
				return fmt.Errorf("%d, want %d", n, until)
			}
			return nil
		})
		last := round == crashes
		if last {
			s.stop(t) // in good order, for once
		} else {
			s.kill()
		}
		clients.Wait()
		s.launch(t)
		// What is older than this round is sampled: looking at everything each time would take the square of the time.
		sample := func() bool { return last || rand.IntN(crashes) == 0 }
		if n := l.verify(t, s, sample, fmt.Sprintf("r%dc", round)); n == 0 {
			t.Fatal("nothing was acknowledged")
		}
		if t.Failed() {
			t.Fatalf("after crash %d", round+1)
		}
	}
	t.Logf("%d crashes, %d acknowledged calls, %d domains", crashes, l.acks, len(l.state))
}

// provision makes tenants until the server is gone.
func provision(t testing.TB, s *server, l *ledger, prefix string) {
	for i := 0; ; i++ {
		if err := l.provision(t.Context(), s.Client, apex, prefix, i); err != nil {
			return
		}
	}
}

// provision makes a tenant, and revokes each third. It notes what was acknowledged.
func (l *ledger) provision(ctx context.Context, c *client.Client, zone, prefix string, i int) error {
	id := fmt.Sprintf("%si%d", prefix, i)
	domain := id + ".example"
	if _, err := c.PutTenant(ctx, id, api.TenantSpec{Zone: zone, Pool: pool, Domains: []string{domain}}); err != nil {
		return err
	}
	l.ack(domain, true)
	if i%3 != 2 {
		return nil
	}
	l.forget(domain)
	if _, err := c.RevokeTenant(ctx, id); err != nil {
		return err
	}
	l.ack(domain, false)
	return nil
}

// verify checks the answers for all domains whose names begin with a prefix, and a sample of the others. It returns
// how many those were.
func (l *ledger) verify(t testing.TB, s *server, sample func() bool, prefix string) int {
	t.Helper()
	keys := s.keys(t, apex)
	var domains []string
	for domain := range l.state {
		if strings.HasPrefix(domain, prefix) || sample() {
			domains = append(domains, domain)
		}
	}
	return each(t, domains, func(domain string) error { return l.check(s, keys, apex, domain) })
}

func (l *ledger) check(s *server, keys dnstest.Keys, zone, domain string) error {
	host := hostOf(domain, zone)
	if l.state[domain] {
		return s.expectHost(keys, host)
	}
	return s.expectNoHost(keys, host)
}
