// Package stats has the figures that the load generator prints: latencies, processor time, and their JSON form.
package stats

// Result is one run of the load generator.
type Result struct {
	Queries       int            `json:"queries"`
	Answers       int            `json:"answers"`
	Lost          int            `json:"lost"`      // no answer within the time-out
	Stray         int            `json:"stray"`     // answers to nothing that was waited for: late, or twice
	Truncated     int            `json:"truncated"` // answers with TC
	Seconds       float64        `json:"seconds"`   // from the first query to the last answer
	QPS           float64        `json:"qps"`       // answers in a second
	Latency       Latency        `json:"latency_us"`
	Rcodes        map[string]int `json:"rcodes"`
	MeanOctets    float64        `json:"mean_octets"`           // of an answer, without UDP and IP headers
	ServerCPU     float64        `json:"server_cpu_us"`         // processor time of the server for an answer, in us; 0 if not known
	ServerBusy    float64        `json:"server_busy"`           // processor seconds of the server in a second
	GeneratorBusy float64        `json:"generator_busy"`        // the same of the generator: near 1 for each worker, it is the bottleneck
	Unsent        int            `json:"unsent,omitempty"`      // open loop: due, but not sent when time was up
	Offered       float64        `json:"offered_qps,omitempty"` // open loop: what was asked for
}

// Latency has percentiles in microseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
}
