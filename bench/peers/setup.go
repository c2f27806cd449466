//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// bench is one run: its servers and the directory with all that they need.
type bench struct {
	o       options
	dir     string
	servers []*server
}

func (b *bench) path(elements ...string) string {
	return filepath.Join(append([]string{b.dir}, elements...)...)
}

// add makes a server with a directory and a port of its own.
func (b *bench) add(name string, signed bool) (s *server, dir string, err error) {
	s = &server{name: name, port: 5301 + len(b.servers), signed: signed}
	dir = b.path(fmt.Sprint(s.port))
	s.log = filepath.Join(dir, "log")
	b.servers = append(b.servers, s)
	return s, dir, os.Mkdir(dir, 0o700)
}

// stopAll ends all servers that run.
func (b *bench) stopAll() {
	for _, s := range b.servers {
		s.stop()
	}
}

// prepare builds and configures everything, fills mxseal, and checks that all servers give the same answers. When it
// returns all of them run, but for the echo.
func (b *bench) prepare(ctx context.Context) error {
	for _, step := range []func(context.Context) error{b.build, b.signZone, b.addKnot, b.addNSD, b.addOnlineSign, b.addPowerDNS, b.addMxseal} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	for _, s := range b.servers {
		if err := b.begin(ctx, s); err != nil {
			return err
		}
		if err := verify(s, b.o.tenants); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// begin starts a server and waits until it answers, on its core alone.
func (b *bench) begin(ctx context.Context, s *server) error {
	if err := s.start(b.o.serverCore); err != nil {
		return err
	}
	if s.name == mxseal {
		if err := b.fill(ctx, s); err != nil {
			return fmt.Errorf("fill mxseal: %w", err)
		}
	}
	if err := s.await(ctx, s.answers); err != nil {
		return err
	}
	return s.checkCore(b.o.serverCore)
}

// build builds the programs of ours.
func (b *bench) build(ctx context.Context) error {
	for _, program := range []string{"cmd/mxseal", "bench/load", "bench/echo"} {
		if err := shell(ctx, "go", "build", "-trimpath", "-o", b.path(filepath.Base(program)), "github.com/mxseal/mxseal/"+program); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) zoneFile() string   { return b.path("zone") }
func (b *bench) signedFile() string { return b.path("zone.signed") }

// signZone writes the zone file and signs it with one key, with NSEC.
func (b *bench) signZone(ctx context.Context) error {
	if err := writeZone(b.zoneFile(), b.o.tenants); err != nil {
		return err
	}
	if err := quiet(ctx, "dnssec-keygen", "-q", "-K", b.dir, "-a", "ECDSAP256SHA256", "-f", "KSK", zoneName); err != nil {
		return err
	}
	return quiet(ctx, "dnssec-signzone", "-q", "-S", "-z", "-K", b.dir, "-d", b.dir, "-o", zoneName, "-f", b.signedFile(), b.zoneFile())
}

// quiet runs a program to its end. What it says is part of the error.
func quiet(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// write writes a configuration file.
func write(name, format string, args ...any) error {
	return os.WriteFile(name, []byte(fmt.Sprintf(format, args...)), 0o600)
}
