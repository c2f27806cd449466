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
	"testing/synctest"
	"time"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
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
	asked     int
	forgotten []string
}

func (c *fakeCluster) Nodes(context.Context) ([]api.Member, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
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

// questions counts those that were asked.
func (c *fakeCluster) questions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// reach gives a node everything up to a revision.
func (c *fakeCluster) reach(node int, revision uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[node].Revision = revision
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
	if strings.Contains(path, "import") {
		r.Header.Set("Content-Type", "application/x-ndjson")
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return reply{rec.Result(), rec.Body.Bytes()}
}

// settled is an answer to a write: a status, and what the headers say of the nodes.
func (w *clusterWorld) settled(r reply, status int, revision, lagging string) {
	w.t.Helper()
	if r.StatusCode != status || r.Header.Get(api.WriteRevision) != revision || r.Header.Get(api.LaggingNodes) != lagging {
		w.t.Errorf("%d, revision %q, lagging %q; want %d, %q, %q: %s", r.StatusCode, r.Header.Get(api.WriteRevision), r.Header.Get(api.LaggingNodes),
			status, revision, lagging, r.body)
	}
}

// bubble runs a test in a time of its own, and waits for what ends a little later.
func bubble(t *testing.T, test func(t *testing.T)) {
	synctest.Test(t, func(t *testing.T) {
		test(t)
		time.Sleep(time.Second)
	})
}

func TestNodes(t *testing.T) {
	since := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w := newClusterWorld(t, api.Member{Name: "ns1", Version: "v1", Format: 1, Since: since, Revision: 9, Silent: 2 * time.Second, Offset: new(time.Duration(0)), Leads: true},
		api.Member{Name: "ns2", Version: "v2", Format: 2, Since: since, Revision: 8, Silent: time.Minute, Offset: new(-1234567 * time.Microsecond)}, api.Member{Name: "ns3"})
	const want = `{"format":1,"nodes":[` +
		`{"name":"ns1","version":"v1","format":1,"since":"2030-01-01T00:00:00Z","revision":9,"behind":false,"silent":"2s","leads":true,"clock_offset":"0s"},` +
		`{"name":"ns2","version":"v2","format":2,"since":"2030-01-01T00:00:00Z","revision":8,"behind":true,"silent":"1m","leads":false,"clock_offset":"-1.235s"},` +
		`{"name":"ns3","version":"","format":0,"since":"0001-01-01T00:00:00Z","revision":0,"behind":true,"silent":"0s","leads":false,"clock_offset":null}]}` + "\n"
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

// By default a write is answered when this node has it, and tells its revision.
func TestWriteDoesNotWait(t *testing.T) {
	w := newClusterWorld(t, api.Member{Name: "ns2"})
	for _, query := range []string{"", "?wait=local"} {
		w.settled(w.call("PATCH", "/v1/tenants/none"+query, "{}"), 404, "", "")
	}
	w.settled(w.call("PUT", "/v1/pools/default", poolBody), 201, "2", "")
	w.settled(w.call("PUT", "/v1/pools/default?wait=local", poolBody), 200, "2", "")
	w.settled(w.call("DELETE", "/v1/pools/default", ""), 204, "4", "")
	if r := w.call("GET", "/v1/pools", ""); r.Header.Get(api.WriteRevision) != "" || w.cluster.questions() != 0 {
		t.Errorf("%v; the cluster was asked %d times", r.Header, w.cluster.questions())
	}
}

// With wait=all it is answered when all nodes have it that can be heard of, and no later.
func TestWriteWaitsForAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClusterWorld(t, api.Member{Name: "ns1", Revision: 99}, api.Member{Name: "ns2"}, api.Member{Name: "lost", Silent: time.Minute})
		start := time.Now()
		time.AfterFunc(3*time.Second, func() { w.cluster.reach(1, 2) })
		w.settled(w.call("PUT", "/v1/pools/default?wait=all", poolBody), 201, "2", "")
		if took := time.Since(start); took < 3*time.Second || took > 3*time.Second+100*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		// One that changes nothing waits as well: the change may have been made a moment before.
		w.cluster.reach(1, 1)
		time.AfterFunc(time.Second, func() { w.cluster.reach(1, 2) })
		start = time.Now()
		w.settled(w.call("PUT", "/v1/pools/default?wait=all", poolBody), 200, "2", "")
		if took := time.Since(start); took < time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// If some do not have it in time, the answer is the same but for its status, and names them.
func TestWriteThatDoesNotReachAllNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClusterWorld(t, api.Member{Name: "ns1", Revision: 99}, api.Member{Name: "ns2"}, api.Member{Name: "ns3", Revision: 1})
		start := time.Now()
		r := w.call("PUT", "/v1/pools/default?wait=all", poolBody)
		w.settled(r, 202, "2", "ns2, ns3")
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("it took %s", took)
		}
		if again := w.call("GET", "/v1/pools/default", ""); string(again.body) != string(r.body) || again.Header.Get("ETag") != r.Header.Get("ETag") {
			t.Errorf("body %s, want %s", r.body, again.body)
		}
		if r = w.call("DELETE", "/v1/pools/default?wait=all", ""); len(r.body) != 0 {
			t.Errorf("body %q of what has none", r.body)
		}
		w.settled(r, 202, "4", "ns2, ns3")

		w.cluster.breakDown(errors.New("no majority"))
		w.settled(w.call("PUT", "/v1/pools/default?wait=all", poolBody), 202, "5", api.UnknownNodes)
	})
}

// An import, whose status is sent before, says it in trailers.
func TestImportWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClusterWorld(t, api.Member{Name: "ns2"})
		w.call("PUT", "/v1/pools/default", poolBody)
		w.call("PUT", "/v1/zones/mx.test.", zoneBody)
		r := w.call("POST", "/v1/tenants/import?wait=all", `{"id":"acme","pool":"default"}`)
		if r.StatusCode != 200 || r.Trailer.Get(api.WriteRevision) != "4" || r.Trailer.Get(api.LaggingNodes) != "ns2" {
			t.Errorf("%d %v: %s", r.StatusCode, r.Trailer, r.body)
		}
		r = w.call("POST", "/v1/tenants/import", `{"id":"acme","pool":"default"}`)
		if r.StatusCode != 200 || r.Trailer.Get(api.WriteRevision) != "4" || r.Trailer.Get(api.LaggingNodes) != "" {
			t.Errorf("%d %v: %s", r.StatusCode, r.Trailer, r.body)
		}
	})
}

// However many writes wait, the cluster is asked every 50 ms.
func TestWaitingWritesShareTheQuestion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newClusterWorld(t, api.Member{Name: "ns2"})
		w.call("PUT", "/v1/pools/default", poolBody)
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { w.settled(w.call("PUT", "/v1/pools/default?wait=all", poolBody), 202, "2", "ns2") })
		}
		group.Wait()
		if n, most := w.cluster.questions(), int(10*time.Second/(50*time.Millisecond))+1; n > most || n < most/2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// The client waits if it is told to, and hears which nodes lag.
func TestClientWaits(t *testing.T) {
	var queries []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.Method+" "+r.URL.RawQuery)
		if r.Method != "PUT" {
			w.Header().Set(api.LaggingNodes, "ns2")
		}
		if r.Method == "DELETE" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Write([]byte("{}"))
	}))
	defer server.Close()
	var lagging []string
	c, err := client.New(client.Config{Server: server.URL, Token: "x", Lagging: func(nodes string) { lagging = append(lagging, nodes) }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutPool(t.Context(), "p", api.PoolSpec{}); err != nil || len(lagging) > 0 {
		t.Errorf("%v; lagging: %v", err, lagging)
	}
	if err := c.DeletePool(t.Context(), "p"); err != nil || !slices.Equal(lagging, []string{"ns2"}) {
		t.Errorf("%v; lagging: %v", err, lagging)
	}
	if _, err := c.Nodes(t.Context()); err != nil {
		t.Error(err)
	}
	if want := []string{"PUT wait=all", "DELETE wait=all", "GET "}; !slices.Equal(queries, want) {
		t.Errorf("%q, want %q", queries, want)
	}
}
