package keymgmt

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// secretsOf returns the secret numbers of a private key in octets.
func secretsOf(t *testing.T, private crypto.Signer) [][]byte {
	t.Helper()
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		d, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return [][]byte{d}
	case ed25519.PrivateKey:
		return [][]byte{k.Seed()}
	case *rsa.PrivateKey:
		return [][]byte{k.D.Bytes(), k.Primes[0].Bytes(), k.Primes[1].Bytes()}
	}
	t.Fatalf("private key %T", private)
	return nil
}

// spellings returns the ways in which octets could turn up in a text.
func spellings(secret []byte) []string {
	decimal := strings.Trim(fmt.Sprint(secret), "[]")
	return []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		decimal, strings.ReplaceAll(decimal, " ", ", "), strings.ReplaceAll(decimal, " ", ","),
		strings.TrimRight(base64.StdEncoding.EncodeToString(secret), "="), strings.TrimRight(base64.URLEncoding.EncodeToString(secret), "="),
		fmt.Sprintf("%#v", secret)[len("[]byte{"):],
	}
}

// prints returns everything that common code could write about a value.
func prints(t *testing.T, value any) string {
	t.Helper()
	var b bytes.Buffer
	holder := struct{ X any }{value}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
		fmt.Fprintf(&b, verb+"\n", value)
		fmt.Fprintf(&b, verb+"\n", holder)
		fmt.Fprintf(&b, verb+"\n", []any{value})
	}
	if text, err := json.Marshal(holder); err == nil {
		b.Write(text)
	}
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "value", value, "holder", holder)
	}
	b.WriteString(fmt.Errorf("wrapped: %v", value).Error())
	return b.String()
}

// reachable collects all octets that reflection can get at from a value, unexported fields included.
func reachable(v reflect.Value, seen map[uintptr]bool, out *bytes.Buffer) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice:
		if v.IsNil() || v.Kind() != reflect.Slice && seen[v.Pointer()] {
			return
		}
		seen[v.Pointer()] = true
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			reachable(v.Elem(), seen, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			reachable(v.Field(i), seen, out)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			reachable(v.Index(i), seen, out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			reachable(it.Key(), seen, out)
			reachable(it.Value(), seen, out)
		}
	case reflect.String:
		out.WriteString(v.String())
	case reflect.Uint8:
		out.WriteByte(byte(v.Uint()))
	}
}

// No exported type gives a private key or the key-encryption key away, however it is printed, encoded, logged or
// walked over.
func TestNothingPrintsPrivateMaterial(t *testing.T) {
	for _, algorithm := range algorithms {
		v := testVault(t, 1)
		z := testZone(algorithm, false)
		records := generate(t, v, z)
		set := open(t, v, z, records)
		var ring *Ring
		ring = ring.With(set)
		secrets := [][]byte{testKEK(1)}
		for _, r := range records {
			plain, err := v.open(r.KEK, r.Sealed, r.additional())
			if err != nil {
				t.Fatal(err)
			}
			private, err := parsePKCS8(plain)
			if err != nil {
				t.Fatal(err)
			}
			secrets = append(secrets, plain)
			secrets = append(secrets, secretsOf(t, private)...)
		}
		_, token, err := v.NewToken(ScopeAdmin, "", time.Time{}, now)
		if err != nil {
			t.Fatal(err)
		}
		key := set.SigningKeys(mxTest, zone.TypeA)[0]
		holders := []any{v, set, *set, ring, *ring, key, *key}
		for _, value := range append([]any{records, records[0], *records[0], token, *token, KSK, ScopeAdmin}, holders...) {
			var octets bytes.Buffer
			reachable(reflect.ValueOf(value), map[uintptr]bool{}, &octets)
			text := prints(t, value) + octets.String()
			for _, secret := range secrets {
				for _, spelling := range spellings(secret) {
					if strings.Contains(text, spelling) {
						t.Errorf("%s: %T gives a secret away", algorithm, value)
					}
				}
			}
		}
		for _, value := range holders {
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
				if got := fmt.Sprintf(verb, value); got != redactedText {
					t.Errorf("%T with %s prints %q", value, verb, got)
				}
			}
			if text, err := json.Marshal(value); err != nil || string(text) != `"[redacted]"` {
				t.Errorf("%T in JSON: %s, %v", value, text, err)
			}
			if got := slog.AnyValue(value).Resolve().String(); got != redactedText {
				t.Errorf("%T in a log: %q", value, got)
			}
		}
	}
}

// The search above finds a secret where there is one.
func TestSearchForSecretsWorks(t *testing.T) {
	secret := testKEK(1)
	leaky := struct{ hidden []byte }{secret}
	var octets bytes.Buffer
	reachable(reflect.ValueOf(&leaky), map[uintptr]bool{}, &octets)
	if !strings.Contains(octets.String(), string(secret)) {
		t.Error("reflection does not find it")
	}
	found := false
	for _, s := range spellings(secret) {
		found = found || strings.Contains(prints(t, leaky), s)
	}
	if !found {
		t.Error("printing does not show it")
	}
}
