package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// readyTime is how long the server has to say whether it is ready.
const readyTime = 4 * time.Second

func readyCommand() *cobra.Command {
	f := &configFlags{}
	cmd := command("ready", "Ask the server on this machine whether it is ready", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load()
		if err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, fmt.Sprintf("http://%s/readyz", cfg.Metrics.Listen), nil)
		if err != nil {
			return err
		}
		res, err := (&http.Client{Timeout: readyTime}).Do(request)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
		if err == nil && res.StatusCode != http.StatusOK {
			err = errors.New(strings.TrimSpace(string(text)))
		}
		return err
	})
	cmd.Long = `Ask the server on this machine for /readyz, at metrics.listen of its configuration. The exit code is 0 if it is ready, 1 if it is not or
does not run: for health checks in a container that has no other program.`
	f.register(cmd)
	f.registerDev(cmd)
	return cmd
}
