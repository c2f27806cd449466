//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/mxseal/mxseal/bench/stats"
)

// phases of a run.
const (
	warm   = "warm"   // every question was asked before
	cold   = "cold"   // each question once, after a start
	absent = "absent" // names that do not exist, each once
)

// measure takes all figures. All servers but the echo run when it begins.
func (b *bench) measure(ctx context.Context, r *report) error {
	if err := b.warmUp(ctx); err != nil {
		return err
	}
	for round := range b.o.rounds {
		for _, s := range b.servers {
			if err := b.take(ctx, r, s, warm, round, b.hosts("-duration", b.o.duration.String())); err != nil {
				return err
			}
		}
	}
	b.stopAll()
	for round := range b.o.rounds {
		if err := awaitQuiet(ctx, b.o.quiet, b.o.serverCore); err != nil {
			return err
		}
		alone, err := signAlone(b.o.serverCore, time.Second)
		if err != nil {
			return err
		}
		r.Signing = append(r.Signing, alone)
		for _, s := range b.servers {
			if s.name == echo {
				continue
			}
			if err := b.takeCold(ctx, r, s, round); err != nil {
				return err
			}
		}
	}
	return nil
}

// warmUp asks all servers every question, and starts an echo whose answers are as long as those of mxseal.
func (b *bench) warmUp(ctx context.Context) error {
	octets := 0.0
	for _, s := range b.servers {
		result, err := b.load(ctx, s, b.hosts("-once"))
		if err != nil {
			return err
		}
		if s.name == mxseal {
			octets = result.MeanOctets
		}
	}
	s, _, err := b.add(echo, true)
	if err != nil {
		return err
	}
	s.args = []string{b.path("echo"), "-listen", s.addr(), "-octets", strconv.Itoa(int(math.Round(octets)))}
	return b.begin(ctx, s)
}

// takeCold starts a server and measures what it has not been asked before.
func (b *bench) takeCold(ctx context.Context, r *report, s *server, round int) error {
	defer s.stop()
	if err := b.begin(ctx, s); err != nil {
		return err
	}
	if s.signs() {
		if err := b.take(ctx, r, s, cold, round, b.hosts("-once")); err != nil {
			return err
		}
	}
	names := 4 * b.o.tenants
	if s.signed {
		names *= 10 // or it would be over before its processor time could be told
	}
	return b.take(ctx, r, s, absent, round, []string{"-absent", zoneName, "-count", strconv.Itoa(names), "-seed", strconv.Itoa(100 + round)})
}

// hosts are arguments to ask for all hosts.
func (b *bench) hosts(more ...string) []string {
	return append([]string{"-names", pattern, "-count", strconv.Itoa(b.o.tenants), "-types", b.o.types}, more...)
}

// take measures once and notes the result.
func (b *bench) take(ctx context.Context, r *report, s *server, phase string, round int, args []string) error {
	if err := awaitQuiet(ctx, b.o.quiet, b.o.serverCore, b.o.loadCore); err != nil {
		return err
	}
	before, err := os.ReadFile("/proc/stat")
	if err != nil {
		return err
	}
	result, err := b.load(ctx, s, args)
	if err != nil {
		return err
	}
	after, err := os.ReadFile("/proc/stat")
	if err != nil {
		return err
	}
	used, all := busyTicks(string(before), string(after), b.o.serverCore)
	others := (float64(used) - 100*result.ServerBusy*result.Seconds) / float64(max(1, all))
	fmt.Fprintf(os.Stderr, "%d %-6s %-24s %7.0f q/s %6.1f us\n", round+1, phase, s.name, result.QPS, result.ServerCPU)
	r.Runs = append(r.Runs, measurement{Phase: phase, Server: s.name, Round: round, Others: max(0, others), Result: *result})
	return nil
}

// load runs the load generator against a server, on the other core.
func (b *bench) load(ctx context.Context, s *server, args []string) (*stats.Result, error) {
	args = append([]string{
		"-c", strconv.Itoa(b.o.loadCore), b.path("load"), "-server", s.addr(), "-window", strconv.Itoa(b.o.window),
		"-pid", strconv.Itoa(s.cmd.Process.Pid),
	}, args...)
	cmd := exec.CommandContext(ctx, "taskset", args...)
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("load on %s: %w\n%s", s.name, err, &problem)
	}
	result := &stats.Result{}
	if err := json.Unmarshal(out.Bytes(), result); err != nil {
		return nil, fmt.Errorf("load on %s: %w", s.name, err)
	}
	if result.Answers == 0 {
		return nil, fmt.Errorf("%s answers nothing", s.name)
	}
	return result, nil
}
