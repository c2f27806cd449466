package dnstest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/signer"
	"github.com/mxseal/mxseal/zone"
)

var now = time.Date(2026, 3, 1, 12, 34, 56, 0, time.UTC)

// server answers for mx.test. with acme.mx.test. (A, MX) and below it a name without records, and for its parent
// test. with nothing but the delegation.
type server struct {
	t       *testing.T
	zones   map[zone.Name]*zone.Zone
	keys    map[zone.Name]*keymgmt.KeySet
	signer  *signer.Signer
	records map[zone.Name][]zone.RRset
	spoil   func(m *dns.Msg)
}

func newServer(t *testing.T, csk bool) *server {
	t.Helper()
	vault, err := keymgmt.OpenVault(keymgmt.Sources{KEK: "env:KEK", Lookup: func(string) (string, bool) { return strings.Repeat("5a", 32), true }})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, zones: map[zone.Name]*zone.Zone{}, keys: map[zone.Name]*keymgmt.KeySet{},
		signer: signer.New(signer.Options{CacheSize: 1 << 20}), records: map[zone.Name][]zone.RRset{}, spoil: func(*dns.Msg) {}}
	for _, text := range []string{"test.", "mx.test."} {
		apex := zone.MustParseName(text)
		z := &zone.Zone{Name: apex, ID: text, ZoneSpec: zone.DefaultZoneSpec(apex), Serial: 1}
		z.Nameservers = []zone.Nameserver{{Name: zone.MustParseName("ns.example.net.")}}
		z.Keys.CSK = csk
		keys, err := vault.NewZone(z, nil, nil, now)
		if err != nil {
			t.Fatal(err)
		}
		ks, err := vault.Open(z, keys.Keys, keys.Chain)
		if err != nil {
			t.Fatal(err)
		}
		s.zones[apex], s.keys[apex] = z, ks
		s.records[apex] = append([]zone.RRset{z.SOA()}, ks.Apex()...)
	}
	host := zone.MustParseName("acme.mx.test.")
	s.records[host] = []zone.RRset{zone.NewRRset(host, zone.TypeA, 300, []string{"\xc0\x00\x02\x01", "\xc0\x00\x02\x02"}),
		zone.NewRRset(host, zone.TypeMX, 300, []string{zone.MXRData(10, host)})}
	s.records[zone.MustParseName("_tcp.acme.mx.test.")] = nil
	return s
}

func (s *server) trusted() dnstest.Keys {
	s.t.Helper()
	var sets []zone.RRset
	for _, ks := range s.keys {
		sets = append(sets, ks.Apex()...)
	}
	keys, err := dnstest.KeysOf(sets...)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys
}

// ask answers as RFC 9824 says.
func (s *server) ask(q dnstest.Query) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetReply(q.Message())
	m.Authoritative = true
	if q.DO || q.CO || q.Size > 0 {
		m.SetEdns0(1232, q.DO)
		m.IsEdns0().SetCo(q.CO)
	}
	name, err := zone.ParseName(q.Name)
	if err != nil {
		return nil, err
	}
	apex := zone.MustParseName("mx.test.")
	sets, exists := s.records[name]
	if name == apex && q.Type == dns.TypeDS {
		apex = zone.MustParseName("test.")
		sets = []zone.RRset{zone.NewRRset(name, zone.TypeNS, 3600, []string{"\x00"}), s.keys[name].DS()}
	}
	z := s.zones[apex]
	a := zone.Answer{Zone: z, Name: name, Types: []zone.Type{zone.TypeNXNAME}}
	if exists {
		a.Types = nil
		for _, set := range sets {
			a.Types = append(a.Types, set.Type())
		}
	}
	denial := s.signer.Denial(a)
	typ := zone.Type(q.Type)
	i := slices.IndexFunc(sets, func(set zone.RRset) bool { return set.Type() == typ || typ == zone.TypeANY })
	switch {
	case typ == zone.TypeNSEC:
		m.Answer = s.signed(z, denial, q.DO)
	case typ == zone.TypeRRSIG:
		m.Answer = s.signed(z, denial, true)[denial.Len():]
	case i >= 0:
		m.Answer = s.signed(z, sets[i], q.DO)
	default:
		m.Ns = s.signed(z, z.SOA(), q.DO)
		if q.DO {
			m.Ns = append(m.Ns, s.signed(z, denial, true)...)
		}
		if !exists && (q.CO || !q.DO) {
			m.Rcode = dns.RcodeNameError
		}
	}
	s.spoil(m)
	return m, nil
}

func (s *server) signed(z *zone.Zone, set zone.RRset, sigs bool) []dns.RR {
	s.t.Helper()
	signed, err := s.signer.Sign(s.keys[z.Name], z, set, now)
	if err != nil {
		s.t.Fatal(err)
	}
	if !sigs {
		signed.Sigs = nil
	}
	rrs, err := dnstest.SignedRecords(set, signed.Sigs)
	if err != nil {
		s.t.Fatal(err)
	}
	return rrs
}

func TestGoodAnswersPass(t *testing.T) {
	for _, csk := range []bool{false, true} {
		s := newServer(t, csk)
		for _, name := range []string{"mx.test.", "acme.mx.test.", "ACME.mx.test.", "_tcp.acme.mx.test.", "absent.mx.test.", `\000\255\..mx.test.`} {
			for _, typ := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeTXT, dns.TypeSOA, dns.TypeDNSKEY, dns.TypeCDS, dns.TypeNSEC, dns.TypeRRSIG, dns.TypeANY, dns.TypeDS, 65280} {
				for _, q := range []dnstest.Query{{DO: true}, {DO: true, CO: true}, {}, {CO: true}, {Size: 512}} {
					q.Name, q.Type = name, typ
					m, err := s.ask(q)
					if err != nil {
						t.Fatal(err)
					}
					dnstest.Verify(t, s.trusted(), q, m, now)
				}
			}
		}
	}
}

// Everything that can be wrong with an answer is found.
func TestBadAnswersAreFound(t *testing.T) {
	positive := dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeA, DO: true}
	noData := dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeTXT, DO: true}
	absent := dnstest.Query{Name: "absent.mx.test.", Type: dns.TypeA, DO: true}
	plain := dnstest.Query{Name: "absent.mx.test.", Type: dns.TypeA}
	compact := dnstest.Query{Name: "absent.mx.test.", Type: dns.TypeA, DO: true, CO: true}
	sig := func(m *dns.Msg) *dns.RRSIG {
		for _, rr := range append(slices.Clone(m.Answer), m.Ns...) {
			if s, ok := rr.(*dns.RRSIG); ok && s.TypeCovered != dns.TypeSOA {
				return s
			}
		}
		return nil
	}
	nsec := func(m *dns.Msg) *dns.NSEC {
		for _, rr := range m.Ns {
			if n, ok := rr.(*dns.NSEC); ok {
				return n
			}
		}
		return nil
	}
	s := newServer(t, false)
	from := func(q dnstest.Query) *dns.Msg {
		m, err := s.ask(q)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	// resign makes signatures good again after an NSEC was changed, so that only the change can be found.
	resign := func(change func(n *dns.NSEC)) func(*dns.Msg) {
		return func(m *dns.Msg) {
			n := nsec(m)
			change(n)
			buf := make([]byte, 1000)
			end, err := dns.PackRR(n, buf, 0, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			name := zone.MustParseName(n.Hdr.Name)
			set := zone.NewRRset(name, zone.TypeNSEC, n.Hdr.Ttl, []string{string(buf[end-int(n.Hdr.Rdlength) : end])})
			m.Ns = append(slices.Clone(m.Ns[:2]), s.signed(s.zones[zone.MustParseName("mx.test.")], set, true)...)
		}
	}
	for _, c := range []struct {
		name  string
		query dnstest.Query
		spoil func(m *dns.Msg)
		want  string
	}{
		{"not a response", positive, func(m *dns.Msg) { m.Response = false }, "not a response"},
		{"truncated", positive, func(m *dns.Msg) { m.Truncated = true }, "truncated"},
		{"failure", positive, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, "SERVFAIL"},
		{"not authoritative", positive, func(m *dns.Msg) { m.Authoritative = false }, "flags"},
		{"AD", positive, func(m *dns.Msg) { m.AuthenticatedData = true }, "flags"},
		{"Z", positive, func(m *dns.Msg) { m.Zero = true }, "flags"},
		{"no question", positive, func(m *dns.Msg) { m.Question = nil }, "question"},
		{"other type", positive, func(m *dns.Msg) { m.Question[0].Qtype = 2 }, "question"},
		{"case of the question", positive, func(m *dns.Msg) { m.Question[0].Name = "aCME.mx.test." }, "changes the name"},
		{"no OPT", positive, func(m *dns.Msg) { m.Extra = nil }, "no OPT"},
		{"two OPT", positive, func(m *dns.Msg) { m.Extra = append(m.Extra, m.Extra[0]) }, "more than one OPT"},
		{"OPT without need", plain, func(m *dns.Msg) { m.SetEdns0(1232, false) }, "has an OPT"},
		{"DO not copied", positive, func(m *dns.Msg) { m.IsEdns0().SetDo(false) }, "DO bit"},
		{"CO out of nothing", positive, func(m *dns.Msg) { m.IsEdns0().SetCo(true) }, "CO bit"},
		{"CO not copied", compact, func(m *dns.Msg) { m.IsEdns0().SetCo(false) }, "CO bit"},
		{"signatures without DO", plain, func(m *dns.Msg) { m.Ns = from(absent).Ns }, "DO is clear"},

		{"unsigned", positive, func(m *dns.Msg) { m.Answer = m.Answer[:2] }, "0 signatures"},
		{"signed twice", positive, func(m *dns.Msg) { m.Answer = append(m.Answer, dns.Copy(sig(m))) }, "2 signatures"},
		{"other data", positive, func(m *dns.Msg) { m.Answer[0].(*dns.A).A[3] += 7 }, "bad signature"},
		{"record left out", positive, func(m *dns.Msg) { m.Answer = m.Answer[1:] }, "bad signature"},
		{"record twice", positive, func(m *dns.Msg) { m.Answer = append(m.Answer, m.Answer[0]) }, "twice"},
		{"different TTLs", positive, func(m *dns.Msg) { m.Answer[0].Header().Ttl-- }, "TTLs"},
		{"TTL counted down", positive, func(m *dns.Msg) {
			for _, rr := range m.Answer {
				rr.Header().Ttl--
			}
		}, "TTLs"},
		{"TTL of the signature", positive, func(m *dns.Msg) { sig(m).Hdr.Ttl++ }, "TTLs"},
		{"labels", positive, func(m *dns.Msg) { sig(m).Labels-- }, "labels"},
		{"signer", positive, func(m *dns.Msg) { sig(m).SignerName = "test." }, "the signer is"},
		{"key tag", positive, func(m *dns.Msg) { sig(m).KeyTag++ }, "no key"},
		{"KSK over data", positive, func(m *dns.Msg) {
			for _, k := range s.trusted()[zone.MustParseName("mx.test.")] {
				if k.Flags == 257 {
					sig(m).KeyTag = k.KeyTag()
				}
			}
		}, "no key"},
		{"algorithm", positive, func(m *dns.Msg) { sig(m).Algorithm = 15 }, "no key"},
		{"begins later", positive, func(m *dns.Msg) { sig(m).Inception = uint32(now.Unix()) + 1 }, "begins"},
		{"ends early", positive, func(m *dns.Msg) { sig(m).Expiration = uint32(now.Unix()) + 3600 + 299 }, "lasts"},
		{"is over", positive, func(m *dns.Msg) { sig(m).Expiration = uint32(now.Unix()) - 1 }, "lasts"},
		{"signature of nothing", positive, func(m *dns.Msg) { m.Answer = m.Answer[2:] }, "not there"},
		{"foreign records", positive, func(m *dns.Msg) { m.Answer[0].Header().Name = "example." }, "not known"},
		{"more than asked", positive, func(m *dns.Msg) {
			m.Answer = append(m.Answer, from(dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeMX, DO: true}).Answer...)
		}, "2 RRsets"},
		{"something else", positive, func(m *dns.Msg) {
			m.Answer = from(dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeMX, DO: true}).Answer
		}, "not asked for"},
		{"records and NXDOMAIN", positive, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "does not exist"},

		{"no SOA", noData, func(m *dns.Msg) { m.Ns = m.Ns[2:] }, "without the SOA"},
		{"no NSEC", noData, func(m *dns.Msg) { m.Ns = m.Ns[:2] }, "SOA and the NSEC"},
		{"NSEC of another name", noData, func(m *dns.Msg) { m.Ns = from(absent).Ns }, "SOA and the NSEC"},
		{"two NSEC", noData, func(m *dns.Msg) { m.Ns = append(m.Ns, from(absent).Ns[2:]...) }, "SOA and the NSEC"},
		{"NSEC of another type", noData, func(m *dns.Msg) {
			resign(func(n *dns.NSEC) { n.TypeBitMap = []uint16{1, 15, 16, 46, 47} })(m)
		}, "denies a type"},
		{"CNAME", noData, resign(func(n *dns.NSEC) { n.TypeBitMap = []uint16{5, 46, 47} }), "denies a type"},
		{"no RRSIG bit", noData, resign(func(n *dns.NSEC) { n.TypeBitMap = []uint16{1, 47} }), "without RRSIG"},
		{"meta type", noData, resign(func(n *dns.NSEC) { n.TypeBitMap = []uint16{1, 46, 47, 255} }), "meta type"},
		{"NXNAME and types", absent, resign(func(n *dns.NSEC) { n.TypeBitMap = []uint16{15, 46, 47, 128} }), "NXNAME"},
		{"negative TTL", noData, resign(func(n *dns.NSEC) { n.Hdr.Ttl = 300 }), "RFC 9077"},
		{"next too far", absent, resign(func(n *dns.NSEC) { n.NextDomain = `\001.absent.mx.test.` }), "next name"},
		{"next is the apex", absent, resign(func(n *dns.NSEC) { n.NextDomain = "mx.test." }), "next name"},
		{"next outside", absent, resign(func(n *dns.NSEC) { n.NextDomain = "example." }), "outside"},
		{"next in upper case", absent, resign(func(n *dns.NSEC) { n.NextDomain = `\000.ABSENT.mx.test.` }), "upper case"},
		{"NXDOMAIN without CO", absent, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "RCODE"},
		{"NOERROR with CO", compact, func(m *dns.Msg) { m.Rcode = dns.RcodeSuccess }, "RCODE"},
		{"NXDOMAIN of a name that exists", noData, func(m *dns.Msg) { m.Rcode = dns.RcodeNameError }, "RCODE"},
		{"unsigned SOA", noData, func(m *dns.Msg) { m.Ns = append(m.Ns[:1], m.Ns[2:]...) }, "0 signatures"},
		{"plain with more", plain, func(m *dns.Msg) { m.Ns = append(m.Ns, from(positive).Answer[0]) }, "more than the SOA"},
		{"plain without SOA", plain, func(m *dns.Msg) { m.Ns = nil }, "without the SOA"},
	} {
		m := from(c.query).Copy()
		c.spoil(m)
		err := dnstest.CheckAnswer(s.trusted(), c.query, m, now)
		if err == nil || !strings.Contains(strings.SplitN(err.Error(), "\n", 2)[0], c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestCheckNameComparesBitmapsWithAnswers(t *testing.T) {
	s := newServer(t, false)
	types := []uint16{1, 2, 5, 6, 15, 16, 46, 47, 48, 52, 255, 300}
	at := func() time.Time { return now }
	for name, want := range map[string][]uint16{
		"acme.mx.test.": {1, 15, 46, 47}, "_tcp.acme.mx.test.": {46, 47}, "x.mx.test.": {46, 47, 128},
	} {
		if bitmap, err := dnstest.CheckName(s.ask, s.trusted(), name, types, at); err != nil || !slices.Equal(bitmap, want) {
			t.Errorf("%s: %v, %v", name, bitmap, err)
		}
	}
	host := zone.MustParseName("acme.mx.test.")
	s.records[host] = append(s.records[host], zone.NewRRset(host, zone.TypeTXT, 300, []string{"\x01x"}))
	s.spoil = func(m *dns.Msg) { // denies TXT with a bitmap that has no TLSA, which has records
		if m.Question[0].Qtype == dns.TypeTLSA {
			m.Answer, m.Ns = s.signed(s.zones[zone.MustParseName("mx.test.")], zone.NewRRset(host, zone.TypeTLSA, 300, []string{"\x03\x01\x01" + strings.Repeat("x", 32)}), true), nil
		}
	}
	if _, err := dnstest.CheckName(s.ask, s.trusted(), "acme.mx.test.", types, at); err == nil || !strings.Contains(err.Error(), "TLSA") {
		t.Errorf("a lie in the bitmap: %v", err)
	}
}

func TestFetchKeysNeedsTheAnchor(t *testing.T) {
	s := newServer(t, false)
	anchors := func(apex string) (all []*dns.DS) {
		rrs, err := dnstest.Records(s.keys[zone.MustParseName(apex)].DS())
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range rrs {
			all = append(all, rr.(*dns.DS))
		}
		return all
	}
	for _, ds := range anchors("mx.test.") {
		keys, err := dnstest.FetchKeys(s.ask, "mx.test.", []*dns.DS{ds}, now)
		if err != nil || len(keys[zone.MustParseName("mx.test.")]) != 2 {
			t.Errorf("digest %d: %v, %v", ds.DigestType, keys, err)
		}
	}
	for name, wrong := range map[string][]*dns.DS{"none": nil, "of another zone": anchors("test.")} {
		if _, err := dnstest.FetchKeys(s.ask, "mx.test.", wrong, now); err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
	broken := errors.New("broken")
	if _, err := dnstest.FetchKeys(func(dnstest.Query) (*dns.Msg, error) { return nil, broken }, "mx.test.", nil, now); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestCase(t *testing.T) {
	s := newServer(t, false)
	host := dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeA, DO: true}
	txt := dnstest.Query{Name: "acme.mx.test.", Type: dns.TypeTXT, DO: true}
	records := []string{"acme.mx.test. 300 IN A 192.0.2.2", "acme.mx.test. 300 IN A 192.0.2.1"}
	for _, c := range []struct {
		good bool
		dnstest.Case
	}{
		{true, dnstest.Case{Query: host, Answer: records}},
		{true, dnstest.Case{Query: txt, Bitmap: "A MX RRSIG NSEC"}},
		{false, dnstest.Case{Query: host, Answer: records[1:]}},
		{false, dnstest.Case{Query: host}},
		{false, dnstest.Case{Query: host, Answer: []string{"nonsense"}}},
		{false, dnstest.Case{Query: host, Rcode: dns.RcodeNameError, Answer: records}},
		{false, dnstest.Case{Query: host, Rcode: dns.RcodeRefused}},
		{false, dnstest.Case{Query: txt, Bitmap: "A RRSIG NSEC"}},
		{false, dnstest.Case{Query: txt}},
	} {
		m, err := s.ask(c.Query)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(s.trusted(), m, now); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.Case, err)
		}
	}
	refused := new(dns.Msg).SetRcode(host.Message(), dns.RcodeRefused)
	c := dnstest.Case{Query: host, Rcode: dns.RcodeRefused}
	if err := c.Check(s.trusted(), refused, now); err != nil {
		t.Error(err)
	}
	refused.Answer = s.signed(s.zones[zone.MustParseName("mx.test.")], s.records[zone.MustParseName("acme.mx.test.")][0], true)
	if err := c.Check(s.trusted(), refused, now); err == nil {
		t.Error("a refusal with records passed")
	}
}
