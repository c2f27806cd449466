package parent

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

const (
	ds1     = "child.test. 300 IN DS 1 13 2 0101010101010101010101010101010101010101010101010101010101010101"
	ds2     = "CHILD.Test. 600 IN DS 2 13 2 0202020202020202020202020202020202020202020202020202020202020202"
	ds1Sig  = "child.test. 300 IN RRSIG DS 13 2 300 20300101000000 20200101000000 1 test. AAAA"
	soa     = "test. 60 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 60"
	rootSOA = ". 60 IN SOA ns.test. hostmaster.test. 1 3600 600 86400 60"
)

func wireDS(tag, octet byte) string {
	return string([]byte{0, tag, 13, 2}) + strings.Repeat(string([]byte{octet}), 32)
}

// What a server says, and what is made of it. Every answer is the same over UDP and TCP.
func TestAskDS(t *testing.T) {
	one, two := wireDS(1, 1), wireDS(2, 2)
	for name, c := range map[string]struct {
		change func(t *testing.T, m *dns.Msg)
		ds     []string
		ttl    uint32
		err    string // in the error; empty: none
	}{
		"one record":            {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, ds1) }, []string{one}, 300, ""},
		"records and signature": {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, ds2, ds1, ds1Sig, ds2) }, []string{one, two}, 600, ""},
		"question in upper case": {func(t *testing.T, m *dns.Msg) {
			m.Question[0].Name, m.Answer = "cHiLd.TEST.", records(t, ds1)
		}, []string{one}, 300, ""},
		"NS of the parent with the answer": {func(t *testing.T, m *dns.Msg) {
			m.Answer, m.Ns = records(t, ds1), records(t, "test. NS ns.test.")
		}, []string{one}, 300, ""},
		"none":                    {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, soa) }, nil, 0, ""},
		"none, says a zone above": {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, rootSOA) }, nil, 0, ""},
		"no such name":            {func(t *testing.T, m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeNameError, records(t, soa) }, nil, 0, ""},

		"none, without SOA":          {func(*testing.T, *dns.Msg) {}, nil, 0, "neither a record nor the SOA"},
		"no such name, without SOA":  {func(_ *testing.T, m *dns.Msg) { m.Rcode = dns.RcodeNameError }, nil, 0, "neither a record nor the SOA"},
		"none, of class CHAOS":       {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, strings.Replace(soa, " IN ", " CH ", 1)) }, nil, 0, "neither a record nor the SOA"},
		"none, says the child":       {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, "child."+soa) }, nil, 0, "from the child's side"},
		"no such name, it says":      {func(t *testing.T, m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeNameError, records(t, "child."+soa) }, nil, 0, "from the child's side"},
		"none, says a zone below":    {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, "a.child."+soa) }, nil, 0, `from the zone a.child.test.`},
		"none, says another zone":    {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, "ild."+soa) }, nil, 0, "from the zone ild.test."},
		"none, say parent and child": {func(t *testing.T, m *dns.Msg) { m.Ns = records(t, soa, "child."+soa) }, nil, 0, "two SOA records"},
		"none, not authoritative":    {func(t *testing.T, m *dns.Msg) { m.Authoritative, m.Ns = false, records(t, soa) }, nil, 0, "not authoritative"},
		"record, not authoritative":  {func(t *testing.T, m *dns.Msg) { m.Authoritative, m.Answer = false, records(t, ds1) }, nil, 0, "not authoritative"},
		"referral": {func(t *testing.T, m *dns.Msg) {
			m.Authoritative, m.Ns = false, records(t, "child.test. NS ns.child.test.")
		}, nil, 0, "referral"},
		"referral that calls itself authoritative": {func(t *testing.T, m *dns.Msg) {
			m.Ns = records(t, "child.test. NS ns.child.test.")
		}, nil, 0, "neither a record nor the SOA"},
		"alias": {func(t *testing.T, m *dns.Msg) {
			m.Answer = records(t, "child.test. CNAME other.test.", strings.Replace(ds1, "child", "other", 1))
		}, nil, 0, "type CNAME"},
		"alias and none": {func(t *testing.T, m *dns.Msg) {
			m.Answer, m.Ns = records(t, "child.test. CNAME other.test."), records(t, soa)
		}, nil, 0, "type CNAME"},
		"record of another name":  {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, ds1, strings.Replace(ds1, "child", "other", 1)) }, nil, 0, "record of other.test."},
		"record of another class": {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, strings.Replace(ds1, " IN ", " CH ", 1)) }, nil, 0, "class CH"},
		"signature alone":         {func(t *testing.T, m *dns.Msg) { m.Answer, m.Ns = records(t, ds1Sig), records(t, soa) }, nil, 0, "signatures alone"},
		"record of no such name":  {func(t *testing.T, m *dns.Msg) { m.Rcode, m.Answer = dns.RcodeNameError, records(t, ds1) }, nil, 0, "does not exist"},
		"record without digest":   {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, `child.test. IN TYPE43 \# 4 00010d02`) }, nil, 0, "malformed"},
		"record without RDATA":    {func(t *testing.T, m *dns.Msg) { m.Answer = records(t, ds1, `child.test. IN TYPE43 \# 0`) }, nil, 0, "malformed"},
		"SERVFAIL":                {func(_ *testing.T, m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }, nil, 0, "SERVFAIL"},
		"SERVFAIL with SOA":       {func(t *testing.T, m *dns.Msg) { m.Rcode, m.Ns = dns.RcodeServerFailure, records(t, soa) }, nil, 0, "SERVFAIL"},
		"REFUSED":                 {func(_ *testing.T, m *dns.Msg) { m.Rcode = dns.RcodeRefused }, nil, 0, "REFUSED"},
		"FORMERR, no question":    {func(_ *testing.T, m *dns.Msg) { m.Rcode, m.Question = dns.RcodeFormatError, nil }, nil, 0, "FORMERR"},
		"extended RCODE":          {func(_ *testing.T, m *dns.Msg) { m.SetEdns0(1232, true).Rcode = dns.RcodeBadCookie }, nil, 0, "BADCOOKIE"},
		"unknown RCODE":           {func(_ *testing.T, m *dns.Msg) { m.Rcode = 13 }, nil, 0, "RCODE13"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, nil, respond(t, func(m *dns.Msg) { c.change(t, m) }))
			expect(t, patient(), server, c.ds, c.ttl, c.err)
		})
	}
}

// expect asks one server and compares what comes out.
func expect(t *testing.T, c *Client, server netip.AddrPort, ds []string, ttl uint32, text string) {
	t.Helper()
	answers := c.AskDS(t.Context(), childName, []netip.AddrPort{server})
	if len(answers) != 1 || answers[0].Server != server {
		t.Fatalf("answers %+v of %s", answers, server)
	}
	a := answers[0]
	if (a.Err != nil) != (text != "") || a.Err != nil && !strings.Contains(a.Err.Error(), text) {
		t.Errorf("error %v, want one with %q", a.Err, text)
	}
	if !slices.Equal(a.DS, ds) || a.TTL != ttl {
		t.Errorf("DS %x, TTL %d; want %x, %d", a.DS, a.TTL, ds, ttl)
	}
}

// Messages that are not the answer: over UDP they are passed over, over TCP they are the end.
func TestAskDSNotTheAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, m *dns.Msg)
		err    string
	}{
		"wrong ID":       {func(_ *testing.T, m *dns.Msg) { m.Id ^= 1 }, "message with ID"},
		"no response":    {func(_ *testing.T, m *dns.Msg) { m.Response = false }, "no response"},
		"wrong opcode":   {func(_ *testing.T, m *dns.Msg) { m.Opcode = dns.OpcodeNotify }, "opcode 4"},
		"wrong name":     {func(_ *testing.T, m *dns.Msg) { m.Question[0].Name = "other.test." }, "another question"},
		"wrong type":     {func(_ *testing.T, m *dns.Msg) { m.Question[0].Qtype = dns.TypeCDS }, "another question"},
		"wrong class":    {func(_ *testing.T, m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }, "another question"},
		"two questions":  {func(_ *testing.T, m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }, "another question"},
		"no question":    {func(_ *testing.T, m *dns.Msg) { m.Question = nil }, "another question"},
		"wrong SERVFAIL": {func(_ *testing.T, m *dns.Msg) { m.Rcode, m.Question[0].Name = dns.RcodeServerFailure, "a." }, "another question"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := respond(t, func(m *dns.Msg) {
				m.Ns = records(t, soa)
				c.change(t, m)
			})
			// Over UDP the answer comes after it.
			expect(t, patient(), serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
				wrong(w, r)
				respond(t, func(m *dns.Msg) { m.Answer = records(t, ds1) })(w, r)
			}), []string{wireDS(1, 1)}, 300, "")
			// Over TCP it is all that comes.
			expect(t, patient(), serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
				wrong(w, r)
				if !overTCP(w) {
					respond(t, func(m *dns.Msg) { m.Truncated = true })(w, r)
				}
			}), nil, 0, c.err)
			// There is nothing else.
			expect(t, &Client{Timeout: brief}, serve(t, nil, wrong), nil, 0, "DS of child.test. at")
		})
	}
}

// Octets that are no message, or less than they promise to be.
func TestAskDSMalformed(t *testing.T) {
	for name, cut := range map[string]func(wire []byte) []byte{
		"nothing":              func([]byte) []byte { return nil },
		"half a header":        func(w []byte) []byte { return w[:6] },
		"header alone":         func(w []byte) []byte { return w[:headerLen] },
		"cut in a record":      func(w []byte) []byte { return w[:len(w)-3] },
		"a record missing":     func(w []byte) []byte { binary.BigEndian.PutUint16(w[6:], 3); return w },
		"an SOA missing":       func(w []byte) []byte { binary.BigEndian.PutUint16(w[8:], 1); return w },
		"name without end":     func(w []byte) []byte { w[headerLen] = 0xc0; w[headerLen+1] = headerLen; return w },
		"RDATA beyond its end": func(w []byte) []byte { w[len(w)-37]++; return w },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
				m := reply(r)
				m.Answer = records(t, ds1, ds2)
				wire, err := m.Pack()
				if err != nil {
					t.Error(err)
				}
				if _, err := w.Write(cut(wire)); err != nil {
					t.Error(err)
				}
				if !overTCP(w) {
					m.Truncated = true
					send(t, w, m)
				}
			})
			expect(t, patient(), server, nil, 0, "over UDP: truncated; over TCP: ")
		})
	}
}

func TestAskDSTruncated(t *testing.T) {
	t.Parallel()
	truncate := func(m *dns.Msg) { m.Truncated, m.Ns = true, records(t, soa) }
	whole := respond(t, func(m *dns.Msg) { m.Answer = records(t, ds1, ds2) })
	overUDP := serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		if overTCP(w) {
			whole(w, r)
			return
		}
		respond(t, truncate)(w, r)
	})
	expect(t, patient(), overUDP, []string{wireDS(1, 1), wireDS(2, 2)}, 600, "")
	expect(t, patient(), serve(t, nil, respond(t, truncate)), nil, 0, "over TCP: truncated")
	// Half an RRset, marked as such, is none either.
	expect(t, patient(), serve(t, nil, respond(t, func(m *dns.Msg) {
		m.Truncated, m.Answer = true, records(t, ds1)
	})), nil, 0, "over TCP: truncated")
}

// A server that answers over TCP alone.
func TestAskDSOverTCP(t *testing.T) {
	t.Parallel()
	addr := closed(t)
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
	if err != nil {
		t.Fatal(err)
	}
	run(t, &dns.Server{Listener: tcp, Handler: respond(t, func(m *dns.Msg) { m.Answer = records(t, ds1) })})
	expect(t, patient(), addr, []string{wireDS(1, 1)}, 300, "")
}

// The dead, the slow and the broken do not keep others from being heard, and are never taken for "none".
func TestAskDSManyServers(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	slow := serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		<-release
		respond(t, func(m *dns.Msg) { m.Ns = records(t, soa) })(w, r)
	})
	t.Cleanup(func() { close(release) })
	alive := serve(t, nil, respond(t, func(m *dns.Msg) { m.Answer = records(t, ds1) }))
	none := serve(t, nil, respond(t, func(m *dns.Msg) { m.Ns = records(t, soa) }))
	failing := serve(t, nil, respond(t, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure }))
	servers := []netip.AddrPort{closed(t), alive, silent(t), failing, slow, none, alive, {}}
	answers := new(Client).AskDS(t.Context(), childName, servers) // the zero value works
	if len(answers) != len(servers) {
		t.Fatalf("%d answers of %d servers", len(answers), len(servers))
	}
	for i, a := range answers {
		healthy := servers[i] == alive || servers[i] == none
		if a.Server != servers[i] || (a.Err == nil) != healthy || (len(a.DS) == 1) != (servers[i] == alive) {
			t.Errorf("server %d, %s: %+v", i, servers[i], a)
		}
	}
	for _, i := range []int{2, 4} {
		if !errors.Is(answers[i].Err, context.DeadlineExceeded) {
			t.Errorf("a server that does not answer: %v", answers[i].Err)
		}
	}
}

// No more than 16 servers are asked at the same time, and all are.
func TestAskDSBound(t *testing.T) {
	t.Parallel()
	var now, most, asked atomic.Int64
	full := make(chan struct{})
	server := serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if asked.Add(1) == maxAsked {
			close(full)
		}
		<-full // all that may be are under way
		now.Add(-1)
		respond(t, func(m *dns.Msg) { m.Ns = records(t, soa) })(w, r)
	})
	for _, a := range patient().AskDS(t.Context(), childName, slices.Repeat([]netip.AddrPort{server}, 40)) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	if most.Load() != maxAsked || asked.Load() < 40 {
		t.Errorf("%d at once of %d", most.Load(), asked.Load())
	}
}

func TestAskDSCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, nil, func(dns.ResponseWriter, *dns.Msg) { cancel() })
	answers := patient().AskDS(ctx, childName, slices.Repeat([]netip.AddrPort{server}, 40))
	for _, a := range answers {
		if !errors.Is(a.Err, context.Canceled) {
			t.Errorf("%+v", a)
		}
	}
	if len(patient().AskDS(t.Context(), childName, nil)) != 0 {
		t.Error("answers of no servers")
	}
}

// Names that have no parent are not asked for.
func TestAskDSWithoutParent(t *testing.T) {
	for _, name := range []zone.Name{zone.Root, {}} {
		a := patient().AskDS(t.Context(), name, []netip.AddrPort{closed(t)})[0]
		if a.Err == nil || !strings.Contains(a.Err.Error(), "no parent") {
			t.Errorf("%q: %+v", name, a)
		}
	}
}

// The query is what servers expect of one that is not a resolver's client.
func TestQuery(t *testing.T) {
	t.Parallel()
	odd, err := parentName.Child("a.b\\ @;\"\x00\xff")
	if err != nil {
		t.Fatal(err)
	}
	ids := make(chan uint16, 64)
	server := serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		opt := r.IsEdns0()
		if r.RecursionDesired || r.Opcode != dns.OpcodeQuery || len(r.Question) != 1 || r.Question[0].Qtype != dns.TypeDS ||
			opt == nil || opt.UDPSize() != 1232 || !opt.Do() || opt.Version() != 0 || len(r.Extra) != 1 {
			t.Errorf("query %v", r)
		}
		ids <- r.Id
		respond(t, func(m *dns.Msg) { m.Ns = records(t, soa) })(w, r)
	})
	different := map[uint16]bool{}
	for range 8 {
		if a := patient().AskDS(t.Context(), odd, []netip.AddrPort{server})[0]; a.Err != nil {
			t.Fatal(a.Err)
		}
		different[<-ids] = true
	}
	if len(different) < 2 {
		t.Error("all queries have the same ID")
	}
}
