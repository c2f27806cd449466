package api

import (
	"net/http"
	"strings"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
)

// authenticate returns the id of the token of a request that may do what needs the given scope. What is
// wrong with a token is not told to the client; a token that is unknown is compared like one that is known,
// so that the time taken does not tell either.
func (a *API) authenticate(r *http.Request, need keymgmt.Scope, now time.Time) (id string, err error) {
	secret, ok := bearer(r.Header["Authorization"])
	if !ok {
		a.Metrics.noToken.Inc()
		return "", errUnauthenticated
	}
	id, wellFormed := keymgmt.TokenID(secret)
	var t *keymgmt.Token
	if wellFormed {
		t = a.Store.State().Token(id)
	}
	known := t != nil
	if !known {
		t = a.dummy
	}
	if err := a.Vault.CheckToken(t, secret, now); err != nil || !known {
		a.Metrics.badToken.Inc()
		return "", errUnauthenticated
	}
	if !t.Scope.Allows(need) {
		a.Metrics.outOfScope.Inc()
		return "", errForbidden
	}
	return t.ID, nil
}

// bearer takes the token from the one Authorization header (RFC 6750 §2.1). The name of the scheme is
// case-insensitive (RFC 9110 §11.1).
func bearer(headers []string) (secret string, ok bool) {
	if len(headers) != 1 {
		return "", false
	}
	scheme, secret, found := strings.Cut(headers[0], " ")
	return secret, found && strings.EqualFold(scheme, "Bearer") && secret != ""
}
