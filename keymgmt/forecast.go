package keymgmt

import (
	"fmt"
	"slices"
	"time"
)

// Bounds of a forecast.
const (
	forecastEvents  = 24
	forecastSteps   = 1000
	forecastHorizon = 5 * 366 * 24 * time.Hour
)

// forecast returns the steps to come until every rollover that is on its way has ended and the next one has begun, if the
// policy stays as it is and the parent does what it is asked for as soon as its propagation delay is over.
func (p planner) forecast(in Input, now time.Time) []Event {
	var events []Event
	end := now.Add(forecastHorizon)
	for range forecastSteps {
		plan := p.on(in, now)
		step := plan.next()
		in.Parents = Sighting{}
		if step != nil {
			if step.Kind != StepRestock && step.Kind != StepPurge {
				events = append(events, Event{At: plan.now, Kind: step.Kind, Why: step.Why, Waits: step.Kind == StepSeeDS && in.Parent == nil})
			}
			in = imagine(in, step, now)
			if len(events) >= forecastEvents || step.Kind == StepGoal && len(events) > 1 && endsForecast(events) {
				return events
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
			return events
		default:
			now = plan.wake
		}
	}
	return events
}

// endsForecast reports whether a second rollover has begun.
func endsForecast(events []Event) bool {
	n := 0
	for _, e := range events {
		if e.Kind == StepGoal {
			n++
		}
	}
	return n > 1
}

// imagine returns the input after a step, with keys that do not exist in place of new ones.
func imagine(in Input, step *Step, now time.Time) Input {
	c := step.Chain.clone()
	in.Keys = slices.Clone(in.Keys)
	for i, slot := range step.Make {
		k := &KeyRecord{ID: fmt.Sprintf("imagined %d %d %s", now.Unix(), i, slot), Zone: in.Zone.Name, ZoneID: in.Zone.ID,
			Role: slot.role(in.Zone.Keys), Algorithm: in.Zone.Keys.Algorithm, Sealed: []byte{0}, Created: now, KeyTag: imaginedTag}
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
		lifetime := in.Zone.Signature.Stock() + seconds(c.Stock.TTL) + 24*time.Hour
		c.Stock = Stock{TTL: c.Stock.TTL, Periods: []Period{{Start: now.Unix(), Inception: now.Unix(), Expiration: now.Add(lifetime).Unix()}}}
	}
	in.Chain = c
	return in
}
