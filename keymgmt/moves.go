package keymgmt

import (
	"context"
	"errors"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// move is a change of the times that a chain and its zone have noted: as much as was left at one time is left at another.
type move struct {
	from, to time.Time
	// revision is that of the chain when this was tried first. If it has changed since, the move was made, though nobody was told:
	// to make it twice would be wrong. As long as moves are to be made nobody else writes the chain.
	revision uint64
}

// moveAll moves the times of all zones.
func (m *Manager) moveAll(from, to time.Time) {
	for z := range m.o.Store.View().Zones {
		m.moves[z.Name] = append(m.moves[z.Name], &move{from: from, to: to})
	}
}

// moveFuture moves the times of chains that have noted something which is still to come: the clock has been set back.
func (m *Manager) moveFuture(now time.Time) {
	v := m.o.Store.View()
	for z := range v.Zones {
		if c := v.Chain(z.Name); c != nil && c.latest().Sub(now) > m.watch.tolerance {
			m.moves[z.Name] = append(m.moves[z.Name], &move{from: c.latest(), to: now})
			m.o.Log.Warn("the clock is behind what was noted; the waiting times of the keys are moved", "zone", z.Name, "is", now, "noted", c.latest())
		}
	}
}

// latest is the latest time that was noted as past.
func (c *Chain) latest() (t time.Time) {
	for _, h := range [][]Version{c.DS, c.Keys, c.Signers} {
		t = later(t, last(h).Since)
	}
	return t
}

// writeMoves makes the moves of all zones. What could not be written is kept.
func (m *Manager) writeMoves(ctx context.Context) error {
	var errs []error
	for apex, moves := range m.moves {
		for len(moves) > 0 {
			if err := m.writeMove(ctx, apex, moves[0]); err != nil {
				errs = append(errs, err)
				break
			}
			moves = moves[1:]
		}
		if m.moves[apex] = moves; len(moves) == 0 {
			delete(m.moves, apex)
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) writeMove(ctx context.Context, apex zone.Name, by *move) error {
	return m.o.Store.Update(ctx, func(v View) (zone.Changes, error) {
		in, ok := m.input(v, apex, Sighting{})
		switch {
		case !ok || in.Chain == nil:
			return zone.Changes{}, nil
		case by.revision == 0:
			by.revision = in.Chain.Revision
		case by.revision != in.Chain.Revision:
			return zone.Changes{}, nil
		}
		c := zone.Changes{Puts: []zone.Row{in.Chain.moved(by)}}
		if later := in.Zone.Later(by.to.Sub(by.from), by.from); later != nil {
			c.Puts = append(c.Puts, later)
		} else {
			c.Requires = append(c.Requires, in.Zone.Ref())
		}
		return c, nil
	})
}

// moved returns the chain with its times moved. Nothing in it has happened in the future: at the next start that would be taken for
// another step of the clock.
func (c *Chain) moved(by *move) *Chain {
	next := c.clone()
	for _, history := range []*[]Version{&next.DS, &next.Keys, &next.Signers} {
		*history = alive(*history, by.from)
		for i := range *history {
			v := &(*history)[i]
			if !v.Until.IsZero() {
				v.Until = by.to.Add(v.Until.Sub(by.from))
			}
			if v.Since.After(by.to) {
				v.Since = by.to
			}
		}
	}
	return next
}
