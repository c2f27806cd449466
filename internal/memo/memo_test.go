package memo

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
)

type figure float64

func (f *figure) Inc()             { *f++ }
func (f *figure) Set(v float64)    { *f = figure(v) }
func (f *figure) float64() float64 { return float64(*f) }

// value is spent after a second.
type value struct {
	text  string
	until int64
}

func table(limit int64) *Table[value] {
	return New(Options[value]{Limit: limit, Spent: func(v *value, now int64) bool { return v.until < now },
		Evictions: new(figure), Octets: new(figure)})
}

// check returns how many entries there are, and fails if what is said of their memory is wrong.
func check[V any](t *testing.T, c *Table[V]) (n int) {
	t.Helper()
	var octets int64
	for i := range c.slots {
		if e := c.slots[i].Load(); e != nil {
			n++
			octets += e.octets
		}
	}
	if octets != c.used || octets > c.o.Limit || c.o.Octets.(*figure).float64() != float64(octets) {
		t.Fatalf("%d octets, of at most %d; noted %d, told %v", octets, c.o.Limit, c.used, c.o.Octets.(*figure).float64())
	}
	return n
}

func TestBoundIsNeverExceededAndTheTableNeverEmptied(t *testing.T) {
	for _, limit := range []int64{300, 1000, 5000, 100_000} {
		c := table(limit)
		for i := range 5 * limit / leastEntry {
			key := fmt.Sprint(i)
			c.Put(key, value{"x", 100}, 50, 0)
			if check(t, c) == 0 {
				t.Fatal("empty")
			}
			if v, _ := c.Get([]byte(key)); v == nil {
				t.Fatalf("limit %d: the newest entry is not there", limit)
			}
		}
		if n := check(t, c); int64(n) < limit*6/10/leastEntry {
			t.Errorf("limit %d: only %d entries", limit, n)
		}
	}
}

func TestWhatIsLargerThanTheTable(t *testing.T) {
	c := table(1000)
	c.Put("small", value{"x", 100}, 50, 0)
	c.Put("large", value{"x", 100}, 1000, 0)
	large, _ := c.Get([]byte("large"))
	small, _ := c.Get([]byte("small"))
	if large != nil || small == nil || check(t, c) != 1 {
		t.Error("it is remembered, or has pushed out another")
	}
}

// An entry that is asked for all the time stays, whatever else passes through.
func TestWhatIsUsedStays(t *testing.T) {
	c := table(100_000)
	c.Put("hot", value{"hot", 100}, 50, 0)
	for i := range 5000 {
		if v, _ := c.Get([]byte("hot")); v == nil || v.text != "hot" {
			t.Fatalf("gone after %d others", i)
		}
		c.Put(fmt.Sprint(i), value{"x", 100}, 50, 0)
	}
	if c.o.Evictions.(*figure).float64() == 0 {
		t.Error("nothing had to go")
	}
}

// What is spent makes room first, and is not counted as evicted.
func TestSpentValuesMakeRoom(t *testing.T) {
	c := table(100_000)
	for i := range 1000 {
		c.Put(fmt.Sprint(i), value{"x", int64(i)}, 50, int64(i)+1)
	}
	if n := c.o.Evictions.(*figure).float64(); n != 0 {
		t.Errorf("%v evictions", n)
	}
}

func TestNewValueOfTheSameKey(t *testing.T) {
	c := table(10_000)
	c.Put("a", value{"x", 100}, 50, 0)
	c.Put("a", value{"y", 100}, 70, 0)
	if v, _ := c.Get([]byte("a")); v == nil || v.text != "y" || check(t, c) != 1 || c.o.Evictions.(*figure).float64() != 0 {
		t.Errorf("%v, %v evictions", v, c.o.Evictions.(*figure).float64())
	}
}

// Whoever reads gets what was put under the key, while others write.
func TestConcurrentUse(t *testing.T) {
	c := table(50_000)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5000 {
				key := fmt.Sprint((i*7 + w) % 500)
				if v, _ := c.Get([]byte(key)); v != nil && v.text != key {
					t.Errorf("%s: got %s", key, v.text)
				}
				c.Put(key, value{key, int64(i % 3)}, len(key), int64(i%3))
			}
		})
	}
	wg.Wait()
	check(t, c)
}

// Each entry is seen once in a pass, wherever it is interrupted; used are those that were asked for since they were put.
func TestScanSeesEachEntryOnce(t *testing.T) {
	c := table(100_000)
	for i := range 50 {
		c.Put(fmt.Sprint(i), value{fmt.Sprint(i), 100}, 50, 0)
		if i%3 != 0 {
			continue
		}
		for _, want := range []bool{false, true} {
			if v, again := c.Get([]byte(fmt.Sprint(i))); v == nil || again != want {
				t.Fatalf("%d: %v, again: %v", i, v, again)
			}
		}
	}
	c.Put("0", value{"0", 100}, 50, 0) // asked for before, but not since
	for _, step := range []int{1, 7, 1000} {
		seen := map[string]bool{}
		for slot, first := 0, true; slot != 0 || first; first = false {
			n := 0
			slot = c.Scan(slot, func(key string, v *value, used bool) bool {
				if seen[key] {
					t.Errorf("%s is seen twice", key)
				}
				var i int
				fmt.Sscan(key, &i)
				if key != v.text || used != (i%3 == 0 && i != 0) {
					t.Errorf("%s: %s, used: %v", key, v.text, used)
				}
				seen[key] = true
				n++
				return n < step
			})
		}
		if len(seen) != check(t, c) {
			t.Errorf("%d seen, of %d", len(seen), check(t, c))
		}
	}
}

// What Fetch reads is there or not; nothing is changed by it, not even what is taken as asked for.
func TestFetchChangesNothing(t *testing.T) {
	c := table(100_000)
	for i := range 50 {
		c.Put(fmt.Sprint(i), value{"x", 100}, 50, 0)
	}
	c.Put("", value{"x", 100}, 50, 0)
	var hashes []uint64
	for i := range 70 {
		hashes = append(hashes, c.Hash([]byte(fmt.Sprint(i))))
	}
	seen := 0
	for _, n := range []int{0, 1, 64, 70} {
		c.Fetch(hashes[:n], func(v *value) int { seen++; return len(v.text) })
	}
	if seen < 1+2*50 {
		t.Errorf("%d values were read", seen)
	}
	for i := range 50 {
		if v, again := c.Get([]byte(fmt.Sprint(i))); v == nil || again {
			t.Errorf("%d: %v, asked for: %v", i, v, again)
		}
	}
}

// lines reads one octet of each line of a cache.
func lines(v *value) (sum int) {
	for i := 0; i < len(v.text); i += 64 {
		sum += int(v.text[i])
	}
	return sum
}

// To read values of which the processor's caches have few: each when it is asked for, and fetched for a batch first.
func BenchmarkGet(b *testing.B) {
	const entries, batch = 1 << 19, 32
	c := table(1 << 30)
	for i := range entries {
		c.Put(fmt.Sprint(i), value{strings.Repeat("x", 200), 100}, 200, 0)
	}
	for _, fetch := range []bool{false, true} {
		b.Run(map[bool]string{true: "fetched", false: "alone"}[fetch], func(b *testing.B) {
			var keys [batch][]byte
			var hashes [batch]uint64
			var room [512]byte
			sum := 0
			for b.Loop() {
				for i := range keys {
					keys[i] = strconv.AppendInt(keys[i][:0], rand.Int64N(entries), 10)
					hashes[i] = c.Hash(keys[i])
				}
				if fetch {
					sum += c.Fetch(hashes[:], lines)
				}
				for i := range keys {
					if v, _ := c.Get(keys[i]); v != nil {
						sum += copy(room[:], v.text)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/get")
		})
	}
}
