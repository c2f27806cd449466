package main

import (
	"fmt"

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
		n, err := build(cfg, log)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		return n.run(cmd.Context(), func() error { return nil })
	})
	cmd.Long = `Serve DNS and the admin API until SIGTERM or SIGINT.

An empty data directory is refused: a lost disk must not become a new key. "mxseal init" makes a database, "mxseal restore"
brings one back.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}
