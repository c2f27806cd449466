package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

const maxDescription = 200 // octets

// TokenSpec is the body of POST /v1/tokens.
type TokenSpec struct {
	Scope       string  `json:"scope" enum:"admin,provision,read"`
	Description string  `json:"description,omitempty" doc:"for people; up to 200 octets"`
	ExpiresIn   *string `json:"expires_in,omitempty" doc:"a duration such as 720h; by default the token never expires"`
	Expires     *string `json:"expires,omitempty" doc:"a time (RFC 3339) instead of expires_in"`
}

// Token is a token as the API shows it: everything but its secret.
type Token struct {
	ID          string     `json:"id"`
	Scope       string     `json:"scope" enum:"admin,provision,read"`
	Description string     `json:"description"`
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires" doc:"null: never"`
	Revision    uint64     `json:"revision"`
}

// NewToken is the answer to POST /v1/tokens.
type NewToken struct {
	Token
	Secret string `json:"secret" doc:"what goes behind Bearer; shown this once"`
}

func showToken(t *keymgmt.Token) Token {
	out := Token{ID: t.ID, Scope: string(t.Scope), Description: t.Description, Created: t.Created, Revision: t.Revision}
	if !t.Expires.IsZero() {
		out.Expires = &t.Expires
	}
	return out
}

func (a *API) tokenRoutes() {
	const path = "/v1/tokens/{token}"
	handle(a, endpoint{method: http.MethodGet, path: "/v1/tokens", id: "list-tokens", summary: "List tokens",
		need: keymgmt.ScopeAdmin, paged: true}, a.listTokens)
	handle(a, endpoint{method: http.MethodPost, path: "/v1/tokens", id: "create-token", summary: "Create a token",
		need: keymgmt.ScopeAdmin, created: true}, a.createToken)
	handle(a, endpoint{method: http.MethodGet, path: path, id: "get-token", summary: "Show a token",
		need: keymgmt.ScopeAdmin}, a.getToken)
	handle(a, endpoint{method: http.MethodDelete, path: path, id: "delete-token", summary: "Revoke a token",
		need: keymgmt.ScopeAdmin}, a.deleteToken)
}

func (a *API) listTokens(c *call, _ nothing) (answer[Page[Token]], error) {
	page := collect[Token](c.page)
	a.Store.State().Tokens(func(t *keymgmt.Token) bool {
		return t.ID <= page.after || page.add(t.ID, 1, func() Token { return showToken(t) })
	})
	return answer[Page[Token]]{body: page.Page}, nil
}

func (a *API) getToken(c *call, _ nothing) (answer[Token], error) {
	t, err := findToken(a.Store.State(), c.path("token"))
	if err != nil {
		return answer[Token]{}, err
	}
	return answer[Token]{revision: t.Revision, body: showToken(t)}, nil
}

// findToken returns a token or the error for one that does not exist.
func findToken(st State, id string) (*keymgmt.Token, error) {
	t := st.Token(id)
	if t == nil {
		return nil, refuse(zone.ErrNotFound, "token", "there is no token "+clip(id))
	}
	return t, nil
}

// parse checks a spec; a zero time means that the token never expires.
func (s TokenSpec) parse(now time.Time) (scope keymgmt.Scope, expires time.Time, err error) {
	var p parser
	scope = keymgmt.Scope(s.Scope)
	switch scope {
	case keymgmt.ScopeAdmin, keymgmt.ScopeProvision, keymgmt.ScopeRead:
	default:
		p.report("scope", "must be admin, provision or read")
	}
	if len(s.Description) > maxDescription || strings.ContainsFunc(s.Description, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		p.report("description", "must have at most 200 octets and no control characters")
	}
	field := "expires"
	switch {
	case s.Expires != nil && s.ExpiresIn != nil:
		p.report("expires", "must not be combined with expires_in")
	case s.Expires != nil:
		expires = p.time(field, *s.Expires)
	case s.ExpiresIn != nil:
		field = "expires_in"
		var d time.Duration
		p.duration(field, s.ExpiresIn, &d)
		expires = now.Add(d).UTC().Truncate(time.Second)
	}
	if len(p.errs) == 0 && !expires.IsZero() && !expires.After(now) {
		p.report(field, "must be in the future")
	}
	return scope, expires, p.err()
}

func (a *API) createToken(c *call, body TokenSpec) (answer[NewToken], error) {
	scope, expires, err := body.parse(c.now)
	if err != nil {
		return answer[NewToken]{}, err
	}
	secret, t, err := a.Vault.NewToken(scope, body.Description, expires, c.now)
	if err != nil {
		return answer[NewToken]{}, err
	}
	err = a.update(c, func(State) (zone.Changes, error) {
		return zone.Changes{Puts: []zone.Row{t}}, c.match.check(0)
	})
	if err != nil {
		return answer[NewToken]{}, err
	}
	stored, err := findToken(a.Store.State(), t.ID)
	if err != nil {
		return answer[NewToken]{}, err
	}
	return answer[NewToken]{status: http.StatusCreated, revision: stored.Revision, location: "/v1/tokens/" + t.ID,
		body: NewToken{showToken(stored), secret}}, nil
}

// deleteToken refuses to delete the last token that can create others.
func (a *API) deleteToken(c *call, _ nothing) (answer[nothing], error) {
	err := a.update(c, func(st State) (zone.Changes, error) {
		t, err := findToken(st, c.path("token"))
		if err != nil {
			return zone.Changes{}, err
		}
		if err := c.match.check(t.Revision); err != nil {
			return zone.Changes{}, err
		}
		changes := zone.Changes{Deletes: []zone.Ref{t.Ref()}}
		if t.Scope != keymgmt.ScopeAdmin {
			return changes, nil
		}
		heir := otherAdmin(st, t.ID, c.now)
		if heir == nil {
			return zone.Changes{}, refuse(zone.ErrConflict, "token", "is the last valid one of scope admin; create another one first")
		}
		changes.Requires = append(changes.Requires, heir.Ref())
		return changes, nil
	})
	return answer[nothing]{status: http.StatusNoContent}, err
}

// otherAdmin returns a valid admin token other than the given one, nil if there is none. Of several it takes
// the one that lasts longest.
func otherAdmin(st State, id string, now time.Time) *keymgmt.Token {
	var best *keymgmt.Token
	st.Tokens(func(t *keymgmt.Token) bool {
		valid := t.Expires.IsZero() || t.Expires.After(now)
		if t.ID != id && t.Scope == keymgmt.ScopeAdmin && valid && (best == nil || outlasts(t, best)) {
			best = t
		}
		return true
	})
	return best
}

func outlasts(t, o *keymgmt.Token) bool {
	return !o.Expires.IsZero() && (t.Expires.IsZero() || t.Expires.After(o.Expires))
}
