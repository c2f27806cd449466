package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// State is one consistent, immutable state of everything that is stored. Safe for concurrent use.
type State interface {
	zone.View
	zone.Keys
	// Revision is that of the last commit the state contains.
	Revision() uint64
	// Format is that of the database: new records are written in it.
	Format() uint8
	// Keys returns the keys of a zone, sealed; empty when there are none.
	Keys(apex zone.Name) []*keymgmt.KeyRecord
	// Chain returns the chain of trust of a zone, nil if there is none.
	Chain(apex zone.Name) *keymgmt.Chain
	// Token returns nil for an unknown id.
	Token(id string) *keymgmt.Token
	// Tokens visits all tokens in the order of their ids, until yield returns false.
	Tokens(yield func(*keymgmt.Token) bool)
}

// Store is where the state is kept. Safe for concurrent use.
type Store interface {
	// State returns the newest state; never nil.
	State() State
	// Update runs plan on the newest state and commits what it returns, durably. On [zone.ErrRetry] it plans
	// again, a bounded number of times. When it returns without error, State has the change. Empty changes
	// are not committed. An error of plan is returned as it is, and nothing is changed.
	Update(ctx context.Context, plan func(State) (zone.Changes, error)) (revision uint64, err error)
	// Portion is how many records an update should write, if there is a choice.
	Portion() int
	// Backup writes a consistent copy of the newest state.
	Backup(w io.Writer) error
}

// Vault makes what only the key-encryption key can make. Safe for concurrent use.
type Vault interface {
	// CheckPolicy refuses a policy that needs a token where there is none.
	CheckPolicy(p zone.KeyPolicy) error
	// NewZone returns the keys of a zone that has none yet, and the chain that publishes them.
	NewZone(z *zone.Zone, given []keymgmt.GivenKey, existing []*keymgmt.KeyRecord, now time.Time) (keymgmt.ZoneKeys, error)
	// DestroyAll removes the private parts of keys that are gone from the token that they are in, and logs what fails.
	DestroyAll(keys []*keymgmt.KeyRecord, log *slog.Logger)
	// NewToken makes a token; a zero time means that it never expires. The secret is not kept anywhere.
	NewToken(scope keymgmt.Scope, description string, expires, now time.Time) (secret string, t *keymgmt.Token, err error)
	// CheckToken returns nil if secret is that of t and t has not expired. It takes the same time for every
	// secret.
	CheckToken(t *keymgmt.Token, secret string, now time.Time) error
}

// Options are the parts that an API is made from. All are needed.
type Options struct {
	Store   Store
	Vault   Vault
	Keys    KeyManager
	Cluster Cluster
	Now     func() time.Time
	Log     *slog.Logger
	Metrics *Metrics
	Version string // of the program, for the OpenAPI document
}

// Limits of one API. They bound what a client can make the server do at the same time and for how long.
const (
	maxConcurrent  = 256              // requests at once; more get 503
	requestTimeout = 30 * time.Second // of the work for one request, backups excepted
	maxBody        = 1 << 20          // octets of a request body
	maxDepth       = 16               // of JSON in a request body
)

// API is the HTTP handler. Safe for concurrent use.
type API struct {
	Options
	mux    *http.ServeMux
	huma   huma.API
	spec   []byte         // the OpenAPI document
	slots  chan struct{}  // one entry for each request at work
	copy   chan struct{}  // one entry while a backup is made: each takes as much disk as the database
	dummy  *keymgmt.Token // what the secrets of unknown tokens are compared with
	census census
}

// New builds the API.
func New(o Options) (*API, error) {
	if o.Store == nil || o.Vault == nil || o.Keys == nil || o.Cluster == nil || o.Now == nil || o.Log == nil || o.Metrics == nil {
		return nil, errors.New("the API needs all of its parts")
	}
	a := &API{Options: o, mux: http.NewServeMux(), slots: make(chan struct{}, maxConcurrent), copy: make(chan struct{}, 1)}
	a.census.ask = a.members
	var err error
	if _, a.dummy, err = o.Vault.NewToken(keymgmt.ScopeRead, "", time.Time{}, o.Now()); err != nil {
		return nil, err
	}
	a.huma = humago.New(a.mux, openAPIConfig(o.Version))
	a.zoneRoutes()
	a.keyRoutes()
	a.keyPlaceRoutes()
	a.poolRoutes()
	a.tenantRoutes()
	a.importRoutes()
	a.domainRoutes()
	a.recordRoutes()
	a.tokenRoutes()
	a.nodeRoutes()
	a.backupRoute()
	if err := a.openAPIRoute(); err != nil {
		return nil, err
	}
	return a, nil
}

// update runs a plan and makes the request depend on it being committed.
func (a *API) update(c *call, plan func(State) (zone.Changes, error)) error {
	_, err := a.Store.Update(c.ctx, plan)
	return err
}

// remove deletes a zone or a pool in two commits: the first marks it, so that nothing can begin to use it
// while the second looks again. The second may undo the mark and refuse. It is not given up when the client
// goes away; were it, repeating the request would finish it.
func (a *API) remove(c *call, mark, remove func(State) (zone.Changes, error)) error {
	if err := a.update(c, mark); err != nil {
		return err
	}
	var refused error
	_, err := a.Store.Update(context.WithoutCancel(c.ctx), func(st State) (zone.Changes, error) {
		changes, err := remove(st)
		if changes.IsEmpty() {
			return changes, err
		}
		refused = err
		return changes, nil
	})
	return errors.Join(err, refused)
}
