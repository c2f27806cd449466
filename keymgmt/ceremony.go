package keymgmt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// An offline KSK signs in ceremonies. The server foresees which key sets it is going to publish, and writes them into a
// [Request]; who has the KSK signs each of them for many windows of time, and the signatures come back in a [Response]. The
// planner publishes nothing that is not signed: what was not foreseen waits for the next ceremony.

// Signed is a key set that an offline key has signed. Each period has one signature of each type.
type Signed struct {
	Key     string   `json:"key"`  // id of the offline key
	TTL     uint32   `json:"ttl"`  // seconds
	Keys    []string `json:"keys"` // ids, of the DNSKEY RRset
	DS      []string `json:"ds"`   // ids, of the CDS and CDNSKEY RRsets
	Periods []Period `json:"periods"`
}

// chain returns a chain that publishes the key set.
func (s *Signed) chain(apex zone.Name) *Chain {
	return &Chain{Zone: apex, Keys: []Version{{Keys: s.Keys}}, DS: []Version{{Keys: s.DS}}, Stock: Stock{TTL: s.TTL}}
}

// signedBy returns what an offline key has signed of what the chain publishes, nil if nothing. Without CDS it is all the same for
// which DS that was.
func (c *Chain) signedBy(id string) (signed *Signed) {
	for i := range c.Signed {
		s := &c.Signed[i]
		if s.Key != id || s.TTL != c.Stock.TTL || !last(c.Keys).same(s.Keys) || !c.NoCDS && !last(c.DS).same(s.DS) {
			continue
		}
		if signed == nil {
			signed = s
			continue
		}
		both := *signed
		both.Periods = append(slices.Clone(signed.Periods), s.Periods...)
		slices.SortFunc(both.Periods, inOrder)
		signed = &both
	}
	return signed
}

// in returns the period of a window, nil if nothing was signed for it.
func (s *Signed) in(w rrsig.Window) *Period {
	if s == nil {
		return nil
	}
	i := slices.IndexFunc(s.Periods, func(p Period) bool { return p.window() == w })
	if i < 0 {
		return nil
	}
	return &s.Periods[i]
}

func (p *Period) window() rrsig.Window {
	return rrsig.Window{Start: p.Start, Inception: p.Inception, Expiration: p.Expiration}
}

// signedOffline returns the RDATA of an offline key's signature over one of the RRsets that the chain publishes.
func (c *Chain) signedOffline(k *KeyRecord, w rrsig.Window, t zone.Type) []byte {
	if p := c.signedBy(k.ID).in(w); p != nil && len(*p.of(t)) == 1 {
		return (*p.of(t))[0]
	}
	return nil
}

// signableWindows returns the windows for which the key sets of a chain can be signed from now on, as many as the policy
// says: any, or those for which every offline key in the DNSKEY RRset has signed.
func signableWindows(in Input, c *Chain, now time.Time) []rrsig.Window {
	offline := slices.DeleteFunc(c.keySigners(finder(in.Keys)), func(k *KeyRecord) bool { return k.Place != PlaceOffline })
	if len(offline) == 0 {
		return anyWindows(in, c, now)
	}
	first := c.signedBy(offline[0].ID)
	if first == nil {
		return nil
	}
	end := now.Add(in.Zone.Signature.Stock())
	var windows []rrsig.Window
	for _, p := range first.Periods {
		w := p.window()
		if !w.Outlives(c.Stock.TTL, now) || slices.ContainsFunc(offline, func(k *KeyRecord) bool { return c.signedBy(k.ID).in(w) == nil }) {
			continue
		}
		windows = append(windows, w)
		if w.UsableUntil(c.Stock.TTL) >= end.Unix() {
			break
		}
	}
	return windows
}

// anyWindows is signableWindows where every key is at hand.
func anyWindows(in Input, c *Chain, now time.Time) []rrsig.Window {
	return windowsBetween(in.Zone.Signature, in.Zone.Signature.DNSKEYQuantum(), c.Stock.TTL, now, now.Add(in.Zone.Signature.Stock()))
}

// windowsBetween returns windows, a quantum apart, of which the first begins at start and the last is usable until end.
func windowsBetween(p zone.SignaturePolicy, quantum time.Duration, ttl uint32, start, end time.Time) (windows []rrsig.Window) {
	for at := start; ; at = at.Add(quantum) {
		w := rrsig.Ahead(p, at)
		windows = append(windows, w)
		if w.UsableUntil(ttl) >= end.Unix() {
			return windows
		}
	}
}

// Request is what an offline key is to sign. It has nothing secret.
type Request struct {
	Zone   string       `json:"zone"`
	ZoneID string       `json:"zone_id"`
	Made   time.Time    `json:"made"`
	Until  time.Time    `json:"until"` // the signatures last until then
	Keys   []RequestKey `json:"keys"`
	Sets   []RequestSet `json:"sets"`
}

// RequestKey is a key that occurs in a set.
type RequestKey struct {
	ID     string `json:"id"`
	DNSKEY string `json:"dnskey"` // RDATA in presentation form
	// Signs says that it is an offline key, which has to sign the sets that it is in.
	Signs bool `json:"signs,omitempty"`
}

// RequestSet is a key set that will be published, and when each signature of it is to be valid.
type RequestSet struct {
	TTL     uint32          `json:"ttl"` // seconds
	Keys    []string        `json:"keys"`
	DS      []string        `json:"ds"`
	From    time.Time       `json:"from"` // when it is foreseen
	Until   time.Time       `json:"until"`
	Windows []RequestWindow `json:"windows"`
}

// RequestWindow is the validity of a signature, in seconds since 1970.
type RequestWindow struct {
	Start      int64 `json:"start"`
	Inception  int64 `json:"inception"`
	Expiration int64 `json:"expiration"`
}

// Response is what an offline key has signed.
type Response struct {
	Zone   string   `json:"zone"`
	ZoneID string   `json:"zone_id"`
	Signed []Signed `json:"signed"`
}

// Bounds of a request.
const (
	// ceremonySlack is how much earlier or later than foreseen a key set may be needed.
	ceremonySlack = 15 * 24 * time.Hour
	minCeremony   = 24 * time.Hour
	maxCeremony   = 400 * 24 * time.Hour
	maxRequestSet = 256
)

// ExportRequest foresees the key sets of a zone for a time, makes the ZSKs that will be needed, and returns what the offline
// KSK has to sign.
func (m *Manager) ExportRequest(ctx context.Context, apex zone.Name, ahead time.Duration) (*Request, error) {
	if ahead < minCeremony || ahead > maxCeremony {
		return nil, refuse(zone.ErrInvalid, "for", "must be %s to %s", minCeremony, maxCeremony)
	}
	// Also while the clock is not to be trusted: nothing that is served changes, and without signatures nothing could be.
	err := m.apply(ctx, apex, func(p *plan) (*Step, error) {
		if len(p.planner.foresee(p.in, p.now, ahead).Sets) == 0 {
			return nil, errNothingToSign()
		}
		return p.reserve(ahead)
	})
	if err != nil {
		return nil, err
	}
	in, ok := m.input(m.o.Store.View(), apex, Sighting{})
	if !ok || in.Chain == nil {
		return nil, refuse(zone.ErrNotFound, "zone", "there is no zone %s", apex)
	}
	r := m.planner.foresee(in, m.o.Clock.Read().Wall.UTC(), ahead)
	if len(r.Sets) == 0 {
		return nil, errNothingToSign()
	}
	return r, nil
}

func errNothingToSign() error {
	return refuse(zone.ErrConflict, "zone", "has no offline KSK, and none that waits to become its KSK: there is nothing to sign")
}

// reserve plans the ZSKs that a time will need.
func (p *plan) reserve(ahead time.Duration) (*Step, error) {
	s := &Step{Kind: StepReserve, Why: "ZSKs are made ahead, for the offline KSK to sign", Chain: p.in.Chain.clone()}
	p.planner.walk(p.in, p.now, p.now.Add(ahead), func(_ Input, step *Step, _ time.Time) bool {
		for _, slot := range step.Make {
			if slot == SlotZSK {
				s.Make = append(s.Make, SlotReserve)
			}
		}
		return true
	})
	if len(s.Make) == 0 {
		return nil, nil
	}
	return s, nil
}

// foresee collects the key sets that a walk through time comes by, and that offline keys have to sign.
func (p planner) foresee(in Input, now time.Time, ahead time.Duration) *Request {
	r := &Request{Zone: in.Zone.Name.String(), ZoneID: in.Zone.ID, Made: now, Until: now.Add(ahead)}
	there := finder(in.Keys) // now, as the walk goes beyond the life of some
	exists := func(id string) bool { return there(id) != nil }
	var shown *Chain
	note := func(in Input, at time.Time) {
		c := in.Chain
		if shown != nil && last(shown.Keys).same(last(c.Keys).Keys) && last(shown.DS).same(last(c.DS).Keys) && shown.Stock.TTL == c.Stock.TTL {
			return
		}
		shown = c
		if n := len(r.Sets); n > 0 && r.Sets[n-1].Until.IsZero() {
			r.Sets[n-1].Until = at
		}
		keys, ds := last(c.Keys).Keys, last(c.DS).Keys
		isOffline := func(k *KeyRecord) bool { return k.Place == PlaceOffline }
		if slices.ContainsFunc(c.keySigners(finder(in.Keys)), isOffline) && all(keys, exists) && all(ds, exists) {
			r.Sets = append(r.Sets, RequestSet{TTL: c.Stock.TTL, Keys: keys, DS: ds, From: at})
		}
	}
	note(in, now)
	p.walk(in, now, r.Until, func(after Input, _ *Step, at time.Time) bool {
		note(after, at)
		return len(r.Sets) < maxRequestSet
	})
	if n := len(r.Sets); n > 0 && r.Sets[n-1].Until.IsZero() {
		r.Sets[n-1].Until = r.Until
	}
	r.Sets = merged(r.Sets)
	for i := range r.Sets {
		r.Sets[i].window(in.Zone.Signature, r, i)
	}
	for _, k := range in.Keys {
		published := slices.ContainsFunc(r.Sets, func(s RequestSet) bool { return slices.Contains(s.Keys, k.ID) })
		if published || slices.ContainsFunc(r.Sets, func(s RequestSet) bool { return slices.Contains(s.DS, k.ID) }) {
			r.Keys = append(r.Keys, RequestKey{ID: k.ID, DNSKEY: k.Presentation(), Signs: published && k.Place == PlaceOffline})
		}
	}
	return r
}

func all(ids []string, ok func(id string) bool) bool {
	return !slices.ContainsFunc(ids, func(id string) bool { return !ok(id) })
}

// merged joins sets that come more than once.
func merged(sets []RequestSet) (out []RequestSet) {
	for _, s := range sets {
		same := func(o RequestSet) bool {
			return o.TTL == s.TTL && slices.Equal(o.Keys, s.Keys) && slices.Equal(o.DS, s.DS)
		}
		if i := slices.IndexFunc(out, same); i >= 0 {
			out[i].Until = s.Until
		} else {
			out = append(out, s)
		}
	}
	return out
}

// window fills in when the signatures of the set at a place among others are to be valid. Those of a later set begin a second
// later: parents tell new CDS RRsets from old ones by the inception (RFC 7344 §6.2.1).
func (s *RequestSet) window(p zone.SignaturePolicy, r *Request, place int) {
	from, until := s.From.Add(-ceremonySlack), s.Until.Add(ceremonySlack)
	if from.Before(r.Made) {
		from = r.Made
	}
	if until.After(r.Until) {
		until = r.Until
	}
	quantum := p.DNSKEYLifetime / 2 // half as many as the policy says, unless there would be gaps
	if p.DNSKEYLifetime-seconds(s.TTL)-zone.SignatureReserve < quantum {
		quantum = p.DNSKEYQuantum()
	}
	begin := r.Made.Add(from.Sub(r.Made).Truncate(quantum) + time.Duration(place)*time.Second)
	for _, w := range windowsBetween(p, quantum, s.TTL, begin, until) {
		s.Windows = append(s.Windows, RequestWindow(w))
	}
}

// Sign makes the response to a request with offline keys that the vault can open. Each signs the sets that it is in.
func (v *Vault) Sign(r *Request, offline []*KeyRecord) (*Response, error) {
	apex, err := zone.ParseName(r.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	records, err := r.Records()
	if err != nil {
		return nil, err
	}
	out := &Response{Zone: r.Zone, ZoneID: r.ZoneID}
	for _, k := range offline {
		i := slices.IndexFunc(records, func(o *KeyRecord) bool { return o.DNSKEY() == k.DNSKEY() })
		if k.Zone != apex || i < 0 {
			return nil, fmt.Errorf("%s is in none of the key sets of zone %s that are to be signed", k, r.Zone)
		}
		sign, err := v.private(k)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		for _, set := range r.Sets {
			if !slices.Contains(set.Keys, records[i].ID) {
				continue
			}
			s, err := set.sign(apex, records, records[i], sign)
			if err != nil {
				return nil, err
			}
			out.Signed = append(out.Signed, *s)
		}
	}
	return out, nil
}

// Records turns the keys of a request into records without private parts, in the same order.
func (r *Request) Records() ([]*KeyRecord, error) {
	apex, err := zone.ParseName(r.Zone)
	if err != nil {
		return nil, fmt.Errorf("zone: %w", err)
	}
	var records []*KeyRecord
	for i, rk := range r.Keys {
		k, err := parseDNSKEY(apex, rk.DNSKEY)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		k.ID, k.ZoneID = rk.ID, r.ZoneID
		records = append(records, k)
	}
	return records, nil
}

// sign signs a set for all of its windows.
func (s *RequestSet) sign(apex zone.Name, records []*KeyRecord, k *KeyRecord, sign signFunc) (*Signed, error) {
	out := &Signed{Key: k.ID, TTL: s.TTL, Keys: s.Keys, DS: s.DS}
	sets, err := out.chain(apex).keySets(finder(records), s.TTL)
	if err != nil {
		return nil, err
	}
	for _, rw := range s.Windows {
		w := rrsig.Window(rw)
		if w.Inception > w.Start || w.Start >= w.Expiration || w.Expiration-w.Inception > int64(maxCeremonyWindow/time.Second) {
			return nil, fmt.Errorf("a signature is to be valid from %s to %s: that is not a window of at most %s",
				time.Unix(w.Inception, 0).UTC(), time.Unix(w.Expiration, 0).UTC(), maxCeremonyWindow)
		}
		p := periodOf(w)
		for _, set := range sets {
			sig, err := signAs(apex, set, rrsig.AppendData(nil, apex, set, w), k, sign)
			if err != nil {
				return nil, err
			}
			*p.of(set.Type()) = [][]byte{sig}
		}
		out.Periods = append(out.Periods, p)
	}
	return out, nil
}

// maxCeremonyWindow bounds the validity of a signature that an offline key makes: what is signed once cannot be taken back.
const maxCeremonyWindow = 61 * 24 * time.Hour

// ImportResponse takes in what offline keys have signed. Every signature is verified first; all of it is taken in, or nothing.
func (m *Manager) ImportResponse(ctx context.Context, apex zone.Name, r *Response) error {
	return m.apply(ctx, apex, func(p *plan) (*Step, error) {
		if r.Zone != apex.String() {
			return nil, refuse(zone.ErrInvalid, "zone", "is %q, and not the zone that the response is imported into", r.Zone)
		}
		if r.ZoneID != p.in.Zone.ID {
			return nil, refuse(zone.ErrConflict, "zone_id", "is that of an earlier zone of this name, or of one on another server")
		}
		c := p.in.Chain.clone()
		for i := range r.Signed {
			if err := p.accept(&r.Signed[i]); err != nil {
				return nil, refuse(zone.ErrInvalid, fmt.Sprintf("signed[%d]", i), "%s", err)
			}
			c.take(r.Signed[i])
		}
		c.Signed = current(c.Signed, p.now)
		return &Step{Kind: StepCeremony, Why: "offline keys have signed key sets", Chain: c}, nil
	})
}

// accept verifies what an offline key has signed.
func (p *plan) accept(s *Signed) error {
	k := p.find(s.Key)
	if k == nil || k.Place != PlaceOffline {
		return fmt.Errorf("%q is no offline key of the zone", s.Key)
	}
	sets, err := s.chain(p.in.Zone.Name).keySets(p.find, s.TTL)
	if err != nil {
		return err
	}
	if !slices.IsSortedFunc(s.Periods, inOrder) {
		return errors.New("the periods are not in order")
	}
	stock := Stock{TTL: s.TTL, Periods: s.Periods}
	return stock.verify(p.in.Zone.Name, sets, []*KeyRecord{k})
}

// take adds what was signed to what the key has signed before of the same set: an earlier ceremony may have been for longer, and
// where two keys sign, what both have signed is good until the other one has signed the new windows too. Otherwise what the new
// windows cover is dropped, so that ceremonies that are held often do not fill the chain.
func (c *Chain) take(s Signed) {
	var others []*Signed // of the same set, by other keys
	at := len(c.Signed)
	for i := range c.Signed {
		switch o := &c.Signed[i]; {
		case !o.sameSet(&s):
		case o.Key == s.Key:
			at = i
		default:
			others = append(others, o)
		}
	}
	if at == len(c.Signed) {
		c.Signed = append(c.Signed, s)
		return
	}
	kept := slices.DeleteFunc(slices.Clone(c.Signed[at].Periods), func(p Period) bool {
		instead := slices.DeleteFunc(slices.Clone(s.Periods), func(n Period) bool {
			return slices.ContainsFunc(others, func(o *Signed) bool { return o.in(p.window()) != nil && o.in(n.window()) == nil })
		})
		return s.in(p.window()) != nil || covered(p, instead, s.TTL)
	})
	s.Periods = append(kept, s.Periods...)
	slices.SortFunc(s.Periods, inOrder)
	c.Signed[at] = s
}

// sameSet reports whether the same was signed, by whatever key.
func (s *Signed) sameSet(o *Signed) bool {
	return s.TTL == o.TTL && slices.Equal(s.Keys, o.Keys) && slices.Equal(s.DS, o.DS)
}

// inOrder sorts periods by when they begin; of those that begin together the one that lasts longest is last.
func inOrder(a, b Period) int {
	return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Expiration, b.Expiration), cmp.Compare(a.Inception, b.Inception))
}

// covered reports whether there is one of others, which are in order, at every moment at which a period can be used.
func covered(p Period, others []Period, ttl uint32) bool {
	until := p.Start
	for _, o := range others {
		if o.Start > until {
			break
		}
		until = max(until, o.window().UsableUntil(ttl))
	}
	return until > p.Start && until >= p.window().UsableUntil(ttl)
}

// current leaves out the periods that are over.
func current(all []Signed, now time.Time) (out []Signed) {
	for _, s := range all {
		s.Periods = slices.DeleteFunc(slices.Clone(s.Periods), func(p Period) bool { return !p.window().Outlives(s.TTL, now) })
		if len(s.Periods) > 0 {
			out = append(out, s)
		}
	}
	return out
}
