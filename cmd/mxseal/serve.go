package main

import (
	"fmt"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("serve", "Serve DNS and the admin API", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		log := newLogger(cfg.Log, cmd)
		if f.dev {
			return serveDev(cmd, cfg, log)
		}
		signal.Ignore(syscall.SIGHUP) // there is nothing to reload, and a habitual reload must not take DNS down
		n, err := build(cfg, log)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		return n.run(cmd.Context(), func() error { return nil })
	})
	cmd.Long = `Serve DNS and the admin API until SIGTERM or SIGINT. SIGHUP is ignored: a changed configuration or certificate needs a
restart.

An empty data directory is refused: a lost disk must not become a new key. "mxseal init" makes a database, "mxseal restore"
brings one back.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}
