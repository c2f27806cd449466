//go:build linux

// Command load asks a DNS server many questions over UDP and prints what came back as one JSON object.
//
// It keeps a number of queries outstanding (-window) or sends them at a rate (-rate), for a time (-duration) or until each
// question was asked once (-once). Its threads do not choose a processor: start it with taskset.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/mxseal/mxseal/bench/stats"
)

// options are the flags.
type options struct {
	server    netip.AddrPort
	questions string
	names     string
	count     int
	types     string
	absent    string
	do        bool
	window    int
	rate      float64 // queries in a second; 0: closed loop
	duration  time.Duration
	once      bool
	timeout   time.Duration
	workers   int
	seed      uint64
	pid       int // of the server; 0: its processor time is not asked for
}

func main() {
	o, err := parse(os.Args[1:])
	if err == nil {
		var result *stats.Result
		if result, err = run(o); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(result)
		}
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// parse reads the command line.
func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	f.TextVar(&o.server, "server", netip.MustParseAddrPort("127.0.0.1:5300"), "`address` with port")
	f.StringVar(&o.questions, "questions", "", "`file` with lines \"name type\"")
	f.StringVar(&o.names, "names", "", "`pattern` of names with %d for 0 to count-1")
	f.IntVar(&o.count, "count", 10_000, "how many names")
	f.StringVar(&o.types, "types", "MX,A,AAAA,TLSA", "asked for at each name of the pattern; TLSA at _25._tcp below it")
	f.StringVar(&o.absent, "absent", "", "`zone` in which count random names are asked for, each once")
	f.BoolVar(&o.do, "do", true, "ask with EDNS, 1232 octets, and DO")
	f.IntVar(&o.window, "window", 64, "closed loop: queries outstanding at a time")
	f.Float64Var(&o.rate, "rate", 0, "open loop: queries in a second")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "how long to ask")
	f.BoolVar(&o.once, "once", false, "ask each question once, however long that takes")
	f.DurationVar(&o.timeout, "timeout", time.Second, "after which an answer is lost")
	f.IntVar(&o.workers, "workers", 1, "sockets, each with a thread")
	f.Uint64Var(&o.seed, "seed", 1, "of the order of questions and of absent names")
	f.IntVar(&o.pid, "pid", 0, "server whose processor time is measured, with its children")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.once = o.once || o.absent != ""
	switch {
	case f.NArg() > 0:
		return o, fmt.Errorf("%q is no flag", f.Arg(0))
	case o.workers < 1 || o.window < o.workers || o.window/o.workers > 1<<15:
		return o, errors.New("the window must have 1 to 32768 queries for each worker, and there must be a worker")
	case o.rate < 0 || o.timeout <= 0:
		return o, errors.New("rate and time-out must not be negative")
	}
	return o, nil
}
