package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/keymgmt/parent"
)

func checkConfigCommand() *cobra.Command {
	f := &configFlags{}
	var reference bool
	cmd := command("check-config", "Check a configuration and report everything that is wrong with it", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		if reference {
			_, err := fmt.Fprint(cmd.OutOrStdout(), conf.Reference())
			return err
		}
		cfg, err := f.load()
		if err != nil {
			return err
		}
		if err := checkFiles(cfg); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid\n", f.file)
		return err
	})
	cmd.Long = `Check a configuration and report everything that is wrong with it: the keys, the files of api.tls and store.etcd, and the
key-encryption key if it is there already. Environment variables count as they do for serve.`
	f.register(cmd)
	cmd.Flags().BoolVar(&reference, "reference", false, "print a configuration file with every key, its meaning and its default instead")
	return cmd
}

// checkFiles reads the files that a configuration names. What init makes need not be there yet.
func checkFiles(cfg conf.Config) error {
	_, err := newAdmin(cfg, slog.New(slog.DiscardHandler))
	if _, kekErr := openVault(cfg.Keys); !errors.Is(kekErr, fs.ErrNotExist) {
		err = errors.Join(err, kekErr)
	}
	_, tsigErr := parent.ReadTSIG(cfg.Keys.TSIGFile)
	err = errors.Join(err, tsigErr)
	if isEtcd(cfg) {
		c, etcdErr := etcdConfig(cfg)
		err = errors.Join(err, etcdErr, c.CheckFiles())
	}
	return err
}
