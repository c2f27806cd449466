package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

func TestListenerNeedsTLSUnlessLoopback(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for listen, allowed := range map[string]bool{
		"127.0.0.1:8053": true, "127.8.9.10:8053": true, "[::1]:8053": true, "localhost:8053": true,
		":8053": false, "0.0.0.0:8053": false, "[::]:8053": false, "192.0.2.1:8053": false, "admin.example:8053": false,
		"localhost.example:8053": false, "127.0.0.1": false,
	} {
		_, err := api.NewServer(api.ServerConfig{Listen: listen}, http.NotFoundHandler(), log)
		if allowed && err != nil || !allowed && !errors.Is(err, api.ErrNeedsTLS) {
			t.Errorf("%s: %v", listen, err)
		}
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	srv, err := api.NewServer(api.ServerConfig{Listen: ":8053", Cert: cert, Key: key}, http.NotFoundHandler(), log)
	if err != nil {
		t.Fatal(err)
	}
	if srv.TLSConfig.MinVersion < tls.VersionTLS12 {
		t.Error("TLS below 1.2 is allowed")
	}
	for name, limit := range map[string]time.Duration{"ReadHeaderTimeout": srv.ReadHeaderTimeout, "ReadTimeout": srv.ReadTimeout,
		"WriteTimeout": srv.WriteTimeout, "IdleTimeout": srv.IdleTimeout} {
		if limit <= 0 {
			t.Errorf("no %s", name)
		}
	}
	for name, cfg := range map[string]api.ServerConfig{
		"CA without certificate": {ClientCA: cert}, "key missing": {Cert: cert}, "file missing": {Cert: cert, Key: filepath.Join(dir, "none")},
		"CA file without certificate": {Cert: cert, Key: key, ClientCA: key},
	} {
		cfg.Listen = "127.0.0.1:0"
		if _, err := api.NewServer(cfg, http.NotFoundHandler(), log); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// certificate makes a self-signed certificate for 127.0.0.1 that is also a CA.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// With client_ca, a token alone is not enough, and neither is a certificate.
func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	cert, key := certificate(t, t.TempDir())
	srv, err := api.NewServer(api.ServerConfig{Listen: "127.0.0.1:0", Cert: cert, Key: key, ClientCA: cert},
		newHandler(t, w.store, w.clock, w.log), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", srv.Addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(ln, "", "") }()
	defer func() {
		srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	cfg := client.Config{Server: "https://" + ln.Addr().String(), Token: w.secrets[keymgmt.ScopeAdmin], CA: cert}
	list := func(cfg client.Config) error {
		t.Helper()
		c, err := client.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Token(context.Background(), "none")
		return err
	}
	if err := list(cfg); err == nil || errors.As(err, new(*client.Error)) {
		t.Errorf("without client certificate: %v", err)
	}
	cfg.ClientCert, cfg.ClientKey = cert, key
	var refused *client.Error
	if err := list(cfg); !errors.As(err, &refused) || refused.Code != "not_found" {
		t.Errorf("with both: %v", err)
	}
	cfg.Token = "mxs_none_none"
	if err := list(cfg); !errors.As(err, &refused) || refused.Code != "unauthenticated" {
		t.Errorf("with a wrong token: %v", err)
	}
}

func TestClientRefusesToSendTokensInClear(t *testing.T) {
	for server, ok := range map[string]bool{"http://127.0.0.1:8053": true, "http://[::1]:8053/": true, "http://localhost:1": true, "https://admin.example": true,
		"http://192.0.2.1:8053": false, "http://admin.example": false, "ftp://127.0.0.1": false, "127.0.0.1:8053": false, "": false, "https://u:p@h": false} {
		if _, err := client.New(client.Config{Server: server, Token: "x"}); (err == nil) != ok {
			t.Errorf("%q: %v", server, err)
		}
	}
}

func TestBackup(t *testing.T) {
	w := newWorld(t)
	var copied bytes.Buffer
	if err := w.client().Backup(context.Background(), &copied); err != nil || copied.String() != strings.Join(backupParts, "") {
		t.Errorf("%q, %v", copied.String(), err)
	}
	w.store.fail = errors.New("torn")
	if err := w.client().Backup(context.Background(), &copied); !errors.Is(err, client.ErrTornBackup) {
		t.Errorf("a backup that failed half-way: %v", err)
	}
}

// slowBackup is a store whose backups wait until they are released.
type slowBackup struct {
	*memStore
	entered, release chan struct{}
}

func (s *slowBackup) Backup(io.Writer) error {
	s.entered <- struct{}{}
	<-s.release
	return nil
}

// A backup takes as much room as the database: there is one at a time.
func TestOneBackupAtATime(t *testing.T) {
	w := newWorld(t)
	store := &slowBackup{memStore: w.store, entered: make(chan struct{}), release: make(chan struct{})}
	handler := newHandler(t, store, w.clock, w.log)
	send := func() int {
		r := httptest.NewRequest("GET", "/v1/backup", nil)
		r.Header.Set("Authorization", "Bearer "+w.secrets[keymgmt.ScopeAdmin])
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec.Code
	}
	first := make(chan int)
	go func() { first <- send() }()
	<-store.entered
	if code := send(); code != http.StatusServiceUnavailable {
		t.Errorf("a second one: %d", code)
	}
	close(store.release)
	if code := <-first; code != http.StatusOK {
		t.Errorf("the first one: %d", code)
	}
}

// A store that accepts no changes is told from one that is busy.
func TestUnavailableStore(t *testing.T) {
	w := newWorld(t)
	w.store.fail = fmt.Errorf("disk full: %w", zone.ErrUnavailable)
	p := w.do("PUT", "/v1/pools/default", poolBody).problem(t)
	if p.Status != http.StatusServiceUnavailable || p.Code != "unavailable" || strings.Contains(p.Detail, "disk") {
		t.Errorf("%+v", p)
	}
}

// blockingStore holds every write until it is released.
type blockingStore struct {
	*memStore
	entered, release chan struct{}
}

func (s *blockingStore) Update(ctx context.Context, plan func(api.State) (zone.Changes, error)) (uint64, error) {
	s.entered <- struct{}{}
	<-s.release
	return s.memStore.Update(ctx, plan)
}

// More requests at once than there is room for are told to come back, and served when there is room again.
func TestTooManyRequestsAtOnce(t *testing.T) {
	w := newWorld(t)
	store := &blockingStore{memStore: w.store, entered: make(chan struct{}), release: make(chan struct{})}
	handler := newHandler(t, store, w.clock, w.log)
	send := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest("PUT", "/v1/pools/default", strings.NewReader(poolBody))
		r.Header = http.Header{"Authorization": {"Bearer " + w.secrets[keymgmt.ScopeAdmin]}, "Content-Type": {"application/json"}}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		return rec
	}
	const room = 256
	done := make(chan int, room)
	for range room {
		go func() { done <- send().Code }()
		select {
		case <-store.entered:
		case code := <-done:
			t.Fatalf("a request was answered with %d before it came to the store", code)
		}
	}
	if rec := send(); rec.Code != http.StatusServiceUnavailable || rec.Header().Get("Retry-After") == "" || !strings.Contains(rec.Body.String(), `"busy"`) {
		t.Errorf("one too many: %d %v %s", rec.Code, rec.Header(), rec.Body)
	}
	close(store.release)
	var codes []int
	for range room {
		codes = append(codes, <-done)
	}
	slices.Sort(codes)
	if codes[0] != 200 || codes[room-2] != 200 || codes[room-1] != 201 {
		t.Errorf("statuses of the others: %v", codes)
	}
	if rec := httptest.NewRecorder(); func() int {
		handler.ServeHTTP(rec, httptest.NewRequest("GET", "/v1/pools", nil))
		return rec.Code
	}() != http.StatusUnauthorized {
		t.Errorf("after the rush: %d", rec.Code)
	}
}

func TestEveryAnswerForbidsCachingAndSniffing(t *testing.T) {
	w := newWorld(t)
	for _, path := range []string{"/v1/zones", "/nowhere", "/v1/openapi.json", "/v1/tenants/none"} {
		h := w.do("GET", path, "", "Origin: https://evil.example").Header
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %v", path, h)
		}
	}
}

// The document has every route, with bodies and the problem shape, and refers to nothing that it lacks.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	r := w.must(200, "GET", "/v1/openapi.json", "", "Authorization")
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string
			Parameters  []struct{ Name string }
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(r.body, &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("version %q", doc.OpenAPI)
	}
	var documented []string
	for path, operations := range doc.Paths {
		for method, operation := range operations {
			documented = append(documented, operation.OperationID)
			if waits := slices.Contains(operation.Parameters, struct{ Name string }{"wait"}); waits != (method != "get") {
				t.Errorf("%s: can wait for nodes: %t", operation.OperationID, waits)
			}
			concrete := strings.NewReplacer("{zone}", "a.test.", "{", "", "}", "").Replace(path)
			if got := w.do(strings.ToUpper(method), concrete, "", "Authorization").StatusCode; got != http.StatusUnauthorized {
				t.Errorf("%s %s without a token: %d", method, concrete, got)
			}
		}
	}
	want := strings.Fields("list-zones get-zone put-zone delete-zone get-ds list-keys get-key-status roll-key confirm-ds restore-key add-key remove-key export-request import-response import-tenants export-tenants list-pools get-pool put-pool delete-pool " +
		"list-tenants get-tenant put-tenant patch-tenant revoke-tenant list-tenant-records " +
		"get-domain put-domain patch-domain remove-domain list-domain-records " +
		"list-tokens create-token get-token delete-token list-nodes forget-node backup")
	slices.Sort(documented)
	slices.Sort(want)
	if !slices.Equal(documented, want) {
		t.Errorf("operations\n got %v\nwant %v", documented, want)
	}
	for ref := range strings.SplitSeq(string(r.body), `"$ref":"`) {
		name, isRef := strings.CutPrefix(ref, "#/components/schemas/")
		if !isRef {
			continue
		}
		name, _, _ = strings.Cut(name, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("refers to %s, which is not there", name)
		}
	}
	for _, name := range []string{"ZoneSpec", "TenantSpec", "PoolSpec", "TokenSpec", "Problem", "PageTenant"} {
		if doc.Components.Schemas[name] == nil {
			t.Errorf("no schema %s", name)
		}
	}
}
