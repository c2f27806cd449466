package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/keymgmt/hsm"
)

// openToken opens the PKCS #11 token of a configuration; nil if it names none.
func openToken(k conf.Keys) (keymgmt.HSM, error) {
	if k.PKCS11.Module == "" {
		return nil, nil
	}
	return hsm.Open(hsm.Config{Module: k.PKCS11.Module, Token: k.PKCS11.Token, PINFile: k.PKCS11.PINFile, Now: time.Now})
}

func kekSources(k conf.Keys, token keymgmt.HSM) keymgmt.Sources {
	return keymgmt.Sources{KEK: k.KEK, Earlier: k.Earlier, Lookup: os.LookupEnv, HSM: token}
}

// openVault opens the vault of a configuration, for a command that ends soon.
func openVault(k conf.Keys) (*keymgmt.Vault, error) {
	token, err := openToken(k)
	if err != nil {
		return nil, err
	}
	return keymgmt.OpenVault(kekSources(k, token))
}

// createKEK makes the file of the key-encryption key, if it is to be in a file; the error is fs.ErrExist if there is one.
func createKEK(k conf.Keys) error {
	kind, path, _ := strings.Cut(k.KEK, ":")
	var token keymgmt.HSM
	switch kind {
	case "file":
	case "pkcs11":
		var err error
		if token, err = openToken(k); err != nil {
			return err
		}
	default:
		return nil // who sets the variable makes the key
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return keymgmt.CreateKEKFile(path, token)
}
