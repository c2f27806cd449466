// Package hsm keeps keys in a PKCS #11 token: key-signing keys, and the key that encrypts the key-encryption key. Only a
// program that is built with the tag pkcs11, and with cgo, can; without it Open says so.
//
// Private keys are made in the token, sensitive and not extractable, and never leave it. After an operation has failed the
// token is opened anew, at most every ten seconds: tokens are pulled out, and their daemons restarted. A PIN that was refused is
// never tried again, because tokens lock themselves after a few wrong ones.
package hsm

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Config says which token. All but Sessions is needed.
type Config struct {
	Module  string // path of the PKCS #11 library
	Token   string // label of the token
	PINFile string // file with the PIN of the token's user; a regular file of ours with mode 0600 or stricter
	// Sessions is the most sessions at a time; 0 means 4.
	Sessions int
	Now      func() time.Time
}

// Errors of a token.
var (
	ErrNotBuilt  = errors.New("this mxseal was built without PKCS #11; build it with cgo and -tags pkcs11")
	ErrPIN       = errors.New("the token refuses the PIN; it is not tried again until a restart")
	ErrNoKey     = errors.New("the token does not have the key")
	ErrAlgorithm = errors.New("keys of this algorithm cannot be in a token")
	ErrGone      = errors.New("the token has failed")
)

const maxPIN = 256 // octets

// readPIN reads the file with the PIN. The errors do not show it.
func readPIN(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("PIN of the token: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxPIN {
		return "", fmt.Errorf("PIN of the token: %s must be a regular file of at most %d octets", path, maxPIN)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("PIN of the token: %s has mode %04o, which lets others use it; allow the owner only (chmod 0600)", path, info.Mode().Perm())
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return "", fmt.Errorf("PIN of the token: %s must belong to the user that we run as", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("PIN of the token: %w", err)
	}
	pin := strings.TrimSpace(string(text))
	if pin == "" {
		return "", fmt.Errorf("PIN of the token: %s is empty", path)
	}
	return pin, nil
}
