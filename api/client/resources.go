package client

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"

	"github.com/mxseal/mxseal/api"
)

// pages visits all items of a list, a page at a time. After an error it ends.
func pages[T any](ctx context.Context, c *Client, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for query := "?limit=500"; ; {
			page, err := call[api.Page[T]](ctx, c, http.MethodGet, path+query, nil)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range page.Items {
				if !yield(item, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			query = "?limit=500&cursor=" + url.QueryEscape(page.NextCursor)
		}
	}
}

// Zones visits all zones.
func (c *Client) Zones(ctx context.Context) iter.Seq2[api.Zone, error] {
	return pages[api.Zone](ctx, c, path("zones"))
}

// Zone returns one zone.
func (c *Client) Zone(ctx context.Context, name string) (*api.Zone, error) {
	return call[api.Zone](ctx, c, http.MethodGet, path("zones", name), nil)
}

// PutZone creates or replaces a zone.
func (c *Client) PutZone(ctx context.Context, name string, spec api.ZoneSpec, conditions ...Condition) (*api.Zone, error) {
	return call[api.Zone](ctx, c, http.MethodPut, path("zones", name), spec, conditions...)
}

// DeleteZone deletes a zone that nothing uses, and its keys.
func (c *Client) DeleteZone(ctx context.Context, name string, conditions ...Condition) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, path("zones", name), nil, conditions...)
	return err
}

// ZoneDS returns what the parent of a zone needs.
func (c *Client) ZoneDS(ctx context.Context, name string) (*api.DS, error) {
	return call[api.DS](ctx, c, http.MethodGet, path("zones", name, "ds"), nil)
}

// ZoneKeys returns the public part of a zone's keys.
func (c *Client) ZoneKeys(ctx context.Context, name string) ([]api.Key, error) {
	page, err := call[api.Page[api.Key]](ctx, c, http.MethodGet, path("zones", name, "keys"), nil)
	if err != nil {
		return nil, err
	}
	return page.Items, nil
}

// KeyStatus explains the keys of a zone.
func (c *Client) KeyStatus(ctx context.Context, name string) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodGet, path("zones", name, "keys", "status"), nil)
}

// RollKey begins a rollover, or says what it would be.
func (c *Client) RollKey(ctx context.Context, name string, r api.RollRequest) (*api.Rollover, error) {
	return call[api.Rollover](ctx, c, http.MethodPost, path("zones", name, "keys", "roll"), r)
}

// ConfirmDS says that all servers of the parent have the DS of a key; or, of the key "none", that they have no DS.
func (c *Client) ConfirmDS(ctx context.Context, name, key string) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodPost, path("zones", name, "keys", key, "confirm-ds"), nil)
}

// RestoreKey takes a key out of the trash and rolls to it.
func (c *Client) RestoreKey(ctx context.Context, name, key string) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodPost, path("zones", name, "keys", key, "restore"), nil)
}

// AddKey adds an offline KSK or a key of another signer.
func (c *Client) AddKey(ctx context.Context, name string, k api.AddedKey) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodPost, path("zones", name, "keys"), k)
}

// RemoveKey gives up a key of another signer, or an offline KSK that is not used yet.
func (c *Client) RemoveKey(ctx context.Context, name, key string) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodDelete, path("zones", name, "keys", key), nil)
}

// ExportRequest returns what the offline KSK of a zone has to sign.
func (c *Client) ExportRequest(ctx context.Context, name string, r api.RequestSpec) (*api.SigningRequest, error) {
	return call[api.SigningRequest](ctx, c, http.MethodPost, path("zones", name, "keys", "request"), r)
}

// ImportResponse gives the server what the offline KSK has signed.
func (c *Client) ImportResponse(ctx context.Context, name string, r api.SigningResponse) (*api.KeyStatus, error) {
	return call[api.KeyStatus](ctx, c, http.MethodPost, path("zones", name, "keys", "response"), r)
}

// Pools visits all pools.
func (c *Client) Pools(ctx context.Context) iter.Seq2[api.Pool, error] {
	return pages[api.Pool](ctx, c, path("pools"))
}

// Pool returns one pool.
func (c *Client) Pool(ctx context.Context, name string) (*api.Pool, error) {
	return call[api.Pool](ctx, c, http.MethodGet, path("pools", name), nil)
}

// PutPool creates or replaces a pool.
func (c *Client) PutPool(ctx context.Context, name string, spec api.PoolSpec, conditions ...Condition) (*api.Pool, error) {
	return call[api.Pool](ctx, c, http.MethodPut, path("pools", name), spec, conditions...)
}

// DeletePool deletes a pool that nothing uses.
func (c *Client) DeletePool(ctx context.Context, name string, conditions ...Condition) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, path("pools", name), nil, conditions...)
	return err
}

// Tenants visits all tenants.
func (c *Client) Tenants(ctx context.Context) iter.Seq2[api.Tenant, error] {
	return pages[api.Tenant](ctx, c, path("tenants"))
}

// Tenant returns one tenant.
func (c *Client) Tenant(ctx context.Context, id string) (*api.Tenant, error) {
	return call[api.Tenant](ctx, c, http.MethodGet, path("tenants", id), nil)
}

// PutTenant creates or replaces a tenant.
func (c *Client) PutTenant(ctx context.Context, id string, spec api.TenantSpec, conditions ...Condition) (*api.Tenant, error) {
	return call[api.Tenant](ctx, c, http.MethodPut, path("tenants", id), spec, conditions...)
}

// PatchTenant changes what the patch names.
func (c *Client) PatchTenant(ctx context.Context, id string, patch api.TenantPatch, conditions ...Condition) (*api.Tenant, error) {
	return call[api.Tenant](ctx, c, http.MethodPatch, path("tenants", id), patch, conditions...)
}

// RevokeTenant makes the hosts of a tenant disappear. The answer says how long that takes everywhere.
func (c *Client) RevokeTenant(ctx context.Context, id string, conditions ...Condition) (*api.Tenant, error) {
	return call[api.Tenant](ctx, c, http.MethodDelete, path("tenants", id), nil, conditions...)
}

// TenantRecords returns what is served for all hosts of a tenant.
func (c *Client) TenantRecords(ctx context.Context, id string) ([]api.Record, error) {
	return c.records(ctx, path("tenants", id, "records"))
}

// Domain returns one domain of a tenant.
func (c *Client) Domain(ctx context.Context, tenant, domain string) (*api.TenantDomain, error) {
	return call[api.TenantDomain](ctx, c, http.MethodGet, path("tenants", tenant, "domains", domain), nil)
}

// PutDomain adds a domain to a tenant, or replaces it.
func (c *Client) PutDomain(ctx context.Context, tenant, domain string, spec api.DomainSpec, conditions ...Condition) (*api.TenantDomain, error) {
	return call[api.TenantDomain](ctx, c, http.MethodPut, path("tenants", tenant, "domains", domain), spec, conditions...)
}

// PatchDomain changes what the patch names.
func (c *Client) PatchDomain(ctx context.Context, tenant, domain string, patch api.DomainSpec, conditions ...Condition) (*api.TenantDomain, error) {
	return call[api.TenantDomain](ctx, c, http.MethodPatch, path("tenants", tenant, "domains", domain), patch, conditions...)
}

// RemoveDomain withdraws a domain. The answer says how long that takes everywhere.
func (c *Client) RemoveDomain(ctx context.Context, tenant, domain string, conditions ...Condition) (*api.TenantDomain, error) {
	return call[api.TenantDomain](ctx, c, http.MethodDelete, path("tenants", tenant, "domains", domain), nil, conditions...)
}

// DomainRecords returns what is served for the host of a domain.
func (c *Client) DomainRecords(ctx context.Context, tenant, domain string) ([]api.Record, error) {
	return c.records(ctx, path("tenants", tenant, "domains", domain, "records"))
}

func (c *Client) records(ctx context.Context, path string) ([]api.Record, error) {
	out, err := call[api.Records](ctx, c, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return out.Records, nil
}

// Tokens visits all tokens.
func (c *Client) Tokens(ctx context.Context) iter.Seq2[api.Token, error] {
	return pages[api.Token](ctx, c, path("tokens"))
}

// Token returns one token.
func (c *Client) Token(ctx context.Context, id string) (*api.Token, error) {
	return call[api.Token](ctx, c, http.MethodGet, path("tokens", id), nil)
}

// CreateToken makes a token. Its secret is in the answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, spec api.TokenSpec) (*api.NewToken, error) {
	return call[api.NewToken](ctx, c, http.MethodPost, path("tokens"), spec)
}

// DeleteToken revokes a token.
func (c *Client) DeleteToken(ctx context.Context, id string, conditions ...Condition) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, path("tokens", id), nil, conditions...)
	return err
}

// Nodes returns all nodes that answer, and those that may and cannot be heard of.
func (c *Client) Nodes(ctx context.Context) (*api.Nodes, error) {
	return call[api.Nodes](ctx, c, http.MethodGet, path("nodes"), nil)
}

// ForgetNode says that a node does not answer any more.
func (c *Client) ForgetNode(ctx context.Context, name string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, path("nodes", name), nil)
	return err
}

// ErrTornBackup means that the copy is not complete and must not be used.
var ErrTornBackup = errors.New("the backup is not complete")

// Backup copies the server's store to w. Only when it returns nil is the copy complete.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	res, err := c.send(ctx, http.MethodGet, path("backup"), nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, sum), res.Body); err != nil {
		return fmt.Errorf("%w: %w", ErrTornBackup, err)
	}
	if res.Trailer.Get(api.BackupDigest) != api.FormatDigest(sum.Sum(nil)) {
		return ErrTornBackup
	}
	return nil
}
