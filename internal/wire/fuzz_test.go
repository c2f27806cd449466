package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

// expectation is what miekg/dns's readers of names and records make of a query.
type expectation struct {
	verdict Verdict
	q       dns.Question
	hasQ    bool
	opt     *dns.OPT
	// unsure: the oracle rejects something that Parse skips by its framing on purpose: an owner name by
	// pointer in an additional record, or the data of an option.
	unsure bool
	// unread: miekg/dns cannot read the options of the OPT record.
	unread bool
}

// expect applies the rules of Parse with names and records read by miekg/dns. dns.Msg.Unpack is no oracle for
// the verdict: it accepts responses, any number of questions, pointers in the question, answers in queries,
// trailing octets, counts larger than the records, several OPTs at any owner in any section.
func expect(t *testing.T, p []byte) (e expectation) {
	if len(p) < 12 || p[2]&0x80 != 0 {
		e.verdict = Drop
		return
	}
	e.verdict = FormErr
	if p[2]&0x78 != 0 {
		e.verdict = NotImp
	}
	count := func(at int) int { return int(binary.BigEndian.Uint16(p[at:])) }
	off := 12
	if count(4) > 1 {
		return
	}
	if count(4) == 1 {
		name, end, err := dns.UnpackDomainName(p, off)
		if err != nil || len(p)-end < 4 || end-off != wireLen(t, name) {
			return
		}
		e.q = dns.Question{Name: name, Qtype: binary.BigEndian.Uint16(p[end:]), Qclass: binary.BigEndian.Uint16(p[end+2:])}
		e.hasQ = true
		off = end + 4
	}
	if !e.records(t, p, off, count(6)+count(8), count(10)) || e.verdict == NotImp || !e.hasQ {
		return
	}
	if count(6) == 0 && (count(8) == 0 || count(8) == 1 && e.q.Qtype == dns.TypeIXFR) {
		e.verdict = Accept
	}
	return
}

// records reports whether the records from off are as Parse wants them, and takes the OPT record.
func (e *expectation) records(t *testing.T, p []byte, off, before, additional int) bool {
	for i := range before + additional {
		start := off
		name, end, err := dns.UnpackDomainName(p, off)
		if err != nil {
			e.unsure = true
			return false
		}
		if len(p)-end < 10 {
			return false
		}
		typ := binary.BigEndian.Uint16(p[end:])
		off = end + 10 + int(binary.BigEndian.Uint16(p[end+8:]))
		if off > len(p) {
			return false
		}
		switch typ {
		case dns.TypeOPT:
			if i < before || name != "." || end != start+1 || e.opt != nil {
				return false
			}
			framed := optionsFramed(p[end+10 : off])
			rr, _, err := dns.UnpackRR(p[:off], start)
			if err != nil {
				// Take the fixed part alone: the options are not what miekg/dns thinks they should be.
				bare := append(slices.Clone(p[start:end+8]), 0, 0)
				if rr, _, err = dns.UnpackRR(bare, 0); err != nil {
					t.Fatalf("OPT without options: %v", err)
				}
				e.unread = true
				e.unsure = framed
			}
			e.opt = rr.(*dns.OPT)
			if !framed && e.opt.Version() == 0 {
				return false
			}
		case dns.TypeTSIG:
			if i < before || i != before+additional-1 {
				return false
			}
		}
	}
	return off == len(p)
}

func optionsFramed(b []byte) bool {
	for len(b) >= 4 {
		n := 4 + int(b[2])<<8 + int(b[3])
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

func wireLen(t *testing.T, name string) int {
	return len(wireName(t, name))
}

// wireName is the wire form of a name in presentation form, by miekg/dns.
func wireName(t *testing.T, name string) []byte {
	t.Helper()
	buf := make([]byte, 300)
	n, err := dns.PackDomainName(name, buf, 0, nil, false)
	if err != nil {
		t.Fatalf("pack %q: %v", name, err)
	}
	return buf[:n]
}

// lowerName lowers the letters label by label, with the lengths left out, unlike Parse does it. (Not
// bytes.ToLower, which takes octets for UTF-8.)
func lowerName(name []byte) string {
	lower := bytes.Clone(name)
	for off := 0; off < len(lower); {
		n := int(lower[off])
		for i := off + 1; i <= off+n; i++ {
			if c := lower[i]; c >= 0x41 && c <= 0x5a {
				lower[i] = c | 0x20
			}
		}
		off += 1 + n
	}
	return string(lower)
}

// FuzzParse: whatever arrives, Parse agrees with miekg/dns about the verdict, the question and EDNS; what it
// accepts, miekg/dns can unpack; and the reply is one that miekg/dns can unpack.
func FuzzParse(f *testing.F) {
	for _, c := range malformed {
		f.Add(c.packet)
	}
	for _, c := range wellFormed {
		f.Add(c.packet)
	}
	for n := range 12 {
		f.Add(make([]byte, n))
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) > 65535 {
			return
		}
		before := bytes.Clone(packet)
		var q Query
		got := q.Parse(packet)
		want := expect(t, packet)
		if got != want.verdict && !want.unsure {
			t.Fatalf("verdict %d, want %d", got, want.verdict)
		}
		if got == Drop {
			return
		}
		checkQuery(t, &q, want)
		if got == Accept && binary.BigEndian.Uint16(packet[10:]) == uint16(btoi(q.HasEDNS)) && !want.unread && packet[9] == 0 {
			// No records but OPT, the data of which miekg/dns could read: it must take the whole.
			m := unpacked(t, packet)
			if m.Id != q.ID || m.RecursionDesired != q.RD || m.CheckingDisabled != q.CD || len(m.Question) != 1 || m.Question[0] != want.q {
				t.Fatalf("miekg/dns reads %v", m)
			}
		}
		checkEcho(t, &q, want)
		if !bytes.Equal(packet, before) {
			t.Fatal("the packet was written to")
		}
	})
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func checkQuery(t *testing.T, q *Query, want expectation) {
	if q.HasQuestion != want.hasQ {
		t.Fatalf("question %v, want %v", q.HasQuestion, want.hasQ)
	}
	if want.hasQ {
		raw := wireName(t, want.q.Name)
		if !bytes.Equal(q.RawName(), raw) || string(q.Name()) != lowerName(raw) || q.Type != want.q.Qtype || q.Class != want.q.Qclass {
			t.Fatalf("%x %x %d %d, want %v", q.RawName(), q.Name(), q.Type, q.Class, want.q)
		}
	}
	if want.unsure {
		return // the oracle may have stopped before the OPT record
	}
	if q.HasEDNS != (want.opt != nil) {
		t.Fatalf("OPT %v, want %v", q.HasEDNS, want.opt)
	}
	if o := want.opt; o != nil {
		if q.Version != o.Version() || q.DO != o.Do() || q.CO != o.Co() || q.UDPSize != max(o.UDPSize(), 512) {
			t.Fatalf("%+v, want %v", q, o)
		}
		nsid := slices.ContainsFunc(o.Option, func(o dns.EDNS0) bool { return o.Option() == dns.EDNS0NSID })
		if o.Version() == 0 && nsid && !q.NSID {
			t.Fatalf("NSID not seen in %v", o)
		}
		if !nsid && len(o.Option) > 0 && q.NSID {
			t.Fatalf("NSID seen in %v", o)
		}
	}
}

// checkEcho builds an error reply and compares what it took from the query.
func checkEcho(t *testing.T, q *Query, want expectation) {
	var b Builder
	b.Start(nil, q, int(q.UDPSize))
	m := unpacked(t, b.Finish(RcodeFormErr, 0))
	if !m.Response || m.Id != q.ID || m.Opcode != int(q.Opcode) || m.RecursionDesired != q.RD || m.CheckingDisabled || m.Rcode != dns.RcodeFormatError {
		t.Fatalf("reply %v", m)
	}
	if (len(m.Question) == 1) != want.hasQ || want.hasQ && m.Question[0] != want.q {
		t.Fatalf("reply asks %v, want %v", m.Question, want.q)
	}
	if o := m.IsEdns0(); (o != nil) != q.HasEDNS || o != nil && (o.Do() != q.DO || o.Co() != q.CO || o.Version() != 0) {
		t.Fatalf("reply has OPT %v", o)
	}
}

// added is a record that a Builder accepted, as it must be read back.
type added struct {
	owner string // wire form
	typ   uint16
	ttl   uint32
	rdata string
}

// script deals out the octets of a fuzz input; at the end there are only zeros.
type script []byte

func (s *script) next() int {
	if len(*s) == 0 {
		return 0
	}
	c := (*s)[0]
	*s = (*s)[1:]
	return int(c)
}

// owner invents a name: the question's, something above it, beside it, below it, or unrelated. It is in lower
// case and valid.
func (s *script) owner(name string) string {
	base := name
	for range s.next() % 6 {
		if base[0] == 0 {
			break
		}
		base = base[1+base[0]:]
	}
	for range s.next() % 3 {
		label := make([]byte, 1+s.next()%63)
		for i := range label {
			label[i] = byte(s.next())
			if 'A' <= label[i] && label[i] <= 'Z' {
				label[i] |= 0x20
			}
		}
		if len(base)+1+len(label) <= 255 {
			base = fmt.Sprintf("%c%s%s", len(label), label, base)
		}
	}
	return base
}

// FuzzBuild: the records that a Builder accepts are the records that miekg/dns reads, at most the limit long,
// with the OPT record in its place.
func FuzzBuild(f *testing.F) {
	plain := message(0x0100, 1, 0, 0, 0, question)
	edns := message(0, 1, 0, 0, 1, "\x03_25\x04_TCP\x04Host\x02mx\x07eXample\x00\x00\x34\x00\x01", optWith(0, 0xc000, "\x00\x03\x00\x00"))
	f.Add(plain, []byte{}, 512)
	f.Add(plain, []byte("\x00\x00\x00\x04abcd\x01\x02\x01\x03xyz\x08rdata"), 1232)
	f.Add(edns, []byte("\x00\x00\x00\x04abcd\x01\x02\x01\x03xyz\x08rdata\x01\x05\x02\x01a\x01b\x20and so on and on"), 512)
	f.Add(edns, bytes.Repeat([]byte("\x00\x01\x01\x05label\xfa"), 100), 700)
	f.Add(message(0, 1, 0, 0, 1, deep255, "\x00\x01\x00\x01", opt), bytes.Repeat([]byte{1, 4, 1, 0}, 50), 600)
	f.Add(message(0, 1, 0, 0, 0, "\x04a\x02mx\x00\x00\x01\x00\x01"), []byte("\x00\x01\x01\x01mx"), 512)
	f.Fuzz(func(t *testing.T, packet, input []byte, limit int) {
		var q Query
		if q.Parse(packet) != Accept {
			return
		}
		limit = min(max(limit, 512), 65535)
		s := script(input)
		var b Builder
		b.Start([]byte("xx"), &q, limit)
		nsid := b.NSID("node")
		var sections [3][]added
		for section := Answer; len(s) > 0; {
			section = min(section+Section(s.next()%8/7), Additional)
			r := added{s.owner(string(q.Name())), uint16(65280 + s.next()%16), uint32(s.next()), ""}
			n := min(s.next(), len(s))
			r.rdata, s = string(s[:n]), s[n:]
			length := len(b.msg)
			if b.AddRR(section, r.owner, r.typ, 1, r.ttl, r.rdata) {
				sections[section] = append(sections[section], r)
			} else if len(b.msg) != length {
				t.Fatal("a refused record left something behind")
			}
		}
		ede := b.EDE(22, "text")
		out := b.Finish(RcodeNXDomain, AA)
		if string(out[:2]) != "xx" || len(out)-2 > limit {
			t.Fatalf("%d octets behind %q, limit %d", len(out)-2, out[:2], limit)
		}
		m := unpacked(t, out[2:])
		if !m.Authoritative || m.Truncated || m.RecursionAvailable || m.AuthenticatedData || m.Zero || m.Rcode != dns.RcodeNameError {
			t.Fatalf("header %+v", m.MsgHdr)
		}
		if q.HasEDNS {
			o, ok := m.Extra[len(m.Extra)-1].(*dns.OPT)
			if !ok || len(o.Option) != btoi(nsid)+btoi(ede) {
				t.Fatalf("additional section %v", m.Extra)
			}
			m.Extra = m.Extra[:len(m.Extra)-1]
		}
		for i, rrs := range [3][]dns.RR{m.Answer, m.Ns, m.Extra} {
			checkRecords(t, rrs, sections[i])
		}
	})
}

func checkRecords(t *testing.T, got []dns.RR, want []added) {
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, rr := range got {
		h, w := rr.Header(), want[i]
		if owner := lowerName(wireName(t, h.Name)); owner != w.owner {
			t.Fatalf("owner %q, want %q", owner, w.owner)
		}
		data := ""
		if rfc, ok := rr.(*dns.RFC3597); ok { // a record without data comes back as its header alone
			data = rfc.Rdata
		}
		if h.Rrtype != w.typ || h.Class != 1 || h.Ttl != w.ttl || data != hex.EncodeToString([]byte(w.rdata)) {
			t.Fatalf("record %v, want %+v", rr, w)
		}
	}
}
