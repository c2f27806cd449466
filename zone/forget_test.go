package zone

import (
	"testing"
	"time"
)

// The two times of design §5: caches forget after the propagation and the largest TTL; replay ends when a signature made
// at the end of the propagation expires, and validators forgive it no more.
func TestTimesOfRevocation(t *testing.T) {
	w := newWorld(t)
	w.tenant("acme", tenantSpec("a.com", "b.com"))
	const heard = 5 * time.Minute
	want := Forget{now.Add(heard + 300*time.Second), now.Add(heard + 8*time.Hour + time.Hour)}
	if _, got, err := PlanRevokeTenant(w, "acme", now, nil); err != nil || got.Withdrawn != want {
		t.Errorf("%+v, want %+v; %v", got.Withdrawn, want, err)
	}
	c, _, h, err := PlanRemoveDomain(w, "acme", "b.com", now, nil)
	w.apply(c, err)
	if h.Released == nil || h.Released.From != "acme" || h.Released.Forget != want {
		t.Errorf("released: %+v", h.Released)
	}
	// Asked again later, the answer is the same.
	if _, _, again, err := PlanRemoveDomain(w, "acme", "b.com", now.Add(time.Hour), nil); err != nil || *again.Released != *h.Released {
		t.Errorf("again: %+v, %v", again, err)
	}
	// A tenant without hosts leaves nothing behind.
	w.tenant("bare", tenantSpec())
	if _, got, err := PlanRevokeTenant(w, "bare", now, nil); err != nil || got.Withdrawn != (Forget{now, now}) {
		t.Errorf("bare: %+v, %v", got.Withdrawn, err)
	}
}

// Unbound forgives a tenth of the validity period, from an hour to a day.
func TestSkewGrowsWithTheLifetime(t *testing.T) {
	for lifetime, want := range map[time.Duration]time.Duration{
		8 * time.Hour: 9 * time.Hour, 49 * time.Hour: 54 * time.Hour, 24 * 14 * time.Hour: 24 * 15 * time.Hour,
	} {
		if got := (SignaturePolicy{Lifetime: lifetime, Backdate: time.Hour}).replayedFor(); got != want {
			t.Errorf("%s: %s, want %s", lifetime, got, want)
		}
	}
}

// However a host is withdrawn, its times are told, and a later revocation does not promise an earlier end.
func TestEveryWithdrawalCounts(t *testing.T) {
	whole := tenantSpec("a.com", "b.com")
	whole.Smarthost = true
	for name, withdraw := range map[string]func(w *world) (Changes, *Tenant, error){
		"replaced without": func(w *world) (Changes, *Tenant, error) {
			return PlanPutTenant(w, "acme", tenantSpec("a.com"), now, nil)
		},
		"smarthost off": func(w *world) (Changes, *Tenant, error) {
			return PlanPatchTenant(w, "acme", TenantPatch{Smarthost: new(bool)}, now, nil)
		},
		"removed": func(w *world) (Changes, *Tenant, error) {
			c, got, _, err := PlanRemoveDomain(w, "acme", "b.com", now, nil)
			return c, got, err
		},
	} {
		w := newWorld(t)
		w.tenant("acme", whole)
		want := forget(w, []*Host{w.host("b.com")}, now)
		c, got, err := withdraw(w)
		w.apply(c, err)
		if got.Withdrawn != want {
			t.Errorf("%s: %+v, want %+v", name, got.Withdrawn, want)
		}
		spec := w.Zone(mx).ZoneSpec
		spec.Signature.Lifetime, spec.Keys.PropagationDelay = 4*time.Hour, time.Minute
		w.zone(mx, spec)
		if _, got, err = PlanRevokeTenant(w, "acme", now.Add(time.Second), nil); err != nil || got.Withdrawn.ReplayEndsBy.Before(want.ReplayEndsBy) {
			t.Errorf("%s, then revoked: %+v, %v", name, got.Withdrawn, err)
		}
	}
	// What was withdrawn by a PUT can be asked about like what was removed.
	w := newWorld(t)
	w.tenant("acme", whole)
	w.tenant("acme", tenantSpec("a.com"))
	if _, _, h, err := PlanRemoveDomain(w, "acme", "b.com", now.Add(time.Hour), nil); err != nil || h.Released.Forget != forget(w, []*Host{w.host("a.com")}, now) {
		t.Errorf("removed after it was dropped: %+v, %v", h, err)
	}
}

// What an earlier policy promised counts until it has run out: after a TTL or a lifetime was lowered, and
// after it was lowered again.
func TestTimesOfRevocationUnderEarlierPolicies(t *testing.T) {
	const (
		delay = 5 * time.Minute
		hour  = time.Hour
	)
	w := newWorld(t)
	w.tenant("acme", tenantSpec("a.com"))
	at := now
	put := func(change func(*ZoneSpec)) {
		spec := w.Zone(mx).ZoneSpec
		change(&spec)
		c, _, err := PlanPutZone(w, mx, spec, at, "", nil)
		w.apply(c, err)
	}
	check := func(what string, caches, replay time.Time) {
		t.Helper()
		_, got, err := PlanRevokeTenant(w, "acme", at, nil)
		if err != nil || !got.Withdrawn.CachesForgetBy.Equal(caches) || !got.Withdrawn.ReplayEndsBy.Equal(replay) {
			t.Errorf("%s: %+v, want %s and %s; %v", what, got.Withdrawn, caches, replay, err)
		}
	}
	check("default", at.Add(delay+300*time.Second), at.Add(delay+9*hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 7200, 24*hour })
	if w.Zone(mx).Legacy.CachedUntil.After(at) {
		t.Error("a TTL that was raised counts as legacy")
	}
	check("raised", at.Add(delay+2*hour), at.Add(delay+26*hour+30*time.Minute))
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 300, 8*hour })
	cached, replayed := at.Add(delay+2*hour), at.Add(delay+26*hour+30*time.Minute)
	check("lowered", cached, replayed)
	at = at.Add(hour)
	check("an hour later", cached, replayed)
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 200, 7*hour })
	check("lowered again", cached, replayed)
	put(func(s *ZoneSpec) { s.Accepting = false })
	check("changed otherwise", cached, replayed)
	at = at.Add(48 * hour)
	check("run out", at.Add(delay+200*time.Second), at.Add(delay+8*hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.TTL.Negative = 60, 900 })
	check("denials are cached longer than hosts", at.Add(delay+900*time.Second), at.Add(delay+8*hour))
	put(func(s *ZoneSpec) { s.TTL.Negative = 60 })
	check("denials lowered", at.Add(delay+900*time.Second), at.Add(delay+8*hour))
}
