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
	if ifMatch == nil || *ifMatch == current {
		return nil
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

// Expirations tells the latest expiration of any signature that is issued for a name of z until all nodes have
// heard of a change made now.
type Expirations func(z *Zone, name Name) time.Time

// forget bounds the after-life of the answers given for hosts (RFC 7671 §11 and §13): a resolver keeps a
// record for its TTL after the last node has heard of the change; an attacker keeps a signature until it
// expires, and validators forgive a skew beyond that.
func forget(v View, hosts []*Host, now time.Time, issued Expirations) Forget {
	f := Forget{CachesForgetBy: now, ReplayEndsBy: now}
	for _, h := range hosts {
		z := v.Zone(h.Zone)
		if z == nil {
			continue
		}
		ttl := time.Duration(max(z.TTL.Host, z.TTL.Negative)) * time.Second
		f.CachesForgetBy = newer(f.CachesForgetBy, now.Add(z.Keys.PropagationDelay+ttl))
		f.CachesForgetBy = newer(f.CachesForgetBy, z.Legacy.CachedUntil)
		for _, name := range servedNames(v, z, h) {
			f.ReplayEndsBy = newer(f.ReplayEndsBy, issued(z, name).Add(ValidatorSkew))
		}
		f.ReplayEndsBy = newer(f.ReplayEndsBy, z.Legacy.SignedUntil.Add(ValidatorSkew))
	}
	return f
}

// servedNames lists the names with records of a host: itself and, for each port, its TLSA names. What is
// suspended now was served from the tenant's own pool before, and the other way round.
func servedNames(v View, z *Zone, h *Host) []Name {
	names := []Name{h.Name()}
	pools := []*Pool{v.Pool(z.DrainPool)}
	if t := v.Tenant(h.Tenant); t != nil {
		pools = append(pools, v.Pool(t.Pool))
	}
	for _, pool := range pools {
		if pool == nil {
			continue
		}
		for _, port := range pool.TLSAPorts {
			if n, err := TLSAName(h.Name(), port); err == nil {
				names = append(names, n)
			}
		}
	}
	return names
}

// HostOf returns the host of an owner, nil if it never got one. After a zone was deleted an owner may have
// several; the one that is held, else the one last written, in a zone that exists, is meant.
func HostOf(v View, o Owner) *Host {
	var best *Host
	for _, h := range v.HostsOf(o) {
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
