package zone

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// askedTypes are the types that are served, their neighbours, the meta types, and some of other windows.
func askedTypes() []Type {
	types := []Type{TypeNXNAME - 1, TypeNXNAME, TypeNXNAME + 1, 32768, 65280, 65535}
	for typ := range TypeCDNSKEY + 5 {
		types = append(types, typ)
	}
	for typ := Type(249); typ <= 257; typ++ { // TKEY to CAA
		types = append(types, typ)
	}
	return types
}

// checkName asks for every type at a name and compares the answers with each other and with the types that
// must be there: nil for a name that does not exist, empty for an empty non-terminal.
func checkName(t *testing.T, v View, keys Keys, name Name, want []Type) {
	t.Helper()
	z := Enclosing(v, name)
	for _, typ := range askedTypes() {
		if typ == TypeDS && name == z.Name {
			continue // answered elsewhere, see TestLookupDS
		}
		a := Lookup(v, keys, name, typ)
		if a.Zone != z || a.Name != name {
			t.Errorf("%s %s: zone %v, name %s", name, typ, a.Zone, a.Name)
		}
		bitmap := a.Types
		if want == nil {
			bitmap = []Type{TypeNXNAME}
		}
		if !slices.Equal(sortedTypes(a.Types), sortedTypes(bitmap)) || want != nil && !slices.Equal(sortedTypes(bitmap), sortedTypes(want)) {
			t.Errorf("%s %s: types %v, want %v", name, typ, a.Types, want)
		}
		outcome := NoData
		switch {
		case slices.Contains(want, typ):
			outcome = Positive
		case typ == TypeNSEC:
			outcome = OwnNSEC
		case typ == TypeRRSIG:
			outcome = OwnRRSIG
		case typ == TypeANY && len(want) > 0:
			outcome = Positive
		case want == nil:
			outcome = NoName
		}
		if a.Outcome != outcome {
			t.Errorf("%s %s: outcome %d, want %d", name, typ, a.Outcome, outcome)
		}
		checkSet(t, a, typ, want)
	}
}

// checkSet checks the records of an answer.
func checkSet(t *testing.T, a Answer, typ Type, want []Type) {
	t.Helper()
	switch {
	case a.Outcome != Positive && a.Outcome != OwnRRSIG:
		if !a.RRset.IsEmpty() {
			t.Errorf("%s %s: a denial with records", a.Name, typ)
		}
	case len(want) == 0:
		if !a.RRset.IsEmpty() {
			t.Errorf("%s %s: records at a name that has none", a.Name, typ)
		}
	case a.RRset.IsEmpty() || a.RRset.Name() != a.Name || a.RRset.TTL() == 0 || !slices.Contains(want, a.RRset.Type()):
		t.Errorf("%s %s: %+v", a.Name, typ, a.RRset)
	case typ != TypeANY && typ != TypeRRSIG && a.RRset.Type() != typ:
		t.Errorf("%s: asked for %s, answered %s", a.Name, typ, a.RRset.Type())
	}
}

func sortedTypes(types []Type) []Type { return slices.Sorted(slices.Values(types)) }

// rdata lists the records of a positive answer.
func rdata(t *testing.T, v View, keys Keys, name Name, typ Type) (out []string) {
	t.Helper()
	a := Lookup(v, keys, name, typ)
	if a.Outcome != Positive {
		t.Errorf("%s %s: outcome %d", name, typ, a.Outcome)
	}
	for i := range a.RRset.Len() {
		out = append(out, a.RRset.RData(i))
	}
	return out
}

// poolShapes are the kinds of pool that answers differ by.
func poolShapes() map[string]PoolSpec {
	shapes := map[string]PoolSpec{
		"v4": poolSpec("192.0.2.1", "192.0.2.2"), "v6": poolSpec("2001:db8::1"), "both": poolSpec("192.0.2.1", "2001:db8::1"),
		"notlsa": poolSpec("192.0.2.1"), "ports": poolSpec("192.0.2.1", "2001:db8::1"),
	}
	bare, ports := shapes["notlsa"], shapes["ports"]
	bare.TLSA = nil
	ports.TLSAPorts = []uint16{25, 465, 65535}
	ports.TLSA = append(ports.TLSA, TLSA{2, 0, 1, []byte(strings.Repeat("e", 32))})
	shapes["notlsa"], shapes["ports"] = bare, ports
	return shapes
}

// hostTypes says which types a host has by the pool that serves it.
func hostTypes(spec PoolSpec) []Type {
	types := []Type{TypeMX}
	for _, h := range spec.Hosts {
		typ := TypeAAAA
		if h.Addresses[0].Is4() {
			typ = TypeA
		}
		types = append(types, typ)
	}
	return slices.Compact(sortedTypes(types))
}

// tenantStates bring the tenant acme, with contoso.com and served from "default", into a state. What they
// return says from which pool its hosts are served ("" for not at all), and whether with TLSA.
func tenantStates() map[string]func(w *world) (pool string, dane bool) {
	return map[string]func(w *world) (string, bool){
		"active":             func(w *world) (string, bool) { return "default", true },
		"dane off on tenant": func(w *world) (string, bool) { w.patch("acme", TenantPatch{DANE: new(false)}); return "default", false },
		"dane off on domain": func(w *world) (string, bool) {
			c, _, _, err := PlanPatchDomain(w, "acme", "contoso.com", new(false), nil)
			w.apply(c, err)
			return "default", false
		},
		"suspended": func(w *world) (string, bool) { w.suspend("acme"); return "drain", true },
		"suspended without dane": func(w *world) (string, bool) {
			w.patch("acme", TenantPatch{DANE: new(false), State: new(Suspended)})
			return "drain", false
		},
		"resumed": func(w *world) (string, bool) {
			w.suspend("acme")
			w.patch("acme", TenantPatch{State: new(Active)})
			return "default", true
		},
		"revoked": func(w *world) (string, bool) { w.revoke("acme"); return "", false },
		"brought back": func(w *world) (string, bool) {
			w.revoke("acme")
			w.tenant("acme", TenantSpec{Pool: "default", DANE: true, Smarthost: w.Tenant("acme").Smarthost, Domains: []Domain{"contoso.com"}})
			return "default", true
		},
		"domain removed": func(w *world) (string, bool) {
			c, _, _, err := PlanRemoveDomain(w, "acme", "contoso.com", now, nil)
			w.apply(c, err)
			return "", false
		},
	}
}

// For each state of a tenant and each shape of pool: what is there is answered, what is not is denied, and
// the two never contradict each other.
func TestLookupHosts(t *testing.T) {
	for state, enter := range tenantStates() {
		for shape, spec := range poolShapes() {
			for _, smarthost := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/smarthost=%v", state, shape, smarthost), func(t *testing.T) {
					w := newWorld(t)
					w.pool("default", spec)
					zone := zoneSpec(mx)
					zone.DrainPool = "drain"
					w.zone(mx, zone)
					tenant := tenantSpec("contoso.com")
					tenant.Smarthost = smarthost
					w.tenant("acme", tenant)
					pool, dane := enter(w)
					specs := map[string]PoolSpec{"default": spec, "drain": poolSpec("192.0.2.3", "2001:db8::3")}
					served, isServed := specs[pool]
					checkHost(t, w, "contoso-com", isServed, dane, served)
					// What is off for one domain is not off for the smarthost.
					t0 := w.Tenant("acme")
					switch state {
					case "domain removed":
						checkHost(t, w, "acme", smarthost, t0.DANE, spec)
					default:
						checkHost(t, w, "acme", isServed && smarthost, t0.DANE, served)
					}
					checkHost(t, w, "never-existed", false, false, PoolSpec{})
				})
			}
		}
	}
}

// checkHost checks a host and the names around it.
func checkHost(t *testing.T, w *world, label string, exists, dane bool, spec PoolSpec) {
	t.Helper()
	name := func(below string) Name { return MustParseName(below + label + ".mx.test.") }
	var atHost, atTCP []Type
	atPort := map[uint16][]Type{}
	if exists {
		atHost = hostTypes(spec)
	}
	if exists && dane && len(spec.TLSA) > 0 {
		atTCP = []Type{}
		ports := spec.TLSAPorts
		if ports == nil {
			ports = []uint16{25}
		}
		for _, p := range ports {
			atPort[p] = []Type{TypeTLSA}
		}
	}
	checkName(t, w, w, name(""), atHost)
	checkName(t, w, w, name("_tcp."), atTCP)
	for _, port := range []uint16{24, 25, 250, 465, 65535} {
		checkName(t, w, w, name(fmt.Sprintf("_%d._tcp.", port)), atPort[port])
	}
	for _, none := range []string{"a.", "_udp.", "_25.", "_25._udp.", "_025._tcp.", "25._tcp.", "_._tcp.", "_tcp._tcp.", "_25._tcp._tcp.", "a._25._tcp.", "*."} {
		checkName(t, w, w, name(none), nil)
	}
	if !exists {
		return
	}
	mxSet := Lookup(w, w, name(""), TypeMX).RRset
	if mxSet.Len() != 1 || mxSet.RData(0) != MXRData(spec.MXPreference, name("")) || mxSet.TTL() != 300 {
		t.Errorf("MX of %s: %+v", label, mxSet)
	}
	for port := range atPort {
		if got := rdata(t, w, w, name(fmt.Sprintf("_%d._tcp.", port)), TypeTLSA); len(got) != len(spec.TLSA) {
			t.Errorf("%d TLSA records at port %d, want %d", len(got), port, len(spec.TLSA))
		}
	}
}

// nested is a world with a parent zone that hosts a shard two labels below it, name servers at the apex, in
// the zone, and below empty non-terminals.
func nested(t *testing.T) *world {
	w := newWorld(t)
	spec := zoneSpec(mx)
	spec.Nameservers = append(spec.Nameservers, inside("ns2.deep.er", mx), Nameserver{mx, []netip.Addr{netip.MustParseAddr("192.0.2.54")}},
		Nameserver{Name: MustParseName("ns.elsewhere.")}, Nameserver{MustParseName("six.mx.test."), []netip.Addr{netip.MustParseAddr("2001:db8::6")}})
	w.zone(mx, spec)
	shard := MustParseName("o-v1.eu.mx.test.")
	below := zoneSpec(shard)
	below.Parent.Mode = ParentHosted
	w.zone(shard, below)
	return w
}

func TestLookupZoneStructure(t *testing.T) {
	w := nested(t)
	apex := []Type{TypeSOA, TypeNS, TypeDNSKEY, TypeCDS, TypeCDNSKEY}
	for name, want := range map[string][]Type{
		"mx.test.":             append(slices.Clone(apex), TypeA), // a name server itself
		"ns1.mx.test.":         {TypeA, TypeAAAA},
		"six.mx.test.":         {TypeAAAA},
		"er.mx.test.":          {},
		"deep.er.mx.test.":     {},
		"ns2.deep.er.mx.test.": {TypeA, TypeAAAA},
		"eu.mx.test.":          {}, // above the shard
		"o-v1.eu.mx.test.":     apex,
		"ns1.o-v1.eu.mx.test.": {TypeA, TypeAAAA},

		"ns2.mx.test.":                nil,
		"x.er.mx.test.":               nil,
		"x.deep.er.mx.test.":          nil,
		"x.ns1.mx.test.":              nil,
		"_25._tcp.ns1.mx.test.":       nil,
		"x.ns2.deep.er.mx.test.":      nil,
		"x.eu.mx.test.":               nil,
		"*.mx.test.":                  nil,
		"_tcp.mx.test.":               nil,
		"_25._tcp.mx.test.":           nil,
		"hostmaster.mx.test.":         nil,
		"x.o-v1.eu.mx.test.":          nil,
		"x.ns1.o-v1.eu.mx.test.":      nil,
		"eu.mx.test.o-v1.eu.mx.test.": nil,
	} {
		checkName(t, w, w, MustParseName(name), want)
	}
	soa := Lookup(w, w, mx, TypeSOA).RRset
	if want := (SOAData{MustParseName("ns1.mx.test."), MustParseName("hostmaster.mx.test."), w.Zone(mx).Serial, 3600, 600, 1209600, 60}).RData(); soa.RData(0) != want || soa.TTL() != 60 {
		t.Errorf("SOA %q with TTL %d", soa.RData(0), soa.TTL())
	}
	if ns := Lookup(w, w, mx, TypeNS).RRset; ns.Len() != 5 || ns.TTL() != 3600 {
		t.Errorf("NS %+v", ns)
	}
	for _, name := range []string{"test.", "xmx.test.", ".", "other.", "mx.test.other."} {
		if a := Lookup(w, w, MustParseName(name), TypeA); a.Outcome != NotHere || a.Zone != nil || len(a.Types) > 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// DS at the apex of a shard is the parent's, if the parent is ours.
func TestLookupDS(t *testing.T) {
	w := nested(t)
	shard := MustParseName("o-v1.eu.mx.test.")
	a := Lookup(w, w, shard, TypeDS)
	if a.Outcome != Positive || a.Zone.Name != mx || a.RRset.Type() != TypeDS || !slices.Equal(sortedTypes(a.Types), []Type{TypeNS, TypeDS}) {
		t.Errorf("DS of the shard: %+v", a)
	}
	a = Lookup(w, withoutDS{w}, shard, TypeDS)
	if a.Outcome != NoData || a.Zone.Name != mx || !slices.Equal(a.Types, []Type{TypeNS}) {
		t.Errorf("DS of a shard that has none yet: %+v", a)
	}
	a = Lookup(w, w, mx, TypeDS)
	if a.Outcome != NoData || a.Zone.Name != mx || slices.Contains(a.Types, TypeDS) {
		t.Errorf("DS of a zone whose parent is not ours: %+v", a)
	}
	if a := Lookup(w, w, MustParseName("x.mx.test."), TypeDS); a.Outcome != NoName {
		t.Errorf("DS below the apex: %+v", a)
	}
	for _, sets := range [][]RRset{delegationRecords(w.Zone(mx), w.Zone(shard), w), delegationRecords(w.Zone(mx), w.Zone(shard), withoutDS{w})} {
		if !isDelegation(w.Zone(mx), shard, sets) || sets[0].TTL() != w.Zone(mx).TTL.NS {
			t.Errorf("delegation %+v", sets)
		}
	}
	if isDelegation(w.Zone(mx), mx, apexRecords(w.Zone(mx))) {
		t.Error("the apex passes for a delegation")
	}
}

// withoutDS are keys whose DS is not to be published yet.
type withoutDS struct{ Keys }

func (withoutDS) DS(Name) RRset { return RRset{} }

// noKeys are the keys of zones that have none.
type noKeys struct{ Keys }

func (noKeys) Apex(Name) []RRset { return nil }

// Nothing is said about a zone that cannot sign what is said.
func TestLookupWithoutKeys(t *testing.T) {
	w := nested(t)
	w.tenant("acme", tenantSpec("contoso.com"))
	for _, name := range []string{"mx.test.", "contoso-com.mx.test.", "none.mx.test.", "ns1.mx.test.", "o-v1.eu.mx.test."} {
		for _, typ := range askedTypes() {
			if a := Lookup(w, noKeys{w}, MustParseName(name), typ); a.Outcome != NoKeys || a.Zone == nil || len(a.Types) > 0 || !a.RRset.IsEmpty() {
				t.Fatalf("%s %s: %+v", name, typ, a)
			}
		}
	}
}

// keysBut are keys of all zones but one.
type keysBut struct {
	Keys
	lost Name
}

func (k keysBut) Apex(apex Name) []RRset {
	if apex == k.lost {
		return nil
	}
	return k.Keys.Apex(apex)
}

// The records of a zone cut have the TTL of the zone above it, whose policy they are signed by.
func TestDelegationHasTheTTLOfTheParent(t *testing.T) {
	w := nested(t)
	shard := MustParseName("o-v1.eu.mx.test.")
	spec := w.Zone(shard).ZoneSpec
	spec.TTL.NS, spec.Signature.Lifetime = 86400, 72*time.Hour
	w.zone(shard, spec)
	if a := Lookup(w, w, shard, TypeDS); a.Outcome != Positive || a.RRset.TTL() != w.Zone(mx).TTL.NS {
		t.Errorf("outcome %d, TTL %d", a.Outcome, a.RRset.TTL())
	}
	if a := Lookup(w, w, shard, TypeNS); a.RRset.TTL() != 86400 {
		t.Errorf("the zone's own NS have TTL %d", a.RRset.TTL())
	}
}

// That the keys of a shard cannot be opened must not become a proof that it is unsigned.
func TestLostKeysAreNotAnInsecureDelegation(t *testing.T) {
	w := nested(t)
	shard := MustParseName("o-v1.eu.mx.test.")
	if a := Lookup(w, keysBut{w, shard}, shard, TypeDS); a.Outcome != NoKeys {
		t.Errorf("DS of a shard without keys: %+v", a)
	}
	if a := Lookup(w, keysBut{w, shard}, MustParseName("eu.mx.test."), TypeA); a.Outcome != NoData {
		t.Errorf("the parent itself: %+v", a)
	}
}

// A host whose pool is missing is neither answered nor denied, and neither are the names below it. No plan
// leads here; a damaged store could.
func TestLookupBroken(t *testing.T) {
	for name, damage := range map[string]func(w *world){
		"pool":               func(w *world) { delete(w.rows[KindPool], "default") },
		"tenant":             func(w *world) { delete(w.rows[KindTenant], "acme") },
		"drain pool":         func(w *world) { w.suspend("acme"); delete(w.rows[KindPool], "drain") },
		"a state of its own": func(w *world) { w.Tenant("acme").State = "asleep" },
	} {
		w := newWorld(t)
		spec := zoneSpec(mx)
		spec.DrainPool = "drain"
		w.zone(mx, spec)
		w.tenant("acme", tenantSpec("contoso.com"))
		damage(w)
		for _, host := range []string{"contoso-com.mx.test.", "_tcp.contoso-com.mx.test.", "_25._tcp.contoso-com.mx.test."} {
			for _, typ := range []Type{TypeA, TypeMX, TypeTLSA, TypeANY, TypeRRSIG, TypeNSEC, TypeDS} {
				if a := Lookup(w, w, MustParseName(host), typ); a.Outcome != Broken || len(a.Types) > 0 || !a.RRset.IsEmpty() {
					t.Errorf("%s missing: %s %s: %+v", name, host, typ, a)
				}
			}
		}
		checkName(t, w, w, MustParseName("ns1.mx.test."), []Type{TypeA, TypeAAAA})
	}
}

// A shard has precedence over what the parent once had below it.
func TestEnclosing(t *testing.T) {
	w := nested(t)
	for name, want := range map[string]string{
		"mx.test.": "mx.test.", "a.b.mx.test.": "mx.test.", "o-v1.eu.mx.test.": "o-v1.eu.mx.test.", "a.o-v1.eu.mx.test.": "o-v1.eu.mx.test.", "eu.mx.test.": "mx.test.",
	} {
		if z := Enclosing(w, MustParseName(name)); z == nil || z.Name.String() != want {
			t.Errorf("%s is enclosed by %v, want %s", name, z, want)
		}
	}
	if Enclosing(w, Root) != nil || Enclosing(w, Name{}) != nil {
		t.Error("something encloses the root")
	}
}
