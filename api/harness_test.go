package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// world is a running API with one token of each scope.
type world struct {
	t       *testing.T
	store   *memStore
	server  *httptest.Server
	log     *logBuffer
	secrets map[keymgmt.Scope]string
	clock   *clock
}

// clock is a settable time.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// signatureLife is how long signatures last by default.
const signatureLife = 8 * time.Hour

// newHandler builds an API over store.
func newHandler(t *testing.T, store api.Store, c *clock, log io.Writer) *api.API {
	t.Helper()
	return newHandlerOf(t, store, alone{store}, c, log)
}

// newHandlerOf builds an API over store on a node of a cluster.
func newHandlerOf(t *testing.T, store api.Store, cluster api.Cluster, c *clock, log io.Writer) *api.API {
	t.Helper()
	destroyed := func(k *keymgmt.KeyRecord) {
		if len(store.State().Keys(k.Zone)) > 0 {
			t.Errorf("key %s is destroyed while the zone has it", k.ID)
		}
		fmt.Fprintf(log, "destroyed %s\n", k.ID)
	}
	a, err := api.New(api.Options{
		Store: store, Vault: memVault{destroyed}, Keys: memKeys{store}, Cluster: cluster, Now: c.now, Metrics: api.NewMetrics(), Version: "test",
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, store: newMemStore(), log: &logBuffer{}, secrets: map[keymgmt.Scope]string{},
		clock: &clock{at: time.Now().Truncate(time.Second).UTC()}}
	for _, scope := range []keymgmt.Scope{keymgmt.ScopeAdmin, keymgmt.ScopeProvision, keymgmt.ScopeRead} {
		w.secrets[scope], _ = w.token(scope, time.Time{})
	}
	w.server = httptest.NewServer(newHandler(t, w.store, w.clock, w.log))
	t.Cleanup(w.server.Close)
	return w
}

// token puts a token into the store.
func (w *world) token(scope keymgmt.Scope, expires time.Time) (secret, id string) {
	w.t.Helper()
	secret, tok, err := memVault{}.NewToken(scope, "", expires, w.clock.now())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.commit(zone.Changes{Puts: []zone.Row{tok}}); err != nil {
		w.t.Fatal(err)
	}
	return secret, tok.ID
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body []byte
}

// problem decodes the answer, which must be a problem document.
func (r reply) problem(t *testing.T) api.Problem {
	t.Helper()
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q, want a problem document; body %s", got, r.body)
	}
	var p api.Problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("body %q: %v", r.body, err)
	}
	if p.Status != r.StatusCode {
		t.Errorf("status %d in the problem, %d in the answer", p.Status, r.StatusCode)
	}
	return p
}

// do sends a request as admin; header lines are "Name: value", a line without value removes the header.
func (w *world) do(method, path, body string, header ...string) reply {
	w.t.Helper()
	req, err := http.NewRequest(method, w.server.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.secrets[keymgmt.ScopeAdmin])
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		req.Header.Del(name)
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply{res, b}
}

// must is do, with a status that must be.
func (w *world) must(status int, method, path, body string, header ...string) reply {
	w.t.Helper()
	r := w.do(method, path, body, header...)
	if r.StatusCode != status {
		w.t.Fatalf("%s %s: status %d, want %d: %s", method, path, r.StatusCode, status, r.body)
	}
	return r
}

// refuses sends a request that must be answered with a problem and change nothing.
func (w *world) refuses(status int, code, field, method, path, body string, header ...string) {
	w.t.Helper()
	before := w.store.current()
	r := w.do(method, path, body, header...)
	p := r.problem(w.t)
	if r.StatusCode != status || p.Code != code {
		w.t.Errorf("%s %s %.200s: %d %s, want %d %s: %+v", method, path, body, r.StatusCode, p.Code, status, code, p)
	}
	if field != "" && (len(p.Errors) == 0 || p.Errors[0].Field != field || p.Errors[0].Rule == "") {
		w.t.Errorf("%s %s %.200s: errors %+v, want the field %s and a rule", method, path, body, p.Errors, field)
	}
	if w.store.current() != before {
		w.t.Errorf("%s %s %.200s: refused, and yet the state has changed", method, path, body)
	}
}

// as returns a header line with the token of a scope.
func (w *world) as(scope keymgmt.Scope) string { return "Authorization: Bearer " + w.secrets[scope] }

func (w *world) client() *client.Client {
	w.t.Helper()
	c, err := client.New(client.Config{Server: w.server.URL, Token: w.secrets[keymgmt.ScopeAdmin]})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

const (
	zoneBody = `{"nameservers":[{"name":"ns1.mx.test.","addresses":["192.0.2.53","2001:db8::53"]}]}`
	digest   = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	poolBody = `{"hosts":[{"name":"in1","addresses":["192.0.2.10","2001:db8::10"]}],"mx_preference":10,` +
		`"tlsa":[{"usage":3,"selector":1,"matching_type":1,"data":"` + digest + `"}],"tlsa_ports":[25]}`
	acmeBody = `{"display_name":"Acme","pool":"default","dane":true,"smarthost":false,"domains":["contoso.com"]}`
)

// populate makes the zone mx.test., the pool default and the tenant acme with contoso.com.
func (w *world) populate() {
	w.t.Helper()
	w.must(201, "PUT", "/v1/pools/default", poolBody)
	w.must(201, "PUT", "/v1/zones/mx.test.", zoneBody)
	w.must(201, "PUT", "/v1/tenants/acme", acmeBody)
}

func decodeTo[T any](t *testing.T, r reply) T {
	t.Helper()
	var out T
	if err := json.Unmarshal(r.body, &out); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	return out
}

// refusesStream is refuses for a body sent in chunks, whose length the server cannot know.
func (w *world) refusesStream(status int, code, path, body string) {
	w.t.Helper()
	before := w.store.current()
	req, err := http.NewRequest("PUT", w.server.URL+path, io.MultiReader(strings.NewReader(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.secrets[keymgmt.ScopeAdmin])
	req.Header.Set("Content-Type", "application/json")
	res, err := w.server.Client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if p := (reply{res, b}).problem(w.t); p.Status != status || p.Code != code || w.store.current() != before {
		w.t.Errorf("%+v, want %d %s", p, status, code)
	}
}
