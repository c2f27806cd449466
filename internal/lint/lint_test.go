package lint

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rules are those for single files.
func rules() map[string]func(*source) []string {
	return map[string]func(*source) []string{
		"direction": checkDirection, "dependencies": checkDependencies, "testing": checkTesting, "init": checkInit, "globals": checkGlobals,
		"variables": checkVariables, "clock": checkClock, "panic": checkPanic, "size": checkSize, "metrics": checkMetrics,
	}
}

// moduleRules are those that need to see all files at once.
func moduleRules() map[string]func([]*source) []string {
	return map[string]func([]*source) []string{"viper": checkViper, "docs": checkDocs}
}

// The sources of the module keep every rule.
func TestModule(t *testing.T) {
	all := readModule(t)
	if len(all) < 50 {
		t.Fatalf("only %d files: the module is not read", len(all))
	}
	for name, check := range rules() {
		t.Run(name, func(t *testing.T) {
			for _, s := range all {
				for _, problem := range check(s) {
					t.Error(problem)
				}
			}
		})
	}
	for name, check := range moduleRules() {
		t.Run(name, func(t *testing.T) {
			for _, problem := range check(all) {
				t.Error(problem)
			}
		})
	}
}

// An exception that nothing needs any more goes.
func TestExceptionsAreNeeded(t *testing.T) {
	all := readModule(t)
	for exception, reason := range unchanging() {
		dir, name, _ := strings.Cut(exception, ".")
		needed := slices.ContainsFunc(all, func(s *source) bool {
			return s.dir() == dir && !s.isTest() && slices.ContainsFunc(s.tree.Decls, declares(name))
		})
		if !needed || reason == "" {
			t.Errorf("%s is excepted, and there is no such variable or no reason", exception)
		}
	}
	for what, exceptions := range map[string]map[string]string{"time.Now": clocks(), "panic(": panicking(), "func ": lists()} {
		for exception, reason := range exceptions {
			file, function, _ := strings.Cut(exception, " ")
			needed := slices.ContainsFunc(all, func(s *source) bool {
				return s.name == file && strings.Contains(s.text, what) && strings.Contains(s.text, function)
			})
			if !needed || reason == "" {
				t.Errorf("%s is excepted, and has no %s or no reason", exception, what)
			}
		}
	}
	for _, d := range dependencies() {
		if d.reason == "" && d.path != "golang.org/x" {
			t.Errorf("no reason for where %s is used", d.path)
		}
	}
}

// Each rule can fail: it refuses the first sources and accepts the second.
func TestRulesCanFail(t *testing.T) {
	long := strings.Repeat("\t_ = 1\n", maxFuncLines)
	type file struct{ name, text string }
	for rule, c := range map[string]struct{ bad, good []file }{
		"direction": {
			[]file{
				{"zone/x.go", "package zone\nimport _ \"github.com/mxseal/mxseal/keymgmt\""}, {"conf/x.go", "package conf\nimport _ \"github.com/mxseal/mxseal/zone\""},
				{"server/x.go", "package server\nimport _ \"github.com/mxseal/mxseal/signer\""}, {"api/x.go", "package api\nimport _ \"github.com/mxseal/mxseal/store\""},
				{"store/x.go", "package store\nimport _ \"github.com/mxseal/mxseal/store/bolt\""}, {"internal/wire/x.go", "package wire\nimport _ \"github.com/mxseal/mxseal/zone\""},
				{"util/x.go", "package util"}, {"zone/sub/x.go", "package sub"}, {"signer/x.go", "package signer\nimport _ \"github.com/mxseal/mxseal/internal/dnstest\""},
			},
			[]file{
				{"keymgmt/x.go", "package keymgmt\nimport _ \"github.com/mxseal/mxseal/zone\""}, {"store/bolt/x.go", "package bolt\nimport _ \"github.com/mxseal/mxseal/store\""},
				{"cmd/mxseal/x.go", "package main\nimport _ \"github.com/mxseal/mxseal/store/bolt\""}, {"zone/x_test.go", "package zone\nimport _ \"github.com/mxseal/mxseal/signer\""},
				{"zone/x.go", "package zone\nimport _ \"strings\""}, {"api/client/x.go", "package client\nimport _ \"github.com/mxseal/mxseal/api\""},
			},
		},
		"dependencies": {
			[]file{
				{"server/x.go", "package server\nimport _ \"github.com/hashicorp/go-memdb\""}, {"store/x.go", "package store\nimport _ \"go.etcd.io/bbolt\""},
				{"cmd/mxseal/x.go", "package main\nimport _ \"github.com/spf13/viper\""}, {"server/x.go", "package server\nimport _ \"github.com/prometheus/client_golang/prometheus\""},
				{"cmd/mxseal/metrics.go", "package main\nimport _ \"github.com/prometheus/client_golang/prometheus/promauto\""},
				{"server/x.go", "package server\nimport _ \"github.com/miekg/dns\""}, {"zone/x.go", "package zone\nimport _ \"example.com/unknown\""},
				{"zone/x_test.go", "package zone\nimport _ \"example.com/unknown\""}, {"store/bolt/x.go", "package bolt\nimport _ \"github.com/hashicorp/go-memdb\""},
			},
			[]file{
				{"store/x.go", "package store\nimport _ \"github.com/hashicorp/go-memdb\""}, {"server/metrics.go", "package server\nimport _ \"github.com/prometheus/client_golang/prometheus\""},
				{"cmd/mxseal/x.go", "package main\nimport _ \"github.com/prometheus/client_golang/prometheus/promhttp\""}, {"server/x_test.go", "package server\nimport _ \"github.com/miekg/dns\""},
				{"internal/dnstest/x.go", "package dnstest\nimport _ \"github.com/miekg/dns\""}, {"zone/x.go", "package zone\nimport _ \"golang.org/x/net/idna\""},
			},
		},
		"testing": {
			[]file{{"zone/x.go", "package zone\nimport _ \"testing\""}, {"cmd/mxseal/x.go", "package main\nimport _ \"net/http/httptest\""}},
			[]file{{"zone/x_test.go", "package zone\nimport _ \"testing\""}, {"internal/dnstest/x.go", "package dnstest\nimport _ \"testing\""}, {"store/enginetest/x.go", "package enginetest\nimport _ \"testing\""}},
		},
		"init": {
			[]file{{"zone/x.go", "package zone\nfunc init() {}"}, {"cmd/mxseal/x.go", "package main\nfunc init() {}"}},
			[]file{{"zone/x.go", "package zone\ntype t int\nfunc (t) init() {}"}, {"zone/x_test.go", "package zone\nfunc init() {}"}},
		},
		"globals": {
			[]file{
				{"cmd/mxseal/x.go", "package main\nimport \"net/http\"\nvar _ = http.DefaultServeMux"}, {"cmd/mxseal/x.go", "package main\nimport h \"net/http\"\nfunc f() { h.HandleFunc(\"/\", nil) }"},
				{"api/x.go", "package api\nimport \"github.com/prometheus/client_golang/prometheus\"\nfunc f() { prometheus.MustRegister(nil) }"},
				{"cmd/mxseal/x.go", "package main\nimport \"github.com/prometheus/client_golang/prometheus/promhttp\"\nvar _ = promhttp.Handler()"},
				{"cmd/mxseal/x.go", "package main\nimport _ \"net/http/pprof\""}, {"server/x.go", "package server\nimport \"log/slog\"\nfunc f() { slog.Info(\"\") }"},
			},
			[]file{
				{"cmd/mxseal/x.go", "package main\nimport \"net/http\"\nvar _ = http.NewServeMux()"}, {"api/x.go", "package api\nimport \"github.com/prometheus/client_golang/prometheus\"\nvar _ = prometheus.NewRegistry()"},
				{"server/x.go", "package server\nfunc f(slog interface{ Info(string) }) { slog.Info(\"\") }"},
			},
		},
		"variables": {
			[]file{
				{"zone/x.go", "package zone\nvar cache map[string]int"}, {"zone/x.go", "package zone\nvar x = 1"}, {"zone/x.go", "package zone\nvar table = map[int]int{1: 2}"},
				{"zone/x.go", "package zone\nimport \"errors\"\nvar broken = errors.New(\"\")"}, {"zone/x.go", "package zone\nvar errOther error"},
				{"zone/x.go", "package zone\nvar (\n\tRoot = 1\n\tother = 2\n)"}, {"server/x.go", "package server\nvar Root = 1"},
			},
			[]file{
				{"zone/x.go", "package zone\nimport \"errors\"\nvar (\n\tErrX = errors.New(\"\")\n\terrY = errors.New(\"\")\n)"}, {"zone/x.go", "package zone\nvar Root = 1"},
				{"zone/x.go", "package zone\nvar _ error = nil"}, {"zone/x.go", "package zone\nimport \"regexp\"\nvar re = regexp.MustCompile(\"\")"},
				{"console/x.go", "package console\n\n//go:embed x\nvar files int"}, {"zone/x_test.go", "package zone\nvar x = 1"}, {"zone/x.go", "package zone\nfunc f() { var x int; _ = x }"},
			},
		},
		"clock": {
			[]file{
				{"zone/x.go", "package zone\nimport \"time\"\nvar _ = time.Now()"}, {"signer/x.go", "package signer\nimport \"time\"\nvar _ = time.Now"},
				{"api/x.go", "package api\nimport \"time\"\nfunc f(t time.Time) { _ = time.Since(t) }"}, {"store/x.go", "package store\nimport clock \"time\"\nfunc f(t clock.Time) { _ = clock.Until(t) }"},
			},
			[]file{{"cmd/mxseal/x.go", "package main\nimport \"time\"\nvar _ = time.Now()"}, {"zone/x_test.go", "package zone\nimport \"time\"\nvar _ = time.Now()"}, {"zone/x.go", "package zone\nimport \"time\"\nvar _ = time.Unix(0, 0)"}},
		},
		"panic": {
			[]file{{"zone/x.go", "package zone\nfunc f() { panic(1) }"}, {"zone/x.go", "package zone\nvar _ = func() int { panic(1) }()"}, {"cmd/mxseal/x.go", "package main\nfunc f() { func() { panic(1) }() }"}},
			[]file{{"zone/x.go", "package zone\nfunc MustX() { panic(1) }"}, {"zone/x_test.go", "package zone\nfunc f() { panic(1) }"}},
		},
		"size": {
			[]file{{"zone/x.go", "package zone\n" + strings.Repeat("\n", maxFileLines)}, {"zone/x.go", "package zone\nfunc f() {\n" + long + "}\n"}},
			[]file{{"zone/x.go", "package zone\nfunc f() {\n" + long[:len(long)/2] + "}\n"}, {"zone/x_test.go", "package zone\n" + strings.Repeat("\n", maxFileLines)}},
		},
		"metrics": {
			[]file{
				metric(`prometheus.CounterOpts{Name: "queries_total", Help: "Queries."}`), metric(`prometheus.CounterOpts{Name: "mxseal_queries", Help: "Queries."}`),
				metric(`prometheus.GaugeOpts{Name: "mxseal_queries_total", Help: "Queries."}`), metric(`prometheus.GaugeOpts{Name: "mxseal_x"}`),
				metric(`prometheus.HistogramOpts{Name: "mxseal_wait_milliseconds", Help: "Wait."}`), metric(`prometheus.GaugeOpts{Name: "mxseal_openConnections", Help: "Connections."}`),
				metric(`prometheus.GaugeOpts{Namespace: "mxseal", Name: "x", Help: "X."}`), metric(`prometheus.GaugeOpts{Name: name, Help: "X."}`), metric(`prometheus.NewDesc("keys", "Keys.", nil, nil)`),
				metric("0\nfunc counter(name, help string) any { return prometheus.CounterOpts{Name: `mxseal_dns_` + name, Help: help} }\nvar _ = counter(`queries`, `Queries.`)"),
				metric("0\nfunc counter(name string) any { return prometheus.CounterOpts{Name: name} }\nfunc f(x string) { counter(x) }"),
			},
			[]file{
				metric(`prometheus.CounterOpts{Name: "mxseal_queries_total", Help: "Queries."}`), metric(`prometheus.HistogramOpts{Name: "mxseal_wait_seconds", Help: "Time " + "waited."}`),
				metric(`prometheus.GaugeOpts{Name: "mxseal_connections", Help: "Connections."}`), metric(`prometheus.NewDesc("mxseal_keys", "Keys.", nil, nil)`), metric(`prometheus.NewDesc("mxseal_rolls_total", "Rolls.", nil, nil)`),
				metric("0\nfunc counter(name, help string) any { return prometheus.CounterOpts{Name: `mxseal_dns_` + name, Help: help} }\nvar _ = counter(`queries_total`, `Queries.`)"),
			},
		},
	} {
		for _, f := range c.bad {
			if problems := rules()[rule](must(t, f.name, f.text)); len(problems) == 0 {
				t.Errorf("%s accepts %s:\n%s", rule, f.name, f.text)
			} else if !strings.HasPrefix(problems[0], f.name+":") {
				t.Errorf("%s does not say where: %s", rule, problems[0])
			}
		}
		for _, f := range c.good {
			if problems := rules()[rule](must(t, f.name, f.text)); len(problems) > 0 {
				t.Errorf("%s refuses %s: %v", rule, f.name, problems)
			}
		}
	}
}

// metric returns a file with one expression that declares a metric.
func metric(expression string) struct{ name, text string } {
	return struct{ name, text string }{"server/metrics.go", "package server\nimport \"github.com/prometheus/client_golang/prometheus\"\nvar _ = " + expression}
}

func must(t *testing.T, name, text string) *source {
	t.Helper()
	s, err := parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestModuleRulesCanFail(t *testing.T) {
	const viper = "package conf\nimport _ \"github.com/spf13/viper\""
	for rule, c := range map[string]struct{ bad, good []map[string]string }{
		"viper": {
			[]map[string]string{{"conf/a.go": viper, "conf/b.go": viper}},
			[]map[string]string{{"conf/a.go": viper, "conf/b.go": "package conf", "conf/a_test.go": viper}},
		},
		"docs": {
			[]map[string]string{
				{"zone/a.go": "package zone"}, {"zone/a.go": "// Package zone is.\npackage zone", "zone/b.go": "// Package zone is too.\npackage zone"},
				{"zone/a.go": "// Names.\npackage zone"}, {"cmd/mxseal/a.go": "// Package main is.\npackage main"},
			},
			[]map[string]string{{"zone/a.go": "// Package zone is.\npackage zone", "zone/b.go": "package zone", "zone/a_test.go": "package zone"}, {"cmd/mxseal/a.go": "// Command mxseal is.\npackage main"}},
		},
	} {
		check := func(files map[string]string) []string {
			var all []*source
			for name, text := range files {
				all = append(all, must(t, name, text))
			}
			return moduleRules()[rule](all)
		}
		for _, files := range c.bad {
			if len(check(files)) == 0 {
				t.Errorf("%s accepts %v", rule, files)
			}
		}
		for _, files := range c.good {
			if problems := check(files); len(problems) > 0 {
				t.Errorf("%s refuses %v: %v", rule, files, problems)
			}
		}
	}
}

// The rules that are tested above are all there are.
func TestEveryRuleIsTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(".", "lint_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for name := range rules() {
		if !strings.Contains(string(text), "\t\t\""+name+"\": {\n") {
			t.Errorf("no test makes the rule %s fail", name)
		}
	}
	for name := range moduleRules() {
		if !strings.Contains(string(text), "\t\t\""+name+"\": {\n") {
			t.Errorf("no test makes the rule %s fail", name)
		}
	}
}
