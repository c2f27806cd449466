package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
)

func checkConfigCommand() *cobra.Command {
	f := &configFlags{}
	var reference bool
	cmd := command("check-config", "Check a configuration and report everything that is wrong with it", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		if reference {
			_, err := fmt.Fprint(cmd.OutOrStdout(), conf.Reference())
			return err
		}
		if _, err := f.load(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", f.file)
		return err
	})
	f.register(cmd)
	cmd.Flags().BoolVar(&reference, "reference", false, "print a configuration file with every key, its meaning and its default instead")
	return cmd
}
