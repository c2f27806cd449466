package keymgmt

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// kekSize is the size of a key-encryption key in octets.
const kekSize = 32

// maxKEKText bounds what is read from a file that may not be a key at all.
const maxKEKText = 1024

// ErrKEK is wrapped by every refusal to use a key-encryption key.
var ErrKEK = errors.New("key-encryption key")

// Sources says where key-encryption keys are. A source is "file:" and a path; "env:" and the name of a variable; or "pkcs11:"
// and the path of a file that has the key encrypted by one in the token.
//
// The key is 32 octets, written in base64 (RFC 4648 §4, with or without padding) or in hex; white space around it
// does not matter. A file must be a regular one, belong to the user we run as, and give no right to anybody
// else (mode 0600 or stricter).
type Sources struct {
	KEK     string                           // the one that seals
	Earlier []string                         // those that are being replaced: what they sealed can still be opened
	Lookup  func(name string) (string, bool) // reads a variable: os.LookupEnv
	HSM     HSM                              // nil if there is no token
}

// OpenVault reads the key-encryption keys and returns the vault that has them. Every error is about one of the sources.
func OpenVault(s Sources) (*Vault, error) {
	v := &Vault{hsm: s.HSM}
	return v, v.load(s)
}

// load reads the key-encryption keys of a vault.
func (v *Vault) load(s Sources) error {
	var all sealers
	for _, source := range append([]string{s.KEK}, s.Earlier...) {
		kek, err := s.read(source)
		if err != nil {
			return err
		}
		one, err := newSealer(kek)
		clear(kek)
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	v.sealers.Store(&all)
	return nil
}

// read returns the key of one source.
func (s Sources) read(source string) ([]byte, error) {
	kind, where, _ := strings.Cut(source, ":")
	var text string
	var err error
	switch {
	case (kind == "file" || kind == "pkcs11") && where != "":
		text, err = readKEKFile(where)
	case kind == "env" && where != "":
		var found bool
		if text, found = s.Lookup(where); !found || text == "" {
			err = errors.New("the variable is not set")
		}
	default:
		return nil, fmt.Errorf("%w: source %q is none of file:PATH, env:NAME and pkcs11:PATH", ErrKEK, kind)
	}
	var kek []byte
	switch {
	case err != nil:
	case kind == "pkcs11":
		kek, err = unwrap(text, s.HSM)
	default:
		kek, err = parseKEK(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrKEK, source, err)
	}
	return kek, nil
}

// wrapContext binds what a token encrypts to its purpose.
const wrapContext = "mxseal key-encryption key"

// unwrap decrypts the text form of an encrypted key in the token.
func unwrap(text string, hsm HSM) ([]byte, error) {
	if hsm == nil {
		return nil, errHSM
	}
	wrapped, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("is not in base64")
	}
	kek, err := hsm.Unwrap(wrapped, []byte(wrapContext))
	if err == nil && len(kek) != kekSize {
		err = fmt.Errorf("is not %d octets", kekSize)
	}
	return kek, err
}

func readKEKFile(path string) (string, error) {
	// Not blocking: a FIFO is refused below, and must not make us wait before that.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%w; for a new database mxseal init makes it, for one that exists bring your copy back", err)
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat() // of what was opened: the path may lead elsewhere a moment later
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a regular file")
	}
	if loose := info.Mode().Perm() & 0o077; loose != 0 {
		return "", fmt.Errorf("has mode %04o, which lets others use it; allow the owner only (chmod 0600)", info.Mode().Perm())
	}
	if err := checkOwner(info); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKEKText))
	return string(text), err
}

func checkOwner(info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("has no owner that can be checked")
	}
	if us := os.Geteuid(); int(stat.Uid) != us {
		return fmt.Errorf("belongs to user %d, but we run as user %d", stat.Uid, us)
	}
	return nil
}

// parseKEK decodes the text form. The errors do not repeat it.
func parseKEK(text string) ([]byte, error) {
	text = strings.TrimSpace(text)
	if len(text) == hex.EncodedLen(kekSize) {
		if kek, err := hex.DecodeString(text); err == nil {
			return kek, nil
		}
	}
	kek, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	if err != nil || len(kek) != kekSize {
		return nil, fmt.Errorf("is not %d octets in base64 or hex", kekSize)
	}
	return kek, nil
}

// CreateKEKFile writes a new random key-encryption key to a file of mode 0600 that does not exist yet, and
// makes it durable: encrypted by the token if there is one. If the file exists the error is fs.ErrExist.
func CreateKEKFile(path string, hsm HSM) error {
	kek := make([]byte, kekSize)
	if _, err := rand.Read(kek); err != nil {
		return fmt.Errorf("make a %w: %w", ErrKEK, err)
	}
	defer clear(kek)
	content := kek
	if hsm != nil {
		var err error
		if content, err = hsm.Wrap(kek, []byte(wrapContext)); err != nil {
			return fmt.Errorf("encrypt the %w in the token: %w", ErrKEK, err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create the %w: %w", ErrKEK, err)
	}
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(content) + "\n")
	err = errors.Join(err, f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		return fmt.Errorf("write the %w: %w", ErrKEK, errors.Join(err, os.Remove(path)))
	}
	return nil
}

// syncDir makes the entries of a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
