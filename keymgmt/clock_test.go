package keymgmt

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// benchNodes count how often they are told that all was acted on.
type benchNodes struct {
	behind  func() (time.Duration, string)
	settled int
}

func (n *benchNodes) Behind() (time.Duration, string) { return n.behind() }
func (n *benchNodes) Settled()                        { n.settled++ }

// restart is a start of the program, or the beginning of another term.
func (b *bench) restart(s Store, behind func() (time.Duration, string)) {
	var nodes Nodes
	if behind != nil {
		nodes = &benchNodes{behind: behind}
	}
	b.manager = NewManager(Options{Store: s, Vault: b.store.vault, Clock: b, Parents: b, Nodes: nodes, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics()})
}

// forgottenAt is until when caches have something of a history that was replaced, by the clock of the moment.
func forgottenAt(history []Version) (t time.Time) {
	for _, v := range history {
		t = later(t, v.Until)
	}
	return t
}

// rolling begins a rollover of the ZSK and returns when the last cache forgets the DNSKEY RRset before, in true time.
func (b *bench) rolling() (forgotten time.Time) {
	b.t.Helper()
	if err := b.roll(ZSK, false); err != nil {
		b.t.Fatal(err)
	}
	b.tick(0)
	return forgottenAt(b.store.chains[b.apex].Keys).Add(-b.offset)
}

// expectNotBefore checks that what is noted is not forgotten before a true time.
func (b *bench) expectNotBefore(truth time.Time) {
	b.t.Helper()
	if noted := forgottenAt(b.store.chains[b.apex].Keys).Add(-b.offset); noted.Before(truth) {
		b.t.Errorf("the DNSKEY RRset of before is forgotten %s too early", truth.Sub(noted))
	}
}

// A clock that was put back is put back once, also for a program that starts within the time that was taken back.
func TestClockBackAndAStart(t *testing.T) {
	b := newBench(t, nil)
	b.tick(48 * time.Hour)
	b.offset = time.Hour
	b.restart(b.store, nil)
	b.tick(0)
	truth := b.rolling()
	b.offset = 0
	b.tick(time.Minute)
	b.expectNotBefore(truth)
	b.restart(b.store, nil)
	b.tick(time.Minute)
	b.expectNotBefore(truth)
}

// Times that were noted by a clock which was ten days fast are not waited for for ten days, when it was put right while the program did not run.
func TestAFastClockBeforeAStart(t *testing.T) {
	b := newBench(t, nil)
	b.tick(48 * time.Hour)
	b.offset = 10 * 24 * time.Hour
	b.restart(b.store, nil)
	b.tick(0)
	truth := b.rolling()
	b.offset = 0
	b.restart(b.store, nil)
	b.tick(time.Minute)
	b.expectNotBefore(truth)
	if noted := forgottenAt(b.store.chains[b.apex].Keys); noted.After(truth.Add(time.Hour)) {
		t.Errorf("the DNSKEY RRset of before is forgotten %s too late", noted.Sub(truth))
	}
}

// failing fails some writes of the chain of one zone. What it says may be wrong: the write may have been made.
type failing struct {
	*memory
	of    zone.Name
	times int
	made  bool
}

func (f *failing) Update(ctx context.Context, plan func(View) (zone.Changes, error)) error {
	fails := false
	err := f.memory.Update(ctx, func(v View) (zone.Changes, error) {
		c, err := plan(v)
		for _, r := range c.Puts {
			if chain, is := r.(*Chain); is && chain.Zone == f.of && f.times > 0 {
				fails = true
				f.times--
			}
		}
		if fails && !f.made {
			return zone.Changes{}, zone.ErrUnavailable
		}
		return c, err
	})
	if fails {
		return zone.ErrUnavailable
	}
	return err
}

// Times are moved once for each zone, also when some of the writes fail, or are said to have failed.
func TestTimesAreMovedOnce(t *testing.T) {
	other := zone.MustParseName("other.test.")
	for name, f := range map[string]failing{"the other zone": {of: other, times: 3}, "this zone": {times: 3}, "this zone, as it is said": {times: 1, made: true}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			if err := b.store.put(other, b.store.zones[b.apex].ZoneSpec, now); err != nil {
				t.Fatal(err)
			}
			b.offset = 30 * time.Minute
			b.restart(b.store, nil)
			b.tick(time.Hour)
			truth := b.rolling()
			f.memory = b.store
			if f.of == (zone.Name{}) {
				f.of = b.apex
			}
			b.manager.o.Store = &f
			b.offset = 0
			for range 5 {
				b.at = b.at.Add(time.Second)
				b.manager.Tick(t.Context())
			}
			b.expectNotBefore(truth)
			if noted := forgottenAt(b.store.chains[b.apex].Keys); noted.After(truth.Add(time.Minute)) {
				t.Errorf("it is forgotten %s too late", noted.Sub(truth))
			}
			if b.manager.holding != nil || len(b.manager.moves) > 0 {
				t.Errorf("in the end: %v, %d moves", b.manager.holding, len(b.manager.moves))
			}
		})
	}
}

// A leader whose clock is wrong, and is known to be, leaves what nodes serve whose clocks are right.
func TestAWrongClockTakesNoSignatures(t *testing.T) {
	for _, offset := range []time.Duration{30 * 24 * time.Hour, -365 * 24 * time.Hour} {
		b := newBench(t, nil)
		b.at = b.at.Add(time.Hour)
		b.offset, b.doubt = offset, true
		b.restart(b.store, nil)
		for range 10 {
			b.tick(24 * time.Hour)
			stock := b.store.chains[b.apex].Stock
			if stock.at(b.at) == nil && b.at.Before(now.Add(8*24*time.Hour)) || stock.at(b.Read().Wall) == nil {
				t.Fatalf("off by %s, %s: there is nothing to serve by the right clock, or by the wrong one", offset, b.at)
			}
			if _, err := b.store.vault.Open(b.store.zones[b.apex], b.store.Keys(b.apex), b.store.chains[b.apex]); err != nil {
				t.Fatal(err)
			}
		}
		b.offset, b.doubt = 0, false
		b.tick(time.Minute)
		if stock := b.store.chains[b.apex].Stock; stock.Doubtful || stock.at(b.at) == nil {
			t.Errorf("off by %s before: the stock is not made anew", offset)
		}
	}
}

// The clock is set between two looks of the manager: a request is not planned with it before it is judged.
func TestARequestAfterTheClockWasSet(t *testing.T) {
	b := newBench(t, nil)
	b.confirmWanted()
	if err := b.roll(KSK, false); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		b.tick(24 * time.Hour)
	}
	fresh := last(b.store.chains[b.apex].DS).Keys[0]
	b.offset = -50 * time.Minute
	b.at = b.at.Add(10 * time.Second)
	if err := b.confirm(fresh); err != nil {
		t.Fatal(err)
	}
	truth := b.at.Add(25 * time.Hour) // parent propagation and DS TTL
	b.tick(time.Second)
	if noted := forgottenAt(b.store.chains[b.apex].DS).Add(-b.offset); noted.Before(truth) {
		t.Errorf("the DS of before is forgotten %s too early", truth.Sub(noted))
	}
}

// setter sets the clock while the servers of a parent are waited for.
type setter struct {
	*bench
	by time.Duration
}

func (s *setter) AskDS(ctx context.Context, apex zone.Name, servers []netip.AddrPort) []ParentAnswer {
	s.offset += s.by
	s.by = 0
	return s.bench.AskDS(ctx, apex, servers)
}

func TestTheClockIsSetWhileParentsAreAsked(t *testing.T) {
	server := netip.MustParseAddrPort("192.0.2.1:53")
	b := newBench(t, func(s *zone.ZoneSpec) {
		s.Parent = zone.ParentPolicy{Mode: zone.ParentCheck, Servers: []netip.AddrPort{server}}
	})
	b.says = []ParentAnswer{{Server: server, Err: errors.New("time-out")}}
	p := &setter{bench: b}
	b.manager.o.Parents = p
	b.tick(2 * time.Hour)
	truth := b.rolling()
	p.by = 3 * time.Hour
	b.tick(16 * time.Minute)
	b.expectNotBefore(truth)
	if chain := b.store.chains[b.apex]; len(chain.Signers) > 1 {
		t.Error("the new ZSK signs, though caches have the DNSKEY RRset without it")
	}
}

// A node that is cut off for longer than the propagation delay between two looks of the manager is not overlooked.
func TestANodeIsCutOffBetweenLooks(t *testing.T) {
	b := newBench(t, nil)
	worst := time.Duration(0)
	b.restart(b.store, func() (time.Duration, string) {
		d := worst
		worst = 0
		return d, "ns2"
	})
	b.tick(time.Hour)
	truth := b.rolling().Add(50 * time.Second)
	worst = 5*time.Minute + 50*time.Second
	b.tick(6 * time.Minute)
	b.tick(time.Second)
	b.expectNotBefore(truth)
}

// That the propagation delay becomes larger while a node is behind says nothing of what the node has heard.
func TestALargerDelayWhileANodeIsBehind(t *testing.T) {
	b := newBench(t, nil)
	b.at = b.at.Add(time.Hour)
	cut := b.at.Add(-time.Second)
	b.restart(b.store, func() (time.Duration, string) { return b.at.Sub(cut), "ns2" })
	b.rolling()
	b.tick(10 * time.Minute)
	spec := b.store.zones[b.apex].ZoneSpec
	spec.Keys.PropagationDelay = 24 * time.Hour
	if err := b.store.put(b.apex, spec, b.at); err != nil {
		t.Fatal(err)
	}
	for range 180 {
		b.tick(time.Minute)
	}
	if len(b.store.chains[b.apex].Signers) > 1 {
		t.Error("the new ZSK signs, though a node serves the DNSKEY RRset without it")
	}
}

// A node that leads again has forgotten what it waited for when it led before.
func TestTheSecondTermOfANode(t *testing.T) {
	b := newBench(t, nil)
	var behind time.Duration
	b.restart(b.store, func() (time.Duration, string) { return behind, "ns2" })
	behind = time.Hour
	b.tick(time.Hour)
	first := b.manager
	behind = 0
	b.restart(b.store, first.o.Nodes.Behind) // another node leads
	for range 20 {
		b.tick(24 * time.Hour)
	}
	b.rolling()
	before := forgottenAt(b.store.chains[b.apex].Keys)
	b.manager = first
	first.begin()
	b.tick(time.Minute)
	if after := forgottenAt(b.store.chains[b.apex].Keys); after.Sub(before) > time.Hour {
		t.Errorf("waiting times are longer by %s", after.Sub(before))
	}
}

// The next leader is told that all have heard only when the waiting times have been moved.
func TestNothingIsSettledBeforeItIsWritten(t *testing.T) {
	b := newBench(t, nil)
	worst := time.Duration(0)
	f := &failing{memory: b.store, of: b.apex}
	b.restart(f, func() (time.Duration, string) {
		d := worst
		worst = 0
		return d, "ns2"
	})
	nodes := b.manager.o.Nodes.(*benchNodes)
	b.tick(time.Hour)
	b.rolling()
	for what, c := range []struct {
		worst   time.Duration
		fail    int
		settles bool
	}{{0, 0, true}, {time.Hour, 0, false}, {0, 1, false}, {0, 0, true}} {
		worst, f.times = c.worst, c.fail
		before := nodes.settled
		b.at = b.at.Add(time.Second)
		b.manager.Tick(t.Context())
		if (nodes.settled > before) != c.settles {
			t.Errorf("look %d: settled %t", what, nodes.settled > before)
		}
	}
}

// Who leads tells people to forget a node only if it knows of one.
func TestNobodyIsForgottenWhoWasNotAsked(t *testing.T) {
	for who, advised := range map[string]bool{"": false, "ns2": true} {
		b := newBench(t, nil)
		b.restart(b.store, func() (time.Duration, string) { return time.Hour, who })
		b.tick(0)
		why := b.manager.holding
		if why == nil || strings.Contains(why.Error(), "node forget") != advised || !strings.Contains(why.Error(), who) {
			t.Errorf("%q: %v", who, why)
		}
	}
}
