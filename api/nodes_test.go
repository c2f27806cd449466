package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/keymgmt"
)

// alone is the cluster of one node.
type alone struct{ store api.Store }

func (a alone) Nodes(context.Context) ([]api.Member, error) {
	return []api.Member{{Name: "self", Revision: a.store.State().Revision(), Leads: true}}, nil
}

func (alone) Forget(context.Context, string) error { panic("a node that is alive is forgotten") }

// fakeCluster has nodes that say what a test wants.
type fakeCluster struct {
	mu        sync.Mutex
	all       []api.Member
	fail      error
	forgotten []string
}

func (c *fakeCluster) Nodes(context.Context) ([]api.Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all), c.fail
}

func (c *fakeCluster) Forget(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten = append(c.forgotten, name)
	return c.fail
}

// breakDown makes every question fail.
func (c *fakeCluster) breakDown(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail = err
}

// clusterWorld is a node of a cluster, that a test calls without a network: its time may be that of a synctest.
type clusterWorld struct {
	*world
	cluster *fakeCluster
	handler http.Handler
}

func newClusterWorld(t *testing.T, all ...api.Member) *clusterWorld {
	t.Helper()
	w := &world{t: t, store: newMemStore(), log: &logBuffer{}, secrets: map[keymgmt.Scope]string{}, clock: &clock{at: time.Now()}}
	w.secrets[keymgmt.ScopeAdmin], _ = w.token(keymgmt.ScopeAdmin, time.Time{})
	c := &fakeCluster{all: all}
	return &clusterWorld{w, c, newHandlerOf(t, w.store, c, w.clock, w.log)}
}

func (w *clusterWorld) call(method, path, body string) reply {
	w.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+w.secrets[keymgmt.ScopeAdmin])
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return reply{rec.Result(), rec.Body.Bytes()}
}

func TestNodes(t *testing.T) {
	since := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newClusterWorld(t, api.Member{Name: "ns1", Version: "v1", Since: since, Revision: 9, Silent: 2 * time.Second, Leads: true},
		api.Member{Name: "ns2", Version: "v2", Since: since, Revision: 8, Silent: time.Minute}, api.Member{Name: "ns3"})
	const want = `{"nodes":[` +
		`{"name":"ns1","version":"v1","since":"2030-01-01T00:00:00Z","revision":9,"behind":false,"silent":"2s","leads":true},` +
		`{"name":"ns2","version":"v2","since":"2030-01-01T00:00:00Z","revision":8,"behind":true,"silent":"1m","leads":false},` +
		`{"name":"ns3","version":"","since":"0001-01-01T00:00:00Z","revision":0,"behind":true,"silent":"0s","leads":false}]}` + "\n"
	if r := w.call("GET", "/v1/nodes", ""); r.StatusCode != 200 || string(r.body) != want {
		t.Errorf("%d\n got %s\nwant %s", r.StatusCode, r.body, want)
	}
	w.cluster.breakDown(errors.New("no majority at 192.0.2.1"))
	if p := w.call("GET", "/v1/nodes", "").problem(t); p.Status != 503 || p.Code != "unavailable" || strings.Contains(p.Detail, "192.0.2.1") {
		t.Errorf("without the database: %+v", p)
	}
	// What this node has itself, the others do not have yet.
	w = newClusterWorld(t, api.Member{Name: "ns1", Revision: 1})
	w.call("PUT", "/v1/pools/default", poolBody)
	if got := decodeTo[api.Nodes](t, w.call("GET", "/v1/nodes", "")); !got.Nodes[0].Behind {
		t.Errorf("%+v", got)
	}
}

// A node that is alive is not forgotten.
func TestForgetNode(t *testing.T) {
	w := newClusterWorld(t, api.Member{Name: "alive", Silent: 14 * time.Second}, api.Member{Name: "lost", Silent: 15 * time.Second})
	if p := w.call("DELETE", "/v1/nodes/absent", "").problem(t); p.Status != 404 || p.Errors[0].Field != "node" {
		t.Errorf("%+v", p)
	}
	if p := w.call("DELETE", "/v1/nodes/alive", "").problem(t); p.Status != 409 || p.Errors[0].Field != "node" || !strings.Contains(p.Detail, "14s ago: stop it first") {
		t.Errorf("%+v", p)
	}
	if r := w.call("DELETE", "/v1/nodes/lost", ""); r.StatusCode != 204 {
		t.Errorf("%d %s", r.StatusCode, r.body)
	}
	if !slices.Equal(w.cluster.forgotten, []string{"lost"}) {
		t.Errorf("forgotten: %v", w.cluster.forgotten)
	}
}
