package zone

import (
	"slices"
	"time"
)

// Planning functions read a View and return what to write. They share these conventions: ifMatch, unless
// nil, is the revision that the caller has seen (0: the resource must not exist); a call that would change
// nothing returns empty Changes and the row as it is; an error means that nothing is to be written.

// checkMatch applies an If-Match precondition to a row whose revision is current (0: there is no row).
func checkMatch(ifMatch *uint64, current uint64) error {
	switch {
	case ifMatch == nil || *ifMatch == current:
		return nil
	case *ifMatch == 0:
		return refuse(ErrStale, "If-None-Match", "the resource exists, with revision %d", current)
	case current == 0:
		return refuse(ErrStale, "If-Match", "the resource does not exist")
	}
	return refuse(ErrStale, "If-Match", "the resource has revision %d", current)
}

// newer returns the later of two times.
func newer(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// forget bounds the after-life of the answers given for hosts (RFC 7671 §11 and §13): a resolver keeps a record for its
// TTL after the last node has heard of the change; an attacker keeps a signature until it expires, and validators forgive
// a skew beyond that. Whatever was signed at a host or below it, under whatever pool, was signed before that node heard, in
// a window that had begun.
func forget(v View, hosts []*Host, now time.Time) Forget {
	f := Forget{CachesForgetBy: now, ReplayEndsBy: now}
	for _, h := range hosts {
		z := v.Zone(h.Zone)
		if z == nil {
			continue
		}
		heard := now.Add(z.Keys.PropagationDelay)
		f = f.orLater(Forget{heard.Add(z.cachedFor()), heard.Add(z.Signature.replayedFor())}).
			orLater(Forget{z.Legacy.CachedUntil, z.Legacy.ReplayedUntil})
	}
	return f
}

// orLater returns the later of both times of two bounds.
func (f Forget) orLater(g Forget) Forget {
	return Forget{newer(f.CachesForgetBy, g.CachesForgetBy), newer(f.ReplayEndsBy, g.ReplayEndsBy)}
}

// cachedFor is how long resolvers keep what is said about a host.
func (z *Zone) cachedFor() time.Duration {
	return time.Duration(max(z.TTL.Host, z.TTL.Negative)) * time.Second
}

// replayedFor is how long a signature that is made now can be used against us: its lifetime, and what validators forgive
// beyond it. Unbound, the most forgiving, adds a tenth of the validity period, at least an hour and at most a day.
func (p SignaturePolicy) replayedFor() time.Duration {
	return p.Lifetime + min(max((p.Lifetime+p.Backdate)/10, time.Hour), 24*time.Hour)
}

// HostOf returns the host of an owner, nil if it never got one. After a zone was deleted an owner may have
// several; the one that is held, else the one last written, in a zone that exists, is meant.
func HostOf(v View, o Owner) *Host { return currentHost(v, v.HostsOf(o)) }

// currentHost is HostOf among all hosts of an owner.
func currentHost(v View, hosts []*Host) *Host {
	var best *Host
	for _, h := range hosts {
		if v.Zone(h.Zone) == nil {
			continue
		}
		if best == nil || (h.Tenant != "") && best.Tenant == "" ||
			(h.Tenant != "") == (best.Tenant != "") && h.Revision > best.Revision {
			best = h
		}
	}
	return best
}

// holder returns the tenant that holds a host now, nil if it is free. Revoked tenants hold nothing.
func holder(v View, h *Host) *Tenant {
	if h.Tenant == "" {
		return nil
	}
	if t := v.Tenant(h.Tenant); t != nil && t.State != Revoked {
		return t
	}
	return nil
}

// require adds a row to the preconditions, once.
func (c *Changes) require(rows ...Row) {
	for _, r := range rows {
		if ref := r.Ref(); !slices.Contains(c.Requires, ref) {
			c.Requires = append(c.Requires, ref)
		}
	}
}

// openPool returns the pool that a request names in field, and makes the plan depend on it.
func (c *Changes) openPool(v View, field, name string) error {
	p := v.Pool(name)
	if p == nil || p.Closing {
		return refuse(ErrUnknownRef, field, "there is no pool %q", name)
	}
	c.require(p)
	return nil
}

// openZone returns the zone that a request names in field, and makes the plan depend on it.
func (c *Changes) openZone(v View, field string, apex Name) (*Zone, error) {
	z := v.Zone(apex)
	if z == nil || z.Closing {
		return nil, refuse(ErrUnknownRef, field, "there is no zone %s", apex)
	}
	c.require(z)
	return z, nil
}
