package keymgmt

import (
	"context"
	"errors"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// events is what happens to the zone besides the passing of time. Weights say how often.
func (w *world) event() {
	if !w.up {
		return
	}
	at := w.now.Add(w.offset)
	switch n := w.random.IntN(25); {
	case n >= 24:
		w.closeOrOpen(at)
	case n >= 23:
		w.lose(at)
	case n >= 20:
		w.cut()
	case n < 4:
		w.changePolicy(at)
	case n < 6:
		w.note("an operator rolls")
		w.roll([]Role{KSK, ZSK}[w.random.IntN(2)], false)
	case n < 9:
		w.note("an emergency")
		w.roll([]Role{KSK, ZSK}[w.random.IntN(2)], true)
	case n < 10:
		w.restore()
	case n < 13:
		w.note("a crash")
		w.start()
	case n < 15:
		w.up, w.downUntil = false, w.now.Add(w.between(time.Minute, []time.Duration{time.Hour, 3 * 24 * time.Hour, 90 * 24 * time.Hour}[w.random.IntN(3)]))
		w.note("down until %s", w.downUntil)
	case n < 18:
		w.setClock()
	default:
		w.store.crash = func() { panic(errCrash) }
		w.crashing(func() { w.roll(ZSK, true) })
		w.store.crash = func() {}
		w.note("a crash before a commit")
		w.start()
	}
	if w.up {
		w.tick()
	}
}

var errCrash = errors.New("crash")

// crashing runs what may end in a crash.
func (w *world) crashing(what func()) {
	defer func() {
		if r := recover(); r != nil && r != error(errCrash) {
			panic(r)
		}
	}()
	what()
}

// changePolicy asks for other TTLs, lifetimes, algorithms, roles, or for no DS. Times that are noted with a clock that is
// wrong would be wrong; the API does not refuse that yet.
func (w *world) changePolicy(at time.Time) {
	if w.offset != 0 || w.lost {
		return
	}
	old := w.store.zones[w.apex].ZoneSpec
	next := w.newPolicy()
	switch w.random.IntN(3) {
	case 0: // all
	case 1: // TTLs, and back before the manager looks
		next.Keys, next.Parent = old.Keys, old.Parent
		w.note("TTLs %+v", next.TTL)
		if w.store.put(w.apex, next, at) == nil && w.chance(2) {
			w.must(w.store.put(w.apex, old, at))
		}
		return
	default:
		next.Keys.Algorithm, next.Keys.CSK, next.Parent = old.Keys.Algorithm, old.Keys.CSK, old.Parent
	}
	w.note("policy %+v %+v %+v", next.TTL, next.Keys, next.Parent.WithdrawDS)
	if err := w.store.put(w.apex, next, at); err != nil && !errors.Is(err, zone.ErrInvalid) {
		w.must(err)
	}
}

// closeOrOpen begins to delete the zone, and no more than that; or keeps it after all.
func (w *world) closeOrOpen(at time.Time) {
	if z := w.store.zones[w.apex]; z.Closing {
		w.note("the zone is kept")
		w.must(w.store.put(w.apex, z.ZoneSpec, at))
		return
	}
	w.note("a deletion is interrupted")
	w.must(w.store.Update(context.Background(), func(View) (zone.Changes, error) {
		c, _, err := zone.PlanCloseZone(w.store, w.apex, nil)
		return c, err
	}))
}

func (w *world) roll(role Role, emergency bool) {
	_, err := w.manager.Roll(context.Background(), w.apex, role, emergency)
	if err != nil && !errors.Is(err, zone.ErrConflict) && !errors.Is(err, zone.ErrUnavailable) {
		w.must(err)
	}
}

// restore brings some key back from the trash.
func (w *world) restore() {
	for _, k := range w.store.Keys(w.apex) {
		if !k.Retired.IsZero() {
			w.note("restore %s", k)
			if err := w.manager.Restore(context.Background(), w.apex, k.ID); err != nil && !errors.Is(err, zone.ErrConflict) && !errors.Is(err, zone.ErrUnavailable) {
				w.must(err)
			}
			return
		}
	}
}

// setClock steps the clock away from the truth, or back. The signatures of half an hour off are still good; what the system
// says of its clock may be wrong.
func (w *world) setClock() {
	if w.offset != 0 {
		w.offset, w.synced = 0, true
	} else {
		w.offset = w.between(-50*time.Minute, 50*time.Minute)
		w.synced = w.chance(2)
	}
	w.note("the clock is off by %s, synchronised %t", w.offset, w.synced)
}

// cut keeps a node from hearing of anything for a while.
func (w *world) cut() {
	if w.cutOff.IsZero() {
		w.cutOff, w.healed = w.now, w.now.Add(w.between(time.Minute, []time.Duration{4 * time.Hour, 7 * 24 * time.Hour}[w.random.IntN(2)]))
		w.cutDS = w.parent.servers[0].ds
		w.note("a node is cut off until %s", w.healed)
	}
}

// run lets years go by.
func (w *world) run(years int, eventful bool) {
	end := w.now.AddDate(years, 0, 0)
	next := w.now.Add(w.between(time.Hour, 30*24*time.Hour))
	for w.now.Before(end) {
		w.minute()
		if eventful && !w.now.Before(next) {
			w.event()
			next = w.now.Add(w.between(time.Minute, []time.Duration{2 * time.Hour, 3 * 24 * time.Hour, 60 * 24 * time.Hour}[w.random.IntN(3)]))
		}
	}
}
