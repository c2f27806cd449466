package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// endpoint describes a route.
type endpoint struct {
	method, path string
	id, summary  string
	need         keymgmt.Scope
	created      bool // may also answer 201
	paged        bool // takes limit and cursor
	bodyOptional bool
	slow         bool // takes as long as it takes
}

// isWrite says whether something may be different afterwards.
func (e endpoint) isWrite() bool { return e.method != http.MethodGet }

// call is a request that has passed authentication.
type call struct {
	ctx   context.Context
	r     *http.Request
	now   time.Time
	token string // id
	match precondition
	page  page
	waits bool // for the other nodes
}

// path returns a path parameter.
func (c *call) path(name string) string { return c.r.PathValue(name) }

// zoneName returns the path parameter {zone}: any case, with or without the final dot.
func (c *call) zoneName() (zone.Name, error) {
	n, err := zone.ParseName(c.path("zone"))
	if err != nil {
		return zone.Name{}, refuse(zone.ErrInvalid, "zone", err.Error())
	}
	return n, nil
}

// domain returns the path parameter {domain}, in A-label or U-label form.
func (c *call) domain() (zone.Domain, error) {
	d, err := zone.ParseDomain(c.path("domain"))
	if err != nil {
		return "", refuse(zone.ErrInvalid, "domain", err.Error())
	}
	return d, nil
}

// answer is what a handler wants to be sent. Without a revision there is no ETag.
type answer[R any] struct {
	status   int // 0 means 200
	revision uint64
	location string
	body     R
}

// nothing is the body of requests and answers that have none.
type nothing struct{}

// handle adds a route whose request body is a B and whose answer is an R. Both go into the OpenAPI document.
func handle[B, R any](a *API, e endpoint, h func(c *call, body B) (answer[R], error)) {
	op := a.document(e, reflect.TypeFor[B](), reflect.TypeFor[R]())
	hasBody := reflect.TypeFor[B]() != reflect.TypeFor[nothing]()
	a.route(e, op, func(w http.ResponseWriter, c *call) error {
		var body B
		if hasBody {
			if err := readBody(w, c.r, e.bodyOptional, &body); err != nil {
				return err
			}
		}
		ans, err := h(c, body)
		if err != nil {
			return err
		}
		if e.isWrite() && a.settle(w.Header(), c) {
			ans.status = http.StatusAccepted
		}
		a.send(w, c, ans.status, ans.revision, ans.location, ans.body)
		return nil
	})
}

// send writes the answer of a handler.
func (a *API) send(w http.ResponseWriter, c *call, status int, revision uint64, location string, body any) {
	if revision != 0 {
		w.Header().Set("ETag", etag(revision))
	}
	if location != "" {
		w.Header().Set("Location", location)
	}
	if status == 0 {
		status = http.StatusOK
	}
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		a.Log.Info("api change", "method", c.r.Method, "path", c.r.URL.Path, "status", status, "token", c.token, "revision", revision)
	}
	if _, none := body.(nothing); none {
		w.WriteHeader(status)
		return
	}
	a.write(w, c.r, status, "application/json", body)
}

// route adds a route: everything that comes before its own work, and the counting after it.
func (a *API) route(e endpoint, op *huma.Operation, serve func(w http.ResponseWriter, c *call) error) {
	counters := a.Metrics.route(e.method, e.path)
	a.huma.Adapter().Handle(op, func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		rec, ok := w.(*recorder)
		if !ok {
			rec = &recorder{ResponseWriter: w}
		}
		start := a.Now()
		if err := a.gate(rec, r, e, start, serve); err != nil {
			a.fail(rec, r, err)
		}
		counters.count(rec.status)
		a.Metrics.duration.Observe(a.Now().Sub(start).Seconds())
	})
}

// gate lets a request through to serve if its token, query and headers allow it.
func (a *API) gate(w http.ResponseWriter, r *http.Request, e endpoint, now time.Time, serve func(http.ResponseWriter, *call) error) error {
	c := &call{ctx: r.Context(), r: r, now: now}
	if !e.slow {
		ctx, cancel := context.WithTimeout(c.ctx, requestTimeout)
		defer cancel()
		c.ctx = ctx
	}
	var err error
	if c.token, err = a.authenticate(r, e.need, now); err != nil {
		return err
	}
	if err := c.parseQuery(e); err != nil {
		return err
	}
	if c.match, err = parsePrecondition(r); err != nil {
		return err
	}
	return serve(w, c)
}
