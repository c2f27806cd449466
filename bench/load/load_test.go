//go:build linux

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/batch"
)

// startEcho answers queries with themselves until the test ends, query n with as many copies as copies says.
func startEcho(t *testing.T, copies func(n int) int) netip.AddrPort {
	t.Helper()
	s, err := batch.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	addr, err := s.Addr()
	if err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		one := batch.New(1, maxQuery, true)
		for seen := 0; !stop.Load(); {
			n, err := s.Receive(one)
			if err != nil {
				t.Error(err)
				return
			}
			if n == 0 {
				s.Wait(longest)
				continue
			}
			answer := one.Resize(0, len(one.Data(0)))
			answer[2] |= 0x80
			for range copies(seen) {
				s.Send(one, 1)
			}
			seen++
		}
	}()
	t.Cleanup(func() {
		stop.Store(true)
		<-done
		s.Close()
	})
	return addr
}

func once(int) int { return 1 }

func start(t *testing.T, args ...string) options {
	t.Helper()
	o, err := parse(args)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// In a closed loop every query is answered, by one worker or several, and every question is asked once.
func TestOnce(t *testing.T) {
	for _, workers := range []string{"1", "3"} {
		addr := startEcho(t, once)
		r, err := run(start(t, "-server", addr.String(), "-names", "d%d.test", "-count", "500", "-once", "-workers", workers, "-pid", strconv.Itoa(os.Getpid()), "-timeout", "1m"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Queries != 2000 || r.Answers != 2000 || r.Lost != 0 || r.Stray != 0 || r.Rcodes["NOERROR"] != 2000 {
			t.Errorf("%s workers: %+v", workers, r)
		}
		if r.MeanOctets < 30 || r.MeanOctets > 70 || r.QPS <= 0 || r.Latency.P50 <= 0 || r.Latency.P50 > r.Latency.P99 {
			t.Errorf("%s workers: %+v", workers, r)
		}
	}
}

// What the server drops is lost, no more and no less.
func TestLoss(t *testing.T) {
	addr := startEcho(t, func(n int) int {
		if n%10 == 9 {
			return 0
		}
		return 1
	})
	r, err := run(start(t, "-server", addr.String(), "-names", "d%d.test", "-count", "1000", "-once", "-window", "200", "-timeout", "500ms"))
	if err != nil {
		t.Fatal(err)
	}
	if late := r.Stray; r.Queries != 4000 || r.Answers+r.Lost != r.Queries || r.Lost-late != 400 {
		t.Errorf("%+v", r)
	}
}

// An answer that comes twice is counted once.
func TestStray(t *testing.T) {
	addr := startEcho(t, func(int) int { return 2 })
	r, err := run(start(t, "-server", addr.String(), "-absent", "test", "-count", "300", "-window", "4", "-timeout", "1m"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Answers != 300 || r.Lost != 0 || r.Stray == 0 {
		t.Errorf("%+v", r)
	}
}

// Both loops end when time is up; the open one sends what it was asked to or says what it did not.
func TestDuration(t *testing.T) {
	addr := startEcho(t, once)
	r, err := run(start(t, "-server", addr.String(), "-names", "d%d.test", "-count", "10", "-duration", "100ms"))
	if err != nil || r.Answers <= 40 || r.Unsent != 0 {
		t.Errorf("closed loop: %+v %v", r, err)
	}
	r, err = run(start(t, "-server", addr.String(), "-names", "d%d.test", "-count", "10", "-duration", "200ms", "-rate", "1000"))
	if err != nil || r.Queries+r.Unsent != 200 || r.Queries == 0 {
		t.Errorf("open loop: %+v %v", r, err)
	}
}

// The questions are those that were asked for, each once, whatever the order.
func TestQuestions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "questions")
	if err := os.WriteFile(file, []byte("a.test MX\n\nb.test. tlsa\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"-questions " + file:                         "a.test. MX; b.test. TLSA",
		"-names d%d.test -count 2 -types A,TLSA":     "_25._tcp.d0.test. TLSA; _25._tcp.d1.test. TLSA; d0.test. A; d1.test. A",
		"-names x%d.test -count 1 -types MX -seed 7": "x0.test. MX",
	} {
		q, err := start(t, strings.Fields(args)...).build()
		if err != nil {
			t.Fatal(err)
		}
		if got := q.text(t); got != want {
			t.Errorf("%s: %s, want %s", args, got, want)
		}
	}
	one, two := start(t, "-absent", "test", "-seed", "1"), start(t, "-absent", "test", "-seed", "2")
	names := map[string]bool{}
	for _, o := range []options{one, one, two} {
		q, err := o.build()
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(q.text(t), "; ") {
			names[name] = true
		}
	}
	if len(names) != 20_000 {
		t.Errorf("two seeds make %d names", len(names))
	}
}

// text is the questions, sorted.
func (q *questions) text(t *testing.T) string {
	t.Helper()
	var lines []string
	for i := range q.len() {
		m := new(dns.Msg)
		if err := m.Unpack(q.at(i)); err != nil {
			t.Fatal(err)
		}
		if opt := m.IsEdns0(); opt == nil || !opt.Do() || opt.UDPSize() != udpSize || m.RecursionDesired {
			t.Errorf("query %s", m)
		}
		lines = append(lines, m.Question[0].Name+" "+dns.TypeToString[m.Question[0].Qtype])
	}
	return strings.Join(slices.Sorted(slices.Values(lines)), "; ")
}

func TestBadOptions(t *testing.T) {
	for _, args := range []string{"-window 0", "-workers 0", "-window 100000", "-rate -1", "-timeout 0s", "-server x", "rest"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
	for _, args := range []string{"", "-questions /does/not/exist", "-names d%d.test -types NONE", "-names d%d.test -count 0", "-absent a..b"} {
		if _, err := run(start(t, strings.Fields(args)...)); err == nil {
			t.Errorf("%s runs", args)
		}
	}
}

// What a query costs the generator is no allocation.
func TestAllocations(t *testing.T) {
	addr := startEcho(t, once)
	o := start(t, "-server", addr.String(), "-names", "d%d.test", "-count", "100", "-once")
	q, err := o.build()
	if err != nil {
		t.Fatal(err)
	}
	s, err := batch.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := &worker{
		o: o, asked: q, stride: 1, socket: s, start: time.Now(),
		queries: batch.New(batchLen, maxQuery, false), answers: batch.New(batchLen, maxAnswer, false),
	}
	if n := testing.AllocsPerRun(10, func() {
		w.next = 0
		if err := w.send(time.Second, batchLen); err != nil {
			t.Fatal(err)
		}
		for w.flight.out > 0 {
			if _, err := w.receive(); err != nil {
				t.Fatal(err)
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
