package api

import (
	"crypto/rand"
	"encoding/hex"
	"net/http"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

func (a *API) zoneRoutes() {
	const path = "/v1/zones/{zone}"
	handle(a, endpoint{method: http.MethodGet, path: "/v1/zones", id: "list-zones", summary: "List zones",
		need: keymgmt.ScopeRead, paged: true}, a.listZones)
	handle(a, endpoint{method: http.MethodGet, path: path, id: "get-zone", summary: "Show a zone",
		need: keymgmt.ScopeRead}, a.getZone)
	handle(a, endpoint{method: http.MethodPut, path: path, id: "put-zone", summary: "Create or replace a zone",
		need: keymgmt.ScopeAdmin, created: true}, a.putZone)
	handle(a, endpoint{method: http.MethodDelete, path: path, id: "delete-zone", summary: "Delete a zone and its keys",
		need: keymgmt.ScopeAdmin}, a.deleteZone)
}

func (a *API) listZones(c *call, _ nothing) (answer[Page[Zone]], error) {
	page := collect[Zone](c.page)
	a.Store.State().Zones(func(z *zone.Zone) bool {
		name := z.Name.String()
		return name <= page.after || page.add(name, 1, func() Zone { return showZone(z) })
	})
	return answer[Page[Zone]]{body: page.Page}, nil
}

func (a *API) getZone(c *call, _ nothing) (answer[Zone], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[Zone]{}, err
	}
	return answer[Zone]{revision: z.Revision, body: showZone(z)}, nil
}

// findZone returns a zone or the error for one that does not exist.
func findZone(st State, apex zone.Name) (*zone.Zone, error) {
	z := st.Zone(apex)
	if z == nil {
		return nil, refuse(zone.ErrNotFound, "zone", "there is no zone "+apex.String())
	}
	return z, nil
}

func zoneRevision(st State, apex zone.Name) uint64 {
	if z := st.Zone(apex); z != nil {
		return z.Revision
	}
	return 0
}

func (a *API) putZone(c *call, body ZoneSpec) (answer[Zone], error) {
	apex, err := c.zoneName()
	if err != nil {
		return answer[Zone]{}, err
	}
	spec, err := body.parse(apex)
	if err != nil {
		return answer[Zone]{}, err
	}
	if err := a.Vault.CheckPolicy(spec.Keys); err != nil {
		return answer[Zone]{}, err
	}
	given := make([]keymgmt.GivenKey, len(body.ImportKeys))
	for i, k := range body.ImportKeys {
		given[i] = keymgmt.GivenKey{Role: keymgmt.Role(k.Role), Private: k.PrivateKey}
	}
	id := newID()
	var created bool
	err = a.update(c, func(st State) (zone.Changes, error) {
		current := zoneRevision(st, apex)
		created = current == 0
		changes, z, err := zone.PlanPutZone(st, apex, spec, c.now, id, c.match.against(current))
		if err != nil {
			return changes, err
		}
		if !created {
			if len(given) > 0 {
				return zone.Changes{}, refuse(zone.ErrConflict, "import_keys", "must be absent: the zone exists, and has keys")
			}
			return changes, nil
		}
		keys, err := a.Vault.NewZone(z, given, st.Keys(apex), c.now)
		if err != nil {
			return zone.Changes{}, err
		}
		changes.Puts = append(changes.Puts, keys.Rows()...)
		return changes, nil
	})
	if err != nil {
		return answer[Zone]{}, err
	}
	a.Keys.Wake()
	z, err := findZone(a.Store.State(), apex)
	if err != nil {
		return answer[Zone]{}, err
	}
	return answer[Zone]{status: statusOf(created), revision: z.Revision, body: showZone(z)}, nil
}

// newID returns 128 random bits, in hexadecimal digits. A zone that is created again after it was deleted
// gets another id, and keys of its own.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails: it ends the program instead
	return hex.EncodeToString(id[:])
}

// statusOf a PUT.
func statusOf(created bool) int {
	if created {
		return http.StatusCreated
	}
	return http.StatusOK
}

func (a *API) deleteZone(c *call, _ nothing) (answer[nothing], error) {
	apex, err := c.zoneName()
	if err != nil {
		return answer[nothing]{}, err
	}
	var keys []*keymgmt.KeyRecord
	err = a.remove(c, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanCloseZone(st, apex, c.match.against(zoneRevision(st, apex)))
		return changes, err
	}, func(st State) (zone.Changes, error) {
		changes, _, err := zone.PlanDeleteZone(st, apex)
		if err == nil {
			keys = st.Keys(apex)
			for _, k := range keys {
				changes.Deletes = append(changes.Deletes, k.Ref())
			}
			if chain := st.Chain(apex); chain != nil {
				changes.Deletes = append(changes.Deletes, chain.Ref())
			}
		}
		return changes, err
	})
	if err == nil { // not before: a zone that is still there needs them
		a.Vault.DestroyAll(keys, a.Log)
	}
	return answer[nothing]{status: http.StatusNoContent}, err
}
