package zone

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Many plans in one commit lead where they lead one after the other, and are refused when they are.
func TestPendingIsLikeOneAfterTheOther(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		one, all := nested(t), nested(t)
		for _, w := range []*world{one, all} {
			w.pool("other", poolSpec("192.0.2.9"))
		}
		for range 3 {
			pending := NewPending(all)
			for range 1 + random.IntN(12) {
				id := fmt.Sprintf("t%d", random.IntN(5))
				var domains []Domain
				for range random.IntN(4) {
					domains = append(domains, Domain(fmt.Sprintf("d%d.com", random.IntN(6))))
				}
				spec := TenantSpec{Pool: []string{"default", "other", "nowhere"}[random.IntN(12)%3], DANE: random.IntN(2) == 0, Smarthost: random.IntN(3) == 0, Domains: domains}
				c, _, err := PlanPutTenant(one, id, spec, now, nil)
				if err == nil {
					one.apply(c, nil)
				}
				d, _, pendingErr := PlanPutTenant(pending, id, spec, now, nil)
				if fmt.Sprint(err) != fmt.Sprint(pendingErr) {
					t.Fatalf("seed %d: %v, and pending %v", seed, err, pendingErr)
				}
				if pendingErr == nil {
					pending.Add(d)
				}
			}
			all.apply(pending.Changes(), nil)
		}
		if a, b := contents(one), contents(all); !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d:\none after the other %v\nat once            %v", seed, a, b)
		}
	}
}

// contents is what a world has of tenants and hosts, without revisions.
func contents(w *world) map[string]any {
	out := map[string]any{}
	w.Tenants("", func(t *Tenant) bool {
		row := *t
		row.Revision = 0
		out["tenant "+t.ID] = row
		return true
	})
	for h := range w.Hosts {
		row := *h
		row.Revision = 0
		out["host "+h.Ref().ID] = row
	}
	return out
}
