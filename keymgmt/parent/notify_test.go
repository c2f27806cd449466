package parent

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// target is the name in the DSYNC records of these tests.
const target = "scanner.example."

// rawDSYNC is a DSYNC record, which miekg/dns cannot parse.
func rawDSYNC(owner string, rrtype uint16, scheme uint8, port uint16, target string) string {
	rdata := fmt.Sprintf("%04x%02x%04x%x", rrtype, scheme, port, zone.MustParseName(target).Wire())
	return fmt.Sprintf(`%s 60 IN TYPE66 \# %d %s`, owner, len(rdata)/2, rdata)
}

// asked collects the names of queries.
type asked struct {
	mu    sync.Mutex
	names []string
}

func (a *asked) add(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.names = append(a.names, name)
}

func (a *asked) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.names)
}

// dsyncServer has records; all of its other names do not exist.
func dsyncServer(t testing.TB, a *asked, lines ...string) netip.AddrPort {
	have := records(t, lines...)
	return serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		a.add(r.Question[0].Name)
		if r.Question[0].Qtype != typeDSYNC {
			t.Errorf("query %v", r.Question)
		}
		m := reply(r)
		for _, rr := range have {
			if rr.Header().Name == r.Question[0].Name {
				m.Answer = append(m.Answer, rr)
			}
		}
		if len(m.Answer) == 0 {
			m.Rcode, m.Ns = dns.RcodeNameError, records(t, soa)
		}
		send(t, w, m)
	})
}

// resolving resolves the target, and nothing else, to addresses.
func resolving(t testing.TB, addrs ...string) func(context.Context, string) ([]netip.Addr, error) {
	return func(_ context.Context, host string) (list []netip.Addr, err error) {
		if host != target {
			t.Errorf("the host %q was looked up", host)
		}
		for _, a := range addrs {
			list = append(list, netip.MustParseAddr(a))
		}
		return list, nil
	}
}

// acknowledge is a target that has the rcode for every notification.
func acknowledge(t testing.TB, rcode int) netip.AddrPort {
	return serve(t, nil, func(w dns.ResponseWriter, r *dns.Msg) {
		if r.Opcode != dns.OpcodeNotify || !r.Authoritative || r.Response || r.RecursionDesired || len(r.Question) != 1 ||
			r.Question[0] != (dns.Question{Name: "child.test.", Qtype: dns.TypeCDS, Qclass: dns.ClassINET}) || overTCP(w) {
			t.Errorf("notification %v", r)
		}
		m := new(dns.Msg).SetReply(r)
		m.Rcode = rcode
		send(t, w, m)
	})
}

// Where the target is found.
func TestNotify(t *testing.T) {
	child, general := "child._dsync.test.", "_dsync.test."
	both := []string{child, general}
	for name, c := range map[string]struct {
		lines func(port uint16) []string
		asked []string
		err   string
	}{
		"for the child": {func(port uint16) []string {
			return []string{rawDSYNC(child, dns.TypeCDS, 1, port, target), rawDSYNC(general, dns.TypeCDS, 1, 1, "other.")}
		}, both[:1], ""},
		"for all": {func(port uint16) []string { return []string{rawDSYNC(general, dns.TypeCDS, 1, port, target)} }, both, ""},
		"among others": {func(port uint16) []string {
			return []string{rawDSYNC(child, dns.TypeCSYNC, 1, 1, "a."), rawDSYNC(child, dns.TypeCDS, 2, 1, "b."),
				rawDSYNC(child, dns.TypeCDS, 0, 1, "c."), rawDSYNC(child, dns.TypeCDS, 1, port, target)}
		}, both[:1], ""},
		"nowhere": {func(uint16) []string { return nil }, both, ErrNoTarget.Error()},
		"for CSYNC alone, which hides what is for all": {func(port uint16) []string {
			return []string{rawDSYNC(child, dns.TypeCSYNC, 1, port, target), rawDSYNC(general, dns.TypeCDS, 1, port, target)}
		}, both[:1], ErrNoTarget.Error()},
		"with another scheme": {func(port uint16) []string { return []string{rawDSYNC(general, dns.TypeCDS, 2, port, target)} }, both, ErrNoTarget.Error()},
		"port 0":              {func(uint16) []string { return []string{rawDSYNC(child, dns.TypeCDS, 1, 0, target)} }, both[:1], "nothing can be sent"},
		"at the root":         {func(port uint16) []string { return []string{rawDSYNC(child, dns.TypeCDS, 1, port, ".")} }, both[:1], "nothing can be sent"},
		"malformed":           {func(uint16) []string { return []string{child + ` 60 IN TYPE66 \# 4 003b0100`} }, both[:1], "4 octets"},
		"empty":               {func(uint16) []string { return []string{child + ` 60 IN TYPE66 \# 0`} }, both[:1], "0 octets"},
		"an alias":            {func(uint16) []string { return []string{child + " CNAME " + general} }, both[:1], "CNAME"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			recipient := acknowledge(t, dns.RcodeSuccess)
			var a asked
			server := dsyncServer(t, &a, c.lines(recipient.Port())...)
			client := &Client{Timeout: patience, Resolver: resolving(t, "127.0.0.1")}
			got, err := client.Notify(t.Context(), childName, parentName, []netip.AddrPort{server})
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) || errors.Is(err, ErrNoTarget) != (c.err == ErrNoTarget.Error()) {
				t.Errorf("error %v, want one with %q", err, c.err)
			}
			if want := fmt.Sprintf("scanner.example:%d", recipient.Port()); err == nil && got != want {
				t.Errorf("target %q, want %q", got, want)
			}
			if names := a.list(); !slices.Equal(names, c.asked) {
				t.Errorf("asked for %q, want %q", names, c.asked)
			}
		})
	}
}

// What the target makes of it.
func TestNotifyRefused(t *testing.T) {
	t.Parallel()
	for _, rcode := range []int{dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeServerFailure} {
		recipient := acknowledge(t, rcode)
		server := dsyncServer(t, new(asked), rawDSYNC("_dsync.test.", dns.TypeCDS, 1, recipient.Port(), target))
		client := &Client{Timeout: patience, Resolver: resolving(t, "::ffff:127.0.0.1")}
		got, err := client.Notify(t.Context(), childName, parentName, []netip.AddrPort{server})
		if err == nil || !strings.Contains(err.Error(), "answers "+dns.RcodeToString[rcode]) || !strings.HasPrefix(got, "scanner.example:") {
			t.Errorf("target %q, error %v, want %s", got, err, dns.RcodeToString[rcode])
		}
	}
}

// Servers are asked in turn until one has an answer that counts; that a server is broken is not taken for "none".
func TestNotifyServers(t *testing.T) {
	t.Parallel()
	recipient := acknowledge(t, dns.RcodeSuccess)
	good := dsyncServer(t, new(asked), rawDSYNC("_dsync.test.", dns.TypeCDS, 1, recipient.Port(), target))
	broken := []netip.AddrPort{closed(t),
		serve(t, nil, respond(t, func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })),
		serve(t, nil, respond(t, func(m *dns.Msg) { m.Authoritative, m.Ns = false, records(t, "_dsync.test. NS ns.test.") })),
		serve(t, nil, respond(t, func(m *dns.Msg) { m.Ns = records(t, rootSOA) })),
		serve(t, nil, respond(t, func(m *dns.Msg) { m.Ns = records(t, "child."+soa) })),
		serve(t, nil, respond(t, func(m *dns.Msg) { m.Answer = records(t, rawDSYNC("x.test.", dns.TypeCDS, 1, 1, target)) }))}
	client := &Client{Timeout: patience, Resolver: resolving(t, "127.0.0.1")}
	if _, err := client.Notify(t.Context(), childName, parentName, append(slices.Clone(broken), good)); err != nil {
		t.Error(err)
	}
	_, err := client.Notify(t.Context(), childName, parentName, broken)
	if err == nil || errors.Is(err, ErrNoTarget) {
		t.Errorf("all are broken: %v", err)
	}
	for _, text := range []string{"refused", "SERVFAIL", "referral", "from the zone .", "from the zone child.test.", "record of x.test."} {
		if !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("the error %v does not have %q", err, text)
		}
	}
	own := serve(t, nil, respond(t, func(m *dns.Msg) { m.Ns = records(t, "_dsync."+soa) }))
	if _, err := client.Notify(t.Context(), childName, parentName, []netip.AddrPort{own}); !errors.Is(err, ErrNoTarget) {
		t.Errorf("a zone of its own has no record: %v", err)
	}
	if _, err := client.Notify(t.Context(), childName, parentName, nil); err == nil || errors.Is(err, ErrNoTarget) {
		t.Errorf("no servers: %v", err)
	}
}

// The addresses of a target are tried in turn, a bounded number of them.
func TestNotifyAddresses(t *testing.T) {
	t.Parallel()
	recipient := acknowledge(t, dns.RcodeSuccess) // on 127.0.0.1 alone
	server := []netip.AddrPort{dsyncServer(t, new(asked), rawDSYNC("_dsync.test.", dns.TypeCDS, 1, recipient.Port(), target))}
	client := &Client{Timeout: patience, Resolver: resolving(t, "127.0.0.2", "127.0.0.3", "127.0.0.1")}
	if _, err := client.Notify(t.Context(), childName, parentName, server); err != nil {
		t.Error(err)
	}
	client.Resolver = resolving(t, "127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.1")
	if _, err := client.Notify(t.Context(), childName, parentName, server); err == nil || strings.Count(err.Error(), "refused") != maxTargetAddrs {
		t.Errorf("too many addresses: %v", err)
	}
	client.Resolver = resolving(t)
	if _, err := client.Notify(t.Context(), childName, parentName, server); err == nil || !strings.Contains(err.Error(), "there are none") {
		t.Errorf("no addresses: %v", err)
	}
	failure := errors.New("no such host")
	client.Resolver = func(context.Context, string) ([]netip.Addr, error) { return nil, failure }
	if _, err := client.Notify(t.Context(), childName, parentName, server); !errors.Is(err, failure) {
		t.Errorf("failure of the resolver: %v", err)
	}
}

// bareTarget is the socket of a target that answers by hand.
func bareTarget(t testing.TB) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	return udp, udp.LocalAddr().(*net.UDPAddr).AddrPort()
}

// A target that never answers gets three messages.
func TestNotifyTries(t *testing.T) {
	t.Parallel()
	udp, addr := bareTarget(t)
	err := (&Client{Timeout: time.Second}).tell(t.Context(), childName, addr) // enough to send them
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "3 messages") {
		t.Errorf("error %v", err)
	}
	if _, err := udp.WriteToUDPAddrPort([]byte("end"), addr); err != nil { // behind whatever else is waiting
		t.Fatal(err)
	}
	messages := 0
	for buffer := make([]byte, udpBuffer); ; messages++ {
		n, err := udp.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		if string(buffer[:n]) == "end" {
			break
		}
	}
	if messages != notifyTries {
		t.Errorf("%d messages", messages)
	}
}

// A message that is lost is sent again, and what is not the acknowledgement does not end the wait.
func TestNotifyAnswerToTheThird(t *testing.T) {
	t.Parallel()
	udp, addr := bareTarget(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range notifyTries {
			buffer := make([]byte, udpBuffer)
			n, from, err := udp.ReadFromUDPAddrPort(buffer)
			m := new(dns.Msg)
			if err != nil || m.Unpack(buffer[:n]) != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
			wrongID, query := new(dns.Msg).SetReply(m), new(dns.Msg).SetReply(m)
			wrongID.Id++
			query.Opcode = dns.OpcodeQuery
			answers := []*dns.Msg{m, wrongID, query}
			if i == notifyTries-1 {
				short := new(dns.Msg).SetReply(m)
				short.Question = nil // an acknowledgement may be a header alone
				answers = append(answers, short)
			}
			for _, a := range answers {
				wire, err := a.Pack()
				if err != nil {
					t.Error(err)
				}
				if _, err := udp.WriteToUDPAddrPort(wire, from); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	if err := new(Client).tell(t.Context(), childName, addr); err != nil {
		t.Error(err)
	}
	udp.Close()
	<-done
}

// When the caller gives up, there is no second message.
func TestNotifyCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	recipient := serve(t, nil, func(dns.ResponseWriter, *dns.Msg) { cancel() })
	if err := patient().tell(ctx, childName, recipient); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "messages") {
		t.Errorf("error %v", err)
	}
	server := dsyncServer(t, new(asked))
	if _, err := patient().Notify(ctx, childName, parentName, []netip.AddrPort{server, server}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDSYNCNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		child, parent string
		want          []string // nil: an error
	}{
		{"child.test.", "test.", []string{"child._dsync.test.", "_dsync.test."}},
		{"city.ise.mie.jp.", "jp.", []string{"city.ise.mie._dsync.jp.", "_dsync.jp."}},
		{"com.", ".", []string{"com._dsync.", "_dsync."}},
		{strings.Repeat(long+".", 3) + "a.test.", "a.test.", []string{strings.Repeat(long+".", 3) + "_dsync.a.test.", "_dsync.a.test."}},
		{strings.Repeat(long+".", 3) + strings.Repeat("b", 54) + ".test.", "test.", []string{"_dsync.test."}},
		{"b." + strings.Repeat(long+".", 3) + strings.Repeat("b", 55) + ".", strings.Repeat(long+".", 3) + strings.Repeat("b", 55) + ".", nil},
		{"test.", "test.", nil}, {"test.", "child.test.", nil}, {"other.", "test.", nil}, {"atest.", "test.", nil}, {".", ".", nil},
	} {
		names, err := dsyncNames(zone.MustParseName(c.child), zone.MustParseName(c.parent))
		var got []string
		for _, n := range names {
			got = append(got, n.String())
		}
		if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
			t.Errorf("%s, %s: %q, %v; want %q", c.child, c.parent, got, err, c.want)
		}
	}
}

// The example of RFC 9859 §2.3, in wire form.
func TestParseDSYNC(t *testing.T) {
	rdata, err := hex.DecodeString("003b01" + "14ef" + "0b6364732d7363616e6e6572" + "076578616d706c65" + "036e6574" + "00")
	if err != nil {
		t.Fatal(err)
	}
	want := dsync{dns.TypeCDS, schemeNotify, 5359, zone.MustParseName("cds-scanner.example.net.")}
	if got, err := parseDSYNC(rdata); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range rdata {
		if d, err := parseDSYNC(rdata[:i]); err == nil {
			t.Errorf("%d octets: %+v", i, d)
		}
	}
	if d, err := parseDSYNC(append(rdata, 0)); err == nil {
		t.Errorf("an octet too many: %+v", d)
	}
	if d, err := parseDSYNC(append(rdata[:5:5], 0xc0, 12)); err == nil {
		t.Errorf("compressed: %+v", d)
	}
}

// What is parsed is what was there, octet by octet, but for the case of letters in the target.
func FuzzDSYNC(f *testing.F) {
	f.Add([]byte("\x00\x3b\x01\x14\xef\x07scanner\x07EXAMPLE\x00"))
	f.Add([]byte("\x00\x3e\x01\x00\x00\x00"))
	f.Add([]byte("\x00\x3b\x01\x14\xef\xc0\x0c"))
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, rdata []byte) {
		d, err := parseDSYNC(rdata)
		if err != nil {
			if d != (dsync{}) {
				t.Errorf("%+v with the error %v", d, err)
			}
			return
		}
		back := string([]byte{byte(d.rrtype >> 8), byte(d.rrtype), d.scheme, byte(d.port >> 8), byte(d.port)})
		if back != string(rdata[:5]) || !strings.EqualFold(latin(d.target.Wire()), latin(string(rdata[5:]))) {
			t.Errorf("%x: %+v", rdata, d)
		}
		if _, known, err := dns.UnpackDomainName(rdata, 5); err != nil || known != len(rdata) {
			t.Errorf("%x: the oracle reads %d octets: %v", rdata, known, err)
		}
		if host := hostPort(d.target, d.port); !strings.HasSuffix(host, fmt.Sprintf(":%d", d.port)) {
			t.Errorf("%x: shown as %q", rdata, host)
		}
	})
}

// latin makes a character of every octet, so that EqualFold does not take two that are not UTF-8 for the same. Octets
// above ASCII become characters without case.
func latin(s string) string {
	runes := make([]rune, len(s))
	for i := range len(s) {
		runes[i] = rune(s[i])
		if s[i] >= 0x80 {
			runes[i] = 0x4e00 + rune(s[i])
		}
	}
	return string(runes)
}
