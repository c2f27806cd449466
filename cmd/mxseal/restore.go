package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/store/bolt"
)

func restoreCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("restore BACKUP", "Bring a backup back into a data directory that has no database", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		var in io.Reader = cmd.InOrStdin()
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			in = file
		}
		revision, err := bolt.Restore(cfg.DataDir, in)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Restored revision %d into %s.\nThe key-encryption key is not in a backup: %s must be the one that the keys were sealed with.\n",
			revision, cfg.DataDir, cfg.Keys.KEK)
		return err
	})
	cmd.Long = `Bring a backup back into a data directory that has no database. BACKUP is a file, or - for standard input. The backup is
checked completely before it becomes the database; what exists is never overwritten.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}
