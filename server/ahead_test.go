package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// clocked is a world whose clock the test sets, with everything that makes answers ahead.
type clocked struct {
	*world
	at    time.Time
	table *epoch.Table
	ahead []*server.Ahead
}

func newClocked(t testing.TB, edit ...func(*server.Options)) *clocked {
	c := &clocked{at: now, table: epoch.New()}
	edit = append([]func(*server.Options){remembering(c.table), func(o *server.Options) { o.Now = func() time.Time { return c.at } }}, edit...)
	c.world = newWorld(t, standard(t, ecdsa), edit...)
	c.ahead = c.Ahead()
	return c
}

// pass goes over the answers every 5 seconds from the present second on, for a while.
func (c *clocked) pass(d time.Duration) {
	for end := c.at.Add(d); c.at.Before(end); c.at = c.at.Add(5 * time.Second) {
		for _, a := range c.ahead {
			a.Pass()
		}
	}
}

func (c *clocked) made(t testing.TB) float64 {
	return counted(t, c.opts.Metrics, `mxseal_dns_answers_made_ahead_total{names="known"}`) +
		counted(t, c.opts.Metrics, `mxseal_dns_answers_made_ahead_total{names="unknown"}`)
}

func (c *clocked) askOf(t testing.TB, questions []dnstest.Query, times int) {
	for range times {
		for _, q := range questions {
			c.mustAsk(t, q.Message())
		}
	}
}

// signed are questions whose answers have signatures.
func signed() []dnstest.Query {
	return []dnstest.Query{{Name: host, Type: dns.TypeA, DO: true}, {Name: host, Type: dns.TypeMX, DO: true}, {Name: host, Type: dns.TypeTXT, DO: true},
		{Name: "_25._tcp." + host, Type: dns.TypeTLSA, DO: true}, {Name: "_25._tcp.plain.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true},
		{Name: "mx.test.", Type: dns.TypeSOA, DO: true}, {Name: "mx.test.", Type: dns.TypeDNSKEY, DO: true}, {Name: "absent.mx.test.", Type: dns.TypeA, DO: true, CO: true},
		{Name: host, Type: dns.TypeRRSIG}}
}

// windowOf is the window of a name in which a moment is.
func windowOf(name string, at time.Time) rrsig.Window {
	return rrsig.At(zone.DefaultZoneSpec(zone.MustParseName("mx.test.")).Signature, zone.MustParseName(name), at)
}

// Over days, what is asked all the time is never made while somebody waits, and is to the octet what would be made then.
func TestAnswersInUseAreMadeAhead(t *testing.T) {
	c := newClocked(t)
	fresh := newWorld(t, c.state, func(o *server.Options) { o.Now = func() time.Time { return c.at } })
	c.askOf(t, signed(), 1)
	first := lookups(t, c.world, "miss")
	for i := range 2 * 24 * 60 {
		c.pass(time.Minute)
		for _, q := range signed() {
			packet := pack(t, q.Message())
			got := c.Respond(nil, packet, server.UDP)
			if i%7 == 0 && !bytes.Equal(got, fresh.Respond(nil, packet, server.UDP)) {
				t.Fatalf("%s: %s is not what would be made", c.at, parse(t, got))
			}
		}
	}
	if late, misses := lookups(t, c.world, "late"), lookups(t, c.world, "miss")-first; late+misses != 0 {
		t.Errorf("%v answers were late, %v were made", late, misses)
	}
	if made := c.made(t); made < 8*47 || made > 12*49 { // once in an hour, twice for denials
		t.Errorf("%v answers were made ahead", made)
	}
}

// What nobody asks for again is not made again: neither names that were asked for once, nor those that were given up.
func TestAnswersOutOfUseAreNotMade(t *testing.T) {
	c := newClocked(t)
	for i := range 200 {
		c.askOf(t, []dnstest.Query{{Name: fmt.Sprintf("absent%d.mx.test.", i), Type: dns.TypeA, DO: true}}, 1)
	}
	c.askOf(t, signed(), 1)
	c.pass(3 * time.Hour)
	if made := c.made(t); made != 0 {
		t.Fatalf("%v answers were made for nobody", made)
	}
	c.askOf(t, signed()[:1], 2)
	c.pass(5 * time.Hour)
	if made := c.made(t); made != 1 {
		t.Errorf("an answer that was given up was made %v times", made)
	}
	if late := lookups(t, c.world, "late"); late != 0 {
		t.Errorf("%v answers that were not in use were late", late)
	}
}

// An answer is made in the last minutes, given out when its second has come, and not if it has changed in between.
func TestAnswersMadeAheadWaitForTheirTime(t *testing.T) {
	c := newClocked(t)
	q := signed()[:1]
	start := time.Unix(windowOf(host, now).Start, 0).Add(time.Hour)
	inception := func() int64 {
		m := c.mustAsk(t, q[0].Message())
		dnstest.Verify(t, c.keys, q[0], m, c.at)
		sig := m.Answer[len(m.Answer)-1].(*dns.RRSIG)
		return int64(sig.Inception)
	}
	c.askOf(t, q, 2)
	c.at = start.Add(-5*time.Minute - time.Second)
	c.pass(time.Second)
	if c.made(t) != 0 {
		t.Error("made too soon")
	}
	c.at = start.Add(-5 * time.Minute)
	c.pass(time.Minute)
	if c.made(t) != 1 {
		t.Errorf("made %v times", c.made(t))
	}
	for _, s := range []struct {
		after time.Duration
		want  time.Duration
	}{{-time.Second, -2 * time.Hour}, {0, -time.Hour}, {-time.Second, -2 * time.Hour}, {59 * time.Minute, -time.Hour}} { // the clock may be set
		if c.at = start.Add(s.after); inception() != start.Add(s.want).Unix() {
			t.Errorf("%s from the start: inception %s", s.after, time.Unix(inception(), 0))
		}
	}
	if hits := lookups(t, c.world, "hit"); hits != 5 {
		t.Errorf("%v hits", hits)
	}
	c.at = start
	c.pass(time.Second) // it stands alone now
	if c.at = start.Add(-time.Second); inception() != start.Add(-2*time.Hour).Unix() {
		t.Error("an answer is given out before its time")
	}
}

// An answer that was made ahead is void when a commit has changed it since, and is not made from another state than the last one.
func TestAnswersMadeAheadChange(t *testing.T) {
	meanwhile := func() {}
	c := newClocked(t, func(o *server.Options) {
		mark := o.Mark
		o.Mark = func(apex zone.Name, label string) epoch.Mark {
			meanwhile()
			return mark(apex, label)
		}
	})
	change := func() {
		c.table.Raise(nil, []*zone.Host{{Zone: zone.MustParseName("o-v1.mx.test."), Label: "acme"}})
	}
	start := time.Unix(windowOf(host, now).Start, 0).Add(time.Hour)
	c.askOf(t, signed()[:1], 2)
	meanwhile = change
	c.at = start.Add(-time.Minute)
	c.pass(time.Second)
	if made := c.made(t); made != 0 {
		t.Errorf("%v answers were made of two states", made)
	}
	meanwhile = func() {}
	c.askOf(t, signed()[:1], 2)
	c.at = start.Add(-time.Minute)
	c.pass(time.Second)
	c.askOf(t, signed()[:1], 1)
	before := lookups(t, c.world, "miss")
	change()
	c.at = start
	c.askOf(t, signed()[:1], 1)
	if c.made(t) != 1 || lookups(t, c.world, "miss") != before+1 {
		t.Errorf("%v answers were made ahead, and what has changed was not made anew", c.made(t))
	}
}

// A signer that fails ahead of time, or panics, fails no query: the answer in use stays, and the next is made when it is asked for.
func TestFailuresAheadReachNobody(t *testing.T) {
	for name, fail := range map[string]func(zone.RRset) error{
		"error": func(zone.RRset) error { return errors.New("no entropy") },
		"panic": func(zone.RRset) error { panic("no entropy") },
	} {
		c := newClocked(t)
		c.askOf(t, signed(), 2)
		c.signer.before = fail
		c.pass(2 * time.Hour)
		c.signer.before = nil
		for _, q := range signed() {
			m, err := c.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			dnstest.Verify(t, c.keys, q, m, c.at)
		}
		if late := lookups(t, c.world, "late"); late != float64(len(signed())-1) || c.made(t) != 0 { // the DNSKEY set changes later
			t.Errorf("%s: %v late, %v made", name, late, c.made(t))
		}
		for _, reason := range []string{"signing", "panic"} {
			if n := counted(t, c.opts.Metrics, `mxseal_dns_failures_total{reason="`+reason+`"}`); n != 0 {
				t.Errorf("%s: %v queries have failed", name, n)
			}
		}
		if panics := counted(t, c.opts.Metrics, "mxseal_dns_panics_total"); (panics > 0) != (name == "panic") {
			t.Errorf("%s: %v panics", name, panics)
		}
	}
}

// slow is how long a signature takes in the test of the budget.
const slow = 10 * time.Millisecond

// All denials of a zone change with its SOA. They are made within a tenth of a core in the minutes before; what that leaves over is
// counted, and answered.
func TestMakingAheadHasABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s := standard(t, ecdsa)
		const hosts = 2200 // two signatures each: 44 s of work, of which 30 s fit into five minutes
		var questions []dnstest.Query
		for i := range hosts {
			name := fmt.Sprintf("h%d", i)
			s.addHost(s.zones[zone.MustParseName("mx.test.")], name, "default", asIs)
			questions = append(questions, dnstest.Query{Name: name + ".mx.test.", Type: dns.TypeTXT, DO: true})
		}
		boundary := time.Unix(windowOf("mx.test.", now).Start, 0).Add(time.Hour)
		w := newWorld(t, s, remembering(epoch.New()), func(o *server.Options) {
			o.Now = func() time.Time { return boundary.Add(time.Since(began) - 10*time.Minute) }
			o.CacheSize = 16 << 20
		})
		questions = slices.DeleteFunc(questions, func(q dnstest.Query) bool { // those whose own window ends then too
			left := time.Unix(windowOf(q.Name, w.opts.Now()).Start, 0).Add(time.Hour).Sub(boundary)
			return left < 0 && left > -12*time.Minute || left > 0 && left < 2*time.Minute
		})
		for range 2 {
			for _, q := range questions {
				w.mustAsk(t, q.Message())
			}
		}
		var worked atomic.Int64
		w.signer.before = func(zone.RRset) error {
			worked.Add(1)
			time.Sleep(slow)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		go w.Ahead()[0].Run(ctx)
		last := int64(0)
		for w.opts.Now().Before(boundary) {
			time.Sleep(10 * time.Second)
			if d := time.Duration(worked.Load()-last) * slow; d > time.Second+2*slow {
				t.Errorf("%s of work in 10 s", d)
			}
			last = worked.Load()
		}
		cancel()
		synctest.Wait()
		w.signer.before = nil
		made := counted(t, w.opts.Metrics, `mxseal_dns_answers_made_ahead_total{names="known"}`)
		if n := worked.Load(); n < 2700 || made < float64(n)/2-1 {
			t.Errorf("%d signatures, %v answers: the budget is not used", n, made)
		}
		for _, q := range questions {
			m := w.mustAsk(t, q.Message())
			dnstest.Verify(t, w.keys, q, m, w.opts.Now())
		}
		if late := lookups(t, w, "late"); late == 0 || late+made != float64(len(questions)) {
			t.Errorf("%v of %d answers were late, %v made ahead", late, len(questions), made)
		}
	})
}

// While answers are asked for, changed and made ahead, on all cores, everybody gets what is right at the time.
func TestMakingAheadAndAnsweringAtOnce(t *testing.T) {
	var seconds atomic.Int64
	clock := func() time.Time { return now.Add(time.Duration(seconds.Load()) * time.Second) }
	table := epoch.New()
	w := newWorld(t, standard(t, ecdsa), remembering(table), func(o *server.Options) { o.Now = clock })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for _, a := range w.Ahead() {
		wg.Go(func() {
			for ctx.Err() == nil {
				a.Pass()
			}
		})
	}
	var askers sync.WaitGroup
	for range 2 {
		askers.Go(func() {
			for range 300 {
				for _, q := range signed() {
					m, err := w.ask(q)
					if err != nil {
						t.Error(err)
						return
					}
					dnstest.Verify(t, w.keys, q, m, clock())
				}
				if at := seconds.Add(20); at%700 == 0 {
					table.Raise([]zone.Name{zone.MustParseName("mx.test.")}, []*zone.Host{{Zone: zone.MustParseName("o-v1.mx.test."), Label: "acme"}})
				}
			}
		})
	}
	askers.Wait()
	cancel()
	wg.Wait()
	if made := counted(t, w.opts.Metrics, `mxseal_dns_answers_made_ahead_total{names="known"}`); made == 0 {
		t.Error("nothing was made ahead")
	}
}
