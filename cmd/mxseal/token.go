package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func tokenCommand(f *clientFlags) *cobra.Command {
	return group("token", "Tokens that admit to the admin API", tokenCreate(f), tokenList(f), tokenRevoke(f))
}

func tokenCreate(f *clientFlags) *cobra.Command {
	var spec api.TokenSpec
	var lifetime time.Duration
	cmd := f.calling("create", "Create a token and print its secret, once", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("expires-in") {
			text := lifetime.String()
			spec.ExpiresIn = &text
		}
		t, err := c.CreateToken(cmd.Context(), spec)
		if err != nil {
			return err
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), t)
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), t.Secret)
		return err
	})
	cmd.Flags().StringVar(&spec.Scope, "scope", "", "read, provision or admin")
	cmd.Flags().StringVar(&spec.Description, "description", "", "what the token is for")
	cmd.Flags().DurationVar(&lifetime, "expires-in", 0, "how long the token is valid, such as 720h; by default for ever")
	if err := cmd.MarkFlagRequired("scope"); err != nil {
		panic(err) // the flag is defined three lines above
	}
	return cmd
}

func tokenList(f *clientFlags) *cobra.Command {
	return f.calling("list", "List the tokens, without their secrets", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		return printList(cmd.OutOrStdout(), f.output, c.Tokens(cmd.Context()), row(func(t api.Token) []string {
			expires := "never"
			if t.Expires != nil {
				expires = t.Expires.Format(time.RFC3339)
			}
			return []string{t.ID, t.Scope, t.Created.Format(time.RFC3339), expires, t.Description}
		}, "TOKEN", "SCOPE", "CREATED", "EXPIRES", "DESCRIPTION"))
	})
}

func tokenRevoke(f *clientFlags) *cobra.Command {
	return f.calling("revoke TOKEN", "Revoke a token by its id", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return c.DeleteToken(cmd.Context(), args[0])
	})
}
