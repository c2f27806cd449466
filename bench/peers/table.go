//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/mxseal/mxseal/bench/stats"
)

const (
	idle    = 0.9  // a server that is less busy is not what limits its figure
	limited = 0.95 // a generator that is more busy may be
)

// write writes the report in Markdown. Its numbers are medians over the rounds.
func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "# Peers, %s, mxseal %s\n\n", r.Date, r.Commit)
	fmt.Fprintf(w, "%d hosts, %s with DO; window %d; %d rounds; one core for the server, another for the generator (%s); %s.\n", r.Tenants, r.Types, r.Window, r.Rounds, r.Processor, r.Go)
	fmt.Fprintf(w, "Knot %s, NSD %s, PowerDNS %s. CoreDNS is left out: Debian has no package.\n", r.Versions["knot"], r.Versions["nsd"], r.Versions["pdns-server"])
	fmt.Fprintf(w, "Figures are medians of the rounds; ratios are medians of the ratios within a round. What they mean is in [README.md](../README.md).\n\n")
	r.writePhase(w, warm, "Warm: every question was asked before")
	r.writePhase(w, cold, "Cold: each question once after a start")
	r.writePhase(w, absent, "Names that do not exist, each once")
	r.writeSigning(w)
	r.writeDoubts(w)
}

func (r *report) writePhase(w io.Writer, phase, title string) {
	fmt.Fprintf(w, "## %s\n\n", title)
	fmt.Fprintln(w, "| server | q/s | mxseal ÷ it | CPU us/answer | mxseal ÷ it | p50 us | p99 us | octets | lost | server busy | generator busy |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|---|---|---|")
	for _, name := range r.measured(phase) {
		get := func(f figure) []float64 { return r.values(phase, name, f) }
		of := func(f figure) float64 { return median(get(f)) }
		fmt.Fprintf(w, "| %s | %.0f | %.2f | %.2f | %.2f | %.0f | %.0f | %.0f | %.0f | %.2f | %.2f |\n", name,
			of(qps), ratio(r.values(phase, mxseal, qps), get(qps)), of(cpu), ratio(r.values(phase, mxseal, cpu), get(cpu)),
			of(func(s stats.Result) float64 { return s.Latency.P50 }), of(func(s stats.Result) float64 { return s.Latency.P99 }),
			of(func(s stats.Result) float64 { return s.MeanOctets }), of(func(s stats.Result) float64 { return float64(s.Lost) }),
			of(func(s stats.Result) float64 { return s.ServerBusy }), of(func(s stats.Result) float64 { return s.GeneratorBusy }))
	}
	fmt.Fprintln(w)
}

// writeSigning compares what mxseal does in a second when it must sign, one signature for an answer, with signing alone.
func (r *report) writeSigning(w io.Writer) {
	var rate, time []float64
	for _, s := range r.Signing {
		rate = append(rate, s.PerSecond)
		time = append(time, s.CPU)
	}
	fmt.Fprintf(w, "## Signing\n\ncrypto/ecdsa P-256 alone: %.0f signatures/s, %.1f us each.\n\n", median(rate), median(time))
	fmt.Fprintln(w, "| mxseal | signatures/s ÷ alone | share of its CPU that is signing |\n|---|---|---|")
	for _, phase := range []string{cold, absent} {
		fmt.Fprintf(w, "| %s | %.2f | %.2f |\n", phase, ratio(r.values(phase, mxseal, qps), rate), ratio(time, r.values(phase, mxseal, cpu)))
	}
	fmt.Fprintln(w)
}

// writeDoubts lists the turns that do not show what the server can do.
func (r *report) writeDoubts(w io.Writer) {
	fmt.Fprint(w, "## Doubts\n\n")
	none := true
	for _, phase := range []string{warm, cold, absent} {
		for _, name := range r.measured(phase) {
			for _, doubt := range r.doubts(phase, name) {
				fmt.Fprintf(w, "- %s, %s: %s\n", phase, name, doubt)
				none = false
			}
		}
	}
	if none {
		fmt.Fprintln(w, "None: nothing was lost, every server was busy, and the generator was not.")
	}
}

// doubts are those about one server in one phase.
func (r *report) doubts(phase, server string) (all []string) {
	sum := func(f figure) (n float64) {
		for _, v := range r.values(phase, server, f) {
			n += v
		}
		return n
	}
	if n := sum(func(s stats.Result) float64 { return float64(s.Lost + s.Truncated) }); n > 0 {
		all = append(all, fmt.Sprintf("%.0f queries lost or answers truncated", n))
	}
	if n := sum(func(s stats.Result) float64 { return is(s.GeneratorBusy > limited) }); n > 0 {
		all = append(all, fmt.Sprintf("the generator was busy and may have been the limit in %.0f of %d rounds", n, r.Rounds))
	}
	if n := sum(func(s stats.Result) float64 { return is(s.ServerBusy < idle) }); n > 0 {
		least := slices.Min(r.values(phase, server, func(s stats.Result) float64 { return s.ServerBusy }))
		all = append(all, fmt.Sprintf("the server was not busy in %.0f of %d rounds; it had %.0f %% of its core in the worst, others up to %.0f %%",
			n, r.Rounds, 100*least, 100*r.others(phase, server)))
	}
	return all
}

// is counts.
func is(so bool) float64 {
	if so {
		return 1
	}
	return 0
}
