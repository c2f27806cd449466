//go:build linux

package main

import (
	"errors"
	"os"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/bench/stats"
	"github.com/mxseal/mxseal/internal/batch"
)

// run asks the questions and sums up what its workers have counted.
func run(o options) (*stats.Result, error) {
	asked, err := o.build()
	if err != nil {
		return nil, err
	}
	workers := make([]*worker, o.workers)
	for i := range workers {
		socket, err := batch.Dial(o.server)
		if err != nil {
			return nil, err
		}
		defer socket.Close()
		workers[i] = &worker{
			o: o, asked: asked, next: i, stride: o.workers, socket: socket,
			queries: batch.New(batchLen, maxQuery, false), answers: batch.New(batchLen, maxAnswer, false),
		}
	}
	before, err := used(o.pid)
	if err != nil {
		return nil, err
	}
	if err := together(workers); err != nil {
		return nil, err
	}
	after, err := used(o.pid)
	if err != nil {
		return nil, err
	}
	return sum(workers, after.server-before.server, after.own-before.own), nil
}

// together runs the workers until all have ended.
func together(workers []*worker) error {
	var all sync.WaitGroup
	errs := make([]error, len(workers))
	start := time.Now()
	for i, w := range workers {
		w.start = start
		all.Go(func() { errs[i] = w.run() })
	}
	all.Wait()
	return errors.Join(errs...)
}

// usage is processor time.
type usage struct{ server, own time.Duration }

func used(pid int) (u usage, err error) {
	if u.own, err = stats.CPU(os.Getpid()); err != nil || pid == 0 {
		return u, err
	}
	u.server, err = stats.CPU(pid)
	return u, err
}

// sum adds up the workers. server and own are the processor time that was used while they ran.
func sum(workers []*worker, server, own time.Duration) *stats.Result {
	r := &stats.Result{Rcodes: map[string]int{}, Offered: workers[0].o.rate}
	var latency stats.Histogram
	octets, last := 0, time.Duration(0)
	for _, w := range workers {
		r.Queries += w.sent
		r.Answers += w.answered
		r.Lost += w.flight.lost
		r.Stray += w.stray
		r.Truncated += w.truncated
		r.Unsent += w.unsent
		octets += w.octets
		last = max(last, w.last)
		latency.Merge(&w.latency)
		for code, n := range w.rcodes {
			if n > 0 {
				r.Rcodes[dns.RcodeToString[code]] += n
			}
		}
	}
	r.Latency = latency.Summary()
	r.Seconds = last.Seconds()
	if r.Answers > 0 {
		r.QPS = float64(r.Answers) / r.Seconds
		r.MeanOctets = float64(octets) / float64(r.Answers)
		r.ServerCPU = server.Seconds() * 1e6 / float64(r.Answers)
		r.ServerBusy = server.Seconds() / r.Seconds
		r.GeneratorBusy = own.Seconds() / r.Seconds
	}
	return r
}
