package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func keyCommand(f *clientFlags) *cobra.Command {
	return group("key", "Keys that sign the zones", keyList(f))
}

func keyList(f *clientFlags) *cobra.Command {
	return f.calling("list ZONE", "List the keys of a zone", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		keys, err := c.ZoneKeys(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), f.output, each(keys), row(func(k api.Key) []string {
			return []string{k.ID, k.Role, fmt.Sprint(k.KeyTag), k.Algorithm, k.Created.Format(time.RFC3339)}
		}, "KEY", "ROLE", "TAG", "ALGORITHM", "CREATED"))
	})
}
