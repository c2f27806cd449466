//go:build linux

package main

import "testing"

// IDs are lost when they come round again, whether or not their time is up, and others expire in their order.
func TestFlight(t *testing.T) {
	var f flight
	first := f.launch(1)
	for now := int64(2); now <= 1<<16; now++ {
		f.land(f.launch(now))
	}
	if f.out != 1 || f.lost != 0 {
		t.Fatalf("%d out, %d lost", f.out, f.lost)
	}
	second := f.launch(100_000)
	if second != first || f.out != 1 || f.lost != 1 {
		t.Fatalf("ID %d after %d, %d out, %d lost", second, first, f.out, f.lost)
	}
	f.launch(100_001)
	f.retract(1)
	f.launch(100_002)
	f.expire(100_001)
	if _, ok := f.land(second); ok || f.out != 1 || f.lost != 2 {
		t.Errorf("after expiry %v, %d out, %d lost", ok, f.out, f.lost)
	}
	if sent, ok := f.land(second + 1); !ok || sent != 100_002 || f.out != 0 {
		t.Errorf("landed %d %v, %d out", sent, ok, f.out)
	}
}
