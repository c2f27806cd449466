//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/mxseal/mxseal/bench/stats"
)

// report is all that one run has found, as it is stored in JSON.
type report struct {
	Date      string            `json:"date"`
	Commit    string            `json:"commit"` // of mxseal, "-dirty" if files were changed since
	Go        string            `json:"go"`
	Processor string            `json:"processor"`
	Versions  map[string]string `json:"versions"` // of Debian packages
	Tenants   int               `json:"tenants"`
	Types     string            `json:"types"`
	Window    int               `json:"window"`
	Rounds    int               `json:"rounds"`
	Seconds   float64           `json:"seconds"` // of a warm measurement
	Signing   []signing         `json:"signing"` // one for each round
	Runs      []measurement     `json:"runs"`
}

// measurement is one turn of a server.
type measurement struct {
	Phase  string       `json:"phase"`
	Server string       `json:"server"`
	Round  int          `json:"round"`
	Others float64      `json:"others"` // share of the server's core that somebody else had, the host of a virtual machine included
	Result stats.Result `json:"result"`
}

// newReport fills in what is known before anything is measured.
func newReport(ctx context.Context, o options) (*report, error) {
	commit, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--match=").Output()
	if err != nil {
		return nil, err
	}
	r := &report{
		Date: time.Now().UTC().Format(time.DateOnly), Commit: strings.TrimSpace(string(commit)), Go: runtime.Version(), Processor: processor(),
		Versions: map[string]string{}, Tenants: o.tenants, Types: o.types, Window: o.window, Rounds: o.rounds, Seconds: o.duration.Seconds(),
	}
	for _, name := range packages() {
		r.Versions[name] = version(ctx, name)
	}
	return r, nil
}

// processor is the name of the processor, or empty.
func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	_, rest, _ := strings.Cut(string(text), "model name\t: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

// store writes table and raw figures into a directory, and the table on standard output.
func (r *report) store(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, r.Date+"-"+r.Commit)
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	var table bytes.Buffer
	r.write(&table)
	_, err = os.Stdout.Write(table.Bytes())
	return errors.Join(err, os.WriteFile(name+".json", append(raw, '\n'), 0o644), os.WriteFile(name+".md", table.Bytes(), 0o644))
}

// figure picks one number of a result.
type figure func(stats.Result) float64

func qps(r stats.Result) float64 { return r.QPS }
func cpu(r stats.Result) float64 { return r.ServerCPU }

// values are one figure of a server, by round.
func (r *report) values(phase, server string, f figure) (all []float64) {
	for _, m := range r.Runs {
		if m.Phase == phase && m.Server == server {
			all = append(all, f(m.Result))
		}
	}
	return all
}

// others is the largest share of the core that somebody else had while a server was measured.
func (r *report) others(phase, server string) (most float64) {
	for _, m := range r.Runs {
		if m.Phase == phase && m.Server == server {
			most = max(most, m.Others)
		}
	}
	return most
}

// measured are the servers of a phase, in their order.
func (r *report) measured(phase string) (names []string) {
	for _, m := range r.Runs {
		if m.Phase == phase && !slices.Contains(names, m.Server) {
			names = append(names, m.Server)
		}
	}
	return names
}

// ratio is the median of a[i]/b[i]: what is measured in the same round has met the same noise.
func ratio(a, b []float64) float64 {
	quotients := make([]float64, min(len(a), len(b)))
	for i := range quotients {
		quotients[i] = a[i] / b[i]
	}
	return median(quotients)
}

// median is the middle value, between two the mean; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
