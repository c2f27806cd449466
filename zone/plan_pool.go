package zone

// PlanPutPool creates or replaces a pool.
func PlanPutPool(v View, name string, spec PoolSpec, ifMatch *uint64) (Changes, *Pool, error) {
	p, err := NewPool(name, spec)
	if err != nil {
		return Changes{}, nil, err
	}
	old := v.Pool(name)
	if old != nil {
		p.Revision = old.Revision
	}
	if err := checkMatch(ifMatch, p.Revision); err != nil {
		return Changes{}, nil, err
	}
	if old != nil && p.Same(old) {
		return Changes{}, old, nil
	}
	return Changes{Puts: []Row{p}}, p, nil
}

// PlanClosePool is the first step of deleting a pool: it refuses while something uses the pool, and then
// marks it, so that nothing can begin to use it while the second step looks again.
func PlanClosePool(v View, name string, ifMatch *uint64) (Changes, *Pool, error) {
	old := v.Pool(name)
	if old == nil {
		return Changes{}, nil, refuse(ErrNotFound, "pool", "there is no pool %q", name)
	}
	if err := checkMatch(ifMatch, old.Revision); err != nil {
		return Changes{}, nil, err
	}
	if old.Closing { // a deletion that was interrupted; the second step decides
		return Changes{}, old, nil
	}
	if err := poolInUse(v, name); err != nil {
		return Changes{}, nil, err
	}
	closing := *old
	closing.Closing = true
	return Changes{Puts: []Row{&closing}}, &closing, nil
}

// PlanDeletePool is the second step. If something came to use the pool before it was marked, the plan opens
// it again and returns ErrInUse together with the Changes.
func PlanDeletePool(v View, name string) (Changes, *Pool, error) {
	old := v.Pool(name)
	if old == nil || !old.Closing {
		return Changes{}, nil, refuse(ErrConflict, "pool", "somebody else has changed the pool while it was being deleted")
	}
	if err := poolInUse(v, name); err != nil {
		open := *old
		open.Closing = false
		return Changes{Puts: []Row{&open}}, &open, err
	}
	return Changes{Deletes: []Ref{old.Ref()}}, old, nil
}

func poolInUse(v View, name string) error {
	var err error
	v.Zones(func(z *Zone) bool {
		if z.DrainPool == name {
			err = refuse(ErrInUse, "pool", "is the drain pool of zone %s", z.Name)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	v.Tenants("", func(t *Tenant) bool {
		if t.Pool == name && t.State != Revoked {
			err = refuse(ErrInUse, "pool", "is the pool of tenant %q", t.ID)
		}
		return err == nil
	})
	return err
}
