//go:build !race

// Under the race detector other variables escape, so these tests have a run of their own in the Makefile.
package server_test

import (
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/internal/dnstest"
	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/server"
	"github.com/mxseal/mxseal/zone"
)

// A remembered answer takes no memory of its own.
func TestAllocationsOfAnswers(t *testing.T) {
	w := newWorld(t, standard(t, ecdsa), remembering(epoch.New()))
	out := make([]byte, 0, 4096)
	for _, q := range []dnstest.Query{{Name: host, Type: dns.TypeA, DO: true}, {Name: "_25._tcp." + host, Type: dns.TypeTLSA, DO: true},
		{Name: "absent.mx.test.", Type: dns.TypeA, DO: true}, {Name: host, Type: dns.TypeTXT}} {
		packet := pack(t, q.Message())
		w.Respond(out, packet, server.UDP)
		if n := testing.AllocsPerRun(100, func() { w.Respond(out, packet, server.UDP) }); n != 0 {
			t.Errorf("%s %s: %v allocations", q.Name, dns.Type(q.Type), n)
		}
	}
}

// Nor does one that was made ahead.
func TestAllocationsOfAnswersMadeAhead(t *testing.T) {
	c := newClocked(t)
	c.askOf(t, signed()[:1], 2)
	next := time.Unix(windowOf(host, now).Start, 0).Add(time.Hour)
	c.at = next.Add(-time.Minute)
	c.pass(time.Second)
	c.at = next
	packet, out := pack(t, query()), make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { c.Respond(out, packet, server.UDP) }); n != 0 || lookups(t, c.world, "late") != 0 {
		t.Errorf("%v allocations, %v late", n, lookups(t, c.world, "late"))
	}
}

// What a denial of a new name takes besides the allocations of its signature (those of package p256: 11; crypto/ecdsa has 55): the name, the RRsets of SOA and NSEC
// with their records, the next name and the bitmap, the signed data, two slices of signatures, and the entry that remembers it; a
// dozen are of the state of this test. A budget: to take more needs a reason.
func TestAllocationsOfADenial(t *testing.T) {
	const budget = 27
	w := newWorld(t, standard(t, ecdsa), remembering(epoch.New()))
	key := w.state.KeySet(zone.MustParseName("mx.test.")).SigningKeys(zone.Root, zone.TypeA)[0]
	data, n := []byte("data to be signed"), 0
	own := testing.AllocsPerRun(100, func() {
		n++
		data[0] = byte(n)
		if _, err := key.AppendSignature(nil, data, new(sha256.Sum256(data))); err != nil {
			t.Error(err)
		}
	})
	out := make([]byte, 0, 4096)
	packet := pack(t, dnstest.Query{Name: "absent00000.mx.test.", Type: dns.TypeA, DO: true}.Message())
	all := testing.AllocsPerRun(100, func() {
		n++
		copy(packet[19:], fmt.Sprintf("%05d", n))
		w.Respond(out, packet, server.UDP)
	})
	if all-2 > own+budget { // two are the test's
		t.Errorf("%v allocations, %v of them of the signature; the budget of the rest is %d", all, own, budget)
	}
}
