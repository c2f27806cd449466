package signer

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/zone"
)

// A name that sorts right after another, written out for the cases of RFC 4471 §3.1.2.
func TestSuccessorAtTheLimits(t *testing.T) {
	long := strings.Repeat("a", 63) + "." + strings.Repeat("b", 63) + "." + strings.Repeat("c", 63) + "." // 192 octets
	full := strings.Repeat("x", 51)                                                                       // 254 octets in all
	max := strings.Repeat("x", 52)
	end := strings.Repeat(`\255`, 52)
	apex := "mx.tests."
	for _, c := range []struct{ name, want string }{
		{"mx.tests.", `\000.mx.tests.`},
		{"acme.mx.tests.", `\000.acme.mx.tests.`},
		{`\000.acme.mx.tests.`, `\000.\000.acme.mx.tests.`},
		{full + "." + long + apex, full + `\000.` + long + apex},
		{max + "." + long + apex, max[1:] + "y." + long + apex},
		{max[1:] + "@." + long + apex, max[1:] + "[." + long + apex},
		{max[1:] + "`." + long + apex, max[1:] + "a." + long + apex},
		{max[1:] + `\255.` + long + apex, max[2:] + "y." + long + apex},
		{max[2:] + `\255\255.` + long + apex, max[3:] + "y." + long + apex},
		{end + "." + long + apex, strings.Repeat("a", 62) + "b." + long[64:] + apex},
	} {
		name := zone.MustParseName(c.name)
		if got := successor(name, zone.MustParseName(apex)); got != zone.MustParseName(c.want) {
			t.Errorf("%s (%d octets):\ngot  %s\nwant %s", c.name, len(name.Wire()), got, c.want)
		}
	}
}

// Where labels are full of 0xff on all levels, the last name of the zone is followed by the apex.
func TestSuccessorOfTheLastNameIsTheApex(t *testing.T) {
	apex := zone.MustParseName("mx.test.")
	name := apex
	for room := zone.MaxNameLen - len(name.Wire()); room >= 2; room = zone.MaxNameLen - len(name.Wire()) {
		child, err := name.Child(strings.Repeat("\xff", min(zone.MaxLabelLen, room-1)))
		if err != nil {
			t.Fatal(err)
		}
		name = child
	}
	if got := successor(name, apex); got != apex {
		t.Errorf("%s is followed by %s", name, got)
	}
	if got := successorOfTree(apex, apex); got != apex {
		t.Errorf("nothing follows the whole zone, but %s does", got)
	}
}

// between looks for a legal name of the zone that sorts between two names and was not built by the code under test:
// it takes the smallest names that could follow a name at each of its ancestors.
func between(a, b, apex zone.Name) (zone.Name, bool) {
	try := func(parent zone.Name, label string) (zone.Name, bool) {
		n, err := parent.Child(label)
		if err != nil || zone.CompareNames(a, n) >= 0 {
			return zone.Name{}, false
		}
		return n, b == apex || zone.CompareNames(n, b) < 0
	}
	for _, label := range []string{"\x00", "\x01", "\x00\x00"} {
		if n, found := try(a, label); found {
			return n, true
		}
	}
	for n := a; n != apex; n = n.Parent() {
		label := n.FirstLabel()
		for _, tail := range []string{"\x00", "\x00\x00", "\x01"} {
			if m, found := try(n.Parent(), label+tail); found {
				return m, true
			}
		}
		for i := len(label) - 1; i >= 0; i-- { // every prefix, its last octet raised
			for _, c := range []int{int(label[i]) + 1, int(label[i]) + 2, 'Z' + 1, 0xff} {
				if c > 0xff || c <= int(label[i]) {
					continue
				}
				if m, found := try(n.Parent(), label[:i]+string([]byte{byte(c)})); found {
					return m, true
				}
			}
		}
	}
	return zone.Name{}, false
}

// randomName makes names that are mostly close to the limits, of octets that are mostly special.
func randomName(random *rand.Rand, apex zone.Name) zone.Name {
	octets := []byte{0, 1, '@', '[', '`', 'a', 'z', '{', 0xfe, 0xff, 0xff, 0xff}
	name := apex
	for {
		room := zone.MaxNameLen - len(name.Wire()) - 1
		if room < 1 || random.IntN(12) == 0 {
			return name
		}
		size := min(room, zone.MaxLabelLen)
		switch random.IntN(4) {
		case 0:
			size = 1 + random.IntN(size)
		case 1:
			size = max(1, size-random.IntN(3))
		}
		label := bytes.Repeat(octets[random.IntN(len(octets)):][:1], size)
		for range random.IntN(4) {
			label[len(label)-1-random.IntN(min(3, size))] = octets[random.IntN(len(octets))]
		}
		child, err := name.Child(string(label))
		if err != nil {
			return name
		}
		name = child
	}
}

// The next name follows, is in the zone, and nothing that could exist lies between. With isCut nothing but names
// below the owner does.
func TestSuccessorIsImmediate(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, apex := range []zone.Name{zone.MustParseName("mx.test."), zone.MustParseName(strings.Repeat("q", 63) + ".example."), zone.Root} {
		atLimit := 0
		for range 1500 {
			name := randomName(random, apex)
			next := successor(name, apex)
			if next != apex && (zone.CompareNames(name, next) >= 0 || !next.Within(apex)) {
				t.Fatalf("%s is followed by %s", name, next)
			}
			if n, found := between(name, next, apex); found {
				t.Fatalf("between %s and %s lies %s", name, next, n)
			}
			if next.FirstLabel() != "\x00" || next.Parent() != name {
				atLimit++
			}
			if name == apex {
				continue
			}
			after := successorOfTree(name, apex)
			if after.Within(name) || after != apex && zone.CompareNames(name, after) >= 0 {
				t.Fatalf("the tree of %s is followed by %s", name, after)
			}
		}
		if atLimit < 100 {
			t.Errorf("only %d names were at the limits", atLimit)
		}
	}
}

// The bitmap has what exists, RRSIG and NSEC, and nothing else; the TTL is that of negative answers.
func TestDenialSaysWhatExists(t *testing.T) {
	z := testZone(zone.ED25519)
	s := New(Options{CacheSize: 1 << 20})
	host := zone.MustParseName("acme.mx.test.")
	for _, c := range []struct {
		answer zone.Answer
		want   string
	}{
		{absent(z, host), `acme.mx.test. 60 IN NSEC \000.acme.mx.test. RRSIG NSEC NXNAME`},
		{zone.Answer{Outcome: zone.NoData, Zone: z, Name: host, Types: []zone.Type{zone.TypeA, zone.TypeMX, zone.TypeTLSA}},
			`acme.mx.test. 60 IN NSEC \000.acme.mx.test. A MX RRSIG NSEC TLSA`},
		{zone.Answer{Outcome: zone.NoData, Zone: z, Name: host}, `acme.mx.test. 60 IN NSEC \000.acme.mx.test. RRSIG NSEC`},
		{zone.Answer{Outcome: zone.NoData, Zone: z, Name: z.Name, Types: []zone.Type{zone.TypeSOA, zone.TypeNS, zone.TypeCDNSKEY}},
			`mx.test. 60 IN NSEC \000.mx.test. NS SOA RRSIG NSEC CDNSKEY`},
		// a zone cut: names below are not denied (RFC 9824 §3.4)
		{zone.Answer{Outcome: zone.NoData, Zone: z, Name: host, Types: []zone.Type{zone.TypeNS}},
			`acme.mx.test. 60 IN NSEC acme\000.mx.test. NS RRSIG NSEC`},
	} {
		rrs, err := dnstest.Records(s.Denial(c.answer))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := dns.NewRR(c.want); err != nil || len(rrs) != 1 || rrs[0].String() != want.String() {
			t.Errorf("got  %v\nwant %s, %v", rrs, c.want, err)
		}
	}
}

func TestDeniesName(t *testing.T) {
	z := testZone(zone.ED25519)
	s := New(Options{CacheSize: 1 << 20})
	a := absent(z, zone.MustParseName("acme.mx.test."))
	if !deniesName(s.Denial(a)) {
		t.Error("NXNAME is not seen")
	}
	a.Types = []zone.Type{zone.TypeA}
	if deniesName(s.Denial(a)) || deniesName(addresses(t, "acme.mx.test.", 300, "192.0.2.1")) {
		t.Error("NXNAME is seen where there is none")
	}
}
