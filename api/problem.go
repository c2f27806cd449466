package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mxseal/mxseal/zone"
)

// Problem is an error as the API reports it (RFC 9457). Code is stable; Title and Detail are for people.
type Problem struct {
	Type   string       `json:"type" doc:"always about:blank; branch on code"`
	Title  string       `json:"title"`
	Status int          `json:"status"`
	Code   string       `json:"code" doc:"stable name of what went wrong"`
	Detail string       `json:"detail"`
	Errors []FieldError `json:"errors,omitempty" doc:"what is wrong with the request, field by field"`
	ID     string       `json:"id,omitempty" doc:"of an internal error: under this id the server has logged it"`
}

// FieldError names a member of a request and the rule that its value breaks.
type FieldError struct {
	Field string `json:"field" doc:"as in hosts[0].addresses[1]; body, a path parameter, query parameter or header otherwise"`
	Rule  string `json:"rule"`
}

// Errors of the HTTP layer itself.
var (
	errNoRoute         = errors.New("there is nothing at this path")
	errMethod          = errors.New("this method is not possible here")
	errUnauthenticated = errors.New("a valid token is needed: Authorization: Bearer mxs_…")
	errForbidden       = errors.New("the scope of the token does not allow this")
	errMalformed       = errors.New("the request is not well formed")
	errTooLarge        = errors.New("the request body is too large")
	errMediaType       = errors.New("the request body must be application/json")
	errBusy            = errors.New("the server is busy; try again")
	errSilentCluster   = errors.New("the database of the cluster does not answer")
)

// kinds maps errors to problems; the first that matches counts.
var kinds = []struct {
	is     error
	status int
	code   string
}{
	{errNoRoute, http.StatusNotFound, "not_found"},
	{errMethod, http.StatusMethodNotAllowed, "method_not_allowed"},
	{zone.ErrUncertain, http.StatusInternalServerError, "uncertain"}, // before what may have been the cause
	{errUnauthenticated, http.StatusUnauthorized, "unauthenticated"},
	{errForbidden, http.StatusForbidden, "forbidden"},
	{errMalformed, http.StatusBadRequest, "malformed"},
	{errTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
	{errMediaType, http.StatusUnsupportedMediaType, "unsupported_media_type"},
	{errBusy, http.StatusServiceUnavailable, "busy"},
	{errSilentCluster, http.StatusServiceUnavailable, "unavailable"},
	{zone.ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
	{zone.ErrNotFound, http.StatusNotFound, "not_found"},
	{zone.ErrUnknownRef, http.StatusUnprocessableEntity, "unknown_reference"},
	{zone.ErrConflict, http.StatusConflict, "conflict"},
	{zone.ErrInUse, http.StatusConflict, "in_use"},
	{zone.ErrStale, http.StatusPreconditionFailed, "revision_mismatch"},
	{zone.ErrNotAccepting, http.StatusConflict, "not_accepting"},
	{zone.ErrNoDrainPool, http.StatusConflict, "no_drain_pool"},
	{zone.ErrTooManyOfKind, http.StatusConflict, "too_many"},
	{zone.ErrRetry, http.StatusServiceUnavailable, "busy"},
	{zone.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "busy"},
	{context.Canceled, http.StatusServiceUnavailable, "busy"}, // nobody reads it any more
}

// problem turns an error into what the client may know of it. What is not in the table is internal.
func problem(err error) Problem {
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			p := Problem{Type: "about:blank", Title: http.StatusText(k.status), Status: k.status, Code: k.code,
				Detail: detail(err, k.status), Errors: fieldErrors(err)}
			if k.status == http.StatusInternalServerError {
				p.ID = rand.Text()
			}
			return p
		}
	}
	return Problem{Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError),
		Status: http.StatusInternalServerError, Code: "internal",
		Detail: "the server could not do this; its log says why, under the id", ID: rand.Text()}
}

// detail is the text of an error; of a failure of the server's own it says no more than that.
func detail(err error, status int) string {
	switch {
	case errors.Is(err, zone.ErrUncertain):
		return zone.ErrUncertain.Error() + "; ask again what there is"
	case errors.Is(err, errSilentCluster):
		return errSilentCluster.Error()
	case errors.Is(err, zone.ErrUnavailable):
		return zone.ErrUnavailable.Error()
	case status >= http.StatusInternalServerError:
		return errBusy.Error()
	}
	return err.Error()
}

func fieldErrors(err error) []FieldError {
	var all zone.FieldErrors
	var refused *zone.RefusedError
	switch {
	case errors.As(err, &all):
	case errors.As(err, &refused):
		all = zone.FieldErrors{refused.FieldError}
	}
	out := make([]FieldError, 0, len(all))
	for _, f := range all {
		out = append(out, FieldError(f))
	}
	return out
}

// refuse builds an error that wraps kind and names the field that caused it.
func refuse(kind error, field, rule string) error {
	return &zone.RefusedError{Kind: kind, FieldError: zone.FieldError{Field: field, Rule: rule}}
}

// logged is the problem that err is; what is internal is logged under its id.
func (a *API) logged(err error, attrs ...any) Problem {
	p := problem(err)
	if p.ID != "" {
		a.Log.Error("api request failed", append([]any{"id", p.ID, "error", err}, attrs...)...)
	}
	return p
}

// fail answers a request with the problem that err is. After the answer has begun it can only be logged.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := a.logged(err, "method", r.Method, "path", r.URL.Path)
	switch {
	case p.Status == http.StatusServiceUnavailable:
		a.Log.Warn("api request given up", "method", r.Method, "path", r.URL.Path, "error", err)
		w.Header().Set("Retry-After", "1")
	case p.Status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="mxseal"`)
	}
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return
	}
	a.write(w, r, p.Status, "application/problem+json", p)
}

// write sends a JSON answer. It cannot fail before the first octet is sent: all shapes can be encoded.
func (a *API) write(w http.ResponseWriter, r *http.Request, status int, contentType string, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		a.Log.Error("api answer could not be encoded", "method", r.Method, "path", r.URL.Path, "error", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if _, err := w.Write(append(b, '\n')); err != nil {
		a.Log.Debug("api answer not delivered", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}
