package wire

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// parsed parses a packet that must get the verdict.
func parsed(t testing.TB, want Verdict, packet []byte) *Query {
	t.Helper()
	q := new(Query)
	if v := q.Parse(packet); v != want {
		t.Fatalf("verdict %d, want %d", v, want)
	}
	return q
}

// unpacked reads a reply with the oracle.
func unpacked(t testing.TB, reply []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(reply); err != nil {
		t.Fatalf("unpack %x: %v", reply, err)
	}
	return m
}

func TestReplyHeader(t *testing.T) {
	// Everything set in the query that may be: AD, CD, Z, RA, AA, TC, RD and an RCODE.
	q := parsed(t, Accept, message(0x07ff, 1, 0, 0, 0, question))
	var b Builder
	b.Start(nil, q, 1232)
	reply := b.Finish(RcodeNXDomain, AA|TC|0xf0f0)
	if got := binary.BigEndian.Uint16(reply[2:]); got != 0x8000|0x0400|0x0200|0x0100|3 {
		t.Errorf("flags %04x: want QR, AA, TC, RD and NXDOMAIN alone", got)
	}
	if want := message(0x8703, 1, 0, 0, 0, question); !bytes.Equal(reply, want) {
		t.Errorf("got %x, want %x", reply, want)
	}
}

func TestReplyToFaults(t *testing.T) {
	for _, c := range malformed {
		if c.verdict == Drop {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			q := parsed(t, c.verdict, c.packet)
			rcode := RcodeFormErr
			if c.verdict == NotImp {
				rcode = RcodeNotImp
			}
			var b Builder
			b.Start(nil, q, 512)
			m := unpacked(t, b.Finish(rcode, 0))
			if m.Id != 0x1234 || !m.Response || m.Rcode != int(rcode) || m.Opcode != int(q.Opcode) {
				t.Errorf("header %+v", m.MsgHdr)
			}
			if (len(m.Question) == 1) != c.hasQuestion || (m.IsEdns0() != nil) != c.opt || len(m.Answer)+len(m.Ns) != 0 {
				t.Errorf("reply %v", m)
			}
		})
	}
}

func TestCompression(t *testing.T) {
	const mixed = "\x03_25\x04_TCP\x04Host\x02mx\x07eXample\x00"
	q := parsed(t, Accept, message(0, 1, 0, 0, 0, mixed, "\x00\x34\x00\x01"))
	for _, c := range []struct{ name, owner, written string }{
		{"the name asked for", "\x03_25\x04_tcp\x04host\x02mx\x07example\x00", "\xc0\x0c"},
		{"its zone", "\x02mx\x07example\x00", "\xc0\x1a"},
		{"top level", "\x07example\x00", "\xc0\x1d"},
		{"root", "\x00", "\x00"},
		{"a sibling", "\x03ns1\x02mx\x07example\x00", "\x03ns1\xc0\x1a"},
		{"below the name asked for", "\x01\x00\x03_25\x04_tcp\x04host\x02mx\x07example\x00", "\x01\x00\xc0\x0c"},
		{"unrelated", "\x03foo\x03bar\x00", "\x03foo\x03bar\x00"},
		{"equal but for the first label", "\x03ost\x02mx\x07example\x00", "\x03ost\xc0\x1a"},
		{"longer than the name asked for", name255, name255},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b Builder
			b.Start(nil, q, 1232)
			if !b.AddRR(Answer, c.owner, 1, 1, 300, "\x01\x02\x03\x04") {
				t.Fatal("does not fit")
			}
			reply := b.Finish(RcodeNoError, AA)
			want := message(0x8400, 1, 1, 0, 0, mixed, "\x00\x34\x00\x01", c.written, "\x00\x01\x00\x01\x00\x00\x01\x2c\x00\x04\x01\x02\x03\x04")
			if !bytes.Equal(reply, want) {
				t.Fatalf("got  %x\nwant %x", reply, want)
			}
			owner, _, err := dns.UnpackDomainName([]byte(c.owner), 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := unpacked(t, reply).Answer[0].Header().Name; !strings.EqualFold(got, owner) {
				t.Errorf("reads as %s, want %s", got, owner)
			}
		})
	}
}

// A label can contain octets that look like a name's end. A pointer leads to a name that is in the message, so
// to the start of a label.
func TestCompressionNeedsALabelBoundary(t *testing.T) {
	q := parsed(t, Accept, message(0, 1, 0, 0, 0, "\x04a\x02mx\x00", "\x00\x01\x00\x01"))
	var b Builder
	b.Start(nil, q, 512)
	if !b.AddRR(Answer, "\x02mx\x00", 1, 1, 0, "abcd") {
		t.Fatal("does not fit")
	}
	reply := b.Finish(RcodeNoError, 0)
	if want := "\x02mx\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04abcd"; !bytes.HasSuffix(reply, []byte(want)) {
		t.Errorf("got %x, want it to end in %x", reply, want)
	}
}

func TestOPTIsNeverPushedOut(t *testing.T) {
	q := parsed(t, Accept, message(0, 1, 0, 0, 1, question, optWith(0, 0xffff, "\x00\x03\x00\x00")))
	for _, limit := range []int{0, 512, 700, 1232, 65535, 1 << 20} {
		var b Builder
		b.Start(nil, q, limit)
		if !b.NSID("node-7") || !b.EDE(22, "no reason") {
			t.Fatal("no room for options in an empty reply")
		}
		added := 0
		for b.AddRR(Answer, host, 16, 1, 60, "\x09some text") {
			added++
		}
		for b.AddRR(Authority, "\x00", 10, 1, 0, "") { // the smallest record fills the rest
			added++
		}
		reply := b.Finish(RcodeBadVers, AA)
		if size := min(max(limit, 512), 65535); len(reply) > size || len(reply) < size-10 {
			t.Errorf("limit %d: %d octets", limit, len(reply))
		}
		m := unpacked(t, reply)
		e := m.IsEdns0()
		if e == nil || len(m.Answer)+len(m.Ns) != added || len(m.Extra) != 1 {
			t.Fatalf("limit %d: OPT %v, %d+%d records of %d", limit, e, len(m.Answer), len(m.Ns), added)
		}
		if m.Rcode != dns.RcodeBadVers || e.Version() != 0 || e.UDPSize() != 1232 || !e.Do() || !e.Co() || e.Z() != 0 {
			t.Errorf("limit %d: rcode %d, OPT %v", limit, m.Rcode, e)
		}
		if len(e.Option) != 2 || e.Option[0].(*dns.EDNS0_NSID).Nsid != "6e6f64652d37" {
			t.Fatalf("limit %d: options %v", limit, e.Option)
		}
		if ede := e.Option[1].(*dns.EDNS0_EDE); ede.InfoCode != 22 || ede.ExtraText != "no reason" {
			t.Errorf("limit %d: EDE %v", limit, ede)
		}
	}
}

func TestOptionsOnlyWhereAsked(t *testing.T) {
	var b Builder
	b.Start(nil, parsed(t, Accept, message(0, 1, 0, 0, 0, question)), 512)
	if b.NSID("x") || b.EDE(1, "") {
		t.Error("options without an OPT record")
	}
	if m := unpacked(t, b.Finish(RcodeBadVers, 0)); m.IsEdns0() != nil || m.Rcode != dns.RcodeServerFailure {
		t.Errorf("reply without EDNS: %v", m)
	}
	b.Start(nil, parsed(t, Accept, message(0, 1, 0, 0, 1, question, opt)), 512)
	if b.NSID("x") {
		t.Error("NSID without having been asked")
	}
	b.Start(nil, parsed(t, Accept, message(0, 1, 0, 0, 1, question, optWith(0, 0, "\x00\x03\x00\x00"))), 512)
	if b.NSID("") || !b.NSID("x") || b.NSID("y") || b.NSID(strings.Repeat("x", 512)) {
		t.Error("NSID: want one, that is not empty and fits")
	}
	if e := unpacked(t, b.Finish(RcodeNoError, 0)).IsEdns0(); len(e.Option) != 1 {
		t.Errorf("options %v", e.Option)
	}
}

func TestEDEReplacesAndShrinks(t *testing.T) {
	q := parsed(t, Accept, message(0, 1, 0, 0, 1, question, opt))
	ede := func(fill int, codes ...string) (*dns.EDNS0_EDE, []bool) {
		var b Builder
		b.Start(nil, q, 512)
		if fill > 0 && !b.AddRR(Answer, "\x00", 10, 1, 0, strings.Repeat("x", fill)) {
			t.Fatal("filler does not fit")
		}
		var ok []bool
		for i, text := range codes {
			ok = append(ok, b.EDE(uint16(i), text))
		}
		reply := b.Finish(RcodeServFail, 0)
		if len(reply) > 512 {
			t.Fatalf("%d octets", len(reply))
		}
		options := unpacked(t, reply).IsEdns0().Option
		if len(options) == 0 {
			return nil, ok
		}
		return options[0].(*dns.EDNS0_EDE), ok
	}
	if e, _ := ede(0, "a long first text", "second"); e == nil || e.InfoCode != 1 || e.ExtraText != "second" {
		t.Errorf("replaced: %v", e)
	}
	left := 512 - 12 - len(question) - emptyOPTSize - 1 - recordFixed
	if e, _ := ede(left-6, "text"); e == nil || e.InfoCode != 0 || e.ExtraText != "" {
		t.Errorf("room for the code alone: %v", e)
	}
	if e, ok := ede(left-5, "text"); e != nil || ok[0] {
		t.Errorf("no room: %v, reported %v", e, ok)
	}
	if e, _ := ede(left-10, "text", "longer text"); e == nil || e.InfoCode != 1 || e.ExtraText != "" {
		t.Errorf("the second keeps the room of the first: %v", e)
	}
}

func TestAddRRThatDoesNotFitChangesNothing(t *testing.T) {
	q := parsed(t, Accept, message(0, 1, 0, 0, 1, question, opt))
	left := 512 - 12 - len(question) - emptyOPTSize - 2 - recordFixed
	reply := func(sizes ...int) (out []byte, fit []bool) {
		var b Builder
		b.Start(nil, q, 512)
		for _, n := range sizes {
			fit = append(fit, b.AddRR(Answer, host, 99, 1, 0, strings.Repeat("x", n)))
		}
		return b.Finish(RcodeNoError, 0), fit
	}
	with, fit := reply(40, left, 65536, 1<<17)
	without, _ := reply(40)
	if !fit[0] || fit[1] || fit[2] || fit[3] || !bytes.Equal(with, without) {
		t.Errorf("fit %v, equal %v", fit, bytes.Equal(with, without))
	}
	if _, fit := reply(left); !fit[0] {
		t.Error("a record of exactly the room left does not fit")
	}
	if _, fit := reply(left + 1); fit[0] {
		t.Error("a record one octet too long fits")
	}
}

func TestSectionsComeInOrder(t *testing.T) {
	var b Builder
	b.Start(nil, parsed(t, Accept, message(0, 1, 0, 0, 0, question)), 512)
	if !b.AddRR(Authority, host, 1, 1, 0, "abcd") || b.AddRR(Answer, host, 1, 1, 0, "abcd") || b.AddRR(Additional+1, host, 1, 1, 0, "abcd") {
		t.Error("want: authority accepted, answer behind it and an unknown section refused")
	}
	if m := unpacked(t, b.Finish(RcodeNoError, 0)); len(m.Answer) != 0 || len(m.Ns) != 1 || len(m.Extra) != 0 {
		t.Errorf("reply %v", m)
	}
}

func TestRewindAndTruncate(t *testing.T) {
	q := parsed(t, Accept, message(0, 1, 0, 0, 1, question, opt))
	prefix := []byte{0xaa, 0xbb} // as TCP's length
	var b Builder
	b.Start(prefix, q, 512)
	b.AddRR(Answer, host, 1, 1, 0, "abcd")
	mark := b.Mark()
	b.AddRR(Additional, host, 1, 1, 0, "efgh")
	b.Rewind(mark)
	if !b.AddRR(Authority, host, 1, 1, 0, "ijkl") {
		t.Error("the section of a removed record still counts")
	}
	out := b.Finish(RcodeNoError, AA)
	if !bytes.Equal(out[:2], prefix) {
		t.Error("the prefix changed")
	}
	if m := unpacked(t, out[2:]); len(m.Answer) != 1 || len(m.Ns) != 1 || len(m.Extra) != 1 {
		t.Errorf("reply %v", m)
	}

	b.Start(prefix, q, 512)
	b.EDE(0, "kept")
	b.AddRR(Answer, host, 1, 1, 0, "abcd")
	b.AddRR(Authority, host, 1, 1, 0, "abcd")
	b.Truncate()
	m := unpacked(t, b.Finish(RcodeNoError, AA|TC)[2:])
	if !m.Truncated || len(m.Question) != 1 || len(m.Answer)+len(m.Ns) != 0 || len(m.Extra) != 1 || len(m.IsEdns0().Option) != 1 {
		t.Errorf("truncated reply %v", m)
	}
}

func TestAnswerDoesNotAllocate(t *testing.T) {
	packet := message(0x0100, 1, 0, 0, 1, question, optWith(0, 0xc000, "\x00\x03\x00\x00"))
	var q Query
	out := make([]byte, 0, 1232)
	var size int
	allocs := testing.AllocsPerRun(100, func() {
		if q.Parse(packet) != Accept {
			return
		}
		var b Builder
		b.Start(out, &q, 1232)
		b.NSID("node-7")
		b.EDE(29, "synthesised")
		b.AddRR(Answer, host, 1, 1, 300, "\xc0\x00\x02\x01")
		b.AddRR(Authority, "\x04o-v1\x02mx\x07example\x00", 2, 1, 300, "\x03ns1\x07example\x00")
		b.AddRR(Additional, "\x03ns1\x07example\x00", 1, 1, 300, "\xc0\x00\x02\x35")
		size = len(b.Finish(RcodeNoError, AA))
	})
	if allocs != 0 {
		t.Errorf("%v allocations for one answer, want 0", allocs)
	}
	if size < 100 {
		t.Errorf("the answer has %d octets: nothing was measured", size)
	}
}

func TestErrorRepliesDoNotAllocate(t *testing.T) {
	var q Query
	out := make([]byte, 0, 1232)
	for _, c := range malformed {
		allocs := testing.AllocsPerRun(10, func() {
			if q.Parse(c.packet) == Drop {
				return
			}
			var b Builder
			b.Start(out, &q, 512)
			b.Finish(RcodeFormErr, 0)
			AppendError(out, c.packet, RcodeServFail)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", c.name, allocs)
		}
	}
}
