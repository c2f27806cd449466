package signer

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mxseal/mxseal/zone"
)

// atOnce calls f in many goroutines that begin together.
func atOnce(f func()) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for range 32 {
		wg.Go(func() {
			<-begin
			f()
		})
	}
	close(begin)
	wg.Wait()
}

// Whoever asks for the same signature at the same time gets the same, which was made once. RSA takes long enough for all to come.
func TestAMissIsSignedOnce(t *testing.T) {
	for _, algorithm := range algorithms {
		z := testZone(algorithm)
		ks, s := testKeys(t, z), New(Options{CacheSize: 1 << 20})
		const rounds = 20
		for i := range rounds {
			set := addresses(t, fmt.Sprintf("host%d.mx.test.", i), 300, "192.0.2.1")
			want := mustSign(t, New(Options{CacheSize: 1 << 20}), ks, z, set, now)
			atOnce(func() {
				signed, err := s.Sign(ks, z, set, now)
				if err == nil {
					err = Verify(ks, signed, now)
				}
				if err != nil || !slices.Equal(signed.Sigs, want.Sigs) {
					t.Errorf("%s: %v", set.Name(), err)
				}
			})
		}
		if made := testutil.ToFloat64(s.metrics.byAlgorithm[algorithm]); made != rounds {
			t.Errorf("%s: %v signatures of %d RRsets were made", algorithm, made, rounds)
		}
		if misses := testutil.ToFloat64(s.metrics.misses); misses != rounds {
			t.Errorf("%s: %v misses", algorithm, misses)
		}
	}
}

// One that fails, or panics, fails for whom it was made. The next one tries again, and all others have what that one made.
func TestAFailureConcernsNobodyElse(t *testing.T) {
	broken := errors.New("broken")
	for name, fail := range map[string]func() (remembered, error){
		"error": func() (remembered, error) { return remembered{"bad", now.Unix()}, broken },
		"panic": func() (remembered, error) { panic(broken) },
	} {
		s := New(Options{CacheSize: 1 << 20})
		var calls, failures atomic.Int64
		atOnce(func() {
			defer func() {
				if p := recover(); p != nil {
					failures.Add(1)
				}
			}()
			rdata, _, err := s.cache.get(&cacheKey{}, now.Unix(), func() (remembered, error) {
				if calls.Add(1) == 1 {
					return fail()
				}
				return remembered{"good", now.Unix()}, nil
			})
			switch {
			case err != nil && rdata == "":
				failures.Add(1)
			case rdata != "good":
				t.Errorf("%s: got %q, %v", name, rdata, err)
			}
		})
		if calls.Load() != 2 || failures.Load() != 1 {
			t.Errorf("%s: %d attempts, %d failures", name, calls.Load(), failures.Load())
		}
	}
}

// A signature that 32 goroutines want at once: it is made once, not once for each core.
func BenchmarkMisses(b *testing.B) {
	z := testZone(zone.ECDSAP256SHA256)
	ks, s := testKeys(b, z), New(Options{CacheSize: 1 << 20})
	set := addresses(b, "acme.mx.test.", 300, "192.0.2.1")
	at := now
	for b.Loop() {
		at = at.Add(z.Signature.Quantum)
		atOnce(func() {
			if _, err := s.Sign(ks, z, set, at); err != nil {
				b.Error(err)
			}
		})
	}
	b.ReportMetric(testutil.ToFloat64(s.metrics.byAlgorithm[z.Keys.Algorithm])/float64(b.N), "signatures/op")
}
