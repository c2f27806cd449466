package parent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"go.yaml.in/yaml/v3"

	"github.com/mxseal/mxseal/zone"
)

const secret = "c2VjcmV0LW9mLXRoZS1wYXJlbnQtemluZyEhMTIzNDU="

func secrets() map[string]string {
	return map[string]string{"key.test.": secret, "other.test.": "b3RoZXIgc2VjcmV0"}
}

func testKey() TSIG { return TSIG{Name: "Key.test", Algorithm: "HMAC-SHA256", Secret: secret} }

// signed completes an answer of a server with a signature, which the server makes when it sends it.
func signed(m *dns.Msg, name string) *dns.Msg { return m.SetTsig(name, dns.HmacSHA256, fudge, 0) }

// What goes out, as the server sees it.
func TestUpdateMessage(t *testing.T) {
	t.Parallel()
	one, two := wireDS(1, 1), wireDS(2, 2)
	remove := "child.test.\t0\tCLASS255\tDS\t"
	for name, c := range map[string]struct {
		ds   []string
		want []string
	}{
		"two":  {[]string{one, two}, []string{remove, "1 13 2 0101", "2 13 2 0202"}},
		"none": {nil, []string{remove}},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, secrets(), func(w dns.ResponseWriter, r *dns.Msg) {
				if err := w.TsigStatus(); err != nil || r.IsTsig() == nil {
					t.Errorf("signature of the update: %v", err)
				}
				if r.Opcode != dns.OpcodeUpdate || r.RecursionDesired || len(r.Answer) != 0 || len(r.Question) != 1 ||
					r.Question[0] != (dns.Question{Name: "test.", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}) || !overTCP(w) {
					t.Errorf("update %v", r)
				}
				if len(r.Ns) != len(c.want) {
					t.Errorf("update with %v", r.Ns)
					return
				}
				for i, rr := range r.Ns {
					h := rr.Header()
					if h.Name != "child.test." || h.Rrtype != dns.TypeDS || i > 0 && (h.Class != dns.ClassINET || h.Ttl != 120 || !strings.Contains(rr.String(), c.want[i])) ||
						i == 0 && (h.Class != dns.ClassANY || h.Ttl != 0 || h.Rdlength != 0) {
						t.Errorf("record %d: %s", i, rr)
					}
				}
				send(t, w, signed(new(dns.Msg).SetReply(r), "key.test."))
			})
			for _, algorithm := range []string{"hmac-sha256.", "HMAC-SHA256"} {
				key := testKey()
				key.Algorithm = algorithm
				if err := patient().Update(t.Context(), parentName, childName, server, key, c.ds, 120); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Only a signed NOERROR is success.
func TestUpdateAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(t *testing.T, w dns.ResponseWriter, r, m *dns.Msg)
		err    string
	}{
		"done": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) { send(t, w, signed(m, "key.test.")) }, ""},
		"done, header alone": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			m.Question = nil
			send(t, w, signed(m, "key.test."))
		}, ""},
		"done, not signed":   {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) { send(t, w, m) }, "not signed"},
		"done, says another": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) { send(t, w, signed(m, "other.test.")) }, "TSIG key other.test."},
		"done, wrong MAC":    {func(t *testing.T, w dns.ResponseWriter, r, m *dns.Msg) { sendSigned(t, w, r, m, "b3RoZXIgc2VjcmV0", 0) }, "signature of the answer"},
		"done, long ago":     {func(t *testing.T, w dns.ResponseWriter, r, m *dns.Msg) { sendSigned(t, w, r, m, secret, 1700000000) }, "bad time"},
		"done, other request": {func(t *testing.T, w dns.ResponseWriter, r, m *dns.Msg) {
			r.IsTsig().MAC = strings.Repeat("00", 32)
			sendSigned(t, w, r, m, secret, 0)
		}, "signature of the answer"},
		"done, other zone": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			m.Question[0].Name = "x."
			send(t, w, signed(m, "key.test."))
		}, "another question"},
		"wrong ID": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) { m.Id++; send(t, w, signed(m, "key.test.")) }, "ID"},
		"refused": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			m.Rcode = dns.RcodeRefused
			send(t, w, signed(m, "key.test."))
		}, "REFUSED"},
		"refused, not signed": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) { m.Rcode = dns.RcodeRefused; send(t, w, m) }, "REFUSED"},
		"not our zone": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			m.Rcode = dns.RcodeNotZone
			send(t, w, signed(m, "key.test."))
		}, "NOTZONE"},
		"bad key": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			m.Rcode = dns.RcodeNotAuth
			signed(m, "key.test.").IsTsig().Error = dns.RcodeBadKey
			send(t, w, m)
		}, "NOTAUTH, TSIG error BADKEY"},
		"signed error": {func(t *testing.T, w dns.ResponseWriter, _, m *dns.Msg) {
			signed(m, "key.test.").IsTsig().Error = dns.RcodeBadTime
			send(t, w, m)
		}, "TSIG error BADTIME"},
		"hangs up": {func(_ *testing.T, w dns.ResponseWriter, _, _ *dns.Msg) { w.Close() }, "read the length"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := serve(t, secrets(), func(w dns.ResponseWriter, r *dns.Msg) { c.answer(t, w, r, new(dns.Msg).SetReply(r)) })
			err := patient().Update(t.Context(), parentName, childName, server, testKey(), []string{wireDS(1, 1)}, 60)
			if (err != nil) != (c.err != "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want one with %q", err, c.err)
			}
		})
	}
}

// sendSigned signs an answer as key.test. by hand: with any secret and, unless it is 0, at any time.
func sendSigned(t testing.TB, w dns.ResponseWriter, r, m *dns.Msg, secret string, at int64) {
	m.SetTsig("key.test.", dns.HmacSHA256, fudge, at)
	wire, _, err := dns.TsigGenerate(m, secret, r.IsTsig().MAC, false)
	if err != nil {
		t.Error(err)
	}
	if _, err := w.Write(wire); err != nil {
		t.Error(err)
	}
}

// What cannot be an update is not sent.
func TestUpdateRejects(t *testing.T) {
	t.Parallel()
	server := serve(t, secrets(), func(_ dns.ResponseWriter, r *dns.Msg) { t.Errorf("update %v", r) })
	good := []string{wireDS(1, 1)}
	for name, c := range map[string]struct {
		parent, child string
		change        func(k *TSIG)
		ds            []string
		err           string
	}{
		"key without name":    {"test.", "child.test.", func(k *TSIG) { k.Name = "" }, good, "name"},
		"bad name of the key": {"test.", "child.test.", func(k *TSIG) { k.Name = "a..b" }, good, "a..b"},
		"unknown algorithm":   {"test.", "child.test.", func(k *TSIG) { k.Algorithm = "hmac-md5" }, good, "hmac-md5"},
		"no algorithm":        {"test.", "child.test.", func(k *TSIG) { k.Algorithm = "" }, good, "algorithm"},
		"no secret":           {"test.", "child.test.", func(k *TSIG) { k.Secret = "" }, good, "secret"},
		"bad secret":          {"test.", "child.test.", func(k *TSIG) { k.Secret = secret[1:] }, good, "secret"},
		"child is the parent": {"test.", "test.", func(*TSIG) {}, good, "not below"},
		"child elsewhere":     {"test.", "child.example.", func(*TSIG) {}, good, "not below"},
		"short DS":            {"test.", "child.test.", func(*TSIG) {}, []string{"\x00\x01\x0d\x02"}, "4 octets"},
		"long DS":             {"test.", "child.test.", func(*TSIG) {}, []string{strings.Repeat("a", 1<<16)}, "65536 octets"},
		"too many":            {"test.", "child.test.", func(*TSIG) {}, []string{strings.Repeat("a", 40000), strings.Repeat("b", 40000)}, "octets"},
	} {
		t.Run(name, func(t *testing.T) {
			key := testKey()
			c.change(&key)
			err := patient().Update(t.Context(), zone.MustParseName(c.parent), zone.MustParseName(c.child), server, key, c.ds, 60)
			if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), secret[1:]) {
				t.Errorf("error %v, want one with %q", err, c.err)
			}
		})
	}
}

func TestUpdateDeadServers(t *testing.T) {
	t.Parallel()
	for _, server := range []netip.AddrPort{silent(t), closed(t)} {
		if err := (&Client{Timeout: brief}).Update(t.Context(), parentName, childName, server, testKey(), nil, 0); err == nil {
			t.Errorf("%s: no error", server)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := serve(t, secrets(), func(dns.ResponseWriter, *dns.Msg) { cancel() })
	if err := patient().Update(ctx, parentName, childName, server, testKey(), nil, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// However a key is printed or encoded, its secret is not there.
func TestTSIGIsSilent(t *testing.T) {
	key := testKey()
	parsed, err := key.parse()
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []any{key, &key, parsed, &parsed, struct{ Key TSIG }{key}, []TSIG{key}, map[string]TSIG{"k": key}} {
		var b bytes.Buffer
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&b, verb+"\n", value)
		}
		if text, err := json.Marshal(value); err != nil {
			t.Error(err)
		} else {
			b.Write(text)
		}
		if text, err := yaml.Marshal(value); err != nil {
			t.Error(err)
		} else {
			b.Write(text)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
			slog.New(h).Info("x", "value", value)
		}
		b.WriteString(fmt.Errorf("wrapped: %v", value).Error())
		for _, s := range []string{secret, strings.TrimRight(secret, "="), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)} {
			if strings.Contains(b.String(), s) {
				t.Errorf("%T shows the secret:\n%s", value, b.String())
			}
		}
	}
	if text := key.String(); !strings.Contains(text, "Key.test") || !strings.Contains(text, "[redacted]") || fmt.Sprintf("%#v", key) != text {
		t.Errorf("shown as %q", text)
	}
}
