package keymgmt

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of a forecast.
const (
	forecastEvents  = 24
	walkSteps       = 1000
	forecastHorizon = 5 * 366 * 24 * time.Hour
)

// forecast returns the steps to come until every rollover that is on its way has ended and the next one has begun, if the
// policy stays as it is and the parent does what it is asked for as soon as its propagation delay is over.
func (p planner) forecast(in Input, now time.Time) []Event {
	begun := 0
	return p.events(in, now, func(_ *plan, step *Step) bool {
		if step.Kind == StepGoal {
			begun++
		}
		return begun > 1
	})
}

// stepsOf returns the steps to come until the last rollover of a slot that was asked for has ended.
func (p planner) stepsOf(slot Slot, in Input, now time.Time) []Event {
	return p.events(in, now, func(after *plan, _ *Step) bool { return after.over(slot) })
}

// events returns the steps to come, up to the first after which it is the end. To sign again and to purge are no events.
func (p planner) events(in Input, now time.Time, end func(after *plan, step *Step) bool) (events []Event) {
	p.walkOn(in, now, now.Add(forecastHorizon), func(in Input, step *Step, at time.Time) bool {
		if step.Kind == StepRestock || step.Kind == StepPurge {
			return true
		}
		events = append(events, Event{At: at, Kind: step.Kind, Why: step.Why, Waits: step.Kind == StepSeeDS && in.Parent == nil})
		return len(events) < forecastEvents && !end(p.on(in, at), step)
	})
	return events
}

// walk goes through time as forecast does, and calls visit after each step, until that returns false. Whatever an offline key
// would have to sign, it has signed.
func (p planner) walk(in Input, now, end time.Time, visit func(after Input, step *Step, at time.Time) bool) {
	p.windows = anyWindows
	p.walkOn(in, now, end, visit)
}

// walkOn is walk with what offline keys have really signed.
func (p planner) walkOn(in Input, now, end time.Time, visit func(after Input, step *Step, at time.Time) bool) {
	for range walkSteps {
		plan := p.on(in, now)
		step := plan.next()
		in.Parents = Sighting{}
		if step != nil {
			in = imagine(in, step, now)
			if !visit(in, step, plan.now) {
				return
			}
			continue
		}
		wanted := last(in.Chain.DS)
		asked := wanted.Since.Add(in.Zone.Keys.ParentPropagationDelay)
		switch {
		case in.Parent == nil && wanted.Seen.IsZero() && (plan.wake.IsZero() || !later(asked, now).After(plan.wake)):
			now = later(asked, now)
			in.Parents = Sighting{Sets: [][]string{wanted.Keys}, Agreed: true}
		case plan.wake.IsZero() || plan.wake.After(end):
			return
		default:
			now = plan.wake
		}
	}
}

// imagine returns the input after a step, with keys that do not exist in place of new ones.
func imagine(in Input, step *Step, now time.Time) Input {
	c := step.Chain.clone()
	in.Keys = slices.Clone(in.Keys)
	for i, slot := range step.Make {
		tag := uint16(1)
		for slices.ContainsFunc(in.Keys, func(k *KeyRecord) bool { return k.KeyTag == tag }) {
			tag++
		}
		k := &KeyRecord{ID: fmt.Sprintf("imagined %d %d %s", now.Unix(), i, slot), Zone: in.Zone.Name, ZoneID: in.Zone.ID,
			Role: slot.role(in.Zone.Keys), Algorithm: in.Zone.Keys.Algorithm, Sealed: []byte{0}, Created: now, Place: slot.place(in.Zone.Keys), KeyTag: tag}
		k.Flags = k.Role.flags()
		in.Keys = append(in.Keys, k)
		c.Goal.fill(slot, k.ID, now)
	}
	for i, k := range in.Keys {
		if slices.Contains(step.Retire, k.ID) {
			retired := *k
			retired.Retired = now
			in.Keys[i] = &retired
		}
	}
	in.Keys = slices.DeleteFunc(in.Keys, func(k *KeyRecord) bool { return slices.Contains(step.Purge, k.ID) })
	if step.Resign {
		// For longer than anybody looks: to sign the key sets again is no event.
		c.Stock = Stock{TTL: c.Stock.TTL, Periods: []Period{{Start: now.Unix(), Inception: now.Unix(), Expiration: now.Add(2 * forecastHorizon).Unix()}}}
	}
	in.Chain = c
	return in
}
