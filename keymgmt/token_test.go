package keymgmt

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

func TestTokenIsAcceptedUntilItExpires(t *testing.T) {
	v := testVault(t, 1)
	expires := now.Add(time.Hour)
	secret, token, err := v.NewToken(ScopeProvision, "panel", expires, now)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^mxs_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$`).MatchString(secret) {
		t.Errorf("form %q", secret)
	}
	if id, ok := TokenID(secret); !ok || id != token.ID || token.Ref() != (zone.Ref{Kind: "tokens", ID: id}) {
		t.Errorf("id %q, %t", id, ok)
	}
	for at, want := range map[time.Time]error{now: nil, expires.Add(-1): nil, expires: ErrTokenExpired, expires.Add(time.Hour): ErrTokenExpired} {
		if err := v.CheckToken(token, secret, at); !errors.Is(err, want) {
			t.Errorf("at %s: %v", at, err)
		}
	}
	forever, token2, err := v.NewToken(ScopeRead, "", time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.CheckToken(token2, forever, now.AddDate(100, 0, 0)); err != nil {
		t.Error(err)
	}
	if forever == secret || token.ID == token2.ID {
		t.Error("two tokens are alike")
	}
}

func TestWrongSecretsAreRefused(t *testing.T) {
	v := testVault(t, 1)
	secret, token, err := v.NewToken(ScopeAdmin, "", now.Add(time.Hour), now)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := v.NewToken(ScopeAdmin, "", time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	wrong := []string{"", other, secret + "A", secret[:len(secret)-1], strings.ToUpper(secret), " " + secret}
	for i := range len(secret) {
		changed := []byte(secret)
		changed[i] ^= 1
		wrong = append(wrong, string(changed))
	}
	for _, w := range wrong {
		// Expired as well, but who does not know the secret is not told.
		if err := v.CheckToken(token, w, now.Add(2*time.Hour)); !errors.Is(err, ErrTokenWrong) {
			t.Errorf("%q: %v", w, err)
		}
	}
	if err := testVault(t, 2).CheckToken(token, secret, now); !errors.Is(err, ErrTokenWrong) {
		t.Errorf("other key-encryption key: %v", err)
	}
	if err := v.CheckToken(&Token{}, secret, now); !errors.Is(err, ErrTokenWrong) {
		t.Errorf("token without hash: %v", err)
	}
}

// The row, as the store gets it, has neither the secret nor its random part.
func TestTokenRowHasNoSecret(t *testing.T) {
	secret, token, err := testVault(t, 1).NewToken(ScopeAdmin, "x", time.Time{}, now)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secret[len("mxs_")+16+1:]) {
		t.Errorf("row %s", text)
	}
	var back Token
	if err := json.Unmarshal(text, &back); err != nil || testVault(t, 1).CheckToken(&back, secret, now) != nil {
		t.Errorf("the row does not survive JSON: %v", err)
	}
}

func TestTokenIDRefusesOtherTexts(t *testing.T) {
	random := strings.Repeat("A", 43)
	for _, text := range []string{"", "mxs_", "mxs_0123456789abcdef", "mxs_0123456789abcdef_", "mxs_0123456789ABCDEF_" + random,
		"mxs_0123456789abcde_" + random, "mxs_0123456789abcdef_" + random + "A", "mxs_0123456789abcdef_" + random[1:] + "+",
		"mxt_0123456789abcdef_" + random, "mxs_0123456789abcdef0_" + random} {
		if id, ok := TokenID(text); ok {
			t.Errorf("%q: id %q", text, id)
		}
	}
	if _, ok := TokenID("mxs_0123456789abcdef_" + random); !ok {
		t.Error("the right form is refused")
	}
}

func TestScopesIncludeEachOther(t *testing.T) {
	order := []Scope{ScopeRead, ScopeProvision, ScopeAdmin}
	for i, has := range order {
		for j, need := range order {
			if has.Allows(need) != (i >= j) {
				t.Errorf("%s allows %s: %t", has, need, has.Allows(need))
			}
		}
		if has.Allows("") || Scope("").Allows(has) || Scope("root").Allows(has) || has.Allows("root") {
			t.Errorf("%s and what is no scope", has)
		}
	}
	if _, _, err := testVault(t, 1).NewToken("root", "", time.Time{}, now); err == nil {
		t.Error("made a token of an unknown scope")
	}
}
