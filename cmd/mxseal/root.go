package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes. Usage means that nothing was tried.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// failure marks an error of something that was tried, as opposed to one of the way it was asked for.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// usage marks an error of the way something was asked for that is found late.
type usage struct{ error }

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "mxseal:", err)
	if errors.As(err, &failure{}) && !errors.As(err, &usage{}) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "See \"%s --help\".\n", cmd.CommandPath())
	return exitUsage
}

func newRoot() *cobra.Command {
	root := group("mxseal", "Authoritative DNSSEC signing server for a mail provider's mx namespace")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.Long = root.Short + `.

serve, ready, init, init-kek, check-config, restore and store copy work on this machine, by a configuration file, and so do key create-offline,
key sign-request and token create --config. All other commands call the admin API of a running server; they take its address from
--server and a token from --token-file.

Exit codes: 0 done, 1 failed, 2 wrong usage.`
	c := &clientFlags{}
	c.register(root)
	root.PersistentPostRunE = func(*cobra.Command, []string) error { return c.verdict() }
	root.AddCommand(
		initCommand(), initKEKCommand(), serveCommand(), checkConfigCommand(), restoreCommand(), storeCommand(), readyCommand(), versionCommand(),
		zoneCommand(c), poolCommand(c), tenantCommand(c), domainCommand(c), keyCommand(c), tokenCommand(c), nodeCommand(c), backupCommand(c),
	)
	return root
}

// group is a command that only has other commands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, Args: func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s needs a command", cmd.CommandPath())
		}
		return fmt.Errorf("%s has no command %q", cmd.CommandPath(), args[0])
	}, RunE: func(*cobra.Command, []string) error { return nil }} // never reached: Args refuses everything
	g.AddCommand(commands...)
	return g
}

// command is a command that does something: what do returns is a failure, not wrong usage.
func command(use, short string, args cobra.PositionalArgs, do func(cmd *cobra.Command, args []string) error) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		if err := do(cmd, args); err != nil {
			return failure{err}
		}
		return nil
	}}
}
