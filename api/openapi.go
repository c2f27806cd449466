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
	if e.method != http.MethodGet {
		op.Parameters = append(op.Parameters,
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
		op.Responses["204"] = &huma.Response{Description: "done"}
		a.add(op)
		return op
	}
	content := map[string]*huma.MediaType{"application/json": {Schema: a.schema(answer)}}
	etag := map[string]*huma.Param{"ETag": {Description: "the revision, in quotes", Schema: &huma.Schema{Type: huma.TypeString}}}
	if e.paged {
		etag = nil
	}
	if e.created {
		op.Responses["201"] = &huma.Response{Description: "created", Headers: etag, Content: content}
	}
	if e.method != http.MethodPost {
		op.Responses["200"] = &huma.Response{Description: "as it is now", Headers: etag, Content: content}
	}
	a.add(op)
	return op
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
