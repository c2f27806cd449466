package main

import (
	"errors"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
)

// configFlags say where the configuration of a node comes from.
type configFlags struct {
	file, data string
	dev        bool
}

func (f *configFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "config", "", "configuration file (YAML); mxseal check-config --reference prints one with all keys")
}

func (f *configFlags) registerDev(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.dev, "dev", false, "development mode: everything on loopback and in one directory, made if it is not there")
	cmd.Flags().StringVar(&f.data, "data", "", "directory of the development mode (default ./mxseal-dev)")
}

// load reads the configuration that the flags name.
func (f *configFlags) load() (conf.Config, error) {
	switch {
	case f.dev && f.file != "":
		return conf.Config{}, usage{errors.New("--dev and --config exclude each other")}
	case f.dev:
		return conf.Dev(f.data, os.Environ())
	case f.data != "":
		return conf.Config{}, usage{errors.New("--data goes with --dev; otherwise data_dir of the configuration counts")}
	case f.file == "" && os.Getenv("MXSEAL_DNS_LISTEN") == "": // the one key without a default
		return conf.Config{}, usage{errors.New("no configuration: give --config FILE, or at least MXSEAL_DNS_LISTEN in the environment")}
	}
	return conf.Load(f.file, os.Environ())
}

// newLogger writes to standard error as the configuration says.
func newLogger(l conf.Log, cmd *cobra.Command) *slog.Logger {
	o := &slog.HandlerOptions{Level: l.Level}
	if l.Format == "text" {
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), o))
	}
	return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), o))
}
