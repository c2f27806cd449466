package signer

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// metrics has the counters of one Signer, each resolved once.
type metrics struct {
	signatures              *prometheus.CounterVec
	lookups                 *prometheus.CounterVec
	errors                  prometheus.Counter
	byAlgorithm             map[zone.Algorithm]prometheus.Counter // never written after newMetrics
	hits, misses, evictions prometheus.Counter
	octets                  prometheus.Gauge
	remaining               prometheus.GaugeFunc
	least                   atomic.Int64 // seconds, of the signatures given out since remaining was read; none: noneGiven
}

// noneGiven stands for the remaining time when there was no signature.
const noneGiven = math.MaxInt64

func newMetrics() *metrics {
	m := &metrics{
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_signatures_made_total",
			Help: "Signatures made with private keys, by algorithm."}, []string{"algorithm"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mxseal_signature_cache_lookups_total",
			Help: "Signatures looked for in the cache, by result. Denials of names that do not exist are not in it."},
			[]string{"result"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_signing_errors_total",
			Help: "RRsets that could not be signed: the answer was SERVFAIL, or will be when it is not remembered any more, or the node is not ready."}),
		evictions: prometheus.NewCounter(prometheus.CounterOpts{Name: "mxseal_signature_cache_evictions_total",
			Help: "Signatures that were still usable and had to make room."}),
		octets: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_signature_cache_octets",
			Help: "Memory that remembered signatures take."}),
		byAlgorithm: map[zone.Algorithm]prometheus.Counter{},
	}
	for _, a := range []zone.Algorithm{zone.RSASHA256, zone.ECDSAP256SHA256, zone.ED25519} {
		m.byAlgorithm[a] = m.signatures.WithLabelValues(a.String())
	}
	m.hits, m.misses = m.lookups.WithLabelValues("hit"), m.lookups.WithLabelValues("miss")
	m.least.Store(noneGiven)
	m.remaining = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "mxseal_signature_remaining_seconds",
		Help: "Least time that a signature, given out since this was read last, has to its expiration when it is given out for the last time; +Inf if there was none."}, m.readLeast)
	return m
}

func (m *metrics) readLeast() float64 {
	if least := m.least.Swap(noneGiven); least != noneGiven {
		return float64(least)
	}
	return math.Inf(1)
}

// given notes how long signatures last that are given out: at the end of their span, as answers are remembered.
func (m *metrics) given(signed Signed) {
	for _, sig := range signed.Sigs {
		end := time.Unix(signed.Span.Until, 0)
		_, expiration := rrsig.Validity([]byte(sig[:rrsig.AtSigner]), end)
		left := int64(expiration.Sub(end) / time.Second)
		for least := m.least.Load(); left < least && !m.least.CompareAndSwap(least, left); least = m.least.Load() {
		}
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
	return []prometheus.Collector{m.signatures, m.lookups, m.evictions, m.octets, m.errors, m.remaining}
}
