package server_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// expected is what must be at a name of the standard state, without RRSIG and NSEC; nil: it does not exist.
type expected struct {
	name  string
	types []uint16
}

var (
	apexTypes = []uint16{dns.TypeNS, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeCDNSKEY}
	hostTypes = []uint16{dns.TypeA, dns.TypeMX, dns.TypeAAAA}
	empty     = []uint16{}
)

func everyName() []expected {
	l63 := strings.Repeat("l", 63)
	x63 := strings.Repeat("x", 63)
	// 255 octets with the root and the 14 of o-v1.mx.test.: nothing can be put before it.
	longest := strings.Repeat("y", 255-14-1-3*64-1) + "." + strings.Repeat(x63+".", 3) + "o-v1.mx.test."
	return []expected{
		{"mx.test.", apexTypes},
		{"o-v1.mx.test.", apexTypes},
		{"apex.test.", append([]uint16{dns.TypeA, dns.TypeAAAA}, apexTypes...)},
		{"ns1.mx.test.", []uint16{dns.TypeA, dns.TypeAAAA}},
		{"deep.mx.test.", empty},
		{"ns.deep.mx.test.", []uint16{dns.TypeA}},
		{"below.ns.deep.mx.test.", nil},
		{"above.mx.test.", hostTypes},
		{"acme.o-v1.mx.test.", hostTypes},
		{"AcMe.O-V1.mx.TEST.", hostTypes},
		{"_tcp.acme.o-v1.mx.test.", empty},
		{"_25._tcp.acme.o-v1.mx.test.", []uint16{dns.TypeTLSA}},
		{"_465._TCP.acme.o-v1.mx.test.", []uint16{dns.TypeTLSA}},
		{"_26._tcp.acme.o-v1.mx.test.", nil},
		{"_025._tcp.acme.o-v1.mx.test.", nil},
		{"x._25._tcp.acme.o-v1.mx.test.", nil},
		{"_25.acme.o-v1.mx.test.", nil},
		{"plain.o-v1.mx.test.", hostTypes},
		{"_tcp.plain.o-v1.mx.test.", nil},
		{"_25._tcp.plain.o-v1.mx.test.", nil},
		{"domain-plain.o-v1.mx.test.", hostTypes},
		{"_25._tcp.domain-plain.o-v1.mx.test.", nil},
		{"six.o-v1.mx.test.", []uint16{dns.TypeMX, dns.TypeAAAA}},
		{"_tcp.six.o-v1.mx.test.", nil},
		{"drained.o-v1.mx.test.", []uint16{dns.TypeA, dns.TypeMX}},
		{"_25._tcp.drained.o-v1.mx.test.", []uint16{dns.TypeTLSA}},
		{"revoked.o-v1.mx.test.", nil},
		{"_25._tcp.revoked.o-v1.mx.test.", nil},
		{"released.o-v1.mx.test.", nil},
		{l63 + ".o-v1.mx.test.", hostTypes},
		{x63 + ".o-v1.mx.test.", nil},
		{longest, nil},
		{longest[2:], nil},
		{"absent.mx.test.", nil},
		{"*.mx.test.", nil},
		{`\000.acme.o-v1.mx.test.`, nil},
		{`\255\@\..mx.test.`, nil},
	}
}

// sweptTypes is every type that is answered, up to those beyond the meta types, and some more of other windows.
func sweptTypes(name string) []uint16 {
	var types []uint16
	for typ := range uint16(300) {
		switch typ {
		case dns.TypeNXNAME, dns.TypeOPT, dns.TypeIXFR, dns.TypeAXFR:
		case dns.TypeDS:
			if !strings.EqualFold(name, "o-v1.mx.test.") { // what the parent says is in TestDS
				types = append(types, typ)
			}
		default:
			types = append(types, typ)
		}
	}
	for typ := 300; typ < 65536; typ += 1501 {
		types = append(types, uint16(typ))
	}
	return append(types, 32768, 32769, 65280, 65534, 65535)
}

// Every name is asked for every type over both transports. What is denied is what is not answered.
func TestEveryNameAndType(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	for _, e := range everyName() {
		bitmap, err := dnstest.CheckName(w.ask, w.keys, e.name, sweptTypes(e.name), w.opts.Now)
		if err != nil {
			t.Error(err)
			continue
		}
		if want := bitmapFor(e.types); !slices.Equal(bitmap, want) {
			t.Errorf("%s: has the types %v, want %v", e.name, bitmap, want)
		}
		for _, typ := range sweptTypes(e.name) {
			for _, q := range []dnstest.Query{{DO: true}, {DO: true, CO: true}, {CO: true}, {}, {Size: 1232}} {
				q.Name, q.Type = e.name, typ
				checkQuery(t, w, q, e.types)
			}
		}
	}
	if n := counted(t, w.opts.Metrics, `mxseal_dns_truncated_total`); n != 0 {
		t.Errorf("%v answers were truncated", n)
	}
}

func bitmapFor(types []uint16) []uint16 {
	bitmap := append(slices.Clone(types), dns.TypeRRSIG, dns.TypeNSEC)
	if types == nil {
		bitmap = append(bitmap, dns.TypeNXNAME)
	}
	slices.Sort(bitmap)
	return bitmap
}

// checkQuery asks over both transports, which must agree octet for octet, and checks what a client sees that the
// checker cannot know: which names exist, and what those see who do not set DO.
func checkQuery(t *testing.T, w *world, q dnstest.Query, types []uint16) {
	t.Helper()
	packet, err := q.Message().Pack()
	if err != nil {
		t.Fatal(err)
	}
	reply := w.Respond(nil, packet, server.TCP)
	tooLong := q == dnstest.Query{Name: q.Name, Type: dns.TypeNSEC} && len(q.Name) > 200 // twice the name is over 512 octets
	if !tooLong && !bytes.Equal(reply, w.Respond(nil, packet, server.UDP)) {
		t.Fatalf("%s: other answers over TCP than over UDP", q)
	}
	m := parse(t, reply)
	if !q.DO || q.CO { // with DO alone, CheckName has looked at it
		dnstest.Verify(t, w.keys, q, m, now)
	}
	own := q.Type == dns.TypeNSEC || q.Type == dns.TypeRRSIG
	positive := own || slices.Contains(types, q.Type) || q.Type == dns.TypeANY && len(types) > 0
	rcode := dns.RcodeSuccess
	if types == nil && !own && (q.CO || !q.DO) {
		rcode = dns.RcodeNameError
	}
	if len(m.Answer) > 0 != positive || m.Rcode != rcode {
		t.Errorf("%s: %s, %d records, want %s, records: %t", q, dns.RcodeToString[m.Rcode], len(m.Answer), dns.RcodeToString[rcode], positive)
	}
}

// The records themselves, which a sweep of types cannot know.
func TestRecords(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	do := func(name string, typ uint16) dnstest.Query { return dnstest.Query{Name: name, Type: typ, DO: true} }
	for _, c := range []dnstest.Case{
		{Query: do("ACME.o-v1.mx.test.", dns.TypeA), Answer: []string{"acme.o-v1.mx.test. 300 IN A 192.0.2.1", "acme.o-v1.mx.test. 300 IN A 192.0.2.2"}},
		{Query: do("acme.o-v1.mx.test.", dns.TypeMX), Answer: []string{"acme.o-v1.mx.test. 300 IN MX 10 acme.o-v1.mx.test."}},
		{Query: dnstest.Query{Name: "acme.o-v1.mx.test.", Type: dns.TypeAAAA}, Answer: []string{"acme.o-v1.mx.test. 300 IN AAAA 2001:db8::1"}},
		{Query: do("drained.o-v1.mx.test.", dns.TypeA), Answer: []string{"drained.o-v1.mx.test. 300 IN A 192.0.2.99"}},
		{Query: do("_25._tcp.drained.o-v1.mx.test.", dns.TypeTLSA), Answer: []string{"_25._tcp.drained.o-v1.mx.test. 300 IN TLSA 3 1 1 " + strings.Repeat("61", 32)}},
		{Query: do("six.o-v1.mx.test.", dns.TypeA), Bitmap: "MX AAAA RRSIG NSEC"},
		{Query: do("_tcp.acme.o-v1.mx.test.", dns.TypeTLSA), Bitmap: "RRSIG NSEC"},
		{Query: do("_25._tcp.plain.o-v1.mx.test.", dns.TypeTLSA), Bitmap: "RRSIG NSEC NXNAME"},
		{Query: dnstest.Query{Name: "_25._tcp.plain.o-v1.mx.test.", Type: dns.TypeTLSA}, Rcode: dns.RcodeNameError},
		{Query: do("ns.deep.mx.test.", dns.TypeA), Answer: []string{"ns.deep.mx.test. 3600 IN A 192.0.2.54"}},
		{Query: do("apex.test.", dns.TypeSOA), Answer: []string{"apex.test. 60 IN SOA apex.test. hostmaster.apex.test. 7 3600 600 1209600 60"}},
	} {
		m, err := w.ask(c.Query)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(w.keys, m, now); err != nil {
			t.Error(err)
		}
	}
}

// DS at the apex of a zone belongs to the zone above it (RFC 4035 §3.1.4.1).
func TestDS(t *testing.T) {
	s := standard(t, ecdsa)
	unpublished := s.with(func(s *state) { s.withoutDS = true })
	for _, c := range []struct {
		state  *state
		name   string
		bitmap string // of the denial, empty: there is a DS
	}{
		{s, "o-v1.mx.test.", ""},
		{s, "mx.test.", "NS SOA RRSIG NSEC DNSKEY CDS CDNSKEY"},
		{s, "apex.test.", "A NS SOA AAAA RRSIG NSEC DNSKEY CDS CDNSKEY"},
		{unpublished, "o-v1.mx.test.", "NS RRSIG NSEC"},
	} {
		w := newWorld(t, c.state)
		for _, q := range []dnstest.Query{{DO: true}, {DO: true, CO: true}, {}} {
			q.Name, q.Type = c.name, dns.TypeDS
			m, err := w.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			want := dnstest.Case{Query: q}
			if q.DO {
				want.Bitmap = c.bitmap
			}
			if c.bitmap == "" {
				want.Answer = records(t, s.DS(zone.MustParseName(c.name)))
			}
			if err := want.Check(w.keys, m, now); err != nil {
				t.Error(err)
			}
		}
	}
}

func records(t *testing.T, set zone.RRset) (texts []string) {
	t.Helper()
	rrs, err := dnstest.Records(set)
	if err != nil {
		t.Fatal(err)
	}
	for _, rr := range rrs {
		texts = append(texts, rr.String())
	}
	return texts
}

// All algorithms, two keys or one.
func TestAlgorithms(t *testing.T) {
	types := []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeAAAA, dns.TypeRRSIG, dns.TypeNSEC,
		dns.TypeDNSKEY, dns.TypeTLSA, dns.TypeCDS, dns.TypeCDNSKEY, dns.TypeANY, 65280}
	for _, algorithm := range []zone.Algorithm{zone.ECDSAP256SHA256, zone.ED25519, zone.RSASHA256} {
		for _, csk := range []bool{false, true} {
			w := newWorld(t, standard(t, func(p *zone.KeyPolicy) { p.Algorithm, p.CSK = algorithm, csk }))
			ask := func(q dnstest.Query) (*dns.Msg, error) { return q.Ask(w.exchange(server.TCP)) }
			for _, e := range everyName() {
				bitmap, err := dnstest.CheckName(ask, w.keys, e.name, types, w.opts.Now)
				if err != nil {
					t.Errorf("%s, CSK %t: %v", algorithm, csk, err)
				} else if !slices.Equal(bitmap, bitmapFor(e.types)) {
					t.Errorf("%s, CSK %t: %s has the types %v", algorithm, csk, e.name, bitmap)
				}
			}
		}
	}
}

// Signatures are good at every moment, not only at the one of the other tests.
func TestAnswersStayGood(t *testing.T) {
	clock := now
	w := newWorld(t, standard(t, ecdsa), func(o *server.Options) { o.Now = func() time.Time { return clock } })
	for range 300 {
		clock = clock.Add(29*time.Minute + time.Second)
		for _, q := range []dnstest.Query{{Name: "acme.o-v1.mx.test.", Type: dns.TypeA}, {Name: "absent.mx.test.", Type: dns.TypeA}, {Name: "mx.test.", Type: dns.TypeDNSKEY}} {
			q.DO = true
			m, err := w.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			dnstest.Verify(t, w.keys, q, m, clock)
		}
	}
}
