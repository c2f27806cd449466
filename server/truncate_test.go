package server_test

import (
	"bytes"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/server"
)

// withSize sets the UDP size that a packed query with EDNS and no options announces.
func withSize(packet []byte, size int) []byte {
	p := bytes.Clone(packet)
	p[len(p)-8], p[len(p)-7] = byte(size>>8), byte(size)
	return p
}

// Over UDP an answer is whole, or empty with TC; the limit is the smaller of the client's and ours, to the octet.
func TestTruncation(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa))
	for _, q := range []dnstest.Query{
		{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true},
		{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, Size: 4096},
		{Name: "acme.o-v1.mx.test.", Type: dns.TypeDNSKEY, DO: true},
		{Name: "mx.test.", Type: dns.TypeDNSKEY, DO: true},
		{Name: "mx.test.", Type: dns.TypeCDS, DO: true},
		{Name: "_26._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, DO: true, CO: true},
	} {
		packet := pack(t, q.Message())
		whole := w.Respond(nil, packet, server.TCP)
		dnstest.Verify(t, w.keys, q, parse(t, whole), now)
		for _, size := range []int{0, 1, 511, 512, 513, len(whole) - 1, len(whole), len(whole) + 1, 1231, 1232, 1233, 4096, 65535} {
			limit := min(max(size, 512), 1232)
			reply := w.Respond(nil, withSize(packet, size), server.UDP)
			if len(whole) <= limit {
				if !bytes.Equal(reply, whole) {
					t.Errorf("%s: %d octets, size %d: not the whole answer", q, len(whole), size)
				}
				continue
			}
			m := parse(t, reply)
			if !m.Truncated || !m.Authoritative || m.IsEdns0() == nil || len(reply) > limit || m.Rcode != parse(t, whole).Rcode {
				t.Errorf("%s: %d octets, size %d: %s", q, len(whole), size, m)
			}
			checkEmpty(t, m)
		}
	}
	if counted(t, w.opts.Metrics, "mxseal_dns_truncated_total") == 0 {
		t.Error("truncated answers are not counted, or there were none")
	}
}

// The limit of 512 octets without EDNS, and limits of ours other than the default.
func TestTruncationLimits(t *testing.T) {
	s := standard(t, ecdsa)
	with := dnstest.Query{Name: "_25._tcp.large.o-v1.mx.test.", Type: dns.TypeTLSA, Size: 65535}
	without := dnstest.Query{Name: with.Name, Type: with.Type}
	full := len(newWorld(t, s).Respond(nil, pack(t, with.Message()), server.TCP))
	for _, c := range []struct {
		ours int
		q    dnstest.Query
		want bool
	}{
		{1232, without, true}, {4096, without, true}, {512, with, true}, {full - 1, with, true}, {full, with, false}, {4096, with, false},
	} {
		w := newWorld(t, s, func(o *server.Options) { o.UDPSize = c.ours })
		m := w.mustAsk(t, c.q.Message())
		if m.Truncated != c.want {
			t.Errorf("%d octets, limit %d, EDNS size %d: truncated: %t", full, c.ours, c.q.Size, m.Truncated)
		}
		if n := counted(t, w.opts.Metrics, "mxseal_dns_truncated_total"); (n == 1) != c.want {
			t.Errorf("limit %d: counted %v times", c.ours, n)
		}
	}
}
