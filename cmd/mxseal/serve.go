package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
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
		hangup := make(chan os.Signal, 1)
		signal.Notify(hangup, syscall.SIGHUP) // from now on: a habitual reload must not take DNS down
		n, err := build(cmd.Context(), cfg, log)
		if err != nil {
			return fmt.Errorf("start: %w", err)
		}
		return n.run(cmd.Context(), func() error {
			go reloadKEKs(cmd.Context(), n, hangup, f.load)
			return nil
		})
	})
	cmd.Long = `Serve DNS and the admin API until SIGTERM or SIGINT. On SIGHUP keys.kek and keys.earlier_keks are read again; any other change of the
configuration, or of a certificate, needs a restart.

An empty data directory is refused: a lost disk must not become a new key. "mxseal init" makes a database, "mxseal restore"
brings one back.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}

// reloadKEKs reads the key-encryption keys again at every SIGHUP; what is sealed under earlier ones is then sealed anew.
func reloadKEKs(ctx context.Context, n *node, hangup <-chan os.Signal, load func() (conf.Config, error)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		cfg, err := load()
		if err == nil {
			err = n.keys.ReloadKEKs(kekSources(cfg.Keys, n.token))
		}
		if err == nil {
			n.store.OpenKeys()
		}
		if err != nil {
			n.log.Error("the key-encryption keys stay as they were", "error", err)
			continue
		}
		n.log.Info("the key-encryption keys were read again", "kek", n.vault.KEK())
	}
}
