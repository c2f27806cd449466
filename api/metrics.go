package api

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the API does. Labels are bounded: routes are those of the program, not of requests.
type Metrics struct {
	requests     *prometheus.CounterVec
	authFailures *prometheus.CounterVec
	duration     prometheus.Histogram
	inFlight     prometheus.Gauge
	refused      prometheus.Counter
	unrouted     counters
	noToken      prometheus.Counter
	badToken     prometheus.Counter
	outOfScope   prometheus.Counter
}

// NewMetrics makes the metrics; the caller registers [Metrics.Collectors].
func NewMetrics() *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_api_requests_total",
			Help: "Requests answered, by route, method and class of the status."}, []string{"route", "method", "status"}),
		authFailures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_api_auth_failures_total",
			Help: "Requests refused for their token: missing, invalid (unknown, wrong or expired) or out of scope."}, []string{"reason"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mxseal_api_request_duration_seconds",
			Help: "Time to answer an API request.", NativeHistogramBucketFactor: 1.1, Buckets: prometheus.DefBuckets}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_api_requests_in_flight",
			Help: "API requests at work now."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_api_requests_refused_total",
			Help: "Requests refused because too many were at work."}),
	}
	m.unrouted = m.route("other", "none")
	m.noToken = m.authFailures.WithLabelValues("missing")
	m.badToken = m.authFailures.WithLabelValues("invalid")
	m.outOfScope = m.authFailures.WithLabelValues("scope")
	return m
}

// Collectors returns all metrics for registration.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.authFailures, m.duration, m.inFlight, m.refused}
}

// counters are those of one route, by class of the status.
type counters [3]prometheus.Counter

// route resolves the counters of a route once. GET includes HEAD.
func (m *Metrics) route(method, path string) counters {
	var c counters
	for i, class := range []string{"2xx", "4xx", "5xx"} {
		c[i] = m.requests.WithLabelValues(path, method, class)
	}
	return c
}

func (c counters) count(status int) {
	switch {
	case status >= 500:
		c[2].Inc()
	case status >= 400:
		c[1].Inc()
	default:
		c[0].Inc()
	}
}
