package api

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// Requests are counted by the route of the program, never by what a client has sent.
func TestMetricsAreBoundedAndWellNamed(t *testing.T) {
	m := NewMetrics()
	m.route("GET", "/v1/tenants/{tenant}").count(404)
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
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "mxseal_api_") {
			t.Errorf("metric %s", family.GetName())
		}
	}
	if got := testutil.ToFloat64(m.requests.WithLabelValues("/v1/tenants/{tenant}", "GET", "4xx")); got != 1 {
		t.Errorf("counted %v times", got)
	}
}
