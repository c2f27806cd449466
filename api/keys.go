package api

import (
	"context"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// KeyManager rolls keys. Safe for concurrent use; see keymgmt.Manager.
type KeyManager interface {
	Status(apex zone.Name, now time.Time) (keymgmt.Status, bool)
	Roll(ctx context.Context, apex zone.Name, role keymgmt.Role, emergency bool) (keymgmt.Rollover, error)
	DryRun(apex zone.Name, role keymgmt.Role, emergency bool, now time.Time) (keymgmt.Rollover, error)
	ConfirmDS(ctx context.Context, apex zone.Name, id string) error
	Restore(ctx context.Context, apex zone.Name, id string) error
	Add(ctx context.Context, apex zone.Name, dnskey string, place keymgmt.Place) error
	Remove(ctx context.Context, apex zone.Name, id string) error
	ExportRequest(ctx context.Context, apex zone.Name, ahead time.Duration) (*keymgmt.Request, error)
	ImportResponse(ctx context.Context, apex zone.Name, r *keymgmt.Response) error
	// Wake makes it look at the policies at once.
	Wake()
}

// DS is what the parent of a zone needs to know, each line a record in presentation form.
type DS struct {
	Zone    string   `json:"zone"`
	DS      []string `json:"ds" doc:"to be published in the parent"`
	DNSKEY  []string `json:"dnskey" doc:"the keys that the DS records are of, for parents that ask for keys"`
	CDS     []string `json:"cds" doc:"as the zone publishes them for parents that look for themselves (RFC 7344)"`
	CDNSKEY []string `json:"cdnskey"`
}

// Key is the public part of a key, and what it is used for.
type Key struct {
	ID        string     `json:"id"`
	Role      string     `json:"role" doc:"ksk, zsk or csk"`
	Algorithm string     `json:"algorithm"`
	KeyTag    uint16     `json:"key_tag"`
	Flags     uint16     `json:"flags"`
	PublicKey string     `json:"public_key" doc:"base64, as in the DNSKEY record"`
	Created   time.Time  `json:"created"`
	Place     string     `json:"place" doc:"where the private part is: sealed, pkcs11, offline or foreign"`
	Use       string     `json:"use" doc:"its role while it has it; else incoming, outgoing, standby, reserve, foreign or retired"`
	DNSKEY    string     `json:"dnskey,omitempty" doc:"what caches may hold of its DNSKEY record: hidden, rumoured, omnipresent or unretentive"`
	RRSIG     string     `json:"rrsig,omitempty" doc:"the same of its signatures of records"`
	DS        string     `json:"ds,omitempty" doc:"the same of its DS records"`
	Since     time.Time  `json:"since" doc:"when the last of these began to change"`
	Retired   *time.Time `json:"retired,omitempty" doc:"when it went to the trash"`
}

// KeyEvent is a step of a rollover.
type KeyEvent struct {
	At    time.Time `json:"at"`
	Kind  string    `json:"kind" doc:"adopt, start, publish, sign, ask-ds, no-cds, see-ds, retire, purge, restock, reserve or ceremony"`
	Why   string    `json:"why"`
	Waits bool      `json:"waits,omitempty" doc:"the time depends on the parent; this is the earliest"`
}

// ParentServer is what a server of the parent said when it was last asked.
type ParentServer struct {
	Server string   `json:"server"`
	DS     []string `json:"ds"`
	TTL    uint32   `json:"ttl"`
	Error  string   `json:"error,omitempty"`
}

// KeyStatus is all that can be said about the keys of a zone.
type KeyStatus struct {
	Zone    string         `json:"zone"`
	Keys    []Key          `json:"keys"`
	Wanted  string         `json:"wanted,omitempty" doc:"what is to happen next and cannot yet"`
	Because string         `json:"because,omitempty" doc:"why not"`
	ToDo    string         `json:"to_do,omitempty" doc:"what somebody has to do at the parent"`
	Until   *time.Time     `json:"until,omitempty" doc:"the earliest safe time; absent if it depends on the parent"`
	Holding string         `json:"holding,omitempty" doc:"why no key changes at all"`
	Failing string         `json:"failing,omitempty" doc:"what went wrong with the last step; it is tried again"`
	Overdue float64        `json:"overdue_seconds" doc:"for how long something should have happened"`
	Stock   time.Time      `json:"signed_until" doc:"until when DNSKEY, CDS and CDNSKEY are signed ahead"`
	DSSeen  *time.Time     `json:"ds_seen,omitempty" doc:"when the DS that is wanted was seen at all servers of the parent, or confirmed"`
	Parents []ParentServer `json:"parent_servers"`
	Looked  *time.Time     `json:"parent_asked,omitempty"`
	Past    []KeyEvent     `json:"past"`
	Coming  []KeyEvent     `json:"coming" doc:"if the policy stays as it is and the parent acts as soon as it can"`
}

// RollRequest asks for a rollover.
type RollRequest struct {
	Role      string `json:"role" doc:"ksk or zsk; of a CSK either means both"`
	Emergency bool   `json:"emergency,omitempty" doc:"while a rollover of the role is on its way: begin right after it, instead of being refused"`
	DryRun    bool   `json:"dry_run,omitempty" doc:"change nothing; say what would happen"`
}

// Rollover is the answer to RollRequest.
type Rollover struct {
	Steps  []KeyEvent `json:"steps" doc:"those to come, until the rollover has ended"`
	Queued string     `json:"queued,omitempty" doc:"that an emergency begins after the present rollover, and what that waits for"`
}

func (a *API) keyRoutes() {
	const keys = "/v1/zones/{zone}/keys"
	handle(a, endpoint{method: http.MethodGet, path: "/v1/zones/{zone}/ds", id: "get-ds", summary: "Show what the parent of a zone needs",
		need: keymgmt.ScopeRead}, a.getDS)
	handle(a, endpoint{method: http.MethodGet, path: keys, id: "list-keys", summary: "List the keys of a zone",
		need: keymgmt.ScopeRead}, a.listKeys)
	handle(a, endpoint{method: http.MethodGet, path: keys + "/status", id: "get-key-status", summary: "Explain the keys of a zone: what was, is and will be, and why",
		need: keymgmt.ScopeRead}, a.getKeyStatus)
	handle(a, endpoint{method: http.MethodPost, path: keys + "/roll", id: "roll-key", summary: "Begin a rollover",
		need: keymgmt.ScopeAdmin}, a.rollKey)
	handle(a, endpoint{method: http.MethodPost, path: keys + "/{key}/confirm-ds", id: "confirm-ds", summary: "Say that all servers of the parent have the DS of a key, named by its id or key tag; or, of the key none, that they have no DS",
		need: keymgmt.ScopeAdmin}, a.confirmDS)
	handle(a, endpoint{method: http.MethodPost, path: keys + "/{key}/restore", id: "restore-key", summary: "Take a key out of the trash and roll to it; it is named by its id or key tag",
		need: keymgmt.ScopeAdmin}, a.restoreKey)
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

// keyStatus returns the status of the zone that the path names.
func (a *API) keyStatus(c *call) (keymgmt.Status, error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return keymgmt.Status{}, err
	}
	s, ok := a.Keys.Status(z.Name, c.now)
	if !ok {
		return s, refuse(zone.ErrConflict, "zone", "the zone has no keys yet")
	}
	return s, nil
}

func (a *API) listKeys(c *call, _ nothing) (answer[Page[Key]], error) {
	s, err := a.keyStatus(c)
	return answer[Page[Key]]{body: Page[Key]{Items: showKeys(s)}}, err
}

func (a *API) getKeyStatus(c *call, _ nothing) (answer[KeyStatus], error) {
	s, err := a.keyStatus(c)
	if err != nil {
		return answer[KeyStatus]{}, err
	}
	return answer[KeyStatus]{body: showKeyStatus(s)}, nil
}

func (a *API) rollKey(c *call, body RollRequest) (answer[Rollover], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[Rollover]{}, err
	}
	role := keymgmt.Role(body.Role)
	var r keymgmt.Rollover
	status := http.StatusAccepted
	if body.DryRun {
		status = http.StatusOK
		r, err = a.Keys.DryRun(z.Name, role, body.Emergency, c.now)
	} else {
		r, err = a.Keys.Roll(c.ctx, z.Name, role, body.Emergency)
	}
	return answer[Rollover]{status: status, body: Rollover{Steps: showEvents(r.Steps), Queued: r.Queued}}, err
}

func (a *API) confirmDS(c *call, _ nothing) (answer[KeyStatus], error) {
	return a.changeKey(c, a.Keys.ConfirmDS)
}

func (a *API) restoreKey(c *call, _ nothing) (answer[KeyStatus], error) {
	return a.changeKey(c, a.Keys.Restore)
}

// changeKey does something with the key that the path names.
func (a *API) changeKey(c *call, change func(ctx context.Context, apex zone.Name, id string) error) (answer[KeyStatus], error) {
	z, err := c.zone(a.Store.State())
	if err != nil {
		return answer[KeyStatus]{}, err
	}
	if err := change(c.ctx, z.Name, c.path("key")); err != nil {
		return answer[KeyStatus]{}, err
	}
	return a.getKeyStatus(c, nothing{})
}

func showKeys(s keymgmt.Status) []Key {
	out := make([]Key, len(s.Keys))
	for i, k := range s.Keys {
		out[i] = Key{ID: k.ID, Role: string(k.Role), Algorithm: k.Algorithm.String(), KeyTag: k.KeyTag,
			Flags: k.Flags, PublicKey: base64.StdEncoding.EncodeToString(k.PublicKey), Created: k.Created, Place: showPlace(k.Place),
			Use: k.Use, DNSKEY: string(k.DNSKEY), RRSIG: string(k.RRSIG), DS: string(k.DS), Since: k.Since, Retired: unlessZero(k.Retired)}
	}
	return out
}

func showEvents(events []keymgmt.Event) []KeyEvent {
	out := make([]KeyEvent, len(events))
	for i, e := range events {
		out[i] = KeyEvent{At: e.At, Kind: string(e.Kind), Why: e.Why, Waits: e.Waits}
	}
	return out
}

func showKeyStatus(s keymgmt.Status) KeyStatus {
	out := KeyStatus{Zone: s.Zone.Name.String(), Keys: showKeys(s), Wanted: s.Wanted, Because: s.Because, ToDo: s.ToDo, Until: unlessZero(s.Until),
		Holding: s.Holding, Failing: s.Failing, Overdue: s.Overdue.Seconds(), Stock: s.Stock, DSSeen: unlessZero(s.DSSeen), Looked: unlessZero(s.Looked),
		Parents: []ParentServer{}, Past: showEvents(s.Past), Coming: showEvents(s.Coming)}
	for _, p := range s.Parents {
		server := ParentServer{Server: p.Server.String(), DS: []string{}, TTL: p.TTL}
		if p.Err != nil {
			server.Error = p.Err.Error()
		}
		if len(p.DS) > 0 {
			server.DS = lines(zone.NewRRset(s.Zone.Name, zone.TypeDS, p.TTL, p.DS))
		}
		out.Parents = append(out.Parents, server)
	}
	return out
}

// showPlace names the place of a private key.
func showPlace(p keymgmt.Place) string {
	if p == keymgmt.PlaceHere {
		return sealed
	}
	return string(p)
}

// sealed is how the API calls the place that has no name inside.
const sealed = "sealed"

// unlessZero leaves a time out of JSON that is not known.
func unlessZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
