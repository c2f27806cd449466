package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/keymgmt"
)

// importRequest is an import with the scope that it needs.
func (w *world) importRequest(body io.Reader) *http.Request {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", w.server.URL+"/v1/tenants/import", body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.secrets[keymgmt.ScopeProvision])
	req.Header.Set("Content-Type", "application/x-ndjson")
	return req
}

// importLines posts lines and returns the results.
func (w *world) importLines(body string) (results []api.ImportResult) {
	w.t.Helper()
	res, err := http.DefaultClient.Do(w.importRequest(strings.NewReader(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 {
		w.t.Fatalf("import: %d %s %v", res.StatusCode, answer, err)
	}
	for line := range strings.Lines(string(answer)) {
		var res api.ImportResult
		if err := json.Unmarshal([]byte(line), &res); err != nil {
			w.t.Fatalf("%q: %v", line, err)
		}
		results = append(results, res)
	}
	return results
}

// Each line has its result, in order; those that fail do not stop the others, and a line sees what those before it did.
func TestImport(t *testing.T) {
	w := newWorld(t)
	w.populate()
	lines := []string{
		`{"id":"one","pool":"default","domains":["one.com"]}`,
		`{"id":"two","pool":"default","domains":["one.com"]}`,
		``,
		`{"id":"three","pool":"nowhere","domains":["three.com"]}`,
		`{"id":"four","pool":"default","domains":["four.com"],"dane":"maybe"}`,
		`not JSON`,
		`{"id":"one","pool":"default","domains":[]}`,
		`{"id":"two","pool":"default","domains":["one.com"],"dane":false}`,
		`{"id":"bad id","pool":"default"}`,
		`{"id":"five","pool":"default","unknown":1}`,
		`{"id":"long","display_name":"` + strings.Repeat("x", 1<<20) + `"}`,
		`{"id":"six","pool":"default","domains":["münchen.de"],"smarthost":true}`,
	}
	want := []int{201, 409, 422, 422, 400, 200, 201, 422, 422, 413, 201}
	results := w.importLines(strings.Join(lines, "\n"))
	var got []int
	for i, r := range results {
		got = append(got, r.Status)
		if r.Line != i+1 || (r.Problem == nil) == (r.Tenant == nil) || r.Problem != nil && r.Problem.Status != r.Status {
			t.Errorf("result %+v", r)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	if last := results[len(results)-1]; last.ID != "six" || last.Tenant.Domains[0].Host != "xn--mnchen-3ya-de.mx.test." || last.Tenant.SmarthostHost == nil {
		t.Errorf("%+v", last.Tenant)
	}
	if two := decodeTo[api.Tenant](t, w.must(200, "GET", "/v1/tenants/two", "")); two.DANE || len(two.Domains) != 1 {
		t.Errorf("two %+v", two)
	}
	for _, r := range w.importLines(`{"id":"six","pool":"default","domains":["münchen.de"],"smarthost":true}`) {
		if r.Status != 200 {
			t.Errorf("again: %+v", r)
		}
	}

	// What is exported can be imported, and is the same then.
	exported := w.must(200, "GET", "/v1/tenants/export", "")
	n := strings.Count(string(exported.body), "\n")
	results = w.importLines(string(exported.body))
	if len(results) != n || n < 4 {
		t.Errorf("%d results of %d exported lines", len(results), n)
	}
	for _, r := range results {
		if r.Status != 200 {
			t.Errorf("imported what was exported: %+v", r)
		}
	}
	w.must(200, "DELETE", "/v1/tenants/six", "")
	if again := w.must(200, "GET", "/v1/tenants/export", ""); strings.Contains(string(again.body), `"six"`) {
		t.Error("a revoked tenant was exported")
	}
	if r := w.do("POST", "/v1/tenants/import", "{}"); r.StatusCode != 415 {
		t.Errorf("as JSON: %d", r.StatusCode)
	}
}

// An import makes no larger commits than the store asks for, unless one line takes more.
func TestImportInPortions(t *testing.T) {
	w := newWorld(t)
	w.populate()
	w.store.portion, w.store.sizes = 7, nil
	var body strings.Builder
	for i := range 60 {
		domains := fmt.Sprintf(`"p%d.com"`, i)
		if i%20 == 10 {
			domains += fmt.Sprintf(`,"p%d.net","p%d.org","p%d.eu"`, i, i, i)
		}
		fmt.Fprintf(&body, `{"id":"p%d","pool":"default","domains":[%s]}`+"\n{}\n", i, domains)
	}
	for i, r := range w.importLines(body.String()) {
		if want := []int{201, 422}[i%2]; r.Line != i+1 || r.Status != want {
			t.Errorf("line %d: %+v", i+1, r)
		}
	}
	count := map[int]int{}
	for _, size := range w.store.sizes {
		count[size]++
		if size > 7 && size != 9 {
			t.Errorf("a commit of %d records", size)
		}
	}
	if count[9] != 3 {
		t.Errorf("%d commits of one large line", count[9])
	}
}

// Results come while lines are still being sent: a provisioning system may keep one import open.
func TestImportAnswersLineByLine(t *testing.T) {
	w := newWorld(t)
	w.populate()
	body, feed := io.Pipe()
	go fmt.Fprintln(feed, `{"id":"t0","pool":"default"}`)
	res, err := http.DefaultClient.Do(w.importRequest(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	results := bufio.NewScanner(res.Body)
	for i := range 5 {
		if !results.Scan() || !strings.Contains(results.Text(), fmt.Sprintf(`"id":"t%d","status":201`, i)) {
			t.Fatalf("result %d: %q, %v", i, results.Text(), results.Err())
		}
		if i < 4 {
			fmt.Fprintf(feed, "{\"id\":\"t%d\",\"pool\":\"default\"}\n", i+1)
		}
	}
	feed.Close()
	if results.Scan() {
		t.Errorf("one more: %q", results.Text())
	}
}
