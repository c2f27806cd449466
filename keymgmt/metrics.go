package keymgmt

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mxseal/mxseal/zone"
)

// Metrics tells about keys. Zones are few, tenants are not named.
type Metrics struct {
	steps, failures, clockSteps prometheus.Counter
	resealed                    prometheus.Counter
	holding                     prometheus.Gauge
	keys                        *prometheus.GaugeVec // zone, role, record, state
	age                         *prometheus.GaugeVec // zone, role
	next, overdue, stock        *prometheus.GaugeVec // zone
	seen, unknown, mute         *prometheus.GaugeVec // zone
	ceremony                    *prometheus.GaugeVec // zone
}

// NewMetrics makes the metrics; the caller registers [Metrics.Collectors].
func NewMetrics() *Metrics {
	return &Metrics{
		steps:      counter("mxseal_key_steps_total", "Steps of rollovers that were made."),
		failures:   counter("mxseal_key_step_failures_total", "Steps of rollovers that failed; they are tried again."),
		clockSteps: counter("mxseal_key_clock_steps_total", "how often the clock was set."),
		resealed:   counter("mxseal_key_resealed_total", "Keys and tokens that were sealed anew under another key-encryption key."),
		holding: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mxseal_key_holding",
			Help: "1 while no key changes because the clock cannot be trusted, or because a node may be answering with what was replaced."}),
		keys:     gauge("mxseal_key_states", "Keys of a zone by role, and by what caches may hold of their records.", "zone", "role", "record", "state"),
		age:      gauge("mxseal_key_age_seconds", "Time since the key became that of its role.", "zone", "role"),
		next:     gauge("mxseal_key_next_event_seconds", "Time until the next step of a rollover may be made; 0 if it waits for the parent.", "zone"),
		overdue:  gauge("mxseal_key_overdue_seconds", "For how long a step should have been made, or the parent should have changed its DS.", "zone"),
		stock:    gauge("mxseal_key_stock_seconds", "For how long signatures of the DNSKEY, CDS and CDNSKEY RRsets have been made ahead.", "zone"),
		seen:     gauge("mxseal_key_ds_seen", "1 if the DS that the parent is to have was seen at all of its servers, or confirmed.", "zone"),
		unknown:  gauge("mxseal_key_ds_unknown", "DS records at the parent that are of no key of ours.", "zone"),
		ceremony: gauge("mxseal_key_ceremony_wanted", "1 if something waits for signatures of the offline KSK.", "zone"),
		mute:     gauge("mxseal_key_parent_failures", "Servers of the parent that gave no answer that counts when they were last asked.", "zone"),
	}
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

// Collectors returns all metrics for registration.
func (m *Metrics) Collectors() []prometheus.Collector {
	return []prometheus.Collector{m.steps, m.failures, m.clockSteps, m.resealed, m.holding, m.keys, m.age, m.next, m.overdue, m.stock, m.seen, m.unknown, m.mute, m.ceremony}
}

func (m *Metrics) hold(is bool) { m.holding.Set(number(is)) }

func number(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// report sets what is known of a zone.
func (m *Metrics) report(apex zone.Name, p *plan) {
	if p == nil || p.in.Chain == nil {
		return
	}
	name, c, of := apex.String(), p.in.Chain, prometheus.Labels{"zone": apex.String()}
	m.keys.DeletePartialMatch(of)
	for _, k := range p.in.Keys {
		for _, r := range p.statesOf(k) {
			m.keys.WithLabelValues(name, string(k.Role), r.record, string(r.state)).Inc()
		}
	}
	m.age.DeletePartialMatch(of)
	m.age.WithLabelValues(name, string(KSK)).Set(p.now.Sub(c.Goal.KSKFrom).Seconds())
	m.age.WithLabelValues(name, string(ZSK)).Set(p.now.Sub(c.Goal.ZSKFrom).Seconds())
	m.next.WithLabelValues(name).Set(0)
	if !p.wake.IsZero() {
		m.next.WithLabelValues(name).Set(p.wake.Sub(p.now).Seconds())
	}
	m.overdue.WithLabelValues(name).Set(p.overdue().Seconds())
	m.stock.WithLabelValues(name).Set(c.Stock.End().Sub(p.now).Seconds())
	m.seen.WithLabelValues(name).Set(number(!last(c.DS).Seen.IsZero()))
	m.ceremony.WithLabelValues(name).Set(number(p.ceremony))
	m.unknown.WithLabelValues(name).Set(float64(unknownIn(alive(c.DS, p.now))))
}

// looked sets what the servers of a parent said.
func (m *Metrics) looked(apex zone.Name, answers []ParentAnswer) {
	failed := 0
	for _, a := range answers {
		if a.Err != nil {
			failed++
		}
	}
	m.mute.WithLabelValues(apex.String()).Set(float64(failed))
}

// forget removes a zone that is gone.
func (m *Metrics) forget(apex zone.Name) {
	of := prometheus.Labels{"zone": apex.String()}
	for _, v := range []*prometheus.GaugeVec{m.keys, m.age, m.next, m.overdue, m.stock, m.seen, m.unknown, m.mute, m.ceremony} {
		v.DeletePartialMatch(of)
	}
}

// overdue is for how long something should have happened.
func (p *plan) overdue() (most time.Duration) {
	z, c := p.in.Zone.Keys, p.in.Chain
	if wanted := last(c.DS); wanted.Seen.IsZero() {
		most = max(most, p.now.Sub(wanted.Since.Add(z.ParentPropagationDelay+z.ParentDSTTL)))
	}
	most = max(most, p.now.Sub(c.Goal.KSKFrom.Add(z.KSKLifetime)))
	if c.Goal.KSK != c.Goal.ZSK {
		most = max(most, p.now.Sub(c.Goal.ZSKFrom.Add(z.ZSKLifetime)))
	}
	return most
}
