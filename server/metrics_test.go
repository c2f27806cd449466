package server_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mxseal/mxseal/server"
)

// counted returns the value of a metric; series is as in the text format: mxseal_dns_x_total{a="b",c="d"}.
func counted(t testing.TB, m *server.Metrics, series string) float64 {
	t.Helper()
	name, labels, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.Collectors()...)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, metric := range f.GetMetric() {
			var have []string
			for _, l := range metric.GetLabel() {
				have = append(have, l.GetName()+`="`+l.GetValue()+`"`)
			}
			if f.GetName() == name && strings.Join(have, ",") == labels {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s", series)
	return 0
}

func TestMetricsAreWellNamedAndComplete(t *testing.T) {
	m := server.NewMetrics()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(m.Collectors()...)
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "mxseal_dns_") {
			t.Errorf("metric %s", f.GetName())
		}
		for _, metric := range f.GetMetric() {
			series++
			for _, l := range metric.GetLabel() {
				if l.GetValue() == "" {
					t.Errorf("metric %s has an empty label", f.GetName())
				}
			}
		}
	}
	// All children exist from the start, so that a rate over the first event is not lost.
	if want := 3*10 + 6 + 3 + 3 + 2 + 4 + 3 + 2 + 2 + 2; series != want {
		t.Errorf("%d series, want %d", series, want)
	}
}
