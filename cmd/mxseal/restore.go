package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func restoreCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("restore BACKUP", "Bring a backup back where there is no database", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
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
		what, err := restoreEngine(cmd.Context(), cfg, in)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Restored %s.\nThe key-encryption key is not in a backup: %s must be the one that the keys were sealed with.\n",
			what, cfg.Keys.KEK)
		return err
	})
	cmd.Long = `Bring a backup back into a data directory, or under a prefix of etcd, that has no database. It must come from the same engine. BACKUP is a file, or - for standard input. The backup is
checked completely before it becomes the database; what exists is never overwritten.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}
