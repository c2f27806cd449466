package api_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/keymgmt"
)

// Every bad value that a provider can send is refused with the field and the rule, and changes nothing.
func TestBadValuesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.populate()
	w.must(201, "PUT", "/v1/tenants/rival", `{"pool":"default","domains":["rival.com"]}`)
	w.must(201, "PUT", "/v1/pools/spare", poolBody)
	label64 := strings.Repeat("a", 64)
	tenant := func(domains string) string { return `{"pool":"default","domains":[` + domains + `]}` }
	tlsa := func(usage, selector, matching int, data string) string {
		return fmt.Sprintf(`{"hosts":[{"name":"a","addresses":["192.0.2.1"]}],"tlsa":[{"usage":%d,"selector":%d,"matching_type":%d,"data":"%s"}]}`,
			usage, selector, matching, data)
	}
	pool := func(addresses string) string { return `{"hosts":[{"name":"a","addresses":[` + addresses + `]}]}` }
	zone := func(members string) string { return strings.TrimSuffix(zoneBody, "}") + "," + members + "}" }
	for _, c := range []struct {
		name                      string
		status                    int
		code, field, method, path string
		body                      string
	}{
		{"domain with an empty label", 422, "invalid", "domains[1]", "PUT", "/v1/tenants/new", tenant(`"good.com","a..com"`)},
		{"domain with a label of 64 octets", 422, "invalid", "domains[0]", "PUT", "/v1/tenants/new", tenant(`"` + label64 + `.com"`)},
		{"domain that is an IPv4 address", 422, "invalid", "domains[0]", "PUT", "/v1/tenants/new", tenant(`"192.0.2.1"`)},
		{"domain that is an IPv6 address", 422, "invalid", "domains[0]", "PUT", "/v1/tenants/new", tenant(`"2001:db8::1"`)},
		{"domain that is a public suffix", 422, "invalid", "domains[0]", "PUT", "/v1/tenants/new", tenant(`"co.uk"`)},
		{"domain that is no domain", 422, "invalid", "domains[0]", "PUT", "/v1/tenants/new", tenant(`"not a domain!.com"`)},
		{"domain of another tenant", 409, "conflict", "domains[2]", "PUT", "/v1/tenants/new", tenant(`"zzz.com","aaa.com","contoso.com"`)},
		{"domain of another tenant alone", 409, "conflict", "domain", "PUT", "/v1/tenants/rival/domains/contoso.com", `{}`},
		{"domain in the path that is a public suffix", 422, "invalid", "domain", "PUT", "/v1/tenants/acme/domains/com", `{}`},
		{"domain in the path that is an address", 422, "invalid", "domain", "PUT", "/v1/tenants/acme/domains/192.0.2.1", `{}`},
		{"domain of an unknown tenant", 404, "not_found", "tenant", "PUT", "/v1/tenants/nobody/domains/new.com", `{}`},
		{"tenant without pool", 422, "invalid", "pool", "PUT", "/v1/tenants/new", `{}`},
		{"tenant with an unknown pool", 422, "unknown_reference", "pool", "PUT", "/v1/tenants/new", `{"pool":"nope"}`},
		{"tenant with an unknown zone", 422, "unknown_reference", "zone", "PUT", "/v1/tenants/new", `{"pool":"default","zone":"nope.test."}`},
		{"tenant with a zone that is no name", 422, "invalid", "zone", "PUT", "/v1/tenants/new", `{"pool":"default","zone":"a..b"}`},
		{"tenant id in upper case", 422, "invalid", "id", "PUT", "/v1/tenants/New", `{"pool":"default"}`},
		{"tenant id that is too long", 422, "invalid", "id", "PUT", "/v1/tenants/" + label64 + "a", `{"pool":"default"}`},
		{"display name with a control character", 422, "invalid", "display_name", "PUT", "/v1/tenants/new", `{"pool":"default","display_name":"a\u0007"}`},
		{"patch of an unknown tenant", 404, "not_found", "tenant", "PATCH", "/v1/tenants/nobody", `{}`},
		{"patch to an unknown pool", 422, "unknown_reference", "pool", "PATCH", "/v1/tenants/acme", `{"pool":"nope"}`},
		{"patch to an unknown state", 422, "invalid", "state", "PATCH", "/v1/tenants/acme", `{"state":"asleep"}`},
		{"revocation by patch", 422, "invalid", "state", "PATCH", "/v1/tenants/acme", `{"state":"revoked"}`},
		{"suspension without a drain pool", 409, "no_drain_pool", "state", "PATCH", "/v1/tenants/acme", `{"state":"suspended"}`},
		{"patch of a domain that is not there", 404, "not_found", "domain", "PATCH", "/v1/tenants/acme/domains/new.com", `{"dane":false}`},
		{"removal of a domain of another tenant", 404, "not_found", "domain", "DELETE", "/v1/tenants/rival/domains/contoso.com", ""},
		{"revocation of an unknown tenant", 404, "not_found", "tenant", "DELETE", "/v1/tenants/nobody", ""},

		{"pool without hosts", 422, "invalid", "hosts", "PUT", "/v1/pools/new", `{"hosts":[]}`},
		{"pool without address", 422, "invalid", "hosts", "PUT", "/v1/pools/new", pool("")},
		{"address that is none", 422, "invalid", "hosts[0].addresses[1]", "PUT", "/v1/pools/new", pool(`"192.0.2.1","192.0.2.999"`)},
		{"host name as an address", 422, "invalid", "hosts[0].addresses[0]", "PUT", "/v1/pools/new", pool(`"mail.example"`)},
		{"multicast address", 422, "invalid", "hosts[0].addresses[0]", "PUT", "/v1/pools/new", pool(`"224.0.0.1"`)},
		{"IPv6 multicast address", 422, "invalid", "hosts[0].addresses[0]", "PUT", "/v1/pools/new", pool(`"ff02::1"`)},
		{"unspecified address", 422, "invalid", "hosts[0].addresses[0]", "PUT", "/v1/pools/new", pool(`"0.0.0.0"`)},
		{"IPv6 unspecified address", 422, "invalid", "hosts[0].addresses[0]", "PUT", "/v1/pools/new", pool(`"::"`)},
		{"TLSA usage 0", 422, "invalid", "tlsa[0].usage", "PUT", "/v1/pools/new", tlsa(0, 1, 1, digest)},
		{"TLSA usage 1", 422, "invalid", "tlsa[0].usage", "PUT", "/v1/pools/new", tlsa(1, 1, 1, digest)},
		{"TLSA selector 2", 422, "invalid", "tlsa[0].selector", "PUT", "/v1/pools/new", tlsa(3, 2, 1, digest)},
		{"TLSA matching type 3", 422, "invalid", "tlsa[0].matching_type", "PUT", "/v1/pools/new", tlsa(3, 1, 3, digest)},
		{"TLSA usage over 255", 422, "invalid", "tlsa[0].usage", "PUT", "/v1/pools/new", tlsa(259, 1, 1, digest)},
		{"TLSA digest of the wrong length", 422, "invalid", "tlsa[0].data", "PUT", "/v1/pools/new", tlsa(3, 1, 1, digest[2:])},
		{"TLSA SHA-512 digest of 32 octets", 422, "invalid", "tlsa[0].data", "PUT", "/v1/pools/new", tlsa(3, 1, 2, digest)},
		{"TLSA data of an odd number of digits", 422, "invalid", "tlsa[0].data", "PUT", "/v1/pools/new", tlsa(3, 1, 1, digest[1:])},
		{"TLSA data that is not hexadecimal", 422, "invalid", "tlsa[0].data", "PUT", "/v1/pools/new", tlsa(3, 1, 1, "zz")},
		{"pool with port 0", 422, "invalid", "tlsa_ports", "PUT", "/v1/pools/new", `{"hosts":[{"name":"a","addresses":["192.0.2.1"]}],"tlsa_ports":[0]}`},
		{"pool name with a slash", 422, "invalid", "pool", "PUT", "/v1/pools/a%2Fb", poolBody},
		{"deletion of a pool in use", 409, "in_use", "pool", "DELETE", "/v1/pools/default", ""},
		{"deletion of an unknown pool", 404, "not_found", "pool", "DELETE", "/v1/pools/nope", ""},

		{"zone without name servers", 422, "invalid", "nameservers", "PUT", "/v1/zones/new.test.", `{"nameservers":[]}`},
		{"zone name with an empty label", 422, "invalid", "zone", "PUT", "/v1/zones/a..b", zoneBody},
		{"zone with a duration that is none", 422, "invalid", "signature.lifetime", "PUT", "/v1/zones/mx.test.", zone(`"signature":{"lifetime":"8 hours"}`)},
		{"zone with a TTL of 0", 422, "invalid", "ttl.host", "PUT", "/v1/zones/mx.test.", zone(`"ttl":{"host":0}`)},
		{"zone with an unknown algorithm", 422, "invalid", "keys.algorithm", "PUT", "/v1/zones/new.test.", zone(`"keys":{"algorithm":"RSAMD5"}`)},
		{"rollover that has to wait", 409, "conflict", "role", "POST", "/v1/zones/mx.test./keys/roll", `{"role":"zsk"}`},
		{"rollover with a misspelt field", 422, "invalid", "emergencey", "POST", "/v1/zones/mx.test./keys/roll", `{"role":"zsk","emergencey":true}`},
		{"confirmation of an unknown key", 404, "not_found", "key", "POST", "/v1/zones/mx.test./keys/nope/confirm-ds", ""},
		{"restoring an unknown key", 404, "not_found", "key", "POST", "/v1/zones/mx.test./keys/nope/restore", ""},
		{"rollover of an unknown zone", 404, "not_found", "zone", "POST", "/v1/zones/nope.test./keys/roll", `{"role":"zsk"}`},
		{"zone with a lifetime that is shorter than a rollover", 422, "invalid", "keys.zsk_lifetime", "PUT", "/v1/zones/mx.test.", zone(`"keys":{"zsk_lifetime":"1h"}`)},
		{"zone with an unknown drain pool", 422, "unknown_reference", "drain_pool", "PUT", "/v1/zones/mx.test.", zone(`"drain_pool":"nope"`)},
		{"zone with a parent server without port", 422, "invalid", "parent.servers[0]", "PUT", "/v1/zones/mx.test.", zone(`"parent":{"mode":"check","servers":["192.0.2.1"]}`)},
		{"zone with an address that is none", 422, "invalid", "nameservers[0].addresses[0]", "PUT", "/v1/zones/new.test.", `{"nameservers":[{"name":"ns.new.test.","addresses":["x"]}]}`},
		{"zone with a name server that is no name", 422, "invalid", "nameservers[0].name", "PUT", "/v1/zones/new.test.", `{"nameservers":[{"name":"a..b"}]}`},
		{"deletion of a zone in use", 409, "in_use", "zone", "DELETE", "/v1/zones/mx.test.", ""},
		{"DS of an unknown zone", 404, "not_found", "zone", "GET", "/v1/zones/nope.test./ds", ""},

		{"token without scope", 422, "invalid", "scope", "POST", "/v1/tokens", `{}`},
		{"token with an unknown scope", 422, "invalid", "scope", "POST", "/v1/tokens", `{"scope":"root"}`},
		{"token that has expired", 422, "invalid", "expires", "POST", "/v1/tokens", `{"scope":"read","expires":"2001-01-01T00:00:00Z"}`},
		{"token with a time that is none", 422, "invalid", "expires", "POST", "/v1/tokens", `{"scope":"read","expires":"tomorrow"}`},
		{"token with a negative life", 422, "invalid", "expires_in", "POST", "/v1/tokens", `{"scope":"read","expires_in":"-1h"}`},
		{"token with two expiries", 422, "invalid", "expires", "POST", "/v1/tokens", `{"scope":"read","expires_in":"1h","expires":"2099-01-01T00:00:00Z"}`},
		{"deletion of an unknown token", 404, "not_found", "token", "DELETE", "/v1/tokens/nope", ""},

		{"limit of 0", 422, "invalid", "limit", "GET", "/v1/tenants?limit=0", ""},
		{"limit that is no number", 422, "invalid", "limit", "GET", "/v1/tenants?limit=all", ""},
		{"cursor from elsewhere", 422, "invalid", "cursor", "GET", "/v1/tenants?cursor=!", ""},
		{"unknown query parameter", 422, "invalid", "offset", "GET", "/v1/tenants?offset=1", ""},
		{"query parameter of a list on a resource", 422, "invalid", "limit", "GET", "/v1/tenants/acme?limit=1", ""},
		{"wait for something else", 400, "malformed", "wait", "PATCH", "/v1/tenants/acme?wait=ns1", "{}"},
		{"wait for nothing", 400, "malformed", "wait", "PATCH", "/v1/tenants/acme?wait=", "{}"},
		{"wait of a read", 422, "invalid", "wait", "GET", "/v1/tenants/acme?wait=all", ""},
		{"unknown node", 404, "not_found", "node", "DELETE", "/v1/nodes/nope", ""},
		{"node that is alone", 409, "conflict", "node", "DELETE", "/v1/nodes/self", ""},
		{"query parameter given twice", 422, "invalid", "limit", "GET", "/v1/tenants?limit=1&limit=2", ""},
		{"query with a bad escape", 400, "malformed", "query", "GET", "/v1/tenants?limit=%zz", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.refuses(c.status, c.code, c.field, c.method, c.path, c.body)
		})
	}
}

// What is not exactly the documented JSON is refused before anything happens.
func TestBadBodiesAreRefused(t *testing.T) {
	w := newWorld(t)
	w.populate()
	const path = "/v1/tenants/new"
	deep := strings.Repeat("[", 17) + strings.Repeat("]", 17)
	for _, c := range []struct {
		name              string
		status            int
		code, field, body string
	}{
		{"unknown member", 422, "invalid", "color", `{"pool":"default","color":"red"}`},
		{"member in another case", 422, "invalid", "Pool", `{"Pool":"default"}`},
		{"duplicate member", 422, "invalid", "pool", `{"pool":"default","pool":"default"}`},
		{"duplicate of an unknown member inside", 422, "invalid", "x", `{"pool":"default","x":{"a":1,"a":2}}`},
		{"number for text", 422, "invalid", "pool", `{"pool":7}`},
		{"text for boolean", 422, "invalid", "dane", `{"pool":"default","dane":"true"}`},
		{"null", 422, "invalid", "pool", `{"pool":null}`},
		{"text for array", 422, "invalid", "domains", `{"pool":"default","domains":"a.com"}`},
		{"object in an array of texts", 422, "invalid", "domains[0]", `{"pool":"default","domains":[{"domain":"a.com"}]}`},
		{"array for object", 422, "invalid", "body", `[]`},
		{"null for object", 422, "invalid", "body", `null`},
		{"lone surrogate", 422, "invalid", "display_name", `{"pool":"default","display_name":"\ud800"}`},
		{"trailing data", 400, "malformed", "body", `{"pool":"default"} {}`},
		{"trailing comma", 400, "malformed", "body", `{"pool":"default",}`},
		{"half a value", 400, "malformed", "body", `{"pool":"default"`},
		{"invalid UTF-8", 400, "malformed", "body", "{\"pool\":\"default\",\"display_name\":\"\xff\"}"},
		{"byte order mark", 400, "malformed", "body", "\ufeff" + `{"pool":"default"}`},
		{"deep nesting", 400, "malformed", "body", `{"pool":"default","domains":` + deep + `}`},
		{"nesting of an unknown member", 400, "malformed", "body", `{"x":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`},
		{"10 MB", 413, "too_large", "body", `{"pool":"` + strings.Repeat("a", 10<<20) + `"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w.t = t
			w.refuses(c.status, c.code, c.field, "PUT", path, c.body)
		})
	}
	t.Run("body of unknown length that is too large", func(t *testing.T) {
		w.t = t
		w.refusesStream(413, "too_large", path, strings.Repeat(" ", 2<<20))
	})
	for _, header := range []string{"Content-Type", "Content-Type: text/plain", "Content-Type: application/json; charset=latin1",
		"Content-Type: application/x-www-form-urlencoded", "Content-Encoding: gzip"} {
		t.Run(header, func(t *testing.T) {
			w.t = t
			name, _, _ := strings.Cut(header, ":")
			w.refuses(415, "unsupported_media_type", name, "PUT", path, acmeBody, header)
		})
	}
	w.t = t
	w.must(201, "PUT", path, `{"pool":"default"}`, "Content-Type: application/json; charset=UTF-8")
}

func TestTokensAndScopes(t *testing.T) {
	w := newWorld(t)
	w.populate()
	expired, _ := w.token(keymgmt.ScopeAdmin, w.clock.now())
	admin := w.secrets[keymgmt.ScopeAdmin]
	unknown, _, err := memVault{}.NewToken(keymgmt.ScopeAdmin, "", w.clock.now(), w.clock.now())
	if err != nil {
		t.Fatal(err)
	}
	for name, header := range map[string]string{
		"missing":         "Authorization",
		"empty":           "Authorization: Bearer ",
		"garbled":         "Authorization: Bearer x",
		"another scheme":  "Authorization: Basic " + admin,
		"without scheme":  "Authorization: " + admin,
		"wrong secret":    "Authorization: Bearer " + admin[:len(admin)-1] + "!",
		"cut off":         "Authorization: Bearer " + admin[:len(admin)-1],
		"expired":         "Authorization: Bearer " + expired,
		"unknown":         "Authorization: Bearer " + unknown,
		"with a trailer":  "Authorization: Bearer " + admin + " x",
		"of an id alone":  "Authorization: Bearer mxs_",
		"two secrets":     "Authorization: Bearer " + admin + "," + admin,
		"doubled blank":   "Authorization: Bearer  " + admin,
		"quoted in JSON":  `Authorization: Bearer "` + admin + `"`,
		"of another user": "Authorization: Bearer " + strings.Replace(admin, "mxs_", "mxs_x", 1),
	} {
		t.Run("token "+name, func(t *testing.T) {
			w.t = t
			w.refuses(401, "unauthenticated", "", "GET", "/v1/tenants/acme", "", header)
			w.refuses(401, "unauthenticated", "", "PUT", "/v1/tenants/new", acmeBody, header)
			if r := w.do("GET", "/v1/tenants", "", header); r.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
	w.t = t
	w.must(200, "GET", "/v1/tenants", "", "Authorization: bearer "+admin)

	const (
		read      = keymgmt.ScopeRead
		provision = keymgmt.ScopeProvision
	)
	for _, c := range []struct {
		method, path, body string
		allowed            map[keymgmt.Scope]bool // besides admin
	}{
		{"GET", "/v1/zones", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"GET", "/v1/zones/mx.test.", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"GET", "/v1/zones/mx.test./ds", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"GET", "/v1/zones/mx.test./keys", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"GET", "/v1/zones/mx.test./keys/status", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"POST", "/v1/zones/mx.test./keys/roll", `{"role":"ksk"}`, nil},
		{"POST", "/v1/zones/mx.test./keys/x/confirm-ds", "", nil},
		{"POST", "/v1/zones/mx.test./keys/x/restore", "", nil},
		{"GET", "/v1/pools/default", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"GET", "/v1/tenants/acme/records", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"PUT", "/v1/tenants/acme", acmeBody, map[keymgmt.Scope]bool{provision: true}},
		{"PATCH", "/v1/tenants/acme", "{}", map[keymgmt.Scope]bool{provision: true}},
		{"PUT", "/v1/tenants/acme/domains/contoso.com", "{}", map[keymgmt.Scope]bool{provision: true}},
		{"PATCH", "/v1/tenants/acme/domains/contoso.com", "{}", map[keymgmt.Scope]bool{provision: true}},
		{"DELETE", "/v1/tenants/acme/domains/contoso.com", "", map[keymgmt.Scope]bool{provision: true}},
		{"DELETE", "/v1/tenants/acme", "", map[keymgmt.Scope]bool{provision: true}},
		{"PUT", "/v1/zones/mx.test.", zoneBody, nil},
		{"DELETE", "/v1/zones/mx.test.", "", nil},
		{"PUT", "/v1/pools/default", poolBody, nil},
		{"DELETE", "/v1/pools/default", "", nil},
		{"GET", "/v1/tokens", "", nil},
		{"GET", "/v1/tokens/x", "", nil},
		{"POST", "/v1/tokens", `{"scope":"read"}`, nil},
		{"DELETE", "/v1/tokens/x", "", nil},
		{"GET", "/v1/backup", "", nil},
		{"GET", "/v1/nodes", "", map[keymgmt.Scope]bool{read: true, provision: true}},
		{"DELETE", "/v1/nodes/x", "", nil},
	} {
		for _, scope := range []keymgmt.Scope{read, provision} {
			if !c.allowed[scope] {
				w.refuses(403, "forbidden", "", c.method, c.path, c.body, w.as(scope))
				continue
			}
			if r := w.do(c.method, c.path, c.body, w.as(scope)); r.StatusCode != 200 {
				t.Errorf("%s %s with scope %s: %d %s", c.method, c.path, scope, r.StatusCode, r.body)
			}
		}
	}
}

// Paths of other versions and methods that a path does not have are problems too, and nothing is redirected.
func TestUnroutedRequests(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/", "/v1", "/v1/", "/v1/events", "/v1/audit", "/v2/zones", "/v1/zones/", "/v1//zones", "/v1/x/../zones",
		"/v1/tenants/acme/status", "/v1/tenants/acme/domains/contoso.com/status", "/debug/pprof/"} {
		w.refuses(404, "not_found", "", "GET", path, "")
	}
	// A slash in a segment reaches the route, whose answer is about the name and not about the path.
	w.refuses(422, "invalid", "zone", "PUT", "/v1/zones/x%2F.", zoneBody)
	for method, path := range map[string]string{"DELETE": "/v1/zones", "PATCH": "/v1/pools/default", "PUT": "/v1/tokens"} {
		w.refuses(405, "method_not_allowed", "", method, path, "")
		if r := w.do(method, path, ""); r.Header.Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", method, path)
		}
	}
}
