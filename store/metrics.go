package store

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the store does.
type Metrics struct {
	revision  prometheus.Gauge
	commits   prometheus.Counter
	retries   prometheus.Counter
	failures  prometheus.Counter
	reloads   prometheus.Counter
	keyErrors prometheus.Counter
	writable  prometheus.Gauge
}

// NewMetrics makes the metrics; the caller registers [Metrics.Collectors].
func NewMetrics() *Metrics {
	return &Metrics{
		revision: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_store_revision", Help: "Revision of the state that is served."}),
		commits: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_store_commits_total",
			Help: "Commits made by this node."}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_store_retries_total",
			Help: "Plans that had to be made again because the state had changed."}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_store_commit_failures_total",
			Help: "Commits that failed for other reasons than a change of the state."}),
		reloads: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_store_reloads_total",
			Help: "Times that everything was loaded again, because commits could no longer be followed one by one."}),
		writable: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_store_writable",
			Help: "1 while changes are accepted; 0 after the engine has failed, until a restart. Answers go on from the last state."}),
		keyErrors: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_store_keyset_errors_total",
			Help: "Key sets that could not be opened when a change of them arrived. The zone is answered with SERVFAIL."}),
	}
}

// Collectors returns all metrics for registration.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.revision, m.commits, m.retries, m.failures, m.reloads, m.keyErrors, m.writable}
}
