//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

const (
	apiAddress     = address + ":8053"
	metricsAddress = address + ":9153"
	provisioners   = 16 // clients of the API at a time
)

// addMxseal adds mxseal with an empty database. Settings in the environment (MXSEAL_…) reach it as well.
func (b *bench) addMxseal(ctx context.Context) error {
	s, dir, err := b.add(mxseal, false)
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "mxseal.yaml")
	s.args = []string{b.path("mxseal"), "serve", "--config", conf}
	s.env = []string{"GOMAXPROCS=1"}
	if err := write(conf, `data_dir: %[1]q
dns: {listen: [%[2]q]}
api: {listen: %[3]q}
metrics: {listen: %[4]q}
keys: {kek: "file:%[1]s/kek", clock: trusted}
signer: {cache_size: %[5]d}
log: {level: warn, format: text}
`, dir, s.addr(), apiAddress, metricsAddress, max(64<<20, 2800*b.o.tenants)); err != nil {
		return err
	}
	return quiet(ctx, b.path("mxseal"), "init", "--config", conf)
}

// fill makes pool, zone and tenants over the API, unless they are there.
func (b *bench) fill(ctx context.Context, s *server) error {
	token, err := os.ReadFile(filepath.Join(filepath.Dir(s.log), "admin.token"))
	if err != nil {
		return err
	}
	c, err := client.New(client.Config{Server: "http://" + apiAddress, Token: strings.TrimSpace(string(token))})
	if err != nil {
		return err
	}
	if err := s.await(ctx, func() error {
		_, err := c.PutPool(ctx, "bench", pool())
		return err
	}); err != nil {
		return err
	}
	if _, err := c.Tenant(ctx, id(b.o.tenants-1)); err == nil {
		return nil // filled before the last stop
	}
	if _, err := c.PutZone(ctx, zoneName, api.ZoneSpec{
		Nameservers: []api.Nameserver{{Name: "ns1." + zoneName, Addresses: []string{"127.0.0.1"}}},
	}); err != nil {
		return err
	}
	return putTenants(ctx, c, b.o.tenants)
}

func id(i int) string { return fmt.Sprintf("t%d", i) }

// putTenants makes the tenants, the last one last.
func putTenants(ctx context.Context, c *client.Client, n int) error {
	put := func(ctx context.Context, i int) error {
		_, err := c.PutTenant(ctx, id(i), api.TenantSpec{Pool: "bench", Domains: []string{domain(i)}})
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(provisioners)
	for i := range n - 1 {
		g.Go(func() error { return put(inner, i) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return put(ctx, n-1)
}
