package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/keymgmt"
)

// clientFlags say which server is called, as whom, and how its answers are printed.
type clientFlags struct {
	server, tokenFile string
	ca, cert, key     string
	output            outputFormat
	wait              bool
	lagging           string // nodes that do not have what was done
}

// tokenMark is part of every token, and hardly of a file's name.
const tokenMark = "mxs_"

const defaultServer = "http://127.0.0.1:8053"

func (f *clientFlags) register(root *cobra.Command) {
	server := os.Getenv("MXSEAL_SERVER")
	if server == "" {
		server = defaultServer
	}
	flags := root.PersistentFlags()
	flags.StringVar(&f.server, "server", server, "URL of the admin API (MXSEAL_SERVER)")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the API token (MXSEAL_TOKEN: the token itself or such a file)")
	flags.StringVar(&f.ca, "ca", os.Getenv("MXSEAL_CA"), "PEM file of the authorities that may have signed the server's certificate, instead of the system's (MXSEAL_CA)")
	flags.StringVar(&f.cert, "client-cert", os.Getenv("MXSEAL_CLIENT_CERT"), "PEM file with the client certificate, if the server wants one (MXSEAL_CLIENT_CERT)")
	flags.StringVar(&f.key, "client-key", os.Getenv("MXSEAL_CLIENT_KEY"), "PEM file with its private key (MXSEAL_CLIENT_KEY)")
	flags.BoolVar(&f.wait, "wait", false, "a change is done when all nodes have it that can be heard of; if that takes longer than 10 s the exit code is 1")
	flags.Var(&f.output, "output", "table for people, json for programs")
}

// client connects to the server that the flags name.
func (f *clientFlags) client() (*client.Client, error) {
	token, err := f.token()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{Server: f.server, Token: token, CA: f.ca, ClientCert: f.cert, ClientKey: f.key}
	if f.wait {
		cfg.Lagging = func(nodes string) { f.lagging = nodes }
	}
	return client.New(cfg)
}

// verdict is the error of a command that has done what it was to do, but not everywhere.
func (f *clientFlags) verdict() error {
	switch f.lagging {
	case "":
		return nil
	case api.UnknownNodes:
		return failure{errors.New("it is done; whether all nodes have it is not known, since the database of the cluster does not answer")}
	}
	return failure{fmt.Errorf("it is done; these nodes do not have it yet: %s", f.lagging)}
}

// token returns the secret. In MXSEAL_TOKEN it may stand itself: unlike a file name, it has the form of one.
func (f *clientFlags) token() (string, error) {
	file := f.tokenFile
	if file == "" {
		file = strings.TrimSpace(os.Getenv("MXSEAL_TOKEN"))
		if _, isToken := keymgmt.TokenID(file); isToken {
			return file, nil
		}
	}
	if strings.Contains(file, tokenMark) { // not to be printed as a file that is not there
		return "", errors.New("MXSEAL_TOKEN must be a whole token and nothing else, or like --token-file the name of a file")
	}
	if file == "" {
		return "", errors.New("no API token: give --token-file or set MXSEAL_TOKEN")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("API token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// calling is a command that needs a client.
func (f *clientFlags) calling(use, short string, args cobra.PositionalArgs, do func(c *client.Client, cmd *cobra.Command, args []string) error) *cobra.Command {
	return command(use, short, args, func(cmd *cobra.Command, args []string) error {
		c, err := f.client()
		if err != nil {
			return err
		}
		return do(c, cmd, args)
	})
}
