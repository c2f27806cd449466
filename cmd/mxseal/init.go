package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/keymgmt"
)

// tokenFile is where the first admin token is put, in the data directory.
const tokenFile = "admin.token"

func initCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("init", "Create the data directory, its key-encryption key and the first admin token", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		token, err := initialize(cmd.Context(), cfg, time.Now())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Created the database in %s.\nThe key-encryption key is %s: keep a copy, apart from the backups.\nThe first admin token is in %s.\n",
			place(cfg), cfg.Keys.KEK, token)
		return err
	})
	f.register(cmd)
	return cmd
}

// initKEKCommand makes a key-encryption key, to replace an earlier one.
func initKEKCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("init-kek", "Create the key-encryption key that the configuration names, to replace an earlier one", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		if err := createKEK(cfg.Keys); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Created %s: keep a copy, apart from the backups.\n", cfg.Keys.KEK)
		return err
	})
	cmd.Long = `Create the key-encryption key that keys.kek names, encrypted by the token if it begins with "pkcs11:". To replace a key: name the
new one in keys.kek and the one before in keys.earlier_keks, create it with this command, and send SIGHUP to the server.`
	f.register(cmd)
	return cmd
}

// initialize makes a database that has nothing but one admin token, and returns the file with the token. It
// refuses if there is a database. The database comes last: interrupted before that, it can be called again.
func initialize(ctx context.Context, cfg conf.Config, now time.Time) (file string, err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return "", err
	}
	if exists, err := existsEngine(ctx, cfg); err != nil || exists {
		return "", cmp.Or(err, fmt.Errorf("%s has a database already; nothing was changed", place(cfg))) // nor a key or token made
	}
	if err := createKEK(cfg.Keys); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	vault, err := openVault(cfg.Keys)
	if err != nil {
		return "", err
	}
	secret, token, err := vault.NewToken(keymgmt.ScopeAdmin, "made by mxseal init", time.Time{}, now)
	if err != nil {
		return "", err
	}
	file = filepath.Join(cfg.DataDir, tokenFile)
	if err := writeSecret(file, secret+"\n"); err != nil {
		return "", err
	}
	return file, createEngine(ctx, cfg, token)
}

// writeSecret writes a file that only its owner can read, replacing what an interrupted attempt has left.
func writeSecret(path, text string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}
