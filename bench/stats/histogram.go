package stats

import (
	"math/bits"
	"time"
)

const (
	stepBits = 5 // each power of two is cut into 32 steps, so that a percentile is at most 1/32 too high
	steps    = 1 << stepBits
	octaves  = 64 - stepBits
)

// Histogram counts times in steps that grow with them. The zero value is empty.
type Histogram struct {
	counts [octaves * steps]int
	total  int
}

// Add counts one time. Negative ones count as 0.
func (h *Histogram) Add(d time.Duration) {
	h.counts[step(uint64(max(0, d)))]++
	h.total++
}

// Merge adds what another histogram has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// Percentile is a time that at least the share p (0 to 1) of all are not above; 0 if there are none.
func (h *Histogram) Percentile(p float64) time.Duration {
	rank := int(p*float64(h.total) + 0.999999) // rounded up, and 0.99 * 100 is 99
	seen := 0
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			return time.Duration(upper(i))
		}
	}
	return 0
}

// step is the index for v: below 2*steps v itself, above it the octave and the bits after the first one.
func step(v uint64) int {
	octave := max(0, bits.Len64(v)-stepBits-1)
	return octave*steps + int(v>>octave)
}

// upper is the largest value with index i.
func upper(i int) uint64 {
	octave := max(0, i/steps-1)
	return (uint64(i-octave*steps)+1)<<octave - 1
}

// Summary is the percentiles that are reported.
func (h *Histogram) Summary() Latency {
	us := func(p float64) float64 { return float64(h.Percentile(p).Nanoseconds()) / 1000 }
	return Latency{us(0.5), us(0.99), us(0.999)}
}
