//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// packages are the Debian packages with what is measured or needed to set it up. CoreDNS is in none.
func packages() []string {
	return []string{"knot", "nsd", "pdns-server", "pdns-backend-bind", "bind9-utils"}
}

// version is the version of an installed package, or empty.
func version(ctx context.Context, name string) string {
	text, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name).Output()
	state, version, _ := strings.Cut(string(text), " ")
	if err != nil || state != "installed" {
		return ""
	}
	return version
}

// installPeers installs what is missing. Nothing is started by that, now or when the machine starts.
func installPeers(ctx context.Context) (err error) {
	var missing []string
	for _, name := range packages() {
		if version(ctx, name) == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("these Debian packages are missing, and only root can install them: %s", strings.Join(missing, " "))
	}
	allow, err := forbidStarts("/usr/sbin/policy-rc.d")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, allow()) }()
	if err := shell(ctx, "apt-get", "update", "-q"); err != nil {
		return err
	}
	if err := shell(ctx, "apt-get", append([]string{"install", "-q", "-y", "--no-install-recommends"}, missing...)...); err != nil {
		return err
	}
	if _, err := exec.LookPath("systemctl"); err != nil {
		return nil // nothing that could start them
	}
	for _, service := range []string{"knot", "nsd", "pdns"} {
		shell(ctx, "systemctl", "disable", service) // fails for what was not installed just now and is not there
	}
	return nil
}

// forbidStarts makes packages start nothing while they are installed, and returns what undoes that. A policy that is
// there already stays.
func forbidStarts(policy string) (undo func() error, err error) {
	f, err := os.OpenFile(policy, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	return func() error { return os.Remove(policy) }, errors.Join(err, f.Close())
}

// shell runs a program to its end; what it says is shown on standard error.
func shell(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}
