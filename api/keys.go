package api

import (
	"encoding/base64"
	"net/http"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// DS is what the parent of a zone needs to know, each line a record in presentation form.
type DS struct {
	Zone    string   `json:"zone"`
	DS      []string `json:"ds" doc:"to be published in the parent"`
	DNSKEY  []string `json:"dnskey" doc:"the keys that the DS records are of, for parents that ask for keys"`
	CDS     []string `json:"cds" doc:"as the zone publishes them for parents that look for themselves (RFC 7344)"`
	CDNSKEY []string `json:"cdnskey"`
}

// Key is the public part of a key.
type Key struct {
	ID        string    `json:"id"`
	Role      string    `json:"role" doc:"ksk, zsk or csk"`
	Algorithm string    `json:"algorithm"`
	KeyTag    uint16    `json:"key_tag"`
	Flags     uint16    `json:"flags"`
	PublicKey string    `json:"public_key" doc:"base64, as in the DNSKEY record"`
	Created   time.Time `json:"created"`
}

func (a *API) keyRoutes() {
	handle(a, endpoint{method: http.MethodGet, path: "/v1/zones/{zone}/ds", id: "get-ds", summary: "Show what the parent of a zone needs",
		need: keymgmt.ScopeRead}, a.getDS)
	handle(a, endpoint{method: http.MethodGet, path: "/v1/zones/{zone}/keys", id: "list-keys", summary: "List the keys of a zone",
		need: keymgmt.ScopeRead}, a.listKeys)
}

func (a *API) getDS(c *call, _ nothing) (answer[DS], error) {
	st := a.Store.State()
	z, err := c.zone(st)
	if err != nil {
		return answer[DS]{}, err
	}
	out := DS{Zone: z.Name.String(), DS: lines(st.DS(z.Name)), DNSKEY: []string{}, CDS: []string{}, CDNSKEY: []string{}}
	for _, set := range st.Apex(z.Name) {
		switch set.Type() {
		case zone.TypeDNSKEY:
			for i := range set.Len() {
				if isSecureEntryPoint(set.RData(i)) {
					out.DNSKEY = append(out.DNSKEY, line(set, i))
				}
			}
		case zone.TypeCDS:
			out.CDS = lines(set)
		case zone.TypeCDNSKEY:
			out.CDNSKEY = lines(set)
		}
	}
	return answer[DS]{body: out}, nil
}

// zone returns the zone that the path names.
func (c *call) zone(st State) (*zone.Zone, error) {
	apex, err := c.zoneName()
	if err != nil {
		return nil, err
	}
	return findZone(st, apex)
}

func (a *API) listKeys(c *call, _ nothing) (answer[Page[Key]], error) {
	st := a.Store.State()
	z, err := c.zone(st)
	if err != nil {
		return answer[Page[Key]]{}, err
	}
	page := Page[Key]{Items: []Key{}}
	for _, k := range st.Keys(z.Name) {
		page.Items = append(page.Items, Key{ID: k.ID, Role: string(k.Role), Algorithm: k.Algorithm.String(), KeyTag: k.KeyTag,
			Flags: k.Flags, PublicKey: base64.StdEncoding.EncodeToString(k.PublicKey), Created: k.Created})
	}
	return answer[Page[Key]]{body: page}, nil
}
