package zone

import (
	"testing"
	"time"
)

// The two times of design §5: caches forget after the propagation and the largest TTL; replay ends with the last
// expiration of any signature for the host or its TLSA names, and the skew of validators.
func TestTimesOfRevocation(t *testing.T) {
	w := newWorld(t)
	ports := poolSpec("192.0.2.1")
	ports.TLSAPorts = []uint16{25, 465}
	w.pool("default", ports)
	w.tenant("acme", tenantSpec("a.com", "b.com"))
	expiration := func(at map[string]time.Duration) Expirations {
		return func(z *Zone, name Name) time.Time {
			if z.Name != mx {
				t.Errorf("asked about zone %s", z.Name)
			}
			return now.Add(at[name.String()])
		}
	}
	for name, c := range map[string]struct {
		issued map[string]time.Duration
		replay time.Duration
	}{
		"host":        {map[string]time.Duration{"a-com.mx.test.": 9 * time.Hour, "b-com.mx.test.": 8 * time.Hour}, 10 * time.Hour},
		"other host":  {map[string]time.Duration{"a-com.mx.test.": 7 * time.Hour, "b-com.mx.test.": 8 * time.Hour}, 9 * time.Hour},
		"TLSA":        {map[string]time.Duration{"a-com.mx.test.": time.Hour, "_465._tcp.b-com.mx.test.": 5 * time.Hour}, 6 * time.Hour},
		"other names": {map[string]time.Duration{"c-com.mx.test.": 99 * time.Hour, "_587._tcp.a-com.mx.test.": 99 * time.Hour}, time.Hour},
	} {
		_, got, err := PlanRevokeTenant(w, "acme", now, expiration(c.issued), nil)
		if err != nil {
			t.Fatal(err)
		}
		if want := now.Add(5*time.Minute + 300*time.Second); !got.Revocation.CachesForgetBy.Equal(want) {
			t.Errorf("%s: caches forget by %s, want %s", name, got.Revocation.CachesForgetBy, want)
		}
		if want := now.Add(c.replay); !got.Revocation.ReplayEndsBy.Equal(want) {
			t.Errorf("%s: replay ends by %s, want %s", name, got.Revocation.ReplayEndsBy, want)
		}
	}
	c, _, h, err := PlanRemoveDomain(w, "acme", "b.com", now, expiration(map[string]time.Duration{"a-com.mx.test.": 9 * time.Hour, "b-com.mx.test.": 8 * time.Hour}), nil)
	w.apply(c, err)
	if h.Released == nil || h.Released.From != "acme" || !h.Released.ReplayEndsBy.Equal(now.Add(9*time.Hour)) {
		t.Errorf("released: %+v", h.Released)
	}
	// Asked again later, the answer is the same.
	if _, _, again, err := PlanRemoveDomain(w, "acme", "b.com", now.Add(time.Hour), never, nil); err != nil || *again.Released != *h.Released {
		t.Errorf("again: %+v, %v", again, err)
	}
	// A tenant without hosts leaves nothing behind.
	w.tenant("bare", tenantSpec())
	if _, got, err := PlanRevokeTenant(w, "bare", now, never, nil); err != nil || !got.Revocation.CachesForgetBy.Equal(now) || !got.Revocation.ReplayEndsBy.Equal(now) {
		t.Errorf("bare: %+v, %v", got.Revocation, err)
	}
}

// The TLSA names of the pool that served before a suspension or a resumption have signatures too.
func TestTimesOfRevocationAfterSuspension(t *testing.T) {
	w := newWorld(t)
	spec := zoneSpec(mx)
	spec.DrainPool = "drain"
	w.zone(mx, spec)
	for name, port := range map[string]uint16{"default": 465, "drain": 587} {
		pool := poolSpec("192.0.2.1")
		pool.TLSAPorts = []uint16{port}
		w.pool(name, pool)
	}
	w.tenant("acme", tenantSpec("a.com"))
	w.suspend("acme")
	asked := map[string]bool{}
	_, _, err := PlanRevokeTenant(w, "acme", now, func(_ *Zone, name Name) time.Time { asked[name.String()] = true; return now }, nil)
	if err != nil || !asked["_465._tcp.a-com.mx.test."] || !asked["_587._tcp.a-com.mx.test."] || !asked["a-com.mx.test."] {
		t.Errorf("asked about %v, %v", asked, err)
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
		issued := func(z *Zone, _ Name) time.Time { return at.Add(z.Signature.Lifetime) }
		_, got, err := PlanRevokeTenant(w, "acme", at, issued, nil)
		if err != nil || !got.Revocation.CachesForgetBy.Equal(caches) || !got.Revocation.ReplayEndsBy.Equal(replay) {
			t.Errorf("%s: %+v, want %s and %s; %v", what, got.Revocation, caches, replay, err)
		}
	}
	check("default", at.Add(delay+300*time.Second), at.Add(9*hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 7200, 24*hour })
	if w.Zone(mx).Legacy.CachedUntil.After(at) {
		t.Error("a TTL that was raised counts as legacy")
	}
	check("raised", at.Add(delay+2*hour), at.Add(25*hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 300, 8*hour })
	cached, signed := at.Add(delay+2*hour), at.Add(delay+24*hour)
	check("lowered", cached, signed.Add(hour))
	at = at.Add(hour)
	check("an hour later", cached, signed.Add(hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.Signature.Lifetime = 200, 7*hour })
	check("lowered again", cached, signed.Add(hour))
	put(func(s *ZoneSpec) { s.Accepting = false })
	check("changed otherwise", cached, signed.Add(hour))
	at = at.Add(48 * hour)
	check("run out", at.Add(delay+200*time.Second), at.Add(8*hour))
	put(func(s *ZoneSpec) { s.TTL.Host, s.TTL.Negative = 60, 900 })
	check("denials are cached longer than hosts", at.Add(delay+900*time.Second), at.Add(8*hour))
	put(func(s *ZoneSpec) { s.TTL.Negative = 60 })
	check("denials lowered", at.Add(delay+900*time.Second), at.Add(8*hour))
}
