package e2e

import "testing"

// Prometheus accepts the alert rules.
func TestAlerts(t *testing.T) {
	t.Parallel()
	output(t, "promtool", "check", "rules", "../deploy/alerts.yaml")
}
