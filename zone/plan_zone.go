package zone

import "time"

// PlanPutZone creates or replaces a zone. newID becomes the id of a zone that does not exist yet; its keys
// are to be written in the same commit.
func PlanPutZone(v View, apex Name, spec ZoneSpec, now time.Time, newID string, ifMatch *uint64) (Changes, *Zone, error) {
	if err := spec.check(apex); err != nil {
		return Changes{}, nil, err
	}
	old := v.Zone(apex)
	z := &Zone{Name: apex, ID: newID, ZoneSpec: spec, Serial: 1, Created: now.UTC().Truncate(time.Second)}
	if old != nil {
		z.ID, z.Serial, z.Created, z.Revision = old.ID, old.Serial+1, old.Created, old.Revision
		z.Legacy = old.legacyAfter(spec, now)
	}
	if err := checkMatch(ifMatch, z.Revision); err != nil {
		return Changes{}, nil, err
	}
	if old != nil && old.ZoneSpec.Same(spec) && !old.Closing {
		return Changes{}, old, nil
	}
	var c Changes
	if err := c.checkSurroundings(v, z, old); err != nil {
		return Changes{}, nil, err
	}
	c.Puts = []Row{z}
	return c, z, nil
}

// legacyAfter notes what the policy that ends now has promised.
func (z *Zone) legacyAfter(next ZoneSpec, now time.Time) Legacy {
	l := z.Legacy
	if next.TTL.Host < z.TTL.Host || next.TTL.Negative < z.TTL.Negative {
		ttl := time.Duration(max(z.TTL.Host, z.TTL.Negative)) * time.Second
		l.CachedUntil = newer(l.CachedUntil, now.Add(z.Keys.PropagationDelay+ttl).UTC())
	}
	if next.Signature != z.Signature {
		l.SignedUntil = newer(l.SignedUntil, now.Add(z.Signature.Lifetime).UTC())
	}
	return l
}

// checkSurroundings applies the rules that depend on other rows.
func (c *Changes) checkSurroundings(v View, z, old *Zone) error {
	if z.DrainPool != "" {
		if err := c.openPool(v, "drain_pool", z.DrainPool); err != nil {
			return err
		}
	}
	parent := Enclosing(v, z.Name.Parent())
	if z.Parent.Mode == ParentHosted && parent == nil {
		return refuse(ErrUnknownRef, "parent.mode", "hosted needs the parent zone on this server, and none encloses %s", z.Name)
	}
	for _, ns := range z.Nameservers {
		if label := ns.Name.LabelBelow(z.Name); label != "" && v.Host(z.Name, label) != nil {
			return refuse(ErrConflict, "nameservers", "%s is or was the host of a tenant", ns.Name)
		}
	}
	if old != nil {
		return checkReplacement(z, old)
	}
	if parent == nil {
		return nil
	}
	if label := z.Name.LabelBelow(parent.Name); v.Host(parent.Name, label) != nil {
		return refuse(ErrConflict, "zone", "%s.%s is or was the host of a tenant", label, parent.Name)
	}
	for _, ns := range parent.Nameservers {
		if ns.Name.Within(z.Name) {
			return refuse(ErrConflict, "zone", "contains %s, a name server of the enclosing zone", ns.Name)
		}
	}
	c.require(parent)
	return nil
}

// checkReplacement applies the rules about what a zone that exists may become.
func checkReplacement(z, old *Zone) error {
	switch {
	case z.Keys.Algorithm != old.Keys.Algorithm:
		return refuse(ErrConflict, "keys.algorithm", "cannot be changed from %s by replacing the zone: its keys are in use", old.Keys.Algorithm)
	case z.Keys.CSK != old.Keys.CSK:
		return refuse(ErrConflict, "keys.csk", "cannot be changed by replacing the zone: its keys are in use")
	case z.DrainPool == "" && old.DrainPool != "":
		return refuse(ErrConflict, "drain_pool", "can be replaced but not removed: suspended tenants are served from it")
	}
	return nil
}

// PlanCloseZone is the first step of deleting a zone: it refuses while tenants have hosts in it or shards
// lie below it, and then marks it, so that no tenant can come while the second step looks again.
func PlanCloseZone(v View, apex Name, ifMatch *uint64) (Changes, *Zone, error) {
	old := v.Zone(apex)
	if old == nil {
		return Changes{}, nil, refuse(ErrNotFound, "zone", "there is no zone %s", apex)
	}
	if err := checkMatch(ifMatch, old.Revision); err != nil {
		return Changes{}, nil, err
	}
	if err := zoneInUse(v, apex); err != nil {
		return Changes{}, nil, err
	}
	closing := *old
	closing.Closing = true
	return Changes{Puts: []Row{&closing}}, &closing, nil
}

// PlanDeleteZone is the second step; the keys of the zone are to be deleted in the same commit. If somebody
// came to use the zone before it was marked, the plan opens it again and returns ErrInUse together with the
// Changes. The hosts remain, so that their labels are never given to anybody else.
func PlanDeleteZone(v View, apex Name) (Changes, *Zone, error) {
	old := v.Zone(apex)
	if old == nil || !old.Closing {
		return Changes{}, nil, refuse(ErrConflict, "zone", "somebody else has changed the zone while it was being deleted")
	}
	if err := zoneInUse(v, apex); err != nil {
		open := *old
		open.Closing = false
		return Changes{Puts: []Row{&open}}, &open, err
	}
	return Changes{Deletes: []Ref{old.Ref()}}, old, nil
}

func zoneInUse(v View, apex Name) error {
	if shards := v.Shards(apex); len(shards) > 0 {
		return refuse(ErrInUse, "zone", "is the parent of zone %s", shards[0].Name)
	}
	var err error
	v.Tenants("", func(t *Tenant) bool {
		if t.State != Revoked && tenantIn(v, t, apex) {
			err = refuse(ErrInUse, "zone", "has hosts of tenant %q", t.ID)
		}
		return err == nil
	})
	return err
}

// tenantIn reports whether a tenant places its hosts in a zone or has one there.
func tenantIn(v View, t *Tenant, apex Name) bool {
	if t.Zone == apex {
		return true
	}
	for _, h := range hostsOf(v, t) {
		if h.Zone == apex {
			return true
		}
	}
	return false
}
