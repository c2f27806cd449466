package signer

import (
	"github.com/mxseal/mxseal/zone"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics has the counters of one Signer, each resolved once.
type metrics struct {
	signatures     *prometheus.CounterVec
	lookups        *prometheus.CounterVec
	evictions      *prometheus.CounterVec
	errors         prometheus.Counter
	byAlgorithm    map[zone.Algorithm]prometheus.Counter // never written after newMetrics
	known, unknown cacheMetrics
}

type cacheMetrics struct{ hits, misses, evictions prometheus.Counter }

func newMetrics() *metrics {
	m := &metrics{
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_signatures_made_total",
			Help: "Signatures made with private keys, by algorithm."}, []string{"algorithm"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_signature_cache_lookups_total",
			Help: "Signatures looked for in the cache, by kind of name (known, or unknown: denied as absent) and result."},
			[]string{"names", "result"}),
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_signature_cache_evictions_total",
			Help: "Signatures that were still usable and had to make room, by kind of name."}, []string{"names"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_signing_errors_total",
			Help: "RRsets that could not be signed: the answer was SERVFAIL, or the node is not ready."}),
		byAlgorithm: map[zone.Algorithm]prometheus.Counter{},
	}
	for _, a := range []zone.Algorithm{zone.RSASHA256, zone.ECDSAP256SHA256, zone.ED25519} {
		m.byAlgorithm[a] = m.signatures.WithLabelValues(a.String())
	}
	m.known, m.unknown = m.cache("known"), m.cache("unknown")
	return m
}

func (m *metrics) cache(names string) cacheMetrics {
	return cacheMetrics{
		hits:      m.lookups.WithLabelValues(names, "hit"),
		misses:    m.lookups.WithLabelValues(names, "miss"),
		evictions: m.evictions.WithLabelValues(names),
	}
}

// made counts a signature. There are no keys of other algorithms than those counted.
func (m *metrics) made(a zone.Algorithm) {
	if c, counted := m.byAlgorithm[a]; counted {
		c.Inc()
	}
}

// Collectors returns all metrics of the Signer for registration.
func (s *Signer) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.signatures, m.lookups, m.evictions, m.errors}
}
