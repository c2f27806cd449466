package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

const (
	devZone    = "mx.test."
	devPool    = "default"
	anchorFile = "trust-anchor.conf"
)

// serveDev serves the development mode: what is missing is made, and what to type next is printed.
func serveDev(cmd *cobra.Command, cfg conf.Config, log *slog.Logger) error {
	cfg.Keys.TrustClock = true
	cfg.DNS.Listen = slices.DeleteFunc(cfg.DNS.Listen, func(a netip.AddrPort) bool { return a.Addr().Is6() && !hasIPv6(log) })
	if isEtcd(cfg) {
		return errors.New("store.engine: must be bolt in the development mode")
	}
	if !bolt.Exists(cfg.DataDir) {
		if _, err := initialize(cmd.Context(), cfg, time.Now()); err != nil {
			return err
		}
	}
	n, err := build(cmd.Context(), cfg, log)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return n.run(cmd.Context(), func() error {
		if err := seed(cmd.Context(), n); err != nil {
			return err
		}
		return printNext(cmd, cfg, n.store.State())
	})
}

// hasIPv6 reports whether this machine has the loopback address of IPv6, which containers often lack.
func hasIPv6(log *slog.Logger) bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		log.Warn("development mode without IPv6", "error", err)
		return false
	}
	return l.Close() == nil
}

// seed puts zone and pool into a database that has only what initialize puts there: whoever deletes them in
// development does not get them back at the next start.
func seed(ctx context.Context, n *node) error {
	if n.store.State().Revision() > 1 {
		return nil
	}
	apex := zone.MustParseName(devZone)
	spec := zone.DefaultZoneSpec(apex)
	spec.Nameservers = []zone.Nameserver{{
		Name:      zone.MustParseName("ns1." + devZone),
		Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")},
	}}
	now := time.Now()
	_, err := n.store.Update(ctx, func(st *store.State) (zone.Changes, error) {
		pool, _, err := zone.PlanPutPool(st, devPool, examplePool(), nil)
		if err != nil {
			return zone.Changes{}, err
		}
		changes, z, err := zone.PlanPutZone(st, apex, spec, now, "development", nil)
		if err != nil {
			return zone.Changes{}, err
		}
		keys, err := n.vault.NewZone(z, nil, nil, now)
		if err != nil {
			return zone.Changes{}, err
		}
		changes.Puts = slices.Concat(changes.Puts, keys.Rows(), pool.Puts)
		return changes, nil
	})
	return err
}

// examplePool has addresses for documentation (RFC 5737, RFC 3849) and the digest of no key at all.
func examplePool() zone.PoolSpec {
	return zone.PoolSpec{
		Hosts:        []zone.MailServer{{Name: "in1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("2001:db8::10")}}},
		MXPreference: 10,
		TLSA:         []zone.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: []byte("example, not the digest of a key")}},
	}
}

// printNext says what to type next, for the zone if it is there still.
func printNext(cmd *cobra.Command, cfg conf.Config, st *store.State) error {
	apex := zone.MustParseName(devZone)
	keys := st.KeySet(apex)
	if keys == nil {
		return nil
	}
	anchor := filepath.Join(cfg.DataDir, anchorFile)
	if err := os.WriteFile(anchor, []byte(trustAnchor(keys.DS())), 0o644); err != nil {
		return err
	}
	dns := cfg.DNS.Listen[0]
	at := fmt.Sprintf("@%s -p %d", dns.Addr(), dns.Port())
	_, err := fmt.Fprintf(cmd.OutOrStdout(), `
mxseal serves %[1]s from %[2]s. What to type next, in another terminal:

  provision a tenant:
curl -sS -X PUT -H "Authorization: Bearer $(cat %[3]s)" -H "Content-Type: application/json" -d '{"pool":"%[4]s","domains":["contoso.com"]}' http://%[5]s/v1/tenants/acme

  ask for its host:
dig %[6]s contoso-com.%[1]s MX +dnssec

  validate the answer, from the trust anchor:
delv %[6]s -a %[7]s +root=%[1]s _25._tcp.contoso-com.%[1]s TLSA

Metrics and health: http://%[8]s/metrics /healthz /readyz. Everything else: mxseal --help. Ctrl-C stops.

`, devZone, cfg.DataDir, filepath.Join(cfg.DataDir, tokenFile), devPool, cfg.API.Listen, at, anchor, cfg.Metrics.Listen)
	return err
}

// trustAnchor is a file for delv -a and named: the SHA-256 digests of a DS RRset.
func trustAnchor(ds zone.RRset) string {
	var b strings.Builder
	b.WriteString("trust-anchors {\n")
	for i := range ds.Len() {
		rdata := []byte(ds.RData(i))
		if rdata[3] == 2 {
			fmt.Fprintf(&b, "  %q static-ds %d %d %d \"%X\";\n", ds.Name(), int(rdata[0])<<8|int(rdata[1]), rdata[2], rdata[3], rdata[4:])
		}
	}
	b.WriteString("};\n")
	return b.String()
}
