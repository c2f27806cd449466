package zone

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
)

var (
	seeds = flag.Int("zone.seeds", 60, "seeds that TestRandomOperations runs")
	seed  = flag.Uint64("zone.seed", 0, "the only seed that TestRandomOperations runs, if not 0")
)

// script makes random operations over few names, so that they meet.
type script struct {
	*rand.Rand
	zones   []Name
	pools   []string
	tenants []string
	domains []Domain
}

func newScript(seed uint64) *script {
	s := &script{Rand: rand.New(rand.NewPCG(seed, 1)), pools: []string{"p1", "p2", "p3"}, tenants: []string{"t1", "t2", "t3", "a-com"},
		// Labels collide with each other, with shards, with name servers and with smarthosts.
		domains: []Domain{"a.com", "b.a.com", "b-a.com", "b.a-com.net", "s.com", "ns.com"}}
	for _, text := range []string{"x.test.", "y.test.", "s-com.x.test.", "d.s-com.x.test.", "s-com.y.test.", "ns-com.y.test."} {
		s.zones = append(s.zones, MustParseName(text))
	}
	return s
}

func pick[T any](s *script, from []T) T { return from[s.IntN(len(from))] }

func (s *script) flip() bool { return s.IntN(2) == 0 }

// next returns an operation and what it is called.
func (s *script) next() (string, plan) {
	tenant, d, apex, pool := pick(s, s.tenants), pick(s, s.domains), pick(s, s.zones), pick(s, s.pools)
	switch s.IntN(15) {
	case 0, 1, 2:
		spec := s.tenantSpec(pool)
		return fmt.Sprintf("put tenant %s %+v", tenant, spec), planTenant(tenant, spec)
	case 3:
		patch := TenantPatch{Pool: &pool}
		if s.flip() {
			patch.Smarthost = new(s.flip())
		}
		return fmt.Sprintf("patch tenant %s to pool %s", tenant, pool), planPatch(tenant, patch)
	case 4:
		state := pick(s, []State{Active, Suspended, Suspended})
		return fmt.Sprintf("make tenant %s %s", tenant, state), planPatch(tenant, TenantPatch{State: &state})
	case 5, 6:
		return "revoke tenant " + tenant, planRevoke(tenant)
	case 7, 8:
		return fmt.Sprintf("put domain %s of %s", d, tenant), planPutDomain(tenant, d)
	case 9:
		return fmt.Sprintf("remove domain %s of %s", d, tenant), planRemoveDomain(tenant, d)
	case 10:
		return fmt.Sprintf("switch dane of %s of %s", d, tenant), planPatchDomain(tenant, d, s.flip())
	case 11, 12:
		spec := s.zoneSpec(apex)
		return fmt.Sprintf("put zone %s with %d name servers, drain pool %q, parent %s", apex, len(spec.Nameservers), spec.DrainPool, spec.Parent.Mode), planZone(apex, spec)
	case 13:
		if s.flip() {
			return "close zone " + apex.String(), planCloseZone(apex)
		}
		return "delete zone " + apex.String(), planDeleteZone(apex)
	default:
		switch s.IntN(3) {
		case 0:
			return "put pool " + pool, planPool(pool, poolSpec(fmt.Sprintf("192.0.2.%d", 1+s.IntN(3))))
		case 1:
			return "close pool " + pool, planClosePool(pool)
		}
		return "delete pool " + pool, planDeletePool(pool)
	}
}

func (s *script) tenantSpec(pool string) TenantSpec {
	spec := TenantSpec{Pool: pool, DANE: s.flip(), Smarthost: s.IntN(3) == 0}
	if s.flip() {
		spec.Zone = pick(s, s.zones)
	}
	for range s.IntN(3) {
		spec.Domains = append(spec.Domains, pick(s, s.domains))
	}
	return spec
}

func (s *script) zoneSpec(apex Name) ZoneSpec {
	spec := zoneSpec(apex)
	spec.Accepting = s.IntN(4) > 0
	if s.IntN(3) > 0 {
		spec.DrainPool = pick(s, s.pools)
	}
	if s.IntN(3) == 0 {
		spec.Parent.Mode = ParentHosted
	}
	if s.IntN(3) == 0 {
		spec.Nameservers = append(spec.Nameservers, inside(pick(s, []string{"a-com", "ns-com", "ns.s-com", "ns.b-a-com"}), apex))
	}
	return spec
}

// Pairs of operations are planned on one state and committed one after the other. Whatever the order, every
// state keeps the invariants, and what was planned can be told from what is there.
func TestRandomOperations(t *testing.T) {
	first, last := uint64(1), uint64(*seeds)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	total := 0
	for seed := first; seed <= last; seed++ {
		done, err := runScript(t, seed)
		if err != nil {
			t.Fatalf("-zone.seed=%d: %v", seed, err)
		}
		total += done
	}
	if average := total / int(last-first+1); average < 100 {
		t.Errorf("only %d operations of a script had an effect: it is too dull", average)
	}
}

func runScript(t *testing.T, seed uint64) (done int, err error) {
	s := newScript(seed)
	w := emptyWorld(t)
	for _, pool := range s.pools {
		w.pool(pool, poolSpec("192.0.2.1", "2001:db8::1"))
	}
	w.zone(s.zones[0], zoneSpec(s.zones[0]))
	for step := range 300 {
		var late []func() error // the commits of plans made on the same state
		for range 1 + s.IntN(3) {
			name, p := s.next()
			c, planErr := p(w.memView)
			late = append(late, func() error {
				succeeded, err := w.commitLate(p, c, planErr)
				if err != nil {
					return fmt.Errorf("step %d, %s: %w", step, name, err)
				}
				if succeeded {
					done++
				}
				return nil
			})
		}
		for _, commit := range late {
			if err := commit(); err != nil {
				return done, err
			}
		}
	}
	return done, nil
}

// commitLate commits a plan that may be out of date, as a store does, and checks the state after it.
func (w *world) commitLate(p plan, c Changes, planErr error) (succeeded bool, err error) {
	for range 2 {
		if err := checkPlan(c, planErr); err != nil {
			return false, err
		}
		if c.IsEmpty() {
			return false, nil
		}
		next, err := w.commit(c)
		if errors.Is(err, ErrRetry) {
			c, planErr = p(w.memView)
			continue
		}
		if err != nil {
			return false, err
		}
		before := w.memView
		w.memView = next
		if err := checkInvariants(before, next); err != nil {
			return false, fmt.Errorf("after %v and %v: %w", puts(c), c.Deletes, err)
		}
		if again, err := p(next); planErr == nil && len(c.Deletes) == 0 && (err != nil || !again.IsEmpty()) {
			return false, fmt.Errorf("repeated, it plans %v, %v", puts(again), err)
		}
		return true, nil
	}
	return false, errors.New("a plan that is up to date meets a change")
}

// checkPlan checks that an error wraps exactly one sentinel, and comes with Changes only when it undoes the first
// step of a deletion.
func checkPlan(c Changes, err error) error {
	if err == nil {
		return nil
	}
	kinds := 0
	for _, kind := range []error{ErrInvalid, ErrNotFound, ErrUnknownRef, ErrConflict, ErrInUse, ErrStale, ErrNotAccepting, ErrNoDrainPool, ErrTooManyOfKind} {
		if errors.Is(err, kind) {
			kinds++
		}
	}
	if kinds != 1 || fieldOf(err) == "" {
		return fmt.Errorf("%w: wraps %d sentinels, names the field %q", err, kinds, fieldOf(err))
	}
	if !c.IsEmpty() && !errors.Is(err, ErrInUse) {
		return fmt.Errorf("refused, and yet it writes %v: %w", puts(c), err)
	}
	return nil
}
