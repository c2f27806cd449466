package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// healthServer serves /metrics, /healthz (the process is alive) and /readyz (ready returns no error).
func healthServer(registry *prometheus.Registry, ready func() (remark string, err error), log *slog.Logger) *http.Server {
	mux := http.NewServeMux()
	errorLog := slog.NewLogLogger(log.Handler(), slog.LevelWarn)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorLog: errorLog, MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "alive") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		remark, err := ready()
		if err != nil {
			http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
			return
		}
		if remark != "" {
			remark = ": " + remark
		}
		fmt.Fprintln(w, "ready"+remark)
	})
	return &http.Server{
		Handler: mux, ErrorLog: errorLog, MaxHeaderBytes: 8 << 10,
		ReadTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute,
	}
}

// buildInfo is a gauge that is always 1 and tells the version in its labels.
func buildInfo() prometheus.Collector {
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_build_info", Help: "Version of the running program; always 1.",
		ConstLabels: prometheus.Labels{"version": version(), "go": runtime.Version()}})
	g.Set(1)
	return g
}
