//go:build !race

package keymgmt

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// mutations are the safety rules, each taken away.
func mutations() map[string]func(w *world) {
	less := func(f func(in Input, now time.Time) time.Time, by func(in Input) time.Duration) func(in Input, now time.Time) time.Time {
		return func(in Input, now time.Time) time.Time { return f(in, now).Add(-by(in)) }
	}
	propagation := func(in Input) time.Duration { return in.Zone.Keys.PropagationDelay }
	return map[string]func(w *world){
		"DNSKEY TTL": func(w *world) {
			w.planner.keysCached = less(keysCached, func(in Input) time.Duration { return seconds(max(in.Chain.Stock.TTL, in.Zone.TTL.DNSKEY)) })
		},
		"DNSKEY TTL of before": func(w *world) {
			w.planner.keysCached = func(in Input, now time.Time) time.Time {
				return now.Add(in.Zone.Keys.PropagationDelay + seconds(in.Zone.TTL.DNSKEY))
			}
		},
		"propagation of the DNSKEY RRset": func(w *world) { w.planner.keysCached = less(keysCached, propagation) },
		"TTL of records": func(w *world) {
			w.planner.recordsCached = less(recordsCached, func(in Input) time.Duration { return in.Zone.TTL.Signed() })
		},
		"TTL of records of before": func(w *world) {
			w.planner.recordsCached = func(in Input, now time.Time) time.Time {
				return now.Add(in.Zone.Keys.PropagationDelay + in.Zone.TTL.Signed())
			}
		},
		"propagation of records": func(w *world) { w.planner.recordsCached = less(recordsCached, propagation) },
		"DS TTL": func(w *world) {
			w.planner.dsCached = func(in Input, now time.Time) time.Time { return now.Add(in.Zone.Keys.ParentPropagationDelay) }
		},
		"DS TTL that was seen": func(w *world) {
			w.planner.dsCached = func(in Input, now time.Time) time.Time {
				if in.Parent != nil {
					return dsCached(in, now)
				}
				return now.Add(in.Zone.Keys.ParentPropagationDelay + in.Zone.Keys.ParentDSTTL)
			}
		},
		"propagation of the DS": func(w *world) {
			w.planner.dsCached = less(dsCached, func(in Input) time.Duration {
				if in.Parent != nil {
					return in.Parent.Keys.PropagationDelay
				}
				return in.Zone.Keys.ParentPropagationDelay
			})
		},
		"DS at every server": func(w *world) { w.planner.believes = func(Sighting) bool { return true } },
		"DS that was asked for may come at any time": func(w *world) {
			w.planner.check = func(c *Chain, algorithm algorithmOf, now time.Time) *conflict {
				seen := c.clone()
				for len(seen.DS) > 1 && last(seen.DS).Seen.IsZero() {
					seen.DS = seen.DS[:len(seen.DS)-1]
				}
				return seen.check(algorithm, now)
			}
		},
		"chain from the DS": func(w *world) {
			w.planner.check = func(c *Chain, algorithm algorithmOf, now time.Time) *conflict {
				loose := c.clone()
				loose.DS = nil
				return loose.check(algorithm, now)
			}
		},
		"keys of cached signatures": func(w *world) {
			w.planner.check = func(c *Chain, algorithm algorithmOf, now time.Time) *conflict {
				loose := c.clone()
				loose.Signers = loose.Signers[len(loose.Signers)-1:]
				return loose.check(algorithm, now)
			}
		},
		"cached DNSKEY RRsets": func(w *world) {
			w.planner.check = func(c *Chain, algorithm algorithmOf, now time.Time) *conflict {
				loose := c.clone()
				loose.Keys = loose.Keys[len(loose.Keys)-1:]
				return loose.check(algorithm, now)
			}
		},
		"every algorithm": func(w *world) {
			w.planner.check = func(c *Chain, _ algorithmOf, now time.Time) *conflict {
				return c.check(func(string) zone.Algorithm { return zone.ECDSAP256SHA256 }, now)
			}
		},
		"nodes that lag": func(w *world) { w.behind = func() (time.Duration, string) { return 0, "" } },
		"times that stood still": func(w *world) {
			w.behind = func() (time.Duration, string) {
				if w.cutOff.IsZero() {
					w.manager.stoodStill = time.Time{}
				}
				return w.sinceCutOff()
			}
		},
		"times after a clock step": func(w *world) {
			w.tolerance = func(m *Manager) { m.watch.tolerance = math.MaxInt64 }
		},
	}
}

// dropped is a testing.TB whose test ends at the first failure, and goes on outside.
type dropped struct {
	testing.TB
	said string
}

func (d *dropped) Fatalf(format string, args ...any) {
	d.said = fmt.Sprintf(format, args...)
	panic(d)
}

// bogus runs a world until a resolver calls something bogus.
func bogus(t *testing.T, seed uint64, years int, mutate func(w *world)) (said string) {
	d := &dropped{TB: t}
	defer func() {
		if r := recover(); r != nil {
			if r != any(d) {
				panic(r)
			}
			said = d.said
		}
	}()
	w := newWorld(t, seed)
	w.t = d
	mutate(w)
	w.start()
	w.run(years, true)
	return ""
}

// What TestTenYears does not find without a rule, it does not prove of that rule: with any one of them taken away there has to
// be an answer that is bogus, or a step that the store refuses since it would make one.
func TestEveryRuleIsNeeded(t *testing.T) {
	const patience = 60 // worlds
	for name, mutate := range mutations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(patience) {
				switch said := bogus(t, seed, 3, mutate); {
				case strings.Contains(said, "bogus"), strings.Contains(said, "does not open"): // the second net, of KeySet
					t.Logf("seed %d", seed)
					return
				case said != "":
					t.Fatal(said)
				}
			}
			t.Errorf("no answer was bogus in %d worlds without this rule", patience)
		})
	}
}
