//go:build !pkcs11

package hsm

import (
	"errors"
	"testing"
)

func TestWithoutPKCS11OpenSaysSo(t *testing.T) {
	if _, err := Open(Config{Module: "/usr/lib/softhsm/libsofthsm2.so", Token: "t", PINFile: "/pin"}); !errors.Is(err, ErrNotBuilt) {
		t.Error(err)
	}
}
