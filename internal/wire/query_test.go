package wire

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

// message is a header with ID 0x1234 and the given flags and counts, followed by the parts.
func message(flags, qd, an, ns, ar uint16, parts ...string) []byte {
	m := []byte{0x12, 0x34}
	for _, v := range []uint16{flags, qd, an, ns, ar} {
		m = binary.BigEndian.AppendUint16(m, v)
	}
	for _, p := range parts {
		m = append(m, p...)
	}
	return m
}

const (
	host     = "\x0bcontoso-com\x04o-v1\x02mx\x07example\x00"
	question = host + "\x00\x01\x00\x01"
	opt      = "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
	tsig     = "\x03key\x00\x00\xfa\x00\xff\x00\x00\x00\x00\x00\x00"
	record   = "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x01\x02\x03\x04"
)

// optWith is an OPT record with the EDNS version, flags and options.
func optWith(version byte, flags uint16, options string) string {
	b := append([]byte("\x00\x00\x29\x10\x00\x00"), version)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(len(options)))
	return string(b) + options
}

var (
	label63 = "\x3f" + strings.Repeat("a", 63)
	name255 = label63 + label63 + label63 + "\x3d" + strings.Repeat("b", 61) + "\x00"
	name256 = label63 + label63 + label63 + "\x3e" + strings.Repeat("b", 62) + "\x00"
	deep255 = strings.Repeat("\x01a", 127) + "\x00"
	deep257 = strings.Repeat("\x01a", 128) + "\x00"
)

// malformed is shared with the fuzz target as its seeds.
var malformed = []struct {
	name             string
	packet           []byte
	verdict          Verdict
	hasQuestion, opt bool
}{
	{"QR set", message(0x8000, 1, 0, 0, 0, question), Drop, false, false},
	{"QR set, nothing else right", message(0xffff, 9, 9, 9, 9), Drop, false, false},
	{"header alone, one question promised", message(0, 1, 0, 0, 0), FormErr, false, false},
	{"QDCOUNT 0", message(0, 0, 0, 0, 0), FormErr, false, false},
	{"QDCOUNT 0 with OPT", message(0, 0, 0, 0, 1, opt), FormErr, false, true},
	{"QDCOUNT 2", message(0, 2, 0, 0, 0, question, question), FormErr, false, false},
	{"QDCOUNT 65535", message(0, 65535, 0, 0, 0, question), FormErr, false, false},
	{"all counts 65535", message(0, 65535, 65535, 65535, 65535, question), FormErr, false, false},
	{"ARCOUNT 65535", message(0, 1, 0, 0, 65535, question, opt), FormErr, true, true},
	{"pointer to itself", message(0, 1, 0, 0, 0, "\xc0\x0c\x00\x01\x00\x01"), FormErr, false, false},
	{"pointers to each other", message(0, 1, 0, 0, 0, "\xc0\x0e\xc0\x0c\x00\x01\x00\x01"), FormErr, false, false},
	{"pointer behind a label", message(0, 1, 0, 0, 0, "\x01a\xc0\x0c\x00\x01\x00\x01"), FormErr, false, false},
	{"pointer into the header", message(0, 1, 0, 0, 0, "\x01a\xc0\x04\x00\x01\x00\x01"), FormErr, false, false},
	{"label type 01", message(0, 1, 0, 0, 0, "\x41a\x00\x00\x01\x00\x01"), FormErr, false, false},
	{"label type 10", message(0, 1, 0, 0, 0, "\x81a\x00\x00\x01\x00\x01"), FormErr, false, false},
	{"label past the end", message(0, 1, 0, 0, 0, "\x3fabc\x00\x00\x01\x00\x01"), FormErr, false, false},
	{"name without end", message(0, 1, 0, 0, 0, "\x03abc"), FormErr, false, false},
	{"name of 256 octets", message(0, 1, 0, 0, 0, name256, "\x00\x01\x00\x01"), FormErr, false, false},
	{"name of 257 octets, 128 labels", message(0, 1, 0, 0, 0, deep257, "\x00\x01\x00\x01"), FormErr, false, false},
	{"no type", message(0, 1, 0, 0, 0, host), FormErr, false, false},
	{"half a class", message(0, 1, 0, 0, 0, host, "\x00\x01\x00"), FormErr, false, false},
	{"trailing octet", message(0, 1, 0, 0, 0, question, "\x00"), FormErr, true, false},
	{"trailing octet behind OPT", message(0, 1, 0, 0, 1, question, opt, "\x00"), FormErr, true, true},
	{"answer in a query", message(0, 1, 1, 0, 0, question, record), FormErr, true, false},
	{"answer in a query with OPT", message(0, 1, 1, 0, 1, question, record, opt), FormErr, true, true},
	{"authority in a query", message(0, 1, 0, 1, 0, question, record), FormErr, true, false},
	{"two authority records in IXFR", message(0, 1, 0, 2, 0, host, "\x00\xfb\x00\x01", record, record), FormErr, true, false},
	{"two OPTs", message(0, 1, 0, 0, 2, question, opt, opt), FormErr, true, true},
	{"OPT not at the root", message(0, 1, 0, 0, 1, question, "\x01a", opt), FormErr, true, false},
	{"OPT owner by pointer", message(0, 1, 0, 0, 1, question, "\xc0\x27", opt[1:]), FormErr, true, false},
	{"OPT among answers", message(0, 1, 1, 0, 0, question, opt), FormErr, true, false},
	{"OPT in the authority section of IXFR", message(0, 1, 0, 1, 0, host, "\x00\xfb\x00\x01", opt), FormErr, true, false},
	{"OPT cut in its fixed part", message(0, 1, 0, 0, 1, question, opt[:9]), FormErr, true, false},
	{"OPT longer than the packet", message(0, 1, 0, 0, 1, question, opt[:9], "\x00\x01"), FormErr, true, false},
	{"option of three octets", message(0, 1, 0, 0, 1, question, optWith(0, 0, "\x00\x03\x00")), FormErr, true, true},
	{"option past the end of OPT", message(0, 1, 0, 0, 1, question, optWith(0, 0, "\x00\x03\x00\x01")), FormErr, true, true},
	{"second option past the end", message(0, 1, 0, 0, 1, question, optWith(0, 0, "\x00\x03\x00\x00\x00\x0a\xff\xff")), FormErr, true, true},
	{"record owner past the end", message(0, 1, 0, 0, 1, question, "\x3fabc"), FormErr, true, false},
	{"record owner is half a pointer", message(0, 1, 0, 0, 1, question, "\xc0"), FormErr, true, false},
	{"record owner has a label type", message(0, 1, 0, 0, 1, question, "\x80", opt), FormErr, true, false},
	{"record owner of 256 octets", message(0, 1, 0, 0, 1, question, name256, record[2:]), FormErr, true, false},
	{"TSIG twice", message(0, 1, 0, 0, 2, question, tsig, tsig), FormErr, true, false},
	{"TSIG not the last", message(0, 1, 0, 0, 2, question, tsig, opt), FormErr, true, false},
	{"TSIG among answers", message(0, 1, 1, 0, 0, question, tsig), FormErr, true, false},

	{"NOTIFY with SOA", message(0x2400, 1, 1, 0, 0, question, record), NotImp, true, false},
	{"UPDATE", message(0x2800, 1, 1, 1, 1, question, record, record, opt), NotImp, true, true},
	{"DSO", message(0x3000, 0, 0, 0, 0, "\x00\x01\x00\x00"), NotImp, false, false},
	{"IQUERY", message(0x0800, 0, 1, 0, 0, record), NotImp, false, false},
	{"STATUS with OPT", message(0x1000, 0, 0, 0, 1, opt), NotImp, false, true},
	{"unknown opcode, broken question", message(0x5800, 1, 0, 0, 0, "\xc0\x0c"), NotImp, false, false},
}

func TestParseMalformed(t *testing.T) {
	for _, c := range malformed {
		t.Run(c.name, func(t *testing.T) {
			var q Query
			if v := q.Parse(c.packet); v != c.verdict {
				t.Fatalf("verdict %d, want %d", v, c.verdict)
			}
			if c.verdict == Drop {
				return
			}
			if q.ID != 0x1234 || q.HasQuestion != c.hasQuestion || q.HasEDNS != c.opt {
				t.Errorf("id %x, question %v, OPT %v; want 1234, %v, %v", q.ID, q.HasQuestion, q.HasEDNS, c.hasQuestion, c.opt)
			}
			if q.TSIG {
				t.Error("a misplaced TSIG counts as one")
			}
		})
	}
}

// wellFormed is shared with the fuzz target as its seeds.
var wellFormed = []struct {
	name   string
	packet []byte
	check  func(*Query) bool
}{
	{"plain", message(0x0110, 1, 0, 0, 0, question), func(q *Query) bool {
		return q.RD && q.CD && q.Type == 1 && q.Class == 1 && !q.HasEDNS && q.UDPSize == 512
	}},
	{"0x20", message(0, 1, 0, 0, 0, "\x03FoO\x05@[Zz`\x00\x00\x34\x00\x03"), func(q *Query) bool {
		return string(q.Name()) == "\x03foo\x05@[zz`\x00" && string(q.RawName()) == "\x03FoO\x05@[Zz`\x00" && q.Type == 52 && q.Class == 3
	}},
	{"label lengths that could be letters stay", message(0, 1, 0, 0, 0, label63, "\x00\x00\x01\x00\x01"), func(q *Query) bool {
		return string(q.Name()) == label63+"\x00"
	}},
	{"root", message(0, 1, 0, 0, 0, "\x00\x00\x02\x00\x01"), func(q *Query) bool { return string(q.Name()) == "\x00" }},
	{"name of 255 octets", message(0, 1, 0, 0, 0, name255, "\x00\x01\x00\x01"), func(q *Query) bool { return string(q.Name()) == name255 }},
	{"name of 127 labels", message(0, 1, 0, 0, 0, deep255, "\x00\x01\x00\x01"), func(q *Query) bool { return string(q.Name()) == deep255 }},
	{"stray header bits", message(0x06ef, 1, 0, 0, 0, question), func(q *Query) bool { return !q.RD && !q.CD }},
	{"IXFR with its SOA", message(0, 1, 0, 1, 0, host, "\x00\xfb\x00\x01", record), func(q *Query) bool { return q.Type == 251 }},
	{"OPT", message(0, 1, 0, 0, 1, question, opt), func(q *Query) bool {
		return q.HasEDNS && q.UDPSize == 4096 && q.Version == 0 && !q.DO && !q.CO && !q.NSID
	}},
	{"DO", message(0, 1, 0, 0, 1, question, optWith(0, 0x8000, "")), func(q *Query) bool { return q.DO && !q.CO }},
	{"CO", message(0, 1, 0, 0, 1, question, optWith(0, 0x4000, "")), func(q *Query) bool { return !q.DO && q.CO }},
	{"Z", message(0, 1, 0, 0, 1, question, optWith(0, 0x3fff, "")), func(q *Query) bool { return !q.DO && !q.CO }},
	{"UDP size below 512", message(0, 1, 0, 0, 1, question, "\x00\x00\x29\x00\x01", opt[5:]), func(q *Query) bool { return q.UDPSize == 512 }},
	{"NSID among unknown options", message(0, 1, 0, 0, 1, question, optWith(0, 0x8000, "\xff\x00\x00\x02ab\x00\x03\x00\x00\x00\x0a\x00\x08cookies!")), func(q *Query) bool {
		return q.NSID && q.DO
	}},
	{"NSID with data", message(0, 1, 0, 0, 1, question, optWith(0, 0, "\x00\x03\x00\x01x")), func(q *Query) bool { return q.NSID }},
	{"EDNS 1 with options of its own", message(0, 1, 0, 0, 1, question, optWith(1, 0, "\xff")), func(q *Query) bool { return q.HasEDNS && q.Version == 1 }},
	{"other additional records", message(0, 1, 0, 0, 3, question, record, opt, "\x02ab\xc0\x0c\x00\x10\x00\x01\x00\x00\x00\x00\x00\x00"), func(q *Query) bool {
		return q.HasEDNS && !q.TSIG
	}},
	{"skipped owner that points nowhere", message(0, 1, 0, 0, 1, question, "\xff\xff", record[2:]), func(q *Query) bool { return !q.HasEDNS }},
	{"record owner of 255 octets", message(0, 1, 0, 0, 1, question, name255, record[2:]), func(q *Query) bool { return !q.HasEDNS }},
	{"TSIG behind OPT", message(0, 1, 0, 0, 2, question, opt, tsig), func(q *Query) bool { return q.HasEDNS && q.TSIG }},
	{"SIG(0)", message(0, 1, 0, 0, 1, question, "\x00\x00\x18\x00\xff\x00\x00\x00\x00\x00\x00"), func(q *Query) bool { return !q.TSIG }},
}

func TestParseWellFormed(t *testing.T) {
	for _, c := range wellFormed {
		t.Run(c.name, func(t *testing.T) {
			var q Query
			if v := q.Parse(c.packet); v != Accept {
				t.Fatalf("verdict %d", v)
			}
			if q.ID != 0x1234 || !q.HasQuestion || !c.check(&q) {
				t.Errorf("parsed to %+v", q)
			}
		})
	}
}

func TestParseForgetsTheQueryBefore(t *testing.T) {
	var q Query
	q.Parse(message(0x0110, 1, 0, 0, 2, question, optWith(0, 0xc000, "\x00\x03\x00\x00"), tsig))
	if !q.DO || !q.CO || !q.NSID || !q.TSIG || !q.RD || !q.CD {
		t.Fatalf("first query parsed to %+v", q)
	}
	var fresh Query
	second := message(0, 0, 0, 0, 0)
	if got, want := q.Parse(second), fresh.Parse(second); got != want {
		t.Fatalf("verdict %d, want %d", got, want)
	}
	if len(q.Name()) != 0 || q.RawName() != nil {
		t.Error("the name of the query before is still there")
	}
	if q.HasQuestion || q.HasEDNS || q.DO || q.CO || q.NSID || q.TSIG || q.RD || q.CD || q.UDPSize != 512 {
		t.Errorf("left over: %+v", q)
	}
}

// Every cut of a full query is a fault: Drop below 12 octets, FormErr above.
func TestParseEveryPrefix(t *testing.T) {
	full := message(0, 1, 0, 0, 2, question, optWith(0, 0x8000, "\x00\x03\x00\x00"), tsig)
	for n := range len(full) {
		var q Query
		want := FormErr
		if n < 12 {
			want = Drop
		}
		if v := q.Parse(slices.Clip(full[:n])); v != want {
			t.Errorf("%d octets: verdict %d, want %d", n, v, want)
		}
	}
	var q Query
	if v := q.Parse(full); v != Accept {
		t.Errorf("whole: verdict %d", v)
	}
}

func TestParseEveryOpcode(t *testing.T) {
	for opcode := range uint16(16) {
		var q Query
		want := NotImp
		if opcode == 0 {
			want = Accept
		}
		packet := message(opcode<<11|0x0100, 1, 0, 0, 1, question, opt)
		if v := q.Parse(packet); v != want || q.Opcode != uint8(opcode) || !q.HasQuestion || !q.HasEDNS {
			t.Errorf("opcode %d: verdict %d, %+v", opcode, v, q)
		}
		reply := AppendError(nil, packet, RcodeNotImp)
		if want := message(0x8000|opcode<<11|0x0100|4, 0, 0, 0, 0); !bytes.Equal(reply, want) {
			t.Errorf("opcode %d: bare reply %x, want %x", opcode, reply, want)
		}
	}
}

func TestParseEveryTypeAndClass(t *testing.T) {
	packet := message(0, 1, 0, 0, 1, question, opt)
	at := 12 + len(host)
	var q Query
	for v := range 65536 {
		binary.BigEndian.PutUint16(packet[at:], uint16(v))
		binary.BigEndian.PutUint16(packet[at+2:], uint16(65535-v))
		if verdict := q.Parse(packet); verdict != Accept || q.Type != uint16(v) || q.Class != uint16(65535-v) {
			t.Fatalf("type %d: verdict %d, type %d, class %d", v, verdict, q.Type, q.Class)
		}
	}
}

func TestAppendErrorKeepsSilentWhereParseDrops(t *testing.T) {
	out := []byte("kept")
	for n := range 12 {
		if got := AppendError(out, make([]byte, n), RcodeServFail); string(got) != "kept" {
			t.Errorf("%d octets: %q", n, got)
		}
	}
	if got := AppendError(out, message(0x8000, 1, 0, 0, 0, question), RcodeServFail); string(got) != "kept" {
		t.Errorf("QR set: %q", got)
	}
	want := "kept" + string(message(0x8102, 0, 0, 0, 0))
	if got := AppendError(out, message(0x01f0, 1, 0, 0, 0, question), RcodeServFail); string(got) != want {
		t.Errorf("got %x, want %x", got, want)
	}
}
