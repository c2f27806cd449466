//go:build linux

// Command peers measures mxseal beside other authoritative servers, all on this machine and in one run: each has one
// processor core and the load generator the other. It installs the others from Debian, as root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	tenants    int
	types      string
	rounds     int
	duration   time.Duration // of one warm measurement
	window     int
	quiet      time.Duration
	serverCore int
	loadCore   int
	results    string // directory
}

func main() {
	var o options
	flag.IntVar(&o.tenants, "tenants", 10_000, "hosts in the zone")
	flag.StringVar(&o.types, "types", "MX,A,AAAA,TLSA", "what is asked for at each host")
	flag.IntVar(&o.rounds, "rounds", 3, "times that each server has its turn")
	flag.DurationVar(&o.duration, "duration", 4*time.Second, "of a server's turn when it is warm")
	flag.IntVar(&o.window, "window", 64, "queries outstanding at a time")
	flag.DurationVar(&o.quiet, "quiet", 20*time.Second, "how long to wait before each turn until nobody else uses the cores")
	flag.IntVar(&o.serverCore, "server-core", 0, "processor core of the servers")
	flag.IntVar(&o.loadCore, "load-core", 1, "processor core of the load generator")
	flag.StringVar(&o.results, "results", "bench/results", "`directory` for the table and the raw figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

// run measures everything and stores the report.
func run(ctx context.Context, o options) (err error) {
	if o.tenants < 1 || o.rounds < 1 || flag.NArg() > 0 {
		return errors.New("needs a tenant, a round, and no arguments")
	}
	if err := installPeers(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mxseal-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{o: o, dir: dir}
	defer b.stopAll()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	r, err := newReport(ctx, o)
	if err != nil {
		return err
	}
	if err := b.measure(ctx, r); err != nil {
		return err
	}
	return r.store(o.results)
}
