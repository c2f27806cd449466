package main

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

func tokenCommand(f *clientFlags) *cobra.Command {
	return group("token", "Tokens that admit to the admin API", tokenCreate(f), tokenList(f), tokenRevoke(f))
}

func tokenCreate(f *clientFlags) *cobra.Command {
	var spec api.TokenSpec
	var lifetime time.Duration
	local := &configFlags{}
	cmd := command("create", "Create a token and print its secret, once", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		if local.file != "" {
			return createLocally(cmd, local, spec, lifetime)
		}
		if cmd.Flags().Changed("expires-in") {
			text := lifetime.String()
			spec.ExpiresIn = &text
		}
		c, err := f.client()
		if err != nil {
			return err
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
	cmd.Long = `Create a token and print its secret, once.

With --config the token is written to the database of this machine while no server runs on it: the way back in when the last
admin token is lost or has expired.`
	cmd.Flags().StringVar(&spec.Scope, "scope", "", "read, provision or admin")
	cmd.Flags().StringVar(&spec.Description, "description", "", "what the token is for")
	cmd.Flags().DurationVar(&lifetime, "expires-in", 0, "how long the token is valid, such as 720h; by default for ever")
	local.register(cmd)
	if err := cmd.MarkFlagRequired("scope"); err != nil {
		panic(err) // the flag is defined above
	}
	return cmd
}

// createLocally writes a token to a database that no server has open.
func createLocally(cmd *cobra.Command, f *configFlags, spec api.TokenSpec, lifetime time.Duration) error {
	cfg, err := f.load()
	if err != nil {
		return err
	}
	vault, err := openVault(cfg.Keys)
	if err != nil {
		return err
	}
	now := time.Now()
	var expires time.Time
	if lifetime > 0 {
		expires = now.Add(lifetime)
	}
	secret, token, err := vault.NewToken(keymgmt.Scope(spec.Scope), spec.Description, expires, now)
	if err != nil {
		return err
	}
	tx, err := store.Encode(zone.Changes{Puts: []zone.Row{token}}, store.OldestWritten)
	if err != nil {
		return err
	}
	engine, err := openEngine(cmd.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	_, err = engine.Commit(cmd.Context(), tx)
	if err := errors.Join(err, engine.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), secret)
	return err
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
