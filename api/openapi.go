package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// openAPIConfig is huma without the routes and formats of its own. The shapes are documented by huma and
// decoded by [decode], which is stricter.
func openAPIConfig(version string) huma.Config {
	return huma.Config{OpenAPI: &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "mxseal", Version: version,
			Description: "Admin API of mxseal, an authoritative DNS server for the mx namespace of a mail provider."},
		Components: &huma.Components{
			Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
			SecuritySchemes: map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}},
		},
	}}
}

// schema returns the schema of a shape; shapes go into the components of the document.
func (a *API) schema(t reflect.Type) *huma.Schema {
	return a.huma.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

// describe documents what a route has apart from its bodies.
func (a *API) describe(e endpoint) *huma.Operation {
	op := &huma.Operation{
		Method: e.method, Path: e.path, OperationID: e.id, Summary: e.summary,
		Description: "Needs a token of scope " + string(e.need) + ".",
		Security:    []map[string][]string{{"token": {}}},
		Responses: map[string]*huma.Response{"default": {
			Description: "what went wrong; code is one of " + strings.Join(codes(), ", "),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: a.schema(reflect.TypeFor[Problem]())}},
		}},
	}
	text := &huma.Schema{Type: huma.TypeString}
	for rest := e.path; strings.Contains(rest, "{"); {
		_, rest, _ = strings.Cut(rest, "{")
		var name string
		name, rest, _ = strings.Cut(rest, "}")
		op.Parameters = append(op.Parameters, &huma.Param{Name: name, In: "path", Required: true, Schema: text})
	}
	if e.paged {
		op.Parameters = append(op.Parameters,
			&huma.Param{Name: "limit", In: "query", Description: fmt.Sprintf("items on a page, 1 to %d; default %d", maxLimit, defaultLimit),
				Schema: &huma.Schema{Type: huma.TypeInteger}},
			&huma.Param{Name: "cursor", In: "query", Description: "next_cursor of the page before", Schema: text})
	}
	if e.isWrite() {
		op.Parameters = append(op.Parameters,
			&huma.Param{Name: "wait", In: "query", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"local", "all"}, Default: "local"},
				Description: fmt.Sprintf("all: answer when every node that was heard of in the last %s has the write, at the latest after %s", maxSilence, maxWait)},
			&huma.Param{Name: "If-Match", In: "header", Description: "ETag that the resource must have, or * if it must exist", Schema: text},
			&huma.Param{Name: "If-None-Match", In: "header", Description: "* if the resource must not exist", Schema: text})
	}
	return op
}

// codes lists the values of Problem.Code.
func codes() []string {
	var all []string
	for _, k := range kinds {
		if len(all) == 0 || !strings.Contains(" "+strings.Join(all, " ")+" ", " "+k.code+" ") {
			all = append(all, k.code)
		}
	}
	return append(all, "internal")
}

// document adds a route with the shapes of its bodies to the document.
func (a *API) document(e endpoint, body, answer reflect.Type) *huma.Operation {
	op := a.describe(e)
	none := reflect.TypeFor[nothing]()
	if body != none {
		op.RequestBody = &huma.RequestBody{Required: !e.bodyOptional, Content: map[string]*huma.MediaType{"application/json": {Schema: a.schema(body)}}}
	}
	if answer == none {
		op.Responses["204"] = &huma.Response{Description: "done", Headers: map[string]*huma.Param{}}
	} else {
		a.documentAnswers(op, e, answer)
	}
	if e.isWrite() {
		documentWrite(op)
	}
	a.add(op)
	return op
}

// documentAnswers adds the successful answers of a route that has a body in them.
func (a *API) documentAnswers(op *huma.Operation, e endpoint, answer reflect.Type) {
	content := map[string]*huma.MediaType{"application/json": {Schema: a.schema(answer)}}
	add := func(status, what string) {
		r := &huma.Response{Description: what, Headers: map[string]*huma.Param{}, Content: content}
		if !e.paged {
			r.Headers["ETag"] = textHeader("the revision, in quotes")
		}
		op.Responses[status] = r
	}
	if e.created {
		add("201", "created")
	}
	if e.method != http.MethodPost || !e.created {
		add("200", "as it is now")
	}
}

// documentWrite adds what the answers to all writes have.
func documentWrite(op *huma.Operation) {
	begun := &huma.Response{Description: "begun; or done, and the nodes that " + LaggingNodes + " names do not have it yet", Headers: map[string]*huma.Param{
		LaggingNodes: textHeader("with wait=all: names of nodes, separated by commas; " + UnknownNodes + " if they could not be asked")}}
	op.Responses["202"] = begun
	for status, r := range op.Responses {
		if status != "default" {
			r.Headers[WriteRevision] = textHeader("a node that has everything up to this revision has the write")
			begun.Content = r.Content
		}
	}
}

func textHeader(what string) *huma.Param {
	return &huma.Param{Description: what, Schema: &huma.Schema{Type: huma.TypeString}}
}

func (a *API) add(op *huma.Operation) { a.huma.OpenAPI().AddOperation(op) }

// openAPIRoute serves the document, to everybody: it says nothing that the program's sources do not.
func (a *API) openAPIRoute() error {
	spec, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return fmt.Errorf("encode the OpenAPI document: %w", err)
	}
	a.spec = spec
	const path = "/v1/openapi.json"
	counters := a.Metrics.route(http.MethodGet, path)
	a.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		if _, err := w.Write(spec); err != nil {
			a.Log.Debug("OpenAPI document not delivered", "error", err)
		}
		counters.count(http.StatusOK)
	})
	return nil
}
