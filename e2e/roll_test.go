package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// Zones whose keys roll. All times of their policies are seconds.
const (
	ownParent = "hosting." // is a parent of ours
	checkZone = "checked." // its parent is a BIND that takes our CDS
)

var rolledZones = []string{"o-v1.hosting.", "csk.hosting.", checkZone}

// rollWorld is a server with zones whose keys roll, a root that takes in CDS, and resolvers that never rest.
type rollWorld struct {
	*server
	root      *authority
	resolvers []*resolver
	asked     atomic.Int64
	away      atomic.Bool // the server is being killed; what is not in a cache may fail
}

// quickPolicy makes rollovers of seconds.
func quickPolicy(s *server, zone string, parents ...string) api.ZoneSpec {
	spec := api.ZoneSpec{
		Nameservers: []api.Nameserver{{Name: "ns1." + zone, Addresses: []string{s.addr.String()}}},
		TTL:         &api.TTLs{Host: new(uint32(2)), Negative: new(uint32(1)), DNSKEY: new(uint32(3)), NS: new(uint32(2))},
		Keys: &api.KeyPolicy{CSK: new(strings.HasPrefix(zone, "csk.")), PropagationDelay: new("1s"), ParentPropagationDelay: new("1s"), ParentDSTTL: new("2s"),
			ZSKLifetime: new("24h"), KSKLifetime: new("48h")},
	}
	if len(parents) > 0 {
		spec.Parent = &api.ParentPolicy{Mode: new("check"), Servers: parents}
	}
	return spec
}

// startRolls starts everything.
func startRolls(t *testing.T) *rollWorld {
	s := startServer(t)
	root := s.site.addr(10)
	put := func(zone string, spec api.ZoneSpec) {
		t.Helper()
		must[*api.Zone](t)(s.PutZone(t.Context(), zone, spec))
	}
	put(ownParent, quickPolicy(s, ownParent))
	for _, zone := range rolledZones {
		spec := quickPolicy(s, zone)
		if zone == checkZone {
			spec = quickPolicy(s, zone, dnsPort(root))
		} else {
			spec.Parent = &api.ParentPolicy{Mode: new("hosted")}
		}
		put(zone, spec)
		must[*api.Tenant](t)(s.PutTenant(t.Context(), "tenant-"+strings.Trim(strings.ReplaceAll(zone, ".", "-"), "-"), api.TenantSpec{
			Zone: zone, Pool: pool, DANE: new(true), Domains: []string{hostDomain(zone)}}))
	}
	w := &rollWorld{server: s}
	w.root = startAuthority(t, root, []delegation{{ownParent, []netip.Addr{s.addr}, s.ds(t, ownParent)},
		{checkZone, []netip.Addr{s.addr}, shortTTL(s.ds(t, checkZone))}}, nil)
	if err := os.WriteFile(filepath.Join(w.root.dir, "dsset-"+checkZone), []byte(strings.Join(shortTTL(s.ds(t, checkZone)), "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.resolvers = []*resolver{&startUnbound(t, w.root, s.site.addr(11), unboundOptions{aggressive: true}).resolver, startNamed(t, w.root, s.site.addr(13), false)}
	return w
}

// shortTTL gives records the TTL that the policy of their child expects.
func shortTTL(records []string) []string {
	out := make([]string, len(records))
	for i, line := range records {
		fields := strings.Fields(line)
		fields[1] = "2"
		out[i] = strings.Join(fields, " ")
	}
	return out
}

func hostDomain(zone string) string { return "contoso." + strings.Trim(zone, ".") + ".com" }

// ask lets resolvers ask without rest, 20 questions a second each, until ctx is done: all types at a host of one of the zones, and names
// that do not exist, which no cache has. Each answer has to be secure.
func (w *rollWorld) ask(ctx context.Context, t *testing.T, zones ...string) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, r := range w.resolvers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, 2))
			tick := time.NewTicker(time.Second / 20)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				zone := zones[random.IntN(len(zones))]
				host := strings.ReplaceAll(hostDomain(zone), ".", "-") + "." + zone
				questions := []question{{host, dns.TypeA, true}, {host, dns.TypeMX, true}, {"_25._tcp." + host, dns.TypeTLSA, true}, {zone, dns.TypeDNSKEY, true},
					{zone, dns.TypeSOA, true}, {host, dns.TypeTXT, false}, {fmt.Sprintf("no%d.%s", random.Uint64(), zone), dns.TypeA, false}}
				q := questions[random.IntN(len(questions))]
				w.check(t, r, q)
			}
		})
	}
	return &all
}

// check asks one question.
func (w *rollWorld) check(t *testing.T, r *resolver, q question) {
	away := w.away.Load()
	m, err := ask(r.addr, q.name, q.typ, true)
	if err == nil {
		err = q.check(m)
	}
	if away || w.away.Load() {
		return // nobody was there to answer; what is bogus is in the resolvers' logs
	}
	w.asked.Add(1)
	if err != nil {
		t.Errorf("%s: %s: the answer to %s %s %v\n%v", time.Now().Format(time.TimeOnly), r.name, q.name, dns.Type(q.typ), err, m)
	}
}

// parent is what runs the root: every second it looks for CDS records, checks them with BIND's own tool, signs the zone
// with the new DS records, and loads it.
func (w *rollWorld) parent(ctx context.Context, t *testing.T) *sync.WaitGroup {
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if err := w.root.takeCDS(t, w.server, checkZone); err != nil && ctx.Err() == nil && !w.away.Load() {
				t.Logf("the parent does not take the CDS records: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	return &done
}

// takeCDS does what RFC 7344 §6 says with dnssec-cds.
func (a *authority) takeCDS(t testing.TB, s *server, zone string) error {
	var answers strings.Builder
	for _, typ := range []uint16{dns.TypeDNSKEY, dns.TypeCDNSKEY, dns.TypeCDS} {
		m := new(dns.Msg).SetQuestion(zone, typ)
		m.SetEdns0(1232, true)
		reply, _, err := (&dns.Client{Timeout: time.Second, Net: "tcp"}).Exchange(m, dnsPort(s.addr))
		if err != nil {
			return err
		}
		for _, rr := range reply.Answer {
			answers.WriteString(rr.String() + "\n")
		}
	}
	child := filepath.Join(a.dir, "child")
	if err := os.WriteFile(child, []byte(answers.String()), 0o644); err != nil {
		return err
	}
	old := filepath.Join(a.dir, "dsset-"+zone)
	before, err := os.ReadFile(old)
	if err != nil {
		return err
	}
	out, err := exec.Command("dnssec-cds", "-s", "-864000", "-T", "2", "-a", "SHA-256", "-a", "SHA-384", "-f", child, "-d", old, zone).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if string(out) == string(before) {
		return nil
	}
	if err := os.WriteFile(old, out, 0o644); err != nil {
		return err
	}
	return a.resign(zone, strings.Split(strings.TrimSpace(string(out)), "\n"))
}

// step is one of the things that an operator does.
type step struct {
	name string
	do   func(s *server, zone string) error
}

func roll(role string, emergency bool) func(s *server, zone string) error {
	return func(s *server, zone string) error {
		_, err := s.RollKey(context.Background(), zone, api.RollRequest{Role: role, Emergency: emergency})
		return err
	}
}

// algorithm asks for another algorithm, and the other kind of keys with it.
func algorithm(name string) func(s *server, zone string) error {
	return func(s *server, zone string) error {
		z, err := s.Zone(context.Background(), zone)
		if err != nil {
			return err
		}
		z.Keys.Algorithm = &name
		_, err = s.PutZone(context.Background(), zone, z.ZoneSpec, client.IfRevision(z.Revision))
		return err
	}
}

// rollSteps are every kind of rollover.
var rollSteps = []step{
	{"ZSK, of a CSK zone the CSK", roll("zsk", false)},
	{"KSK, of a CSK zone the CSK", roll("ksk", false)},
	{"another algorithm", algorithm("ED25519")},
	{"an emergency", func(s *server, zone string) error {
		if err := roll("zsk", true)(s, zone); err != nil {
			return err
		}
		return roll("ksk", true)(s, zone)
	}},
}

// TestRolls rolls keys of all kinds, in zones with parents of both kinds, while resolvers validate all the time: none of
// them may ever say SERVFAIL.
func TestRolls(t *testing.T) {
	t.Parallel()
	w := startRolls(t)
	ctx, cancel := context.WithCancel(t.Context())
	parent := w.parent(ctx, t)
	asking := w.ask(ctx, t, rolledZones...)
	looking, seen := w.photograph(ctx, t)
	w.settle(t)
	for _, step := range rollSteps {
		before := w.asked.Load()
		w.begin(t, step)
		w.settle(t)
		t.Logf("%s: %d secure answers meanwhile", step.name, w.asked.Load()-before)
	}
	cancel()
	asking.Wait()
	parent.Wait()
	looking.Wait()
	t.Logf("dnsviz has seen no error in so many states: %v", seen)
	for _, zone := range rolledZones {
		if seen[zone] == 0 {
			t.Errorf("dnsviz has seen no state of %s", zone)
		}
	}
	w.expectNoFailure(t)
}

// TestRollsSurviveKills kills the server with SIGKILL after each step that it has logged while keys of all kinds roll. What it
// says when it is back must validate with all that resolvers may remember, in every combination. (Real resolvers remember
// for a while that nobody was there; so they are only asked in the end.)
func TestRollsSurviveKills(t *testing.T) {
	t.Parallel()
	w := startRolls(t)
	ctx, cancel := context.WithCancel(t.Context())
	parent := w.parent(ctx, t)
	look := w.remember(ctx, t)
	w.settle(t)
	kills := 0
	for _, step := range rollSteps {
		w.begin(t, step)
		for w.allSettled() != nil {
			if w.steps(t) == 0 {
				time.Sleep(interval)
				continue
			}
			w.away.Store(true)
			w.kill()
			kills++
			w.launch(t)
			w.away.Store(false)
		}
	}
	cancel()
	look.Wait()
	parent.Wait()
	t.Logf("%d kills, %d looks at what is served", kills, w.asked.Load())
	for _, r := range w.resolvers {
		for _, zone := range rolledZones {
			await(t, r.name+" finds the server again", func() error { return expectSecure(r.addr, zone, dns.TypeSOA) })
		}
	}
	// Until everything is loaded the answer is SERVFAIL; there is no other failure.
	if all, starting := w.count(t, "mxseal_dns_failures_total", ""), w.count(t, "mxseal_dns_failures_total", "not_ready"); all != starting {
		t.Errorf("%d answers have failed besides those of the start", all-starting)
	}
}

// remember looks at what is served all the time, and keeps it as resolvers do.
func (w *rollWorld) remember(ctx context.Context, t *testing.T) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, zone := range rolledZones {
		all.Go(func() {
			resolvers := dnstest.NewPopulation()
			for ctx.Err() == nil {
				parent := w.addr
				if zone == checkZone {
					parent = w.root.addr
				}
				host := strings.ReplaceAll(hostDomain(zone), ".", "-") + "." + zone
				w.serve(resolvers.DS, parent, zone, dns.TypeDS)
				w.serve(resolvers.Keys, w.addr, zone, dns.TypeDNSKEY)
				w.serve(resolvers.Data, w.addr, host, dns.TypeA)
				resolvers.Forget(time.Now())
				if err := resolvers.Check(); err != nil {
					t.Errorf("%s: %v", time.Now().Format(time.TimeOnly), err)
					return
				}
				w.asked.Add(1)
				time.Sleep(interval)
			}
		})
	}
	return &all
}

// serve gives resolvers what a server answers; if it does not, they learn nothing.
func (w *rollWorld) serve(cache dnstest.Cache, server netip.Addr, name string, typ uint16) {
	m, err := dnstest.Client{Addr: dnsPort(server), Net: "tcp", Timeout: time.Second}.Ask(dnstest.Query{Name: name, Type: typ, DO: true})
	if err != nil || m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
		return
	}
	cache.Serve(time.Now(), dnstest.NewCached(dns.Type(typ).String(), m.Answer, m.Answer[0].Header().Ttl))
}

// begin does one thing in every zone.
func (w *rollWorld) begin(t *testing.T, step step) {
	t.Helper()
	for _, zone := range rolledZones {
		if err := step.do(w.server, zone); err != nil {
			t.Errorf("%s: %s: %v", step.name, zone, err)
		}
	}
}

// steps counts the steps that the server has logged since it started.
func (w *rollWorld) steps(t *testing.T) int {
	t.Helper()
	log, err := os.ReadFile(w.log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), " step=")
}

// allSettled returns nil when no rollover is on its way.
func (w *rollWorld) allSettled() error {
	for _, zone := range rolledZones {
		if err := w.settled(zone); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until no rollover is on its way in any zone.
func (w *rollWorld) settle(t *testing.T) {
	t.Helper()
	for _, zone := range rolledZones {
		await(t, zone+" has rolled", func() error { return w.settled(zone) })
	}
}

func (w *rollWorld) settled(zone string) error {
	s, err := w.KeyStatus(context.Background(), zone)
	if err != nil {
		return err
	}
	if s.DSSeen == nil {
		return fmt.Errorf("nobody has seen the DS: %+v", s)
	}
	for _, k := range s.Keys {
		switch k.Use {
		case "ksk", "zsk", "csk", "retired":
		default:
			return fmt.Errorf("%s %d is %s: %s, %s", k.Role, k.KeyTag, k.Use, s.Wanted, s.Because)
		}
	}
	if len(s.Coming) > 0 && time.Until(s.Coming[0].At) < time.Hour {
		return fmt.Errorf("%v is to come", s.Coming[0])
	}
	return nil
}
