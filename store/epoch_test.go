package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mxseal/mxseal/internal/epoch"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// An epoch changes when an answer could, and provisioning one tenant does not disturb another one's.
func TestEpochs(t *testing.T) {
	w := provisioned(t)
	w.putZone("o.mx.test.", nil)
	w.putPool("drain", 7)
	w.must(putTenant("other", "mx.test.", "fabrikam.com"))
	apex, shard := zone.MustParseName("mx.test."), zone.MustParseName("o.mx.test.")
	epochs := func() map[string]epoch.Mark {
		return map[string]epoch.Mark{
			"contoso": w.store.Mark(apex, "contoso-com"), "fabrikam": w.store.Mark(apex, "fabrikam-com"),
			"mx": w.store.Mark(apex, ""), "shard": w.store.Mark(shard, ""),
		}
	}
	all := []string{"contoso", "fabrikam", "mx", "shard"}
	for _, c := range []struct {
		what    string
		do      func()
		changed []string
	}{
		{"nothing", func() { w.must(putTenant("other", "mx.test.", "fabrikam.com")) }, nil},
		{"another tenant", func() { w.must(putTenant("third", "mx.test.", "third.com")) }, nil},
		{"DANE of the tenant", func() {
			w.must(func(st *store.State) (zone.Changes, error) {
				c, _, err := zone.PlanPatchTenant(st, "acme", zone.TenantPatch{DANE: new(bool)}, now, nil)
				return c, err
			})
		}, []string{"contoso"}},
		{"DANE of the domain", func() {
			w.must(func(st *store.State) (zone.Changes, error) {
				c, _, _, err := zone.PlanPatchDomain(st, "acme", "contoso.com", new(bool), nil)
				return c, err
			})
		}, []string{"contoso"}},
		{"revoked", func() {
			w.must(func(st *store.State) (zone.Changes, error) {
				c, _, err := zone.PlanRevokeTenant(st, "acme", now, nil)
				return c, err
			})
		}, []string{"contoso"}},
		{"put again", func() { w.must(putTenant("acme", "", "contoso.com")) }, []string{"contoso"}},
		{"domain dropped", func() { w.must(putTenant("acme", "")) }, []string{"contoso"}},
		{"a pool", func() { w.putPool("default", 77) }, all},
		{"the parent zone", func() { w.putZone("mx.test.", func(s *zone.ZoneSpec) { s.TTL.Host = 60 }) }, []string{"contoso", "fabrikam", "mx"}},
		{"the shard, and so its delegation", func() { w.putZone("o.mx.test.", func(s *zone.ZoneSpec) { s.TTL.Host = 60 }) }, all},
	} {
		before := epochs()
		c.do()
		after := epochs()
		for _, name := range all {
			changed := false
			for _, want := range c.changed {
				changed = changed || name == want
			}
			if (before[name] != after[name]) != changed {
				t.Errorf("%s: the epoch of %s: %v, then %v", c.what, name, before[name], after[name])
			}
		}
	}
}

// Many hosts change at once: with the epoch of their zone, in which other names change, too.
func TestEpochsOfManyHosts(t *testing.T) {
	w := provisioned(t)
	w.putZone("o.mx.test.", nil)
	apex, other := zone.MustParseName("mx.test."), zone.MustParseName("o.mx.test.")
	domains := make([]zone.Domain, 1200)
	for i := range domains {
		domains[i] = zone.Domain(fmt.Sprintf("d%d.example", i))
	}
	for _, n := range []int{10, 50, 40, 1200} { // 50: the first 10 are there before and after
		mine, elsewhere := w.store.Mark(apex, "d9-example"), w.store.Mark(other, "")
		others := []epoch.Mark{w.store.Mark(apex, "contoso-com"), w.store.Mark(apex, "a"), w.store.Mark(apex, "b")} // any may share its place with one of the hosts
		w.must(putTenant("many", "mx.test.", domains[:n]...))
		if changed := mine != w.store.Mark(apex, "d9-example"); !changed {
			t.Errorf("%d hosts: the epoch of one is as it was", n)
		}
		changed := !slices.ContainsFunc(others, epoch.Mark.Current)
		if changed != (n == 1200) || elsewhere != w.store.Mark(other, "") {
			t.Errorf("%d hosts: of the others in the zone: %v; in another zone: %v", n, changed, elsewhere != w.store.Mark(other, ""))
		}
	}
}

// When an update returns, no answer that was made before it is current any more.
func TestAnUpdateEndsWhatWasBefore(t *testing.T) {
	w := provisioned(t)
	domains := make([]zone.Domain, 50)
	for i := range domains {
		domains[i] = zone.Domain(fmt.Sprintf("d%d.example", i))
	}
	for i := range 2000 {
		mark := w.store.Mark(zone.MustParseName("mx.test."), "d49-example")
		w.must(putTenant("many", "mx.test.", domains[:49+i%2]...))
		if i > 0 && mark == w.store.Mark(zone.MustParseName("mx.test."), "d49-example") {
			t.Fatalf("after %d updates", i)
		}
	}
}

// Whoever takes the epoch, then the state, and finds the epoch unchanged when a commit is complete, has made its answer from that.
// Readers run against a writer; run with -race.
func TestEpochBeforeState(t *testing.T) {
	w := provisioned(t)
	apex := zone.MustParseName("mx.test.")
	domains := make([]zone.Domain, 60) // as many epochs are raised one after the other, that of the first one first
	for i := range domains {
		domains[i] = zone.Domain(fmt.Sprintf("d%02d.example", i))
	}
	w.must(putTenant("many", "", domains...))
	mark := func() epoch.Mark { return w.store.Mark(apex, "d00-example") }
	revision := func() uint64 { return w.store.State().Tenant("many").Revision }
	for i := range 500 {
		newest, stale := make(chan uint64), make(chan uint64, 1)
		go func() {
			defer close(stale)
			made := map[epoch.Mark]uint64{} // the first revision that an answer of each epoch was made from
			for done := uint64(0); done == 0; {
				select {
				case done = <-newest:
				default:
				}
				m := mark()
				if r := revision(); made[m] == 0 {
					made[m] = r
				}
				if r := made[mark()]; done != 0 && r != done {
					stale <- r
				}
			}
		}()
		made := w.must(func(st *store.State) (zone.Changes, error) {
			c, _, err := zone.PlanPatchTenant(st, "many", zone.TenantPatch{DANE: new(i%2 > 0)}, now, nil)
			return c, err
		})
		w.store.OpenKeys() // waits for the feed: the commit may be served already, in the epoch that ends
		newest <- made
		if r, found := <-stale; found {
			t.Fatalf("an answer made from revision %d still counts as current after %d", r, made)
		}
	}
}
