package zone

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestZoneSpecCheck(t *testing.T) {
	longest := MustParseName(strings.Repeat("a.", 89)) // 179 octets, and 76 below them
	addr := netip.MustParseAddr("192.0.2.53")
	for name, c := range map[string]struct {
		apex   Name
		change func(*ZoneSpec)
		want   []string
	}{
		"defaults":       {mx, func(*ZoneSpec) {}, nil},
		"longest":        {longest, func(*ZoneSpec) {}, nil},
		"outside server": {mx, func(s *ZoneSpec) { s.Nameservers = []Nameserver{{Name: MustParseName("ns.other.")}} }, nil},
		"server at apex": {mx, func(s *ZoneSpec) { s.Nameservers = []Nameserver{{mx, []netip.Addr{addr}}} }, nil},
		"smallest TTLs":  {mx, func(s *ZoneSpec) { s.TTL = TTLs{1, 1, 1, 1} }, nil},
		"tight lifetime": {mx, func(s *ZoneSpec) { s.Signature.Lifetime = 3 * time.Hour }, nil},

		"root":                 {Root, func(s *ZoneSpec) { s.Hostmaster = mx }, []string{"zone"}},
		"apex too long":        {MustParseName("aa." + longest.String()), func(*ZoneSpec) {}, []string{"zone"}},
		"no hostmaster":        {mx, func(s *ZoneSpec) { s.Hostmaster = Name{} }, []string{"hostmaster"}},
		"wildcard hostmaster":  {mx, func(s *ZoneSpec) { s.Hostmaster = MustParseName("*.mx.test.") }, []string{"hostmaster"}},
		"wildcard zone":        {MustParseName("*.test."), func(s *ZoneSpec) { s.Nameservers = []Nameserver{{Name: MustParseName("ns.example.net.")}} }, []string{"zone", "hostmaster"}},
		"zone with a blank":    {MustParseName(`a\032b.test.`), func(s *ZoneSpec) { s.Nameservers = []Nameserver{{Name: MustParseName("ns.example.net.")}} }, []string{"zone", "hostmaster"}},
		"wildcard name server": {mx, func(s *ZoneSpec) { s.Nameservers[0].Name = MustParseName("*.mx.test.") }, []string{"nameservers[0].name"}},
		"root as hostmaster":   {mx, func(s *ZoneSpec) { s.Hostmaster = Root }, []string{"hostmaster"}},
		"no servers":           {mx, func(s *ZoneSpec) { s.Nameservers = nil }, []string{"nameservers"}},
		"server given twice":   {mx, func(s *ZoneSpec) { s.Nameservers = slices.Repeat(s.Nameservers, 2) }, []string{"nameservers[1].name"}},
		"server without name":  {mx, func(s *ZoneSpec) { s.Nameservers[0].Name = Name{} }, []string{"nameservers[0].name"}},
		"server named root":    {mx, func(s *ZoneSpec) { s.Nameservers[0].Name = Root }, []string{"nameservers[0].name"}},
		"inside, no address":   {mx, func(s *ZoneSpec) { s.Nameservers[0].Addresses = nil }, []string{"nameservers[0].addresses"}},
		"outside, address":     {mx, func(s *ZoneSpec) { s.Nameservers[0].Name = MustParseName("ns.other.") }, []string{"nameservers[0].addresses"}},
		"multicast server":     {mx, func(s *ZoneSpec) { s.Nameservers[0].Addresses = []netip.Addr{addr, netip.MustParseAddr("ff02::1")} }, []string{"nameservers[0].addresses[1]"}},
		"TTL 0":                {mx, func(s *ZoneSpec) { s.TTL.Host, s.TTL.NS = 0, 0 }, []string{"ttl.host", "ttl.ns"}},
		"TTL over a day":       {mx, func(s *ZoneSpec) { s.TTL.Negative, s.TTL.DNSKEY = 86401, 86401 }, []string{"ttl.negative", "ttl.dnskey", "signature.lifetime"}},
		"lifetime 0":           {mx, func(s *ZoneSpec) { s.Signature.Lifetime = 0 }, []string{"signature.lifetime"}},
		"quantum negative":     {mx, func(s *ZoneSpec) { s.Signature.Quantum = -time.Hour }, []string{"signature.quantum"}},
		"lifetime of a year":   {mx, func(s *ZoneSpec) { s.Signature.Lifetime = 8760 * time.Hour }, []string{"signature.lifetime"}},
		"half a second":        {mx, func(s *ZoneSpec) { s.Signature.Quantum = 1500 * time.Millisecond }, []string{"signature.quantum"}},
		"backdate too short":   {mx, func(s *ZoneSpec) { s.Signature.Backdate = time.Minute }, []string{"signature.backdate"}},
		"lifetime too short":   {mx, func(s *ZoneSpec) { s.Signature.Lifetime = 3*time.Hour - time.Second }, []string{"signature.lifetime"}},
		"quantum too long":     {mx, func(s *ZoneSpec) { s.Signature.Quantum = 8 * time.Hour }, []string{"signature.lifetime"}},
		"TTL needs a lifetime": {mx, func(s *ZoneSpec) { s.TTL.Host = 8 * 3600 }, []string{"signature.lifetime"}},
		"DNSKEY lifetime":      {mx, func(s *ZoneSpec) { s.Signature.DNSKEYLifetime = 2 * time.Hour }, []string{"signature.dnskey_lifetime"}},
		"algorithm":            {mx, func(s *ZoneSpec) { s.Keys.Algorithm = 5 }, []string{"keys.algorithm"}},
		"key lifetimes":        {mx, func(s *ZoneSpec) { s.Keys.ZSKLifetime, s.Keys.KSKLifetime = 0, -1 }, []string{"keys.zsk_lifetime", "keys.ksk_lifetime"}},
		"ZSK too short":        {mx, func(s *ZoneSpec) { s.Keys.ZSKLifetime = 3*time.Hour + 15*time.Minute - time.Second }, []string{"keys.zsk_lifetime"}},
		"KSK too short":        {mx, func(s *ZoneSpec) { s.Keys.KSKLifetime = 28*time.Hour + 15*time.Minute - time.Second }, []string{"keys.ksk_lifetime"}},
		"stock too short":      {mx, func(s *ZoneSpec) { s.Signature.DNSKEYStock = 47 * time.Hour }, []string{"signature.dnskey_stock"}},
		"key delays": {mx, func(s *ZoneSpec) {
			s.Keys.PropagationDelay, s.Keys.ParentPropagationDelay, s.Keys.ParentDSTTL = 0, time.Millisecond, -time.Hour
		}, []string{"keys.propagation_delay", "keys.parent_propagation_delay", "keys.parent_ds_ttl"}},
		"parent mode":           {mx, func(s *ZoneSpec) { s.Parent.Mode = "magic" }, []string{"parent.mode"}},
		"parent without server": {mx, func(s *ZoneSpec) { s.Parent.Mode = ParentCheck }, []string{"parent.servers"}},
		"drain pool":            {mx, func(s *ZoneSpec) { s.DrainPool = "No Pool" }, []string{"drain_pool"}},
		"everything": {mx, func(s *ZoneSpec) { *s = ZoneSpec{} }, []string{"hostmaster", "nameservers", "ttl.host", "ttl.negative", "ttl.dnskey", "ttl.ns",
			"signature.lifetime", "keys.algorithm", "keys.zsk_lifetime", "keys.ksk_lifetime", "keys.propagation_delay", "keys.parent_propagation_delay",
			"keys.parent_ds_ttl", "parent.mode"}},
	} {
		spec := zoneSpec(mx)
		if c.apex != mx {
			spec = DefaultZoneSpec(c.apex)
			spec.Nameservers = []Nameserver{{c.apex, []netip.Addr{addr}}}
			if c.apex.IsRoot() {
				spec.Nameservers = []Nameserver{inside("ns1", mx)}
			}
		}
		c.change(&spec)
		if got := fields(spec.check(c.apex)); !slices.Equal(got, c.want) {
			t.Errorf("%s: fields %v, want %v", name, got, c.want)
		}
	}
}

// The longest apex leaves room for the longest name that is made below it.
func TestApexReserve(t *testing.T) {
	apex := MustParseName(strings.Repeat("a.", 89))
	host := &Host{Zone: apex, Label: strings.Repeat("h", MaxLabelLen)}
	if _, err := TLSAName(host.Name(), 65535); err != nil || host.Name().IsZero() {
		t.Error(err)
	}
}

// The defaults are those of design §6.
func TestDefaultZoneSpec(t *testing.T) {
	got := DefaultZoneSpec(mx)
	want := ZoneSpec{
		Hostmaster: MustParseName("hostmaster.mx.test."), TTL: TTLs{300, 60, 3600, 3600},
		Signature: SignaturePolicy{8 * time.Hour, time.Hour, time.Hour, 48 * time.Hour, 14 * 24 * time.Hour},
		Keys:      KeyPolicy{ECDSAP256SHA256, false, false, "", 30 * 24 * time.Hour, 365 * 24 * time.Hour, 5 * time.Minute, time.Hour, 24 * time.Hour},
		Parent:    ParentPolicy{Mode: "manual"}, Accepting: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestAlgorithms(t *testing.T) {
	for text, want := range map[string]Algorithm{"RSASHA256": 8, "8": 8, "ECDSAP256SHA256": 13, "13": 13, "ED25519": 15, "15": 15} {
		if got, known := ParseAlgorithm(text); !known || got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
	for _, text := range []string{"", "5", "RSAMD5", "ecdsap256sha256", "013"} {
		if a, known := ParseAlgorithm(text); known {
			t.Errorf("%q is %d", text, a)
		}
	}
	if Algorithm(13).String() != "ECDSAP256SHA256" || Algorithm(5).String() != "5" {
		t.Error("algorithms print wrong")
	}
}

// Same notices a change of every field, also of those that are added later.
func TestZoneSpecSame(t *testing.T) {
	base := zoneSpec(mx)
	base.Parent.Servers = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:53")}
	if !base.Same(base) {
		t.Error("a specification is not the same as itself")
	}
	var try func(v reflect.Value, changed *ZoneSpec, path string)
	try = func(v reflect.Value, changed *ZoneSpec, path string) {
		old := reflect.ValueOf(v.Interface())
		switch v.Kind() {
		case reflect.Struct:
			if v.Type() == reflect.TypeFor[netip.AddrPort]() {
				v.Set(reflect.ValueOf(netip.MustParseAddrPort("192.0.2.9:53")))
				break
			}
			if v.Type() != reflect.TypeFor[Name]() {
				for i := range v.NumField() {
					try(v.Field(i), changed, path+"."+v.Type().Field(i).Name)
				}
				return
			}
			v.Set(reflect.ValueOf(Root))
		case reflect.Slice:
			v.Set(reflect.Zero(v.Type()))
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int64:
			v.SetInt(v.Int() + 1)
		default:
			v.SetUint(v.Uint() + 1)
		}
		if changed.Same(base) || base.Same(*changed) {
			t.Errorf("Same does not look at %s", path)
		}
		v.Set(old)
	}
	changed := base
	try(reflect.ValueOf(&changed).Elem(), &changed, "ZoneSpec")
	changed.Nameservers = []Nameserver{inside("ns2", mx)}
	if changed.Same(base) {
		t.Error("another name server is the same")
	}
}
