package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/dnstest"
)

// testZone is a zone with one tenant in each state.
type testZone struct {
	name, algorithm string
	csk             bool
	id              string // part of the names of tenants and domains, so that they differ from those of other zones
}

var testZones = []testZone{
	{apex, "ECDSAP256SHA256", false, "p256"},
	{"o-v15.test.", "ED25519", false, "ed"},
	{"o-v8.test.", "RSASHA256", false, "rsa"},
	{"o-csk.test.", "ECDSAP256SHA256", true, "csk"},
}

// populate makes the zone, if it is not the one of the development mode, and its tenants.
func (z testZone) populate(t testing.TB, s *server) {
	t.Helper()
	ctx := t.Context()
	const drain = "drain"
	must[*api.Pool](t)(s.PutPool(ctx, pool, examplePool("192.0.2.10", 1)))
	must[*api.Pool](t)(s.PutPool(ctx, drain, examplePool("192.0.2.99", 9)))
	spec := api.ZoneSpec{
		Nameservers: []api.Nameserver{{Name: "ns1." + z.name, Addresses: []string{s.addr.String()}}},
		Keys:        &api.KeyPolicy{Algorithm: &z.algorithm, CSK: &z.csk},
		DrainPool:   drain,
	}
	must[*api.Zone](t)(s.PutZone(ctx, z.name, spec))
	for _, state := range []string{"active", "dane-off", "suspended", "revoked"} {
		tenant := state + "-" + z.id
		must[*api.Tenant](t)(s.PutTenant(ctx, tenant, api.TenantSpec{
			Pool: pool, Zone: z.name, Domains: []string{z.domain(state)},
			DANE: new(state != "dane-off"), Smarthost: state == "active",
		}))
		switch state {
		case "suspended":
			must[*api.Tenant](t)(s.PatchTenant(ctx, tenant, api.TenantPatch{State: &state}))
		case "revoked":
			must[*api.Tenant](t)(s.RevokeTenant(ctx, tenant))
		}
	}
}

func (z testZone) domain(state string) string { return state + "." + z.id + ".example" }

// sample is a name to ask, and all types that have records there.
type sample struct {
	name  string
	types []uint16
}

// samples are the kinds of names that there are in the zone.
func (z testZone) samples(t testing.TB, s *server) []sample {
	t.Helper()
	host := func(state string) string { return hostOf(z.domain(state), z.name) }
	tenant := must[*api.Tenant](t)(s.Tenant(t.Context(), "active-"+z.id))
	if tenant.SmarthostHost == nil {
		t.Fatal("the tenant has no smarthost")
	}
	mail := []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeMX, dns.TypeNSEC}
	tlsa := []uint16{dns.TypeTLSA, dns.TypeNSEC}
	none := []uint16{dns.TypeNSEC} // the proof that there is nothing is there
	return []sample{
		{z.name, []uint16{dns.TypeSOA, dns.TypeNS, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeNSEC}},
		{"ns1." + z.name, []uint16{dns.TypeA, dns.TypeNSEC}},
		{host("active"), mail},
		{"_tcp." + host("active"), none},
		{"_25._tcp." + host("active"), tlsa},
		{"_26._tcp." + host("active"), none},
		{"below." + host("active"), none},
		{"below._25._tcp." + host("active"), none},
		{*tenant.SmarthostHost, mail},
		{"_25._tcp." + *tenant.SmarthostHost, tlsa},
		{host("dane-off"), mail},
		{"_tcp." + host("dane-off"), none},
		{"_25._tcp." + host("dane-off"), none},
		{host("suspended"), mail},
		{"_25._tcp." + host("suspended"), tlsa},
		{host("revoked"), none},
		{"_25._tcp." + host("revoked"), none},
		{"absent." + z.name, none},
		{"a.b.absent." + z.name, none},
		{alternate("_25._tcp." + host("active")), tlsa},
		{alternate("mixed." + z.name), none},
		{strings.Repeat("m", 63) + "." + z.name, none},
		{longest(z.name), none},
	}
}

// alternate is a name with every second letter in upper case.
func alternate(name string) string {
	b := []byte(name)
	for i := range b {
		if i%2 == 0 {
			b[i] = strings.ToUpper(name)[i]
		}
	}
	return string(b)
}

// longest is a name below the zone that has the 255 octets that a name can have (RFC 1035 §3.1), so that there is no
// name below it which could be the next.
func longest(zone string) string {
	label := strings.Repeat("l", 63) + "."
	name := zone
	for len(name)+1+len(label) <= 255 {
		name = label + name
	}
	return strings.Repeat("x", 255-len(name)-2) + "." + name
}

// types are 0 to 300, which has all assigned ones but a few and the borders of the bitmap's windows.
func types() []uint16 {
	all := make([]uint16, 301)
	for i := range all {
		all[i] = uint16(i)
	}
	return all
}

// TestAuthority asks mxseal itself every type at every kind of name, and checks the answers with the code of
// dnstest: see dnstest.CheckAnswer for what is checked.
func TestAuthority(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, z := range testZones {
		z.populate(t, s)
	}
	for _, z := range testZones {
		keys := s.keys(t, z.name)
		for _, network := range []string{"udp", "tcp"} {
			t.Run(z.name+network, func(t *testing.T) {
				names := z.samples(t, s)
				asked := directTypes()
				each(t, names, func(n sample) error {
					bitmap, err := dnstest.CheckName(s.dns(network).Ask, keys, n.name, asked, time.Now)
					if err != nil {
						return err
					}
					for _, typ := range n.types {
						if !slices.Contains(bitmap, typ) {
							return fmt.Errorf("%s: %s is not in the bitmap %v", n.name, dns.Type(typ), bitmap)
						}
					}
					return nil
				})
				t.Logf("%d answers checked", len(names)*len(asked))
			})
		}
	}
	t.Run("refused", func(t *testing.T) { checkRefusals(t, s) })
	s.expectNoFailure(t)
}

// directTypes are 0 to 300 and a random sample of all others, without those that are refused.
func directTypes() []uint16 {
	asked := types()
	for range 100 {
		asked = append(asked, uint16(301+rand.IntN(65536-301)))
	}
	return slices.DeleteFunc(asked, func(typ uint16) bool {
		_, refused := refusals[typ]
		return refused
	})
}

// refusals are the types that an authority does not answer.
var refusals = map[uint16]int{
	dns.TypeNXNAME: dns.RcodeFormatError, // RFC 9824 §3.5
	dns.TypeOPT:    dns.RcodeFormatError, // no type of data
	dns.TypeAXFR:   dns.RcodeRefused,
	dns.TypeIXFR:   dns.RcodeRefused,
}

func checkRefusals(t *testing.T, s *server) {
	for typ, rcode := range refusals {
		m, err := s.dns("tcp").Ask(dnstest.Query{Name: apex, Type: typ, DO: true})
		if err != nil {
			t.Error(err)
			continue
		}
		if m.Rcode != rcode || len(m.Answer)+len(m.Ns) > 0 {
			t.Errorf("%s: want %s without records:\n%s", dns.Type(typ), dns.RcodeToString[rcode], m)
		}
	}
}

// bogusZone is delegated with the DS record of a key that it does not have.
const bogusZone = "o-bogus.test."

// startInternet starts a mxseal with all test zones, and a root with secure delegations to them.
func startInternet(t testing.TB) (*server, *authority) {
	t.Helper()
	s := startServer(t)
	var delegations []delegation
	for _, z := range testZones {
		z.populate(t, s)
		delegations = append(delegations, delegation{z.name, []netip.Addr{s.addr}, s.ds(t, z.name)})
	}
	must[*api.Zone](t)(s.PutZone(t.Context(), bogusZone, api.ZoneSpec{
		Nameservers: []api.Nameserver{{Name: "ns1." + bogusZone, Addresses: []string{s.addr.String()}}},
	}))
	_, wrong, _ := strings.Cut(s.ds(t, apex)[0], " ")
	delegations = append(delegations, delegation{bogusZone, []netip.Addr{s.addr}, []string{bogusZone + " " + wrong}})
	return s, startAuthority(t, s.site.addr(10), delegations, nil)
}

// TestResolvers asks validating resolvers every type at every kind of name. Each answer has to be secure: a
// resolver that cannot validate says SERVFAIL, and mail stops.
func TestResolvers(t *testing.T) {
	t.Parallel()
	s, a := startInternet(t)
	resolvers := []func() *resolver{
		func() *resolver {
			return &startUnbound(t, a, s.site.addr(11), unboundOptions{aggressive: true}).resolver
		},
		func() *resolver { return &startUnbound(t, a, s.site.addr(12), unboundOptions{tcp: true}).resolver },
		func() *resolver { return startNamed(t, a, s.site.addr(13), false) },
		func() *resolver { return startNamed(t, a, s.site.addr(14), true) },
		func() *resolver { return startKresd(t, a, s.site.addr(15), false) },
		func() *resolver { return startKresd(t, a, s.site.addr(16), true) },
		func() *resolver { return startRecursor(t, a, s.site.addr(17)) },
	}
	for _, start := range resolvers {
		r := start()
		t.Run(r.name, func(t *testing.T) {
			udp, tcp := s.answered(t)
			for _, z := range testZones {
				n := r.sweep(t, r.questions(z.name, z.samples(t, s)))
				t.Logf("%s: %d secure answers", z.name, n)
			}
			udpNow, tcpNow := s.answered(t)
			t.Logf("asked mxseal %d times over UDP, %d times over TCP", udpNow-udp, tcpNow-tcp)
			if r.tcp && udpNow > udp {
				t.Errorf("%s has used UDP", r.name)
			}
			// It does validate.
			m, err := ask(r.addr, "ns1."+bogusZone, dns.TypeA, true)
			if err != nil || m.Rcode != dns.RcodeServerFailure {
				t.Errorf("%s believes an answer that no trusted key has signed: %v\n%v", r.name, err, m)
			}
			for _, not := range r.notAsked() {
				t.Logf("not asked: %s to %s: %s", dns.Type(not.first), dns.Type(not.last), not.why)
			}
		})
		r.kill()
	}
	s.expectNoFailure(t)
}

// answered returns how many questions a server has answered.
func (s *server) answered(t testing.TB) (udp, tcp int) {
	t.Helper()
	const metric = "mxseal_dns_responses_total"
	return s.count(t, metric, `transport="udp"`), s.count(t, metric, `transport="tcp"`)
}

// questions are all types at all names of a zone.
func (r *resolver) questions(zone string, samples []sample) (all []question) {
	for _, s := range samples {
		for _, typ := range types() {
			inParent := typ == dns.TypeDS && s.name == zone
			if r.asks(typ) {
				all = append(all, question{s.name, typ, inParent || slices.Contains(s.types, typ)})
			}
		}
	}
	return all
}
