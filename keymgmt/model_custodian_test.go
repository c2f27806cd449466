package keymgmt

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// custodian is who has the offline KSKs. When the policy asks for another one he brings it, sooner or later; when signatures
// are wanted, or will be before long, he holds a ceremony.
func (w *world) custodian() {
	p := w.plan()
	if p.in.Chain == nil || w.lost && !w.recovered(p) {
		return
	}
	if z := p.in.Zone.Keys; z.KSKPlace == zone.KSKOffline && !z.CSK && p.lacks(slots(z)...) != "" && w.chance(3) {
		w.bring()
	}
	p = w.plan()
	p.next()
	soon := p.in.Chain.Stock.End().Before(p.now.Add(p.in.Zone.Signature.Stock() * 3 / 4))
	if hasOffline(p.in) && (soon || p.ceremony && w.chance(2)) {
		w.ceremony()
	}
	if len(w.responses) > 0 && w.chance(10) {
		w.importAgain(w.responses[w.random.IntN(len(w.responses))])
	}
}

func hasOffline(in Input) bool {
	return slices.ContainsFunc(in.Keys, func(k *KeyRecord) bool { return k.Place == PlaceOffline && k.Retired.IsZero() })
}

// lose has the custodian lose what he has. The operator asks for a KSK that is here, and for no DS.
func (w *world) lose(at time.Time) {
	if w.offset != 0 || len(w.offline) == 0 {
		return
	}
	spec := w.store.zones[w.apex].ZoneSpec
	spec.Keys.KSKPlace, spec.Parent.WithdrawDS = zone.KSKSealed, true
	if err := w.store.put(w.apex, spec, at); err != nil {
		w.must(err)
	}
	w.offline, w.responses, w.lost = nil, nil, true
	w.note("the offline keys are lost")
}

// recovered reports whether the zone has none of the keys that were lost any more. Those that it does not use yet are removed.
func (w *world) recovered(p *plan) bool {
	for _, k := range p.in.Keys {
		if k.Place != PlaceOffline || !k.Retired.IsZero() {
			continue
		}
		if slices.Contains(p.in.Chain.Goal.Reserve, k.ID) {
			if err := w.manager.Remove(context.Background(), w.apex, k.ID); err != nil && !errors.Is(err, zone.ErrUnavailable) && !p.in.Zone.Closing {
				w.must(err)
			}
		}
		return false
	}
	w.lost = false
	w.note("the lost keys are gone")
	return true
}

// bring makes an offline KSK and adds its public part.
func (w *world) bring() {
	k, err := w.safe().Generate(w.store.zones[w.apex], KSK, PlaceHere, w.now, func(uint16) bool { return false })
	w.must(err)
	w.note("an offline key is brought: %d", k.KeyTag)
	w.offline = append(w.offline, k)
	err = w.manager.Add(context.Background(), w.apex, k.Presentation(), PlaceOffline)
	if err != nil && !errors.Is(err, zone.ErrUnavailable) && !errors.Is(err, zone.ErrConflict) {
		w.must(err)
	}
}

// safe is the vault of the machine that has the offline keys.
func (w *world) safe() *Vault {
	v, err := vaultOf(testKEK(200))
	w.must(err)
	return v
}

// ceremony has the offline keys sign what is foreseen.
func (w *world) ceremony() {
	r, err := w.manager.ExportRequest(context.Background(), w.apex, 24*time.Hour*time.Duration(60+w.random.IntN(140)))
	if errors.Is(err, zone.ErrConflict) { // nothing to sign: it only waits in the reserve
		return
	}
	w.must(err)
	var keys []*KeyRecord
	for _, k := range w.offline {
		if slices.ContainsFunc(r.Keys, func(o RequestKey) bool { return o.DNSKEY == k.Presentation() }) {
			keys = append(keys, k)
		}
	}
	signed, err := w.safe().Sign(r, keys)
	w.must(err)
	w.must(w.manager.ImportResponse(context.Background(), w.apex, signed))
	w.note("a ceremony: %d key sets", len(r.Sets))
	w.responses = append(w.responses, signed)
	if len(w.responses) > 4 {
		w.responses = w.responses[1:]
	}
	w.tick()
}

// importAgain takes in a response of before, if all of its keys are still there.
func (w *world) importAgain(r *Response) {
	w.note("an old response is taken in again")
	if err := w.manager.ImportResponse(context.Background(), w.apex, r); err != nil && !errors.Is(err, zone.ErrInvalid) {
		w.must(err)
	}
	w.tick()
}
