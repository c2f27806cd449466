package keymgmt

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// What CheckToken may refuse with.
var (
	ErrTokenWrong   = errors.New("the secret is not that of the token")
	ErrTokenExpired = errors.New("the token has expired")
)

// Scope says what a token may do.
type Scope string

// The scopes, each of which includes those before it.
const (
	ScopeRead      Scope = "read"
	ScopeProvision Scope = "provision"
	ScopeAdmin     Scope = "admin"
)

// rank orders the scopes; what is no scope has rank 0.
func (s Scope) rank() int {
	switch s {
	case ScopeRead:
		return 1
	case ScopeProvision:
		return 2
	case ScopeAdmin:
		return 3
	}
	return 0
}

// Allows reports whether a token of scope s may do what needs the given scope. What is no scope allows nothing
// and is allowed by nothing.
func (s Scope) Allows(need Scope) bool { return need.rank() > 0 && s.rank() >= need.rank() }

// Token is a bearer token as the store has it: without its secret. Rows are immutable and made by a [Vault].
type Token struct {
	ID          string    `json:"id"`     // 64 random bits in lower-case hex
	KEK         string    `json:"kek"`    // identity of the key-encryption key that Sealed needs
	Sealed      []byte    `json:"sealed"` // SHA-256 of the whole secret, bound to id, scope and times
	Scope       Scope     `json:"scope"`
	Description string    `json:"description,omitempty"`
	Created     time.Time `json:"created"` // UTC
	Expires     time.Time `json:"expires"` // UTC; zero: never
	Revision    uint64    `json:"-"`       // of the last write, 0 before the first
}

// Ref names the row and the version it was derived from.
func (t *Token) Ref() zone.Ref { return zone.Ref{Kind: KindToken, ID: t.ID, Revision: t.Revision} }

// A secret is tokenPrefix, the id, "_", and 256 random bits in base64url.
const (
	tokenPrefix  = "mxs_"
	tokenIDSize  = 8  // octets
	tokenEntropy = 32 // octets
)

// NewToken makes a token; a zero expires means never. The secret is returned once and kept nowhere.
func (v *Vault) NewToken(scope Scope, description string, expires, now time.Time) (secret string, t *Token, err error) {
	if scope.rank() == 0 {
		return "", nil, fmt.Errorf("make a token: there is no scope %q", scope)
	}
	random := make([]byte, tokenIDSize+tokenEntropy)
	if _, err := rand.Read(random); err != nil {
		return "", nil, fmt.Errorf("make a token: %w", err)
	}
	id := hex.EncodeToString(random[:tokenIDSize])
	secret = tokenPrefix + id + "_" + base64.RawURLEncoding.EncodeToString(random[tokenIDSize:])
	t = &Token{ID: id, KEK: v.KEK(), Scope: scope, Description: description, Created: now.UTC(), Expires: expires}
	if !expires.IsZero() {
		t.Expires = expires.UTC()
	}
	hash := sha256.Sum256([]byte(secret))
	if t.Sealed, err = v.seal(t.KEK, hash[:], t.additional()); err != nil {
		return "", nil, fmt.Errorf("make a token: %w", err)
	}
	return secret, t, nil
}

// additional is what the hash of a token's secret is bound to: nobody makes a token with the store alone, nor changes what one
// may do.
func (t *Token) additional() []byte {
	return lengthPrefixed("token", t.ID, string(t.Scope), t.Created.Format(time.RFC3339Nano), t.Expires.Format(time.RFC3339Nano), t.KEK)
}

// CheckToken returns nil if secret is that of t and t has not expired, else ErrTokenWrong or ErrTokenExpired. The
// time it takes does not depend on how much of the secret is right.
func (v *Vault) CheckToken(t *Token, secret string, now time.Time) error {
	want, err := v.open(t.KEK, t.Sealed, t.additional())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTokenWrong, err)
	}
	if hash := sha256.Sum256([]byte(secret)); subtle.ConstantTimeCompare(hash[:], want) != 1 {
		return ErrTokenWrong
	}
	if !t.Expires.IsZero() && !now.Before(t.Expires) {
		return ErrTokenExpired
	}
	return nil
}

// TokenID returns the id that is part of a secret; ok is false if the text does not have the form of one.
func TokenID(secret string) (id string, ok bool) {
	rest, found := strings.CutPrefix(secret, tokenPrefix)
	if !found {
		return "", false
	}
	id, random, found := strings.Cut(rest, "_")
	if !found || len(id) != hex.EncodedLen(tokenIDSize) || len(random) != base64.RawURLEncoding.EncodedLen(tokenEntropy) {
		return "", false
	}
	if strings.Trim(id, "0123456789abcdef") != "" {
		return "", false
	}
	_, err := base64.RawURLEncoding.DecodeString(random)
	return id, err == nil
}
