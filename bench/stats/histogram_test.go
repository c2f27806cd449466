package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A percentile is at most one step above the true one, and never below it.
func TestPercentiles(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"small":  func() time.Duration { return time.Duration(rnd.IntN(100)) },
		"even":   func() time.Duration { return time.Duration(rnd.IntN(1e9)) },
		"skewed": func() time.Duration { return time.Duration(math.Exp(rnd.Float64() * 40)) },
		"equal":  func() time.Duration { return 12345 },
	} {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			all := make([]time.Duration, 10_000)
			for i := range all {
				all[i] = draw()
				h.Add(all[i])
			}
			slices.Sort(all)
			for _, p := range []float64{0.0001, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
				want := all[int(math.Round(p*float64(len(all))))-1]
				if got := h.Percentile(p); got < want || got > want+want/steps {
					t.Errorf("p%v is %d, want %d", 100*p, got, want)
				}
			}
		})
	}
}

// Every value is in a step whose bounds enclose it, up to the largest.
func TestSteps(t *testing.T) {
	for shift := range 63 {
		for _, v := range []uint64{1 << shift, 1<<shift - 1, 1<<shift + 1, 3 << shift >> 1} {
			i := step(v)
			if upper(i) < v || i > 0 && upper(i-1) >= v {
				t.Errorf("%d is in step %d, which ends with %d after %d", v, i, upper(i), upper(max(0, i-1)))
			}
		}
	}
	var h Histogram
	if h.Percentile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	h.Add(math.MaxInt64)
	h.Add(-1)
	if h.Percentile(0.5) != 0 || h.Percentile(1) != math.MaxInt64 {
		t.Errorf("extremes are %d and %d", h.Percentile(0.5), h.Percentile(1))
	}
}

func TestMerge(t *testing.T) {
	var a, b Histogram
	a.Add(1)
	b.Add(2)
	b.Add(3)
	a.Merge(&b)
	if got := a.Percentile(0.5); got != 2 {
		t.Errorf("the median of 1, 2, 3 is %d", got)
	}
}
