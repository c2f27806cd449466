package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// ImportLine is one line of an import: a tenant as it is to be, as the body of PUT /v1/tenants/{tenant}, with its id.
type ImportLine struct {
	ID string `json:"id"`
	TenantSpec
}

// ImportResult is what became of a line, in the order of the lines.
type ImportResult struct {
	Line    int      `json:"line" doc:"from 1"`
	ID      string   `json:"id"`
	Status  int      `json:"status" doc:"as that of PUT /v1/tenants/{tenant}: 200, 201, or that of the problem"`
	Tenant  *Tenant  `json:"tenant,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

const (
	ndjson = "application/x-ndjson"
	// importBatch is how many lines are committed at once, at most.
	importBatch = 256
	// importStall is how long a client may take for its next line, and to accept results.
	importStall = 2 * time.Minute
)

func (a *API) importRoutes() {
	lines := func(doc string) map[string]*huma.MediaType {
		return map[string]*huma.MediaType{ndjson: {Schema: &huma.Schema{Type: huma.TypeString, Description: doc}}}
	}
	in := endpoint{method: http.MethodPost, path: "/v1/tenants/import", id: "import-tenants", summary: "Put many tenants, one a line",
		need: keymgmt.ScopeProvision, slow: true}
	op := a.describe(in)
	op.RequestBody = &huma.RequestBody{Required: true, Content: lines("lines of ImportLine: the body of put-tenant with an id")}
	op.Responses["200"] = &huma.Response{Content: lines("lines of ImportResult"), Description: "a line of ImportResult for each line, in order, as they are durable; " +
		"a line that fails does not end the import. Trailers: " + WriteRevision + " and, with wait=all, " + LaggingNodes + ", as the headers of other writes"}
	a.add(op)
	a.route(in, op, a.importTenants)

	out := endpoint{method: http.MethodGet, path: "/v1/tenants/export", id: "export-tenants", summary: "All tenants that are not revoked, one a line, as import takes them",
		need: keymgmt.ScopeRead, slow: true}
	op = a.describe(out)
	op.Responses["200"] = &huma.Response{Description: "lines of ImportLine, of one state", Content: lines("lines of ImportLine")}
	a.add(op)
	a.route(out, op, a.exportTenants)
}

// importTenants reads lines and answers with a line for each. Lines that are there when a commit begins go into it together,
// up to importBatch; each is planned on what those before it lead to, as if it were alone.
func (a *API) importTenants(w http.ResponseWriter, c *call) error {
	if got := c.r.Header.Get("Content-Type"); !strings.HasPrefix(got, ndjson) {
		return refuse(errMediaType, "Content-Type", "must be "+ndjson)
	}
	rc := http.NewResponseController(w)
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	w.Header().Set("Content-Type", ndjson)
	w.Header().Set("Trailer", WriteRevision+", "+LaggingNodes)
	w.WriteHeader(http.StatusOK)
	stop := make(chan struct{})
	defer close(stop)
	lines := readLines(c.r.Body, rc, stop, a.Now)
	out := json.NewEncoder(&patientWriter{ctx: c.ctx, to: w, deadline: rc, now: a.Now})
	number := 0
	for first := range lines {
		batch := []importing{{text: first.text, err: first.err}}
		for more := true; more && len(batch) < importBatch; {
			select {
			case next, ok := <-lines:
				if more = ok; ok {
					batch = append(batch, importing{text: next.text, err: next.err})
				}
			default:
				more = false
			}
		}
		for i := range batch {
			number++
			batch[i].result.Line = number
			batch[i].parse()
		}
		if err := a.importBatch(c, batch); err != nil {
			return err
		}
		for i := range batch {
			if err := out.Encode(&batch[i].result); err != nil {
				return err
			}
		}
		if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	a.settle(w.Header(), c)
	a.Log.Info("api import", "token", c.token, "lines", number)
	return nil
}

// importing is a line on its way.
type importing struct {
	text   []byte
	line   ImportLine
	spec   zone.TenantSpec
	err    error
	result ImportResult
}

// parse reads the line.
func (l *importing) parse() {
	if l.err == nil {
		l.err = decode(l.text, &l.line)
	}
	if l.err == nil {
		l.spec, l.err = l.line.parse()
	}
	l.result.ID = l.line.ID
}

// importBatch commits the lines that can be, and fills in the results of all. The error is one that no line is to blame for.
func (a *API) importBatch(c *call, batch []importing) error {
	for len(batch) > 0 {
		n, err := a.importSome(c, batch)
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// importSome is importBatch for as many of the first lines as are best committed at once.
func (a *API) importSome(c *call, batch []importing) (n int, err error) {
	problems := make([]error, len(batch))
	created := make([]bool, len(batch))
	n = len(batch) // if nothing is planned at all
	_, err = a.Store.Update(c.ctx, func(st State) (zone.Changes, error) {
		pending := zone.NewPending(st)
		for n = 0; n < len(batch); n++ {
			l := &batch[n]
			if problems[n] = l.err; l.err != nil {
				continue
			}
			created[n] = pending.Tenant(l.line.ID) == nil
			changes, err := planPutTenant(pending, l.line.ID, l.line.TenantSpec, l.spec, a.Now(), nil)
			if err == nil && pending.Len() > 0 && pending.Len()+changes.Len() > a.Store.Portion() {
				break
			}
			if problems[n] = err; err == nil {
				pending.Add(changes)
			}
		}
		return pending.Changes(), nil
	})
	if err != nil && n > 1 && !errors.Is(err, zone.ErrUnavailable) && !errors.Is(err, zone.ErrUncertain) && c.ctx.Err() == nil {
		// Something in it cannot be written, or others write too much of the same: line by line that is known of one.
		for i := range batch[:n] {
			if _, err := a.importSome(c, batch[i:i+1]); err != nil {
				return n, err
			}
		}
		return n, nil
	}
	st := a.Store.State()
	for i := range batch[:n] {
		if problems[i] == nil {
			problems[i] = err
		}
		a.fillIn(&batch[i].result, st, problems[i], created[i])
	}
	return n, nil
}

// fillIn says what became of a line.
func (a *API) fillIn(r *ImportResult, st State, err error, created bool) {
	if err == nil {
		var t *zone.Tenant
		if t, err = findTenant(st, r.ID); err == nil {
			shown := showTenant(st, t)
			r.Status, r.Tenant = statusOf(created), &shown
			return
		}
	}
	p := a.logged(err, "line", r.Line, "tenant", r.ID)
	r.Status, r.Problem = p.Status, &p
}

// inputLine is a line of a body, or why it could not be read.
type inputLine struct {
	text []byte
	err  error
}

// readLines reads the lines of a body, until its end or until stop is closed. A line that is too long is left out, with an error in
// its place. Empty lines do not count.
func readLines(body io.Reader, rc *http.ResponseController, stop <-chan struct{}, now func() time.Time) <-chan inputLine {
	out := make(chan inputLine, importBatch)
	go func() {
		defer close(out)
		in := bufio.NewReaderSize(body, 64<<10)
		for {
			if err := rc.SetReadDeadline(now().Add(importStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return
			}
			l, err := readLine(in)
			if len(bytes.TrimSpace(l.text)) > 0 || l.err != nil {
				select {
				case out <- l:
				case <-stop:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// readLine reads one line of at most maxBody octets; the error is that of the reader.
func readLine(in *bufio.Reader) (l inputLine, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(l.text)+len(part) > maxBody {
			l.err = refuse(errTooLarge, "line", fmt.Sprintf("must have at most %d octets", maxBody))
		}
		if l.err == nil {
			l.text = append(l.text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l, err
		}
	}
}

// exportTenants writes all tenants that are not revoked, as one state has them.
func (a *API) exportTenants(w http.ResponseWriter, c *call) error {
	w.Header().Set("Content-Type", ndjson)
	buffered := bufio.NewWriterSize(&patientWriter{ctx: c.ctx, to: w, deadline: http.NewResponseController(w), now: a.Now}, 64<<10)
	out := json.NewEncoder(buffered)
	var err error
	a.Store.State().Tenants("", func(t *zone.Tenant) bool {
		if t.State != zone.Revoked {
			err = out.Encode(exported(t))
		}
		return err == nil
	})
	return errors.Join(err, buffered.Flush())
}

// exported is the line with which a tenant is imported.
func exported(t *zone.Tenant) ImportLine {
	l := ImportLine{ID: t.ID, TenantSpec: TenantSpec{DisplayName: t.DisplayName, Pool: t.Pool, Zone: t.Zone.String(), DANE: &t.DANE, Smarthost: t.Smarthost}}
	for _, d := range t.Domains {
		l.Domains = append(l.Domains, string(d))
	}
	return l
}
