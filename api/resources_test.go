package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// The shapes of the design, member by member.
func TestTenantLooksAsDesigned(t *testing.T) {
	w := newWorld(t)
	w.populate()
	got := decodeTo[map[string]any](t, w.must(200, "PUT", "/v1/tenants/acme", acmeBody))
	want := map[string]any{
		"id": "acme", "display_name": "Acme", "state": "active", "pool": "default", "dane": true, "zone": "mx.test.", "smarthost": false,
		"smarthost_host": nil, "revision": got["revision"],
		"domains": []any{map[string]any{"domain": "contoso.com", "host": "contoso-com.mx.test.", "dane": true, "state": "active",
			"mx_record": "contoso.com. 3600 IN MX 0 contoso-com.mx.test."}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("tenant\n got %v\nwant %v", got, want)
	}
	smart := decodeTo[api.Tenant](t, w.must(200, "PATCH", "/v1/tenants/acme", `{"smarthost":true,"dane":false}`))
	if smart.SmarthostHost == nil || *smart.SmarthostHost != "acme.mx.test." {
		t.Errorf("smarthost_host %v", smart.SmarthostHost)
	}
	if smart.Domains[0].DANE {
		t.Error("a domain is shown with DANE although the tenant has none")
	}
}

func TestZoneLooksAsDesigned(t *testing.T) {
	w := newWorld(t)
	r := w.must(201, "PUT", "/v1/zones/MX.Test", zoneBody)
	got := decodeTo[map[string]any](t, r)
	want := map[string]any{
		"name": "mx.test.", "hostmaster": "hostmaster.mx.test.", "accepting": true, "serial": 1.0, "revision": got["revision"],
		"created":     w.clock.now().Format(time.RFC3339),
		"nameservers": []any{map[string]any{"name": "ns1.mx.test.", "addresses": []any{"192.0.2.53", "2001:db8::53"}}},
		"ttl":         map[string]any{"host": 300.0, "negative": 60.0, "dnskey": 3600.0, "ns": 3600.0},
		"signature":   map[string]any{"lifetime": "8h", "quantum": "1h", "backdate": "1h", "dnskey_lifetime": "48h", "dnskey_stock": "336h"},
		"keys": map[string]any{"algorithm": "ECDSAP256SHA256", "csk": false, "standby_ksk": false, "ksk_place": "sealed", "zsk_lifetime": "720h", "ksk_lifetime": "8760h",
			"propagation_delay": "5m", "parent_propagation_delay": "1h", "parent_ds_ttl": "24h"},
		"parent": map[string]any{"mode": "manual", "withdraw_ds": false},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("zone\n got %v\nwant %v", got, want)
	}
	for _, path := range []string{"/v1/zones/mx.test", "/v1/zones/mx.test.", "/v1/zones/MX.TEST."} {
		w.must(200, "GET", path, "")
		again := w.must(200, "PUT", path, zoneBody)
		if again.Header.Get("ETag") != r.Header.Get("ETag") {
			t.Errorf("repeating PUT %s made a new revision", path)
		}
	}
	if n := len(w.store.current().rows[keys]); n != 2 {
		t.Errorf("%d keys after repeated PUTs, want the 2 of the first", n)
	}
}

// What a zone is shown as can be sent back, without the members that the server owns, and changes nothing.
func TestShownSpecificationsCanBePutBack(t *testing.T) {
	w := newWorld(t)
	w.populate()
	for _, path := range []string{"/v1/zones/mx.test.", "/v1/pools/default"} {
		shown := w.must(200, "GET", path, "")
		spec := decodeTo[map[string]any](t, shown)
		for _, owned := range []string{"name", "serial", "created", "revision"} {
			delete(spec, owned)
		}
		body, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		if again := w.must(200, "PUT", path, string(body)); string(again.body) != string(shown.body) {
			t.Errorf("%s: put back, it became %s instead of %s", path, again.body, shown.body)
		}
	}
}

func TestDSAndKeys(t *testing.T) {
	w := newWorld(t)
	w.populate()
	ds := decodeTo[api.DS](t, w.must(200, "GET", "/v1/zones/mx.test/ds", ""))
	want := api.DS{Zone: "mx.test.", DS: []string{"mx.test. 3600 IN DS 12345 13 2 ABCD"},
		DNSKEY: []string{"mx.test. 3600 IN DNSKEY 257 3 13 cHVibGljIGtzaw=="}, CDS: []string{"mx.test. 3600 IN CDS 12345 13 2 ABCD"}, CDNSKEY: []string{}}
	if !reflect.DeepEqual(ds, want) {
		t.Errorf("ds\n got %+v\nwant %+v", ds, want)
	}
	list := w.must(200, "GET", "/v1/zones/mx.test/keys", "")
	page := decodeTo[api.Page[api.Key]](t, list)
	if len(page.Items) != 2 || strings.Contains(string(list.body), "SEALED") || strings.Contains(string(list.body), base64.StdEncoding.EncodeToString([]byte("SEALED"))) {
		t.Errorf("keys %s: want two, without anything private", list.body)
	}
}

func TestRecordsAreWhatIsServed(t *testing.T) {
	w := newWorld(t)
	w.populate()
	type recs struct{ Records []api.Record }
	all := []api.Record{
		{Name: "contoso-com.mx.test.", Type: "MX", TTL: 300, Data: "10 contoso-com.mx.test."},
		{Name: "contoso-com.mx.test.", Type: "A", TTL: 300, Data: "192.0.2.10"},
		{Name: "contoso-com.mx.test.", Type: "AAAA", TTL: 300, Data: "2001:db8::10"},
		{Name: "_25._tcp.contoso-com.mx.test.", Type: "TLSA", TTL: 300, Data: "3 1 1 " + digest},
	}
	check := func(path string, want []api.Record) {
		t.Helper()
		if got := decodeTo[recs](t, w.must(200, "GET", path, "")).Records; !slices.Equal(got, want) {
			t.Errorf("%s\n got %v\nwant %v", path, got, want)
		}
	}
	check("/v1/tenants/acme/records", all)
	check("/v1/tenants/acme/domains/contoso.com/records", all)
	w.must(200, "PATCH", "/v1/tenants/acme/domains/contoso.com", `{"dane":false}`)
	check("/v1/tenants/acme/domains/contoso.com/records", all[:3])
	w.must(201, "PUT", "/v1/pools/drain", `{"hosts":[{"name":"d","addresses":["192.0.2.99"]}]}`)
	w.must(200, "PUT", "/v1/zones/mx.test.", strings.Replace(zoneBody, "{", `{"drain_pool":"drain",`, 1))
	w.must(200, "PATCH", "/v1/tenants/acme", `{"state":"suspended"}`)
	drained := slices.Clone(all[:2])
	drained[1].Data = "192.0.2.99"
	check("/v1/tenants/acme/records", drained)
	w.must(200, "DELETE", "/v1/tenants/acme", "")
	check("/v1/tenants/acme/records", []api.Record{})
	w.must(404, "GET", "/v1/tenants/acme/domains/other.com/records", "")
}

func TestRevocationSaysHowLongAndCanBeRepeated(t *testing.T) {
	w := newWorld(t)
	w.populate()
	now := w.clock.now()
	first := w.must(200, "DELETE", "/v1/tenants/acme", "")
	got := decodeTo[api.Tenant](t, first)
	if got.State != "revoked" || got.Forget == nil {
		t.Fatalf("%s: want state revoked and two times", first.body)
	}
	if want := now.Add(5*time.Minute + 300*time.Second); !got.CachesForgetBy.Equal(want) {
		t.Errorf("caches_forget_by %s, want %s", got.CachesForgetBy, want)
	}
	if want := now.Add(5*time.Minute + signatureLife + time.Hour); !got.ReplayEndsBy.Equal(want) {
		t.Errorf("replay_ends_by %s, want %s", got.ReplayEndsBy, want)
	}
	if got.Domains[0].State != "revoked" || got.Domains[0].DANE || got.Domains[0].Host != "contoso-com.mx.test." {
		t.Errorf("domain of a revoked tenant: %+v", got.Domains[0])
	}
	w.clock.add(time.Hour)
	if again := w.must(200, "DELETE", "/v1/tenants/acme", ""); string(again.body) != string(first.body) {
		t.Errorf("repeated, it answers %s, not %s", again.body, first.body)
	}
	back := decodeTo[api.Tenant](t, w.must(200, "PUT", "/v1/tenants/acme", acmeBody))
	if back.State != "active" || back.Forget == nil || *back.Forget != *got.Forget || back.Domains[0].Host != "contoso-com.mx.test." {
		t.Errorf("brought back: %+v", back)
	}
}

func TestDomains(t *testing.T) {
	w := newWorld(t)
	w.populate()
	const path = "/v1/tenants/acme/domains/"
	added := decodeTo[api.TenantDomain](t, w.must(201, "PUT", path+"M%C3%BCnchen.DE", ""))
	if added.Domain.Domain != "xn--mnchen-3ya.de" || added.Host != "xn--mnchen-3ya-de.mx.test." || !added.DANE || added.Tenant != "acme" {
		t.Errorf("added %+v", added)
	}
	w.must(200, "PUT", path+"xn--mnchen-3ya.de", `{"dane":true}`)
	if off := decodeTo[api.TenantDomain](t, w.must(200, "PATCH", path+"xn--mnchen-3ya.de", `{"dane":false}`)); off.DANE {
		t.Error("DANE is still on")
	}
	gone := w.must(200, "DELETE", path+"xn--mnchen-3ya.de", "")
	got := decodeTo[api.TenantDomain](t, gone)
	if got.State != "revoked" || got.Forget == nil || !got.ReplayEndsBy.Equal(w.clock.now().Add(5*time.Minute+signatureLife+time.Hour)) {
		t.Errorf("removed: %s", gone.body)
	}
	w.clock.add(time.Minute)
	if again := w.must(200, "DELETE", path+"xn--mnchen-3ya.de", ""); string(again.body) != string(gone.body) {
		t.Errorf("repeated, it answers %s, not %s", again.body, gone.body)
	}
	w.must(404, "GET", path+"xn--mnchen-3ya.de", "")
	w.must(200, "GET", path+"contoso.com.", "")
}

func TestPreconditions(t *testing.T) {
	w := newWorld(t)
	w.populate()
	for path, body := range map[string]string{
		"/v1/zones/mx.test.":                    zoneBody,
		"/v1/pools/default":                     poolBody,
		"/v1/tenants/acme":                      acmeBody,
		"/v1/tenants/acme/domains/contoso.com":  `{"dane":true}`,
		"/v1/tenants/acme/domains/contoso.com.": ``,
	} {
		tag := w.must(200, "GET", path, "").Header.Get("ETag")
		if tag == "" {
			t.Fatalf("%s has no ETag", path)
		}
		for _, header := range []string{"If-Match: " + tag, "If-Match: *", `If-Match: "9999", ` + tag} {
			w.must(200, "PUT", path, body, header)
		}
		for _, header := range []string{`If-Match: "9999"`, `If-Match: "x"`, "If-None-Match: *"} {
			field, _, _ := strings.Cut(header, ":")
			w.refuses(412, "revision_mismatch", field, "PUT", path, body, header)
			w.refuses(412, "revision_mismatch", field, "DELETE", path, "", header)
		}
		for _, header := range []string{"If-Match: 17", "If-Match: W/" + tag, `If-Match: "1`, "If-None-Match: " + tag} {
			name, _, _ := strings.Cut(header, ":")
			w.refuses(400, "malformed", name, "PUT", path, body, header)
		}
		w.refuses(400, "malformed", "If-None-Match", "PUT", path, body, "If-Match: *", "If-None-Match: *")
	}
	for path, body := range map[string]string{
		"/v1/zones/new.test.": strings.ReplaceAll(zoneBody, "mx.test.", "new.test."), "/v1/pools/new": poolBody,
		"/v1/tenants/new": `{"pool":"default"}`, "/v1/tenants/acme/domains/new.com": "{}"} {
		w.refuses(412, "revision_mismatch", "If-Match", "PUT", path, body, "If-Match: *")
		w.refuses(412, "revision_mismatch", "If-Match", "PUT", path, body, `If-Match: "1"`)
		w.must(201, "PUT", path, body, "If-None-Match: *")
	}
	w.refuses(412, "revision_mismatch", "If-Match", "PATCH", "/v1/tenants/acme", "{}", `If-Match: "9999"`)
	id := decodeTo[api.NewToken](t, w.must(201, "POST", "/v1/tokens", `{"scope":"read"}`)).ID
	w.refuses(412, "revision_mismatch", "If-Match", "DELETE", "/v1/tokens/"+id, "", `If-Match: "9999"`)
}

// Of clients that write on the strength of the same revision exactly one wins.
func TestSameRevisionWinsOnce(t *testing.T) {
	w := newWorld(t)
	w.populate()
	tag := w.must(200, "GET", "/v1/tenants/acme", "").Header.Get("ETag")
	var group sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		group.Go(func() {
			req, err := http.NewRequest("PATCH", w.server.URL+"/v1/tenants/acme", strings.NewReader(fmt.Sprintf(`{"display_name":"client %d"}`, i)))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header = http.Header{"Authorization": {"Bearer " + w.secrets[keymgmt.ScopeProvision]}, "Content-Type": {"application/json"}, "If-Match": {tag}}
			res, err := w.server.Client().Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			statuses[i] = res.StatusCode
		})
	}
	group.Wait()
	slices.Sort(statuses)
	if statuses[0] != 200 || statuses[1] != 412 || statuses[7] != 412 {
		t.Errorf("statuses %v, want 200 once and 412 otherwise", statuses)
	}
}

// A tenant that comes while its pool is being deleted keeps the pool.
func TestDeletionLosesAgainstNewUse(t *testing.T) {
	w := newWorld(t)
	w.populate()
	w.must(201, "PUT", "/v1/pools/spare", poolBody)
	w.store.meddle = func() { w.must(200, "PATCH", "/v1/tenants/acme", `{"pool":"spare"}`) }
	if p := w.must(409, "DELETE", "/v1/pools/spare", "").problem(t); p.Code != "in_use" {
		t.Errorf("code %s", p.Code)
	}
	if got := decodeTo[api.Pool](t, w.must(200, "GET", "/v1/pools/spare", "")); got.Closing {
		t.Error("the pool is still closing")
	}
	w.must(200, "PATCH", "/v1/tenants/acme", `{"pool":"default"}`)
	w.must(204, "DELETE", "/v1/pools/spare", "")
	w.must(404, "GET", "/v1/pools/spare", "")
	w.must(200, "DELETE", "/v1/tenants/acme", "")
	made := w.store.current().Keys(zone.MustParseName("mx.test."))
	w.must(204, "DELETE", "/v1/zones/mx.test.", "")
	if n := len(w.store.current().rows[keys]); n != 0 {
		t.Errorf("%d keys are left of a deleted zone", n)
	}
	for _, k := range made {
		if !strings.Contains(w.log.String(), "destroyed "+k.ID) {
			t.Errorf("%s is left in the token", k)
		}
	}
}

func TestLists(t *testing.T) {
	w := newWorld(t)
	w.populate()
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("t%02d", i)
		want = append(want, id)
		w.must(201, "PUT", "/v1/tenants/"+id, `{"pool":"default"}`)
	}
	want = append([]string{"acme"}, want...)
	for _, limit := range []int{1, 7, 26, 100} {
		var got []string
		cursor := ""
		for {
			page := decodeTo[api.Page[api.Tenant]](t, w.must(200, "GET", fmt.Sprintf("/v1/tenants?limit=%d%s", limit, cursor), ""))
			if len(page.Items) > limit {
				t.Errorf("%d items on a page of %d", len(page.Items), limit)
			}
			for _, item := range page.Items {
				got = append(got, item.ID)
			}
			if page.NextCursor == "" {
				break
			}
			cursor = "&cursor=" + page.NextCursor
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v, want %v", limit, got, want)
		}
	}
	empty := newWorld(t)
	if got := string(empty.must(200, "GET", "/v1/pools", "").body); got != "{\"items\":[]}\n" {
		t.Errorf("an empty list is %q", got)
	}
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	made := decodeTo[api.NewToken](t, w.must(201, "POST", "/v1/tokens", `{"scope":"admin","description":"ci","expires_in":"1h"}`))
	if made.Secret == "" || made.Expires == nil || !made.Expires.Equal(w.clock.now().Add(time.Hour)) || made.Revision == 0 {
		t.Errorf("made %+v", made)
	}
	mine := "Authorization: Bearer " + made.Secret
	list := w.must(200, "GET", "/v1/tokens", "", mine)
	if strings.Contains(string(list.body), made.Secret) || strings.Contains(strings.ToLower(string(list.body)), "hash") {
		t.Error("the list shows secrets or hashes")
	}
	if got := decodeTo[api.Page[api.Token]](t, list); len(got.Items) != 4 {
		t.Errorf("%d tokens, want 4", len(got.Items))
	}
	if got := decodeTo[api.Token](t, w.must(200, "GET", "/v1/tokens/"+made.ID, "")); got.Description != "ci" {
		t.Errorf("token %+v", got)
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(w.secrets[keymgmt.ScopeAdmin], "mxs_"), "_")
	w.must(204, "DELETE", "/v1/tokens/"+first, "", mine)
	w.must(401, "GET", "/v1/tokens", "")
	if p := w.must(409, "DELETE", "/v1/tokens/"+made.ID, "", mine).problem(t); p.Code != "conflict" {
		t.Errorf("deleting the last admin token: %+v", p)
	}
	w.clock.add(time.Hour)
	w.must(401, "GET", "/v1/tokens", "", mine)
}

// The failure of the store is nobody's business but the log's.
func TestInternalErrorsRevealNothing(t *testing.T) {
	w := newWorld(t)
	w.populate()
	w.store.fail = errors.New("disk on fire at /secret/path")
	r := w.must(500, "PUT", "/v1/pools/new", poolBody)
	p := r.problem(t)
	if p.Code != "internal" || p.ID == "" || strings.Contains(string(r.body), "fire") {
		t.Errorf("%s", r.body)
	}
	if log := w.log.String(); !strings.Contains(log, p.ID) || !strings.Contains(log, "disk on fire") {
		t.Errorf("the log lacks the id %s or the reason: %s", p.ID, log)
	}
	if log := w.log.String(); strings.Contains(log, w.secrets[keymgmt.ScopeAdmin]) {
		t.Error("the log has a token")
	}
}

// The client speaks every route of the server.
func TestClient(t *testing.T) {
	w := newWorld(t)
	w.populate()
	c := w.client()
	ctx := context.Background()
	pool := api.PoolSpec{Hosts: []api.MailServer{{Name: "in", Addresses: []string{"192.0.2.77"}}}}
	made, err := c.PutPool(ctx, "other", pool, client.IfAbsent())
	if err != nil {
		t.Fatal(err)
	}
	var refused *client.Error
	if _, err = c.PutPool(ctx, "other", pool, client.IfAbsent()); !errors.As(err, &refused) || refused.Code != "revision_mismatch" {
		t.Errorf("second PUT with IfAbsent: %v", err)
	}
	if _, err = c.PutPool(ctx, "other", pool, client.IfRevision(made.Revision)); err != nil {
		t.Error(err)
	}
	if _, err = c.PutPool(ctx, "bad", api.PoolSpec{}); err == nil || !strings.HasPrefix(err.Error(), "hosts: ") {
		t.Errorf("error %v does not name the field", err)
	}
	for i := range 3 {
		if _, err := c.PutTenant(ctx, fmt.Sprint("t", i), api.TenantSpec{Pool: "other"}); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	for tenant, err := range c.Tenants(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, tenant.ID)
	}
	if !slices.Equal(ids, []string{"acme", "t0", "t1", "t2"}) {
		t.Errorf("tenants %v", ids)
	}
	check := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	check(c.Zone(ctx, "mx.test"))
	check(c.PutZone(ctx, "b.test", api.ZoneSpec{Nameservers: []api.Nameserver{{Name: "ns.b.test", Addresses: []string{"192.0.2.1"}}}}))
	check(nil, c.DeleteZone(ctx, "b.test"))
	check(c.ZoneDS(ctx, "mx.test"))
	check(c.ZoneKeys(ctx, "mx.test"))
	check(c.Pool(ctx, "other"))
	check(c.Tenant(ctx, "acme"))
	check(c.PatchTenant(ctx, "t0", api.TenantPatch{Pool: new("default")}))
	check(c.PutDomain(ctx, "t0", "münchen.de", api.DomainSpec{}))
	check(c.Domain(ctx, "t0", "münchen.de"))
	check(c.PatchDomain(ctx, "t0", "münchen.de", api.DomainSpec{DANE: new(false)}))
	check(c.DomainRecords(ctx, "t0", "münchen.de"))
	check(c.RemoveDomain(ctx, "t0", "münchen.de"))
	check(c.TenantRecords(ctx, "acme"))
	for _, id := range []string{"t0", "t1", "t2"} {
		check(c.RevokeTenant(ctx, id))
	}
	check(nil, c.DeletePool(ctx, "other"))
	token, err := c.CreateToken(ctx, api.TokenSpec{Scope: "read"})
	if err != nil {
		t.Fatal(err)
	}
	check(c.Token(ctx, token.ID))
	check(nil, c.DeleteToken(ctx, token.ID))
	for _, err := range c.Zones(ctx) {
		check(nil, err)
	}
	for _, err := range c.Pools(ctx) {
		check(nil, err)
	}
	for _, err := range c.Tokens(ctx) {
		check(nil, err)
	}
	check(c.Nodes(ctx))
	if err := c.ForgetNode(ctx, "self"); !errors.As(err, &refused) || refused.Code != "conflict" {
		t.Errorf("a node that is alive: %v", err)
	}
}

// A switch that an operator has turned off stays off when a provisioning system repeats a call that does not mention it.
func TestPutLeavesTheSwitchesThatItDoesNotMention(t *testing.T) {
	w := newWorld(t)
	w.populate()
	const tenant, domain = "/v1/tenants/acme", "/v1/tenants/acme/domains/contoso.com"
	silent := `{"pool":"default","domains":["contoso.com"]}`
	w.must(200, "PATCH", tenant, `{"dane":false}`)
	w.must(200, "PATCH", domain, `{"dane":false}`)
	if got := decodeTo[api.Tenant](t, w.must(200, "PUT", tenant, silent)); got.DANE {
		t.Error("the tenant's switch is on again")
	}
	w.must(200, "PUT", domain, "")
	w.must(200, "PATCH", tenant, `{"dane":true}`)
	if got := decodeTo[api.TenantDomain](t, w.must(200, "GET", domain, "")); got.DANE {
		t.Error("the domain's switch is on again")
	}
	if got := decodeTo[api.Tenant](t, w.must(201, "PUT", "/v1/tenants/new", `{"pool":"default","domains":["new.com"]}`)); !got.DANE || !got.Domains[0].DANE {
		t.Error("a new tenant's switches are off")
	}
}
