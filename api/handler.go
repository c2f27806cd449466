package api

import (
	"fmt"
	"net/http"
	"path"
	"runtime/debug"
)

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	default:
		a.Metrics.refused.Inc()
		a.fail(w, r, errBusy)
		return
	}
	a.Metrics.inFlight.Inc()
	defer a.Metrics.inFlight.Dec()
	rec := &recorder{ResponseWriter: w}
	defer func() {
		if p := recover(); p != nil {
			a.Log.Error("api panic", "stack", string(debug.Stack()))
			a.fail(rec, r, fmt.Errorf("panic: %v", p))
		}
	}()
	if escaped := r.URL.EscapedPath(); path.Clean(escaped) != escaped { // the mux would redirect
		a.unrouted(rec, r, errNoRoute)
		return
	}
	if handler, pattern := a.mux.Handler(r); pattern == "" {
		a.unrouted(rec, r, mismatch(rec.Header(), handler, r))
		return
	}
	a.mux.ServeHTTP(rec, r)
}

// mismatch says why no route matches: the handler that the mux has for such requests knows whether the path or
// only the method is wrong.
func mismatch(h http.Header, handler http.Handler, r *http.Request) error {
	probe := &verdict{header: http.Header{}}
	handler.ServeHTTP(probe, r)
	if probe.status != http.StatusMethodNotAllowed {
		return errNoRoute
	}
	h.Set("Allow", probe.header.Get("Allow"))
	return errMethod
}

func (a *API) unrouted(w *recorder, r *http.Request, err error) {
	a.fail(w, r, err)
	a.Metrics.unrouted.count(w.status)
}

// verdict takes the answer of the mux without sending it.
type verdict struct {
	header http.Header
	status int
}

func (v *verdict) Header() http.Header         { return v.header }
func (v *verdict) WriteHeader(status int)      { v.status = status }
func (v *verdict) Write(b []byte) (int, error) { return len(b), nil }

// recorder remembers the status of an answer; 0 while nothing has been sent.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
