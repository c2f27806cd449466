package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/internal/cable"
)

// TestPartition: a node is cut off from etcd while the keys are being rolled, for longer than it may answer. Resolvers ask both nodes all
// the time, and no answer is bogus: the leader waits for the node, which gives up answering, and then goes on.
func TestPartition(t *testing.T) {
	t.Parallel()
	c := startEtcd(t, 1)
	line := must[*cable.Cable](t)(cable.Lay(fmt.Sprintf("%s:2379", newSite().loopback()), strings.TrimPrefix(c.url(0, 2379), "http://")))
	t.Cleanup(line.Close)
	c.stale = "20s"
	c.reached = map[int]string{1: "http://" + line.Addr}
	nodes := startNodes(t, c, 2)
	led, others := leader(t, nodes)
	if led != nodes[0] {
		t.Fatal("the node that was there first does not lead")
	}
	away := others[0]
	zone := ownParent
	spec := quickPolicy(led, zone)
	spec.Nameservers = append(spec.Nameservers, api.Nameserver{Name: "ns2." + zone, Addresses: []string{away.addr.String()}})
	must[*api.Zone](t)(led.PutZone(t.Context(), zone, spec))
	must[*api.Pool](t)(led.PutPool(t.Context(), pool, examplePool("192.0.2.10", 1)))
	must[*api.Tenant](t)(led.PutTenant(t.Context(), "c", api.TenantSpec{Zone: zone, Pool: pool, DANE: new(true), Domains: []string{hostDomain(zone)}}))
	host := hostOf(hostDomain(zone), zone)
	expectSame(t, nodes, led.keys(t, zone), host)

	root := startAuthority(t, led.site.addr(10), []delegation{{zone, []netip.Addr{led.addr, away.addr}, shortTTL(led.ds(t, zone))}}, nil)
	w := &rollWorld{server: led, root: root}
	for i := range 2 {
		w.resolvers = append(w.resolvers, &startUnbound(t, root, led.site.addr(byte(11+i)), unboundOptions{aggressive: i == 0}).resolver)
	}
	ctx, stop := context.WithCancel(t.Context())
	asking := w.ask(ctx, t, zone)

	roll := func() {
		t.Helper()
		await(t, "the rollover before has ended", func() error {
			_, err := led.RollKey(t.Context(), zone, api.RollRequest{Role: "zsk"})
			return err
		})
	}
	old := led.signers(t, zone)
	roll()
	expectSigners(t, led, zone, "another ZSK signs", func(now string) bool { return now != old })
	between := led.signers(t, zone)

	roll()
	line.Cut()
	await(t, "the leader waits for the node that is cut off", func() error {
		if led.count(t, "mxseal_key_holding", "") != 1 {
			return errors.New("it does not")
		}
		return nil
	})
	if err := away.expectHost(led.keys(t, zone), host); err != nil {
		t.Errorf("the node that is cut off, at first: %v", err)
	}
	if now := led.signers(t, zone); now != between {
		t.Errorf("%s signs, not %s, while a node may not know of it", now, between)
	}
	await(t, "the node answers no more", func() error {
		m, err := ask(away.addr, host, dns.TypeA, false)
		if err == nil && m.Rcode != dns.RcodeServerFailure {
			err = errors.New(dns.RcodeToString[m.Rcode])
		}
		return err
	})
	if err := away.expectNotReady("stale_after"); err != nil {
		t.Error(err)
	}
	expectSigners(t, led, zone, "the rollover goes on without the node", func(now string) bool { return now != between })

	line.Mend()
	await(t, "the node answers again", func() error { return away.expectHost(led.keys(t, zone), host) })
	expectSame(t, nodes, led.keys(t, zone), host)
	roll()
	now := led.signers(t, zone)
	expectSigners(t, led, zone, "the next rollover waits for nobody", func(next string) bool { return next != now })
	expectSame(t, nodes, led.keys(t, zone), host)
	stop()
	asking.Wait()
	t.Logf("%d secure answers", w.asked.Load())
}

// signers are the keys that sign the records of a zone now, by a name that no cache has.
func (s *server) signers(t testing.TB, zone string) string {
	t.Helper()
	m, err := ask(s.addr, fmt.Sprintf("no%d.%s", rand.Uint64(), zone), dns.TypeA, true)
	if err != nil {
		t.Fatal(err)
	}
	tags := ""
	for _, rr := range m.Ns {
		if sig, is := rr.(*dns.RRSIG); is && sig.TypeCovered == dns.TypeNSEC {
			tags += fmt.Sprintf(" %d", sig.KeyTag)
		}
	}
	return tags
}

func expectSigners(t testing.TB, s *server, zone, what string, is func(string) bool) {
	t.Helper()
	await(t, what, func() error {
		if now := s.signers(t, zone); !is(now) {
			return fmt.Errorf("%s signs", now)
		}
		return nil
	})
}

// expectNotReady returns an error unless the server says that it is not ready, and why.
func (s *server) expectNotReady(why string) error {
	res, err := http.Get(fmt.Sprintf("http://%s:9153/readyz", s.site.loopback()))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text := make([]byte, 1000)
	n, _ := res.Body.Read(text)
	if res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(text[:n]), why) {
		return fmt.Errorf("%s: %s", res.Status, text[:n])
	}
	return nil
}
