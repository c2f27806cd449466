package server_test

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

const host = "acme.o-v1.mx.test."

// query is a good one for the host's A records, with DO.
func query() *dns.Msg { return dnstest.Query{Name: host, Type: dns.TypeA, DO: true}.Message() }

func pack(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	packet, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return packet
}

// What is understood and not answered.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		edit  func(m *dns.Msg)
		rcode int
		ede   int
	}{
		{"foreign name", func(m *dns.Msg) { m.Question[0].Name = "example.com." }, dns.RcodeRefused, 20},
		{"parent of our zones", func(m *dns.Msg) { m.Question[0].Name = "test." }, dns.RcodeRefused, 20},
		{"root", func(m *dns.Msg) { m.Question[0].Name = "." }, dns.RcodeRefused, 20},
		{"ends like a zone of ours", func(m *dns.Msg) { m.Question[0].Name = "xmx.test." }, dns.RcodeRefused, 20},
		{"AXFR", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "mx.test.", Qtype: dns.TypeAXFR, Qclass: 1} }, dns.RcodeRefused, 18},
		{"IXFR", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "mx.test.", Qtype: dns.TypeIXFR, Qclass: 1} }, dns.RcodeRefused, 18},
		{"AXFR of a foreign zone", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "example.", Qtype: dns.TypeAXFR, Qclass: 1} }, dns.RcodeRefused, 20},
		{"IXFR of a foreign zone", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "example.", Qtype: dns.TypeIXFR, Qclass: 1} }, dns.RcodeRefused, 20},
		{"NXNAME", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeNXNAME }, dns.RcodeFormatError, 30},
		{"NXNAME of a foreign name", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "example.", Qtype: dns.TypeNXNAME, Qclass: 1} }, dns.RcodeFormatError, 30},
		{"OPT", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeOPT }, dns.RcodeFormatError, 30},
		{"class CH", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, dns.RcodeRefused, 20},
		{"version without chaos", func(m *dns.Msg) { m.Question[0] = dns.Question{Name: "version.bind.", Qtype: 16, Qclass: 3} }, dns.RcodeRefused, 20},
		{"class ANY", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassANY }, dns.RcodeRefused, 20},
		{"class NONE", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassNONE }, dns.RcodeRefused, 20},
		{"class 0", func(m *dns.Msg) { m.Question[0].Qclass = 0 }, dns.RcodeRefused, 20},
		{"EDNS version 1", func(m *dns.Msg) { m.IsEdns0().SetVersion(1) }, dns.RcodeBadVers, -1},
		{"EDNS version 255 and more wrong", func(m *dns.Msg) { m.IsEdns0().SetVersion(255); m.Question[0].Qclass = 9 }, dns.RcodeBadVers, -1},
		{"TSIG", func(m *dns.Msg) { m.SetTsig("key.example.", dns.HmacSHA256, 300, now.Unix()) }, dns.RcodeNotAuth, -1},
	} {
		w := newWorld(t, standard(t, ecdsa))
		q := query()
		q.RecursionDesired, q.CheckingDisabled = true, true
		c.edit(q)
		m := w.mustAsk(t, q)
		if m.Rcode != c.rcode || edeOf(m) != c.ede {
			t.Errorf("%s: %s, EDE %d, want %s, EDE %d", c.name, dns.RcodeToString[m.Rcode], edeOf(m), dns.RcodeToString[c.rcode], c.ede)
		}
		if m.Id != q.Id || !m.Response || m.Authoritative || m.RecursionAvailable || m.CheckingDisabled || !m.RecursionDesired || m.Truncated {
			t.Errorf("%s: wrong header\n%s", c.name, m)
		}
		if len(m.Question) != 1 || m.Question[0] != q.Question[0] || m.IsEdns0() == nil || m.IsEdns0().Version() != 0 {
			t.Errorf("%s: question or OPT is not repeated\n%s", c.name, m)
		}
		checkEmpty(t, m)
		outcome := map[int]string{dns.RcodeRefused: "refused", dns.RcodeFormatError: "formerr", dns.RcodeBadVers: "badvers", dns.RcodeNotAuth: "notauth"}[c.rcode]
		if n := counted(t, w.opts.Metrics, `mxseal_dns_responses_total{outcome="`+outcome+`",transport="udp"}`); n != 1 {
			t.Errorf("%s: counted %v times", c.name, n)
		}
		// The same without EDNS: there is no room for the reason, and no OPT record that was not asked for.
		q.Extra = nil
		if c.rcode == dns.RcodeBadVers || c.rcode == dns.RcodeNotAuth {
			continue
		}
		if m := w.mustAsk(t, q); m.Rcode != c.rcode || len(m.Extra) > 0 {
			t.Errorf("%s without EDNS: %s", c.name, m)
		}
	}
}

func TestOpcodes(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	for opcode := range 16 {
		q := query()
		q.Opcode = opcode
		m := w.mustAsk(t, q)
		want := dns.RcodeNotImplemented
		if opcode == dns.OpcodeQuery {
			want = dns.RcodeSuccess
		}
		if m.Rcode != want || m.Opcode != opcode || m.Id != q.Id {
			t.Errorf("opcode %d: %s", opcode, m)
		}
		if want != dns.RcodeSuccess {
			checkEmpty(t, m)
		}
	}
}

// edit returns a change of the good query's octets.
func edited(t *testing.T, edit func(p []byte) []byte) []byte { return edit(pack(t, query())) }

func TestMalformedQueries(t *testing.T) {
	good := pack(t, query())
	opt := good[len(good)-11:]
	header := func(qd, an, ns, ar byte) []byte {
		return []byte{0xab, 0xcd, 0, 0, 0, qd, 0, an, 0, ns, 0, ar}
	}
	question := func(name string) []byte { return append(header(1, 0, 0, 0), name+"\x00\x01\x00\x01"...) }
	label63 := "\x3f" + strings.Repeat("x", 63)
	mx := zone.MustParseName("mx.test.").Wire()
	for _, c := range []struct {
		name   string
		packet []byte
		rcode  int // -1: no reply
	}{
		{"nothing", nil, -1},
		{"response", edited(t, func(p []byte) []byte { p[2] |= 0x80; return p }), -1},
		{"response without body", []byte{1, 2, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0}, -1},
		{"no question", header(0, 0, 0, 0), dns.RcodeFormatError},
		{"no question but EDNS", append(header(0, 0, 0, 1), opt...), dns.RcodeFormatError},
		{"question that is not there", header(1, 0, 0, 0), dns.RcodeFormatError},
		{"two questions", append(append(header(2, 0, 0, 0), good[12:12+len(host)+5]...), good[12:12+len(host)+5]...), dns.RcodeFormatError},
		{"65535 of everything", append(header(255, 255, 255, 255), good[12:]...), dns.RcodeFormatError},
		{"loop", question("\xc0\x0c"), dns.RcodeFormatError},
		{"loop of two", question("\x01x\xc0\x0c"), dns.RcodeFormatError},
		{"pointer forward", question("\xc0\xff"), dns.RcodeFormatError},
		{"pointer to the header", question("\xc0\x00"), dns.RcodeFormatError},
		{"label type 0x40", question("\x41\x00"), dns.RcodeFormatError},
		{"label past the end", append(header(1, 0, 0, 0), "\x3fabc"...), dns.RcodeFormatError},
		{"no root label", append(header(1, 0, 0, 0), "\x02mx\x04test"...), dns.RcodeFormatError},
		{"no class", append(header(1, 0, 0, 0), "\x02mx\x04test\x00\x00\x01"...), dns.RcodeFormatError},
		{"name of 256 octets", question(strings.Repeat(label63, 3) + "\x36" + strings.Repeat("y", 54) + mx), dns.RcodeFormatError},
		{"name of 255 octets", question(strings.Repeat(label63, 3) + "\x35" + strings.Repeat("y", 53) + mx), dns.RcodeNameError},
		{"labels of 63 octets", question(label63 + label63 + mx), dns.RcodeNameError},
		{"label of 64 octets", question("\x40" + strings.Repeat("x", 64) + mx), dns.RcodeFormatError},
		{"127 labels", question(strings.Repeat("\x01x", 123) + mx), dns.RcodeNameError},
		{"trailing octet", append(pack(t, query()), 0), dns.RcodeFormatError},
		{"two OPT", edited(t, func(p []byte) []byte { p[11] = 2; return append(p, opt...) }), dns.RcodeFormatError},
		{"OPT as an answer", edited(t, func(p []byte) []byte { p[7], p[11] = 1, 0; return p }), dns.RcodeFormatError},
		{"OPT with a name", edited(t, func(p []byte) []byte {
			return append(append(p[:len(p)-11:len(p)-11], "\x01x"...), opt...)
		}), dns.RcodeFormatError},
		{"option longer than OPT", edited(t, func(p []byte) []byte {
			binary.BigEndian.PutUint16(p[len(p)-2:], 4)
			return append(p, 0, 3, 0, 9)
		}), dns.RcodeFormatError},
		{"answer in the query", edited(t, func(p []byte) []byte { p[7] = 1; return append(p, opt...) }), dns.RcodeFormatError},
	} {
		w := newWorld(t, standard(t, ecdsa))
		for _, via := range []server.Transport{server.UDP, server.TCP} {
			reply := w.Respond([]byte("before"), c.packet, via)
			if string(reply[:6]) != "before" {
				t.Fatalf("%s: what was in front is overwritten", c.name)
			}
			if reply = reply[6:]; c.rcode < 0 {
				if len(reply) > 0 {
					t.Errorf("%s: a reply that is not due: %x", c.name, reply)
				}
				continue
			}
			m := parse(t, reply)
			if m.Rcode != c.rcode || m.Id != binary.BigEndian.Uint16(c.packet) {
				t.Errorf("%s: %s", c.name, m)
			}
			if m.Rcode == dns.RcodeFormatError {
				checkEmpty(t, m)
			}
		}
	}
}

// Every beginning of a good query is too short for a reply or malformed.
func TestCutQueries(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	good := pack(t, query())
	for n := range good {
		reply := w.Respond(nil, good[:n], server.UDP)
		if n < 12 {
			if len(reply) > 0 {
				t.Errorf("%d octets: a reply that is not due", n)
			}
			continue
		}
		if m := parse(t, reply); m.Rcode != dns.RcodeFormatError || m.Id != binary.BigEndian.Uint16(good) {
			t.Errorf("%d octets: %s", n, m)
		}
	}
	if n := counted(t, w.opts.Metrics, `mxseal_dns_dropped_total{reason="short"}`); n != 12 {
		t.Errorf("counted %v short packets", n)
	}
	good[2] |= 0x80
	w.Respond(nil, good, server.UDP)
	if n := counted(t, w.opts.Metrics, `mxseal_dns_dropped_total{reason="response"}`); n != 1 {
		t.Errorf("counted %v responses", n)
	}
}

// A good query in which one octet has been changed gets a good reply of some kind.
func TestOneOctetChanged(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	good := pack(t, query())
	for at := range good {
		for _, value := range []byte{0, 1, 2, 0x0c, 0x20, 0x3f, 0x40, 0x41, 0x80, 0xc0, 0xff, good[at] ^ 0x20, good[at] + 1, good[at] - 1} {
			packet := append([]byte{}, good...)
			packet[at] = value
			checkReply(t, w, packet, server.UDP)
		}
	}
}

// The question comes back in the client's case, down to the last bit.
func TestCaseOfTheQuestion(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	for _, name := range []string{"aCmE.o-V1.Mx.tEsT.", "ABSENT.mx.TEST.", "EXAMPLE.com."} {
		m := w.mustAsk(t, dnstest.Query{Name: name, Type: dns.TypeA}.Message())
		if m.Question[0].Name != name {
			t.Errorf("%s came back as %s", name, m.Question[0].Name)
		}
	}
}

func TestNSID(t *testing.T) {
	named := func(o *server.Options) { o.NSID = "node-1" }
	for _, c := range []struct {
		edit func(*server.Options)
		ask  bool
		want string
	}{{named, true, "node-1"}, {named, false, ""}, {func(*server.Options) {}, true, ""}} {
		w := newWorld(t, standard(t, ecdsa), c.edit)
		for _, name := range []string{host, "absent.mx.test.", "example."} {
			q := query()
			q.Question[0].Name = name
			if c.ask {
				q.IsEdns0().Option = append(q.IsEdns0().Option, &dns.EDNS0_NSID{Code: dns.EDNS0NSID})
			}
			got := ""
			for _, o := range w.mustAsk(t, q).IsEdns0().Option {
				if id, ok := o.(*dns.EDNS0_NSID); ok {
					got = id.Nsid
				}
			}
			if want := fmt.Sprintf("%x", c.want); got != want {
				t.Errorf("%s, asked %t: NSID %q, want %q", name, c.ask, got, want)
			}
		}
	}
}

func TestChaos(t *testing.T) {
	on := func(o *server.Options) { o.Chaos, o.Version, o.NSID = true, "mxseal 1.2", "node-1" }
	nameless := func(o *server.Options) { o.Chaos = true }
	for _, c := range []struct {
		edit func(*server.Options)
		name string
		typ  uint16
		want string // empty: REFUSED
	}{
		{on, "version.bind.", dns.TypeTXT, "mxseal 1.2"},
		{on, "VERSION.Server.", dns.TypeTXT, "mxseal 1.2"},
		{on, "version.bind.", dns.TypeANY, "mxseal 1.2"},
		{on, "id.server.", dns.TypeTXT, "node-1"},
		{on, "hostname.bind.", dns.TypeTXT, "node-1"},
		{on, "version.bind.", dns.TypeA, ""},
		{on, "authors.bind.", dns.TypeTXT, ""},
		{on, "mx.test.", dns.TypeSOA, ""},
		{nameless, "version.bind.", dns.TypeTXT, ""},
		{nameless, "id.server.", dns.TypeTXT, ""},
	} {
		w := newWorld(t, newState(), c.edit)
		w.loaded.Store(nil) // what a server says about itself does not need a state
		q := query()
		q.Question[0] = dns.Question{Name: c.name, Qtype: c.typ, Qclass: dns.ClassCHAOS}
		m := w.mustAsk(t, q)
		if c.want == "" {
			if m.Rcode != dns.RcodeRefused {
				t.Errorf("%s: %s", c.name, m)
			}
			checkEmpty(t, m)
			continue
		}
		if m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) != 1 || len(m.Ns) > 0 {
			t.Fatalf("%s: %s", c.name, m)
		}
		txt, ok := m.Answer[0].(*dns.TXT)
		if !ok || txt.Hdr.Class != dns.ClassCHAOS || txt.Hdr.Ttl != 0 || len(txt.Txt) != 1 || txt.Txt[0] != c.want {
			t.Errorf("%s: %s", c.name, m.Answer[0])
		}
	}
}
