package api

import (
	"net/http"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
)

// AddedKey is the public part of a key that somebody else has.
type AddedKey struct {
	DNSKEY string `json:"dnskey" doc:"DNSKEY record, or its data: 257 3 13 and the public key in base64"`
	Place  string `json:"place" doc:"offline, a KSK that takes its place when the KSK is rolled; or foreign, a key of another signer of the zone (RFC 8901)"`
}

// SigningRequest is what an offline KSK has to sign.
type SigningRequest = keymgmt.Request

// SigningResponse is what it has signed.
type SigningResponse = keymgmt.Response

// RequestSpec says what a ceremony is to be for.
type RequestSpec struct {
	For string `json:"for" doc:"for how long the key sets are to be signed, such as 4320h; 24h to 9600h"`
}

func (a *API) keyPlaceRoutes() {
	const keys = "/v1/zones/{zone}/keys"
	handle(a, endpoint{method: http.MethodPost, path: keys, id: "add-key", summary: "Add an offline KSK, or a key of another signer of the zone",
		need: keymgmt.ScopeAdmin}, a.addKey)
	handle(a, endpoint{method: http.MethodDelete, path: keys + "/{key}", id: "remove-key", summary: "Give up a key of another signer, or an offline KSK that is not used yet, named by its id or key tag",
		need: keymgmt.ScopeAdmin}, a.removeKey)
	handle(a, endpoint{method: http.MethodPost, path: keys + "/request", id: "export-request", summary: "Make ZSKs ahead, and say what the offline KSK has to sign",
		need: keymgmt.ScopeAdmin}, a.exportRequest)
	handle(a, endpoint{method: http.MethodPost, path: keys + "/response", id: "import-response", summary: "Take in what the offline KSK has signed",
		need: keymgmt.ScopeAdmin}, a.importResponse)
}

func (a *API) addKey(c *call, body AddedKey) (answer[KeyStatus], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[KeyStatus]{}, err
	}
	if err := a.Keys.Add(c.ctx, z.Name, body.DNSKEY, keymgmt.Place(body.Place)); err != nil {
		return answer[KeyStatus]{}, err
	}
	return a.getKeyStatus(c, nothing{})
}

func (a *API) removeKey(c *call, _ nothing) (answer[KeyStatus], error) {
	return a.changeKey(c, a.Keys.Remove)
}

func (a *API) exportRequest(c *call, body RequestSpec) (answer[SigningRequest], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[SigningRequest]{}, err
	}
	var p parser
	var ahead time.Duration
	p.duration("for", &body.For, &ahead)
	if err := p.err(); err != nil {
		return answer[SigningRequest]{}, err
	}
	r, err := a.Keys.ExportRequest(c.ctx, z.Name, ahead)
	if err != nil {
		return answer[SigningRequest]{}, err
	}
	return answer[SigningRequest]{body: *r}, nil
}

func (a *API) importResponse(c *call, body SigningResponse) (answer[KeyStatus], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[KeyStatus]{}, err
	}
	if err := a.Keys.ImportResponse(c.ctx, z.Name, &body); err != nil {
		return answer[KeyStatus]{}, err
	}
	return a.getKeyStatus(c, nothing{})
}
