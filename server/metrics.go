package server

import "github.com/prometheus/client_golang/prometheus"

// outcome is how a query ended, for the counters.
type outcome uint8

const (
	outNoError  outcome = iota // records
	outNoData                  // the name exists, the type does not
	outNXName                  // no such name, said with NOERROR and NXNAME (RFC 9824 §3.1)
	outNXDomain                // no such name, said with NXDOMAIN
	outRefused
	outFormErr
	outNotImp
	outBadVers
	outNotAuth
	outServFail
	outcomes
)

// failure is why a query got SERVFAIL.
type failure uint8

const (
	failNotReady failure = iota // no state yet
	failNoKeys                  // the zone has no usable keys
	failBroken                  // the state contradicts itself
	failSigning                 // a signature could not be made
	failTooLarge                // the answer does not fit into any message
	failPanic
	failures
)

// dropReason is why a packet got no reply.
type dropReason uint8

const (
	dropShort    dropReason = iota // no whole header
	dropResponse                   // a response, not a query
	dropPort                       // from UDP port 0, where no reply can go
	dropReasons
)

// socketOp is what failed at a socket.
type socketOp uint8

const (
	opUDPRead socketOp = iota
	opUDPWrite
	opTCPAccept
	socketOps
)

// limit is which limit refused a TCP connection.
type limit uint8

const (
	limitTotal limit = iota
	limitClient
	limits
)

// Metrics counts what the server does. Every child is resolved at construction, none has a label that clients or
// tenants could fill.
type Metrics struct {
	responsesVec *prometheus.CounterVec
	failuresVec  *prometheus.CounterVec
	droppedVec   *prometheus.CounterVec
	socketVec    *prometheus.CounterVec
	refusedVec   *prometheus.CounterVec

	cacheVec     *prometheus.CounterVec
	aheadVec     *prometheus.CounterVec
	evictionsVec *prometheus.CounterVec
	octetsVec    *prometheus.GaugeVec

	hits, misses, late prometheus.Counter
	known, unknown     partMetrics
	responses          [transports][outcomes]prometheus.Counter
	failures           [failures]prometheus.Counter
	dropped            [dropReasons]prometheus.Counter
	socket             [socketOps]prometheus.Counter
	refused            [limits]prometheus.Counter
	truncated          prometheus.Counter
	panics             prometheus.Counter
	accepted           prometheus.Counter
	open               prometheus.Gauge
}

// partMetrics are those of one part of the answer cache.
type partMetrics struct {
	ahead     prometheus.Counter
	evictions prometheus.Counter
	octets    prometheus.Gauge
}

// tally counts for one loop, which adds it to the metrics once in a while: counters that all cores write to are slow.
type tally struct {
	responses          [transports][outcomes]uint64
	hits, misses, late uint64
}

// flush adds what was counted.
func (t *tally) flush(m *Metrics) {
	add := func(c prometheus.Counter, n *uint64) {
		if *n != 0 {
			c.Add(float64(*n))
			*n = 0
		}
	}
	for via := range t.responses {
		for o := range t.responses[via] {
			add(m.responses[via][o], &t.responses[via][o])
		}
	}
	add(m.hits, &t.hits)
	add(m.misses, &t.misses)
	add(m.late, &t.late)
}

// NewMetrics makes the metrics of one server; the caller registers [Metrics.Collectors].
func NewMetrics() *Metrics {
	m := &Metrics{
		responsesVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_responses_total",
			Help: "Replies to queries, by transport (probe: asked by the readiness check) and outcome (nodata: the name exists; nxname: it does not, with NOERROR; nxdomain: the same with NXDOMAIN)."},
			[]string{"transport", "outcome"}),
		failuresVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_failures_total",
			Help: "Queries answered SERVFAIL, by reason. Alert on any."}, []string{"reason"}),
		droppedVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_dropped_total",
			Help: "Packets that got no reply, by reason."}, []string{"reason"}),
		socketVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_socket_errors_total",
			Help: "Errors of sockets that did not end the server, by operation."}, []string{"operation"}),
		refusedVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_tcp_connections_refused_total",
			Help: "TCP connections closed at once, by the limit that was reached: in total or of one client address."}, []string{"limit"}),
		cacheVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_answer_cache_lookups_total",
			Help: "Answers looked for in the answer cache, by result (late: a miss, since the signatures of an answer in use had come to their end before the next were made ahead)."},
			[]string{"result"}),
		aheadVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_answers_made_ahead_total",
			Help: "Answers in use that were made again before their signatures came to their end, by kind of name."}, []string{"names"}),
		evictionsVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_dns_answer_cache_evictions_total",
			Help: "Answers that were current and had to make room, by kind of name (known, or unknown: it does not exist)."}, []string{"names"}),
		octetsVec: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mxseal_dns_answer_cache_octets",
			Help: "Memory that remembered answers take, by kind of name."}, []string{"names"}),
		truncated: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_dns_truncated_total",
			Help: "Answers over UDP that did not fit and were sent empty with TC."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_dns_panics_total",
			Help: "Queries that made the program panic. Alert on any."}),
		accepted: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_dns_tcp_connections_accepted_total",
			Help: "TCP connections served."}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_dns_tcp_connections_open",
			Help: "TCP connections being served now."}),
	}
	m.resolve()
	return m
}

// resolve makes every child that will ever be counted.
func (m *Metrics) resolve() {
	for t, transport := range []string{UDP: "udp", TCP: "tcp", probe: "probe"} {
		for o, name := range []string{outNoError: "noerror", outNoData: "nodata", outNXName: "nxname", outNXDomain: "nxdomain",
			outRefused: "refused", outFormErr: "formerr", outNotImp: "notimp", outBadVers: "badvers", outNotAuth: "notauth",
			outServFail: "servfail"} {
			m.responses[t][o] = m.responsesVec.WithLabelValues(transport, name)
		}
	}
	for f := range failures {
		m.failures[f] = m.failuresVec.WithLabelValues(f.String())
	}
	m.hits, m.misses, m.late = m.cacheVec.WithLabelValues("hit"), m.cacheVec.WithLabelValues("miss"), m.cacheVec.WithLabelValues("late")
	m.known, m.unknown = m.part("known"), m.part("unknown")
	children(m.dropped[:], m.droppedVec, "short", "response", "source_port")
	children(m.socket[:], m.socketVec, "udp_read", "udp_write", "tcp_accept")
	children(m.refused[:], m.refusedVec, "total", "client")
}

func (m *Metrics) part(names string) partMetrics {
	return partMetrics{m.aheadVec.WithLabelValues(names), m.evictionsVec.WithLabelValues(names), m.octetsVec.WithLabelValues(names)}
}

// String is the label of a failure, in metrics and logs.
func (f failure) String() string {
	return [failures]string{failNotReady: "not_ready", failNoKeys: "no_keys", failBroken: "broken", failSigning: "signing",
		failTooLarge: "too_large", failPanic: "panic"}[f]
}

// children fills in those of a vector with one label, in the order of its values.
func children(counters []prometheus.Counter, vec *prometheus.CounterVec, values ...string) {
	for i := range counters {
		counters[i] = vec.WithLabelValues(values[i])
	}
}

// Collectors returns all metrics for registration.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.responsesVec, m.failuresVec, m.droppedVec, m.socketVec, m.refusedVec,
		m.cacheVec, m.aheadVec, m.evictionsVec, m.octetsVec, m.truncated, m.panics, m.accepted, m.open}
}
