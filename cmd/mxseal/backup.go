package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api/client"
)

func backupCommand(f *clientFlags) *cobra.Command {
	cmd := f.calling("backup FILE", "Copy the database of a running server, consistent at one revision", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		if args[0] == "-" {
			return c.Backup(cmd.Context(), cmd.OutOrStdout())
		}
		return backupTo(cmd.Context(), c, args[0])
	})
	cmd.Long = `Copy the database of a running server, consistent at one revision. FILE - is standard output. The private keys in it are
sealed; the key-encryption key is not in it.`
	return cmd
}

// backupTo makes the file appear only when it is complete; one that was there before is replaced then.
func backupTo(ctx context.Context, c *client.Client, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*") // of mode 0600
	if err != nil {
		return err
	}
	err = c.Backup(ctx, f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
