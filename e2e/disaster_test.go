package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// disaster is one thing that goes wrong while keys roll.
type disaster struct {
	name   string
	strike func(*fleet, *testing.T)
	until  func(*fleet, *testing.T) // what is waited for before all is mended
	after  func(*fleet, *testing.T) // and then, before the next one
}

// disasters come one after the other. Nobody helps but by starting what was killed, and joining what was cut.
var disasters = []disaster{
	{"nothing", nothing, nothing, (*fleet).rollsEnd},
	{"a node that does not lead is cut off from etcd for longer than it may answer, and etcd forgets its history", (*fleet).isolateFollower, forgetting((*fleet).goesOnWithout), (*fleet).loadsAgain},
	{"node 0 is killed", killNode(0), (*fleet).callsAreTaken, nothing},
	{"node 1 is killed", killNode(1), (*fleet).callsAreTaken, nothing},
	{"node 2 is killed", killNode(2), (*fleet).callsAreTaken, nothing},
	{"the leader is killed", (*fleet).killLeader, (*fleet).anotherLeads, (*fleet).rollsEnd},
	{"the member that leads etcd is killed", (*fleet).killLeadingMember, (*fleet).callsAreTaken, nothing},
	{"node 0 is cut off from etcd", isolateNode(0), (*fleet).keysWait, nothing},
	{"node 1 is cut off from etcd", isolateNode(1), (*fleet).keysWait, nothing},
	{"node 2 is cut off from etcd", isolateNode(2), (*fleet).keysWait, (*fleet).rollsEnd},
	{"the leader is cut off from etcd, which forgets its history", (*fleet).isolateLeader, forgetting((*fleet).anotherLeads), (*fleet).loadsAgain},
	{"the leader stands still for longer than its term", (*fleet).haltLeader, (*fleet).anotherLeads, (*fleet).rollsEnd},
	{"the leader stands still for longer than it may answer", (*fleet).haltLeader, (*fleet).anotherRolls, (*fleet).rollsEnd},
	{"the member that leads etcd and the node beside it are cut off from the other sites", (*fleet).isolateSite, (*fleet).callsAreTaken, nothing},
	{"the same, and clients do not hear of that node either", (*fleet).silenceSite, (*fleet).callsAreTaken, nothing},
	{"the members of etcd are cut off from each other", (*fleet).isolateMembers, (*fleet).etcdIsMissed, (*fleet).rollsEnd},
	{"etcd is killed, and a node, which starts without it", (*fleet).killEtcd, (*fleet).startsWithoutEtcd, nothing},
	{"the leader is killed once more", (*fleet).killLeader, (*fleet).anotherLeads, (*fleet).rollsEnd},
}

// TestDisasters: three nodes and three members of etcd lose each other, and their lives, while a ZSK and a KSK roll. Resolvers validate
// all the time and never get a bogus answer or none; nodes give the same signatures, to the octet; one node writes the keys; and what was
// acknowledged is there in the end.
func TestDisasters(t *testing.T) {
	t.Parallel()
	f := startFleet(t)
	f.rollsEnd(t)
	f.converge(t)
	ctx, stop := context.WithCancel(t.Context())
	living := f.live(ctx, t)
	for _, d := range disasters {
		asked, acks, began := f.world.asked.Load(), f.ledger.count(), time.Now()
		f.begin(t)
		d.strike(f, t)
		d.until(f, t)
		f.mend(t)
		d.after(f, t)
		f.converge(t)
		t.Logf("%s: %d secure answers and %d acknowledged calls in %v", d.name, f.world.asked.Load()-asked, f.ledger.count()-acks, time.Since(began).Round(time.Second))
		if t.Failed() {
			t.Fatalf("after: %s", d.name)
		}
	}
	stop()
	living.Wait()
	f.verify(t)
	f.verifyKeys(t)
	f.witness.verify(t)
	expectOneWriter(t, f.etcd)
	f.expectOnlyStarts(t)
}

func nothing(*fleet, *testing.T) {}

func (f *fleet) kill(t *testing.T, node int) {
	f.nodes[node].kill()
	f.struck = node
	f.down = append(f.down, func() { f.nodes[node].launch(t) })
}

func killNode(node int) func(*fleet, *testing.T) {
	return func(f *fleet, t *testing.T) { f.kill(t, node) }
}

func (f *fleet) killLeader(t *testing.T) { f.kill(t, f.leadingNode(t)) }

// haltLeader has the leader stand still. Resolvers are told that they do not reach it: those of the fleet, which forget within seconds that a
// server is away, would wait for it all the time.
func (f *fleet) haltLeader(t *testing.T) {
	f.struck = f.leadingNode(t)
	s := f.nodes[f.struck]
	f.withdraw(t, s.addr)
	s.halt()
	f.down = append(f.down, s.resume)
}

func (f *fleet) killMember(t *testing.T, i int) {
	f.etcd.members[i].kill()
	f.down = append(f.down, func() { f.etcd.run(t, i) })
}

func (f *fleet) killLeadingMember(t *testing.T) { f.killMember(t, f.leadingMember(t)) }

func (f *fleet) killEtcd(t *testing.T) {
	for i := range f.etcd.members {
		f.killMember(t, i)
	}
}

// isolate cuts a node off from all members of etcd.
func (f *fleet) isolate(t *testing.T, node int) {
	f.struck = node
	for _, member := range f.etcd.hosts {
		f.between(t, f.nodes[node].host, member)
	}
}

func isolateNode(node int) func(*fleet, *testing.T) {
	return func(f *fleet, t *testing.T) { f.isolate(t, node) }
}

func (f *fleet) isolateLeader(t *testing.T) { f.isolate(t, f.leadingNode(t)) }

func (f *fleet) isolateFollower(t *testing.T) { f.isolate(t, (f.leadingNode(t)+1)%fleetSize) }

// isolateSite cuts the leading member off from the other members, with the node beside it.
func (f *fleet) isolateSite(t *testing.T) {
	at := f.leadingMember(t)
	f.struck = at
	for i := range fleetSize {
		if i != at {
			f.between(t, f.etcd.hosts[at], f.etcd.hosts[i])
			f.between(t, f.etcd.hosts[at], f.nodes[i].host)
			f.between(t, f.nodes[at].host, f.etcd.hosts[i])
		}
	}
}

// silenceSite is isolateSite, and resolvers and clients do not hear of the node either.
func (f *fleet) silenceSite(t *testing.T) {
	f.isolateSite(t)
	f.silence(t, f.nodes[f.struck].host)
}

func (f *fleet) isolateMembers(t *testing.T) {
	for i, a := range f.etcd.hosts {
		for _, b := range f.etcd.hosts[:i] {
			f.between(t, a, b)
		}
	}
}

// rollsEnd waits until no rollover is on its way.
func (f *fleet) rollsEnd(t *testing.T) {
	await(t, "all rollovers have ended", func() error { return f.world.settled(rolled) })
}

// callsAreTaken waits until further calls are acknowledged: those that were on their way do not count.
func (f *fleet) callsAreTaken(t *testing.T) {
	const many = 20
	before := f.ledger.count()
	await(t, "calls are taken", func() error {
		if n := f.ledger.count() - before; n < many {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
}

func (f *fleet) anotherLeads(t *testing.T) {
	await(t, "another node leads", func() error {
		for _, i := range f.witness.leading() {
			if i != f.struck {
				return nil
			}
		}
		return errors.New("none does")
	})
	f.callsAreTaken(t)
}

// anotherRolls waits until another node has written steps of the rollovers, which it does when the struck one can answer no more.
func (f *fleet) anotherRolls(t *testing.T) {
	next := f.nodes[(f.struck+1)%fleetSize]
	before := next.signers(t, rolled)
	f.anotherLeads(t)
	next.signsOtherwise(t, before)
}

// forgetting is what is waited for, after which etcd forgets its history: the struck node missed what is not told any more.
func forgetting(until func(*fleet, *testing.T)) func(*fleet, *testing.T) {
	return func(f *fleet, t *testing.T) {
		f.loaded = f.reloads(t)
		until(f, t)
		f.etcd.forget(t)
	}
}

// reloads is how often the struck node has loaded everything again.
func (f *fleet) reloads(t *testing.T) int {
	return f.nodes[f.struck].count(t, "mxseal_store_reloads_total", "")
}

// loadsAgain waits until the struck node has loaded everything again, with nobody's help, and the rollovers have ended.
func (f *fleet) loadsAgain(t *testing.T) {
	await(t, "the node loads everything again", func() error {
		if n := f.reloads(t); n == f.loaded {
			return fmt.Errorf("it has %d times", n)
		}
		return nil
	})
	f.rollsEnd(t)
}

// etcdIsMissed waits for longer than the lease: a term ends nine seconds after etcd has gone at the earliest.
func (f *fleet) etcdIsMissed(t *testing.T) {
	f.nobodyLeads(t)
	time.Sleep(7 * time.Second)
}

// nobodyLeads waits until no node takes itself for the leader.
func (f *fleet) nobodyLeads(t *testing.T) {
	await(t, "nobody leads", func() error {
		if n := f.witness.leading(); len(n) > 0 {
			return fmt.Errorf("%v do", n)
		}
		return nil
	})
}

// keysWait waits until the leader makes no step because a node may not have heard of the last one.
func (f *fleet) keysWait(t *testing.T) {
	await(t, "a leader holds the keys", func() error {
		for _, i := range f.witness.leading() {
			if f.nodes[i].count(t, "mxseal_key_holding", "") == 1 {
				return nil
			}
		}
		return errors.New("none does")
	})
	f.callsAreTaken(t)
}

// startsWithoutEtcd kills a node while etcd is away, and has it come back.
func (f *fleet) startsWithoutEtcd(t *testing.T) {
	f.nobodyLeads(t)
	s := f.nodes[0]
	s.kill()
	s.launch(t)
	if n := s.count(t, "mxseal_node_from_image", ""); n != 1 {
		t.Errorf("mxseal_node_from_image is %d", n)
	}
}

// goesOnWithout waits until the struck node has given up answering, and the others have gone on without it.
func (f *fleet) goesOnWithout(t *testing.T) {
	led, away := f.nodes[f.leadingNode(t)], f.nodes[f.struck]
	before := led.signers(t, rolled)
	f.keysWait(t)
	if now := led.signers(t, rolled); now != before {
		t.Errorf("%s signs, not %s, while a node may not know of it", now, before)
	}
	await(t, "the node answers no more", func() error {
		m, err := ask(away.addr, rolled, dns.TypeSOA, false)
		if err == nil && m.Rcode != dns.RcodeServerFailure {
			err = errors.New(dns.RcodeToString[m.Rcode])
		}
		return err
	})
	if err := away.expectNotReady("stale_after"); err != nil {
		t.Error(err)
	}
	led.signsOtherwise(t, before)
}

// signsOtherwise waits until other keys sign than before.
func (s *server) signsOtherwise(t *testing.T, before string) {
	t.Helper()
	await(t, "another ZSK signs", func() error {
		if now := s.signers(t, rolled); now == before {
			return fmt.Errorf("%s does", now)
		}
		return nil
	})
}

// signers are the keys that sign the records of a zone now, by a name that no cache has.
func (s *server) signers(t testing.TB, zone string) string {
	t.Helper()
	m, err := ask(s.addr, fmt.Sprintf("no%d.%s", rand.Uint64(), zone), dns.TypeA, true)
	if err != nil {
		t.Fatal(err)
	}
	tags := ""
	for _, rr := range m.Ns {
		if sig, is := rr.(*dns.RRSIG); is && sig.TypeCovered == dns.TypeNSEC {
			tags += fmt.Sprintf(" %d", sig.KeyTag)
		}
	}
	return tags
}

// expectNotReady returns an error unless the server says that it is not ready, and why.
func (s *server) expectNotReady(why string) error {
	res, err := (&http.Client{Timeout: patience}).Get(s.monitor("readyz"))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text := make([]byte, 1000)
	n, _ := res.Body.Read(text)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text[:n]), why) {
		return fmt.Errorf("%s: %s", res.Status, text[:n])
	}
	return nil
}
