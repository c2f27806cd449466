package zone

import "time"

// PlanPutZone creates or replaces a zone. newID becomes the id of a zone that does not exist yet; its keys
// are to be written in the same commit.
func PlanPutZone(v View, apex Name, spec ZoneSpec, now time.Time, newID string, ifMatch *uint64) (Changes, *Zone, error) {
	old := v.Zone(apex)
	if spec.Parent.Mode == "" {
		spec.Parent.Mode = usualParent(v, apex, old)
	}
	if err := spec.check(apex); err != nil {
		return Changes{}, nil, err
	}
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
	c := Changes{Puts: []Row{z}}
	if err := c.checkSurroundings(v, z, old); err != nil {
		return Changes{}, nil, err
	}
	return c, z, nil
}

// usualParent is the mode of a zone whose specification has none: it stays what it was. That a parent zone is created here does not
// mean that it has been delegated here yet.
func usualParent(v View, apex Name, old *Zone) string {
	switch {
	case old != nil:
		return old.Parent.Mode
	case Enclosing(v, apex.Parent()) != nil:
		return ParentHosted
	}
	return ParentManual
}

// legacyAfter notes what the policy that ends now has promised.
func (z *Zone) legacyAfter(next ZoneSpec, now time.Time) Legacy {
	l := z.Legacy
	if next.TTL.Signed() < z.TTL.Signed() {
		l.SignedUntil = newer(l.SignedUntil, now.Add(z.Keys.PropagationDelay+z.TTL.Signed()).UTC())
	}
	if next.TTL.Host < z.TTL.Host || next.TTL.Negative < z.TTL.Negative {
		l.CachedUntil = newer(l.CachedUntil, now.Add(z.Keys.PropagationDelay+z.cachedFor()).UTC())
	}
	if next.Signature != z.Signature { // nodes that have not heard of the change sign by the old policy
		l.ReplayedUntil = newer(l.ReplayedUntil, now.Add(z.Keys.PropagationDelay+z.Signature.replayedFor()).UTC())
	}
	return l
}

// Later returns the zone with all promises that were open at now extended by a time, nil if there are none: the clock they were
// made with was slow.
func (z *Zone) Later(by time.Duration, now time.Time) *Zone {
	next := *z
	open := false
	for _, t := range []*time.Time{&next.Legacy.CachedUntil, &next.Legacy.SignedUntil, &next.Legacy.ReplayedUntil} {
		if t.After(now) && by > 0 {
			*t, open = t.Add(by), true
		}
	}
	if !open {
		return nil
	}
	return &next
}

// checkSurroundings applies the rules that depend on other rows. A drain pool that the zone has already cannot
// be deleted under it; only a new one has to be open.
func (c *Changes) checkSurroundings(v View, z, old *Zone) error {
	if z.DrainPool != "" && (old == nil || z.DrainPool != old.DrainPool) {
		if err := c.openPool(v, "drain_pool", z.DrainPool); err != nil {
			return err
		}
	}
	if err := c.checkLabels(v, z); err != nil {
		return err
	}
	parent := Enclosing(v, z.Name.Parent())
	if z.Parent.Mode == ParentHosted && parent == nil {
		return refuse(ErrUnknownRef, "parent.mode", "hosted needs the parent zone on this server, and none encloses %s", z.Name)
	}
	if old != nil {
		return checkReplacement(z, old)
	}
	return c.enter(v, z, parent)
}

// checkLabels makes sure that the name servers of a zone and the shards below it take no label that is or was
// the host of a tenant, and that neither a host nor a shard takes one of the name servers' names before the zone
// is written.
func (c *Changes) checkLabels(v View, z *Zone) error {
	for _, ns := range z.Nameservers {
		label := ns.Name.LabelBelow(z.Name)
		if label == "" {
			continue
		}
		if v.Host(z.Name, label) != nil {
			return refuse(ErrConflict, "nameservers", "%s is or was the host of a tenant", ns.Name)
		}
		c.require(&Host{Zone: z.Name, Label: label})
		for n := ns.Name; n != z.Name; n = n.Parent() {
			if v.Zone(n) != nil {
				return refuse(ErrConflict, "nameservers", "%s is in zone %s, which this zone delegates", ns.Name, n)
			}
			c.require(&Zone{Name: n})
		}
	}
	for _, shard := range v.Shards(z.Name) { // hosts are older when the zone was deleted and is created again
		if label := shard.Name.LabelBelow(z.Name); v.Host(z.Name, label) != nil {
			return refuse(ErrConflict, "zone", "%s.%s was the host of a tenant and now belongs to zone %s", label, z.Name, shard.Name)
		}
	}
	return nil
}

// enter makes room for a new zone below parent, which is nil if no zone of ours encloses it. The parent is
// written too: its answers change, and no host may get the label of the new zone at the same moment.
func (c *Changes) enter(v View, z, parent *Zone) error {
	for n := z.Name.Parent(); !n.IsRoot() && (parent == nil || n != parent.Name); n = n.Parent() {
		c.require(&Zone{Name: n}) // no closer parent may come in between
	}
	if parent == nil {
		return nil
	}
	if parent.Closing {
		return refuse(ErrConflict, "zone", "the enclosing zone %s is being deleted", parent.Name)
	}
	label := z.Name.LabelBelow(parent.Name)
	if v.Host(parent.Name, label) != nil {
		return refuse(ErrConflict, "zone", "%s.%s is or was the host of a tenant", label, parent.Name)
	}
	c.require(&Host{Zone: parent.Name, Label: label})
	for _, ns := range parent.Nameservers {
		if ns.Name.Within(z.Name) {
			return refuse(ErrConflict, "zone", "contains %s, a name server of the enclosing zone", ns.Name)
		}
	}
	c.Puts = append(c.Puts, parent.NextSerial())
	return nil
}

// NextSerial returns a copy for a change of what the zone has at its apex, or delegates, that its row does not show.
func (z *Zone) NextSerial() *Zone {
	next := *z
	next.Serial++
	return &next
}

// checkReplacement applies the rules about what a zone that exists may become.
func checkReplacement(z, old *Zone) error {
	switch {
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
	if old.Closing { // a deletion that was interrupted; the second step decides
		return Changes{}, old, nil
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
	c := Changes{Deletes: []Ref{old.Ref()}}
	if parent := Enclosing(v, apex.Parent()); parent != nil {
		c.Puts = append(c.Puts, parent.NextSerial()) // what it delegates has changed
	}
	return c, old, nil
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
