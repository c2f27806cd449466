package keymgmt

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/zone"
)

// Stock is the RRsets that are made from the keys, signed ahead, so that nobody needs a KSK to serve them.
type Stock struct {
	TTL     uint32   `json:"ttl"`     // seconds, of all three RRsets
	Periods []Period `json:"periods"` // in order of their begin
	// Doubtful means that some are of a clock that was not synchronised.
	Doubtful bool `json:"doubtful,omitempty"`
}

// Period is one window of signatures. Times are in seconds since 1970; signatures are RRSIG RDATA in wire form, one for
// each KSK and CSK in the DNSKEY RRset, in the order of their ids.
type Period struct {
	Start      int64    `json:"start"`
	Inception  int64    `json:"inception"`
	Expiration int64    `json:"expiration"`
	DNSKEY     [][]byte `json:"dnskey"`
	CDS        [][]byte `json:"cds,omitempty"`
	CDNSKEY    [][]byte `json:"cdnskey,omitempty"`
}

// RDATA that asks the parent to delete the DS RRset (RFC 8078 §4).
const (
	deleteCDS     = "\x00\x00\x00\x00\x00"
	deleteCDNSKEY = "\x00\x00\x03\x00\x00"
)

var errStock = errors.New("the DNSKEY, CDS and CDNSKEY RRsets are not signed as they have to be")

// of returns the signatures of one type.
func (p *Period) of(t zone.Type) *[][]byte {
	switch t {
	case zone.TypeCDS:
		return &p.CDS
	case zone.TypeCDNSKEY:
		return &p.CDNSKEY
	}
	return &p.DNSKEY
}

// at returns the youngest period that has begun and whose signatures outlive the TTL and the reserve; nil if there is none.
// The first one may be used before it begins, though not before its inception: a clock that has been set back a little would
// leave nothing to serve.
func (s *Stock) at(now time.Time) *Period {
	for i := len(s.Periods) - 1; i >= 0; i-- {
		p := &s.Periods[i]
		w := rrsig.Window{Expiration: p.Expiration}
		begun := p.Start <= now.Unix() || i == 0 && p.Inception <= now.Unix()
		if begun && w.Outlives(s.TTL, now) {
			return p
		}
	}
	return nil
}

// maxPeriods bounds a stock that is made again and again by a clock that is wrong.
const maxPeriods = 500

// besides returns the stock together with an earlier one of the same keys: to whose clock is right a clock that is wrong must leave what
// they serve.
func (s Stock) besides(earlier Stock) Stock {
	periods := slices.Clone(s.Periods)
	for _, p := range earlier.Periods {
		if !slices.ContainsFunc(s.Periods, func(o Period) bool { return o.Start == p.Start }) {
			periods = append(periods, p)
		}
	}
	slices.SortFunc(periods, func(a, b Period) int { return cmp.Compare(a.Start, b.Start) })
	return Stock{TTL: s.TTL, Periods: periods[max(0, len(periods)-maxPeriods):], Doubtful: true}
}

// span is when at returns a period of the stock.
func (s *Stock) span(p *Period) rrsig.Span {
	w := p.window()
	out := rrsig.Span{From: p.Start, Until: w.UsableUntil(s.TTL)}
	for i := range s.Periods {
		switch next := &s.Periods[i]; {
		case next == p && i == 0:
			out.From = p.Inception
		case next.Start > p.Start:
			out.Until = min(out.Until, next.Start-1)
		}
	}
	return out
}

// End is when the last signature can no longer be served; the zero time if there is none.
func (s *Stock) End() time.Time {
	if len(s.Periods) == 0 {
		return time.Time{}
	}
	longest := slices.MaxFunc(s.Periods, func(a, b Period) int { return cmp.Compare(a.Expiration, b.Expiration) })
	return time.Unix(longest.window().UsableUntil(s.TTL), 0).UTC()
}

// keySets returns the DNSKEY, CDS and CDNSKEY RRsets that a chain publishes, or the first alone.
func (c *Chain) keySets(find func(id string) *KeyRecord, ttl uint32) ([]zone.RRset, error) {
	var keys, cds, cdnskey []string
	for _, id := range last(c.Keys).Keys {
		k := find(id)
		if k == nil {
			return nil, fmt.Errorf("key %s is published, and is not there", id)
		}
		keys = append(keys, k.DNSKEY())
	}
	dnskey := zone.NewRRset(c.Zone, zone.TypeDNSKEY, ttl, keys)
	if c.NoCDS {
		return []zone.RRset{dnskey}, nil
	}
	for _, id := range last(c.DS).Keys {
		k := find(id)
		if k == nil {
			return nil, fmt.Errorf("key %s is wanted at the parent, and is not there", id)
		}
		cds = append(cds, k.DS()...)
		cdnskey = append(cdnskey, k.DNSKEY())
	}
	if len(cds) == 0 {
		cds, cdnskey = []string{deleteCDS}, []string{deleteCDNSKEY}
	}
	return []zone.RRset{
		dnskey,
		zone.NewRRset(c.Zone, zone.TypeCDS, ttl, cds),
		zone.NewRRset(c.Zone, zone.TypeCDNSKEY, ttl, cdnskey),
	}, nil
}

// signers returns the keys of ours in the DNSKEY RRset that sign it.
func (c *Chain) keySigners(find func(id string) *KeyRecord) []*KeyRecord {
	var signers []*KeyRecord
	for _, id := range last(c.Keys).Keys {
		if k := find(id); k != nil && k.Role.signsKeys() && !k.isForeign() {
			signers = append(signers, k)
		}
	}
	return signers
}

// SignAhead makes the stock of a chain from now on, for as long as the policy says. The TTL is that of the stock which the
// chain has: to change it is a step of its own, since caches remember the old one.
func (v *Vault) SignAhead(z *zone.Zone, c *Chain, records []*KeyRecord, now time.Time) (Stock, error) {
	find := finder(records)
	s := Stock{TTL: c.Stock.TTL}
	sets, err := c.keySets(find, s.TTL)
	if err != nil {
		return Stock{}, err
	}
	keys := c.keySigners(find)
	signs := make([]signFunc, len(keys)) // nil: offline
	for i, k := range keys {
		if k.Place == PlaceOffline {
			continue
		}
		if signs[i], err = v.private(k); err != nil {
			return Stock{}, fmt.Errorf("%s: %w", k, err)
		}
	}
	windows := signableWindows(Input{Zone: z, Keys: records}, c, now)
	if len(windows) == 0 {
		return Stock{}, ErrAway
	}
	for _, w := range windows {
		p := periodOf(w)
		for _, set := range sets {
			data := rrsig.AppendData(nil, z.Name, set, w)
			sigs := make([][]byte, len(keys))
			for i, k := range keys {
				if signs[i] == nil {
					sigs[i] = c.signedOffline(k, w, set.Type())
				} else if sigs[i], err = signAs(z.Name, set, data, k, signs[i]); err != nil {
					return Stock{}, err
				}
			}
			*p.of(set.Type()) = sigs
		}
		s.Periods = append(s.Periods, p)
	}
	return s, nil
}

func periodOf(w rrsig.Window) Period {
	return Period{Start: w.Start, Inception: w.Inception, Expiration: w.Expiration}
}

// signAs returns the RDATA of a signature over what rrsig.AppendData gave; data is changed.
func signAs(apex zone.Name, set zone.RRset, data []byte, k *KeyRecord, sign signFunc) ([]byte, error) {
	rrsig.SetKey(data, k.Algorithm, k.KeyTag)
	rdata, err := sign(slices.Clone(rrsig.Head(data, apex)), data, new(sha256.Sum256(data)))
	if err != nil {
		return nil, fmt.Errorf("sign %s with %s: %w", set.Type(), k, err)
	}
	return rdata, nil
}

// verify checks every signature of the stock with the public keys: what was damaged, or signed by somebody else, is
// found before it is served.
func (s *Stock) verify(apex zone.Name, sets []zone.RRset, keys []*KeyRecord) error {
	if len(s.Periods) == 0 || len(keys) == 0 {
		return errStock
	}
	for i := range s.Periods {
		p := &s.Periods[i]
		for _, set := range sets {
			sigs := *p.of(set.Type())
			if len(sigs) != len(keys) {
				return fmt.Errorf("%w: %s of %s has %d signatures, not %d", errStock, set.Type(), time.Unix(p.Start, 0).UTC(), len(sigs), len(keys))
			}
			for j, k := range keys {
				check := func(data, signature []byte) error { return Verify(k.Algorithm, k.PublicKey, data, signature) }
				err := rrsig.Verify(apex, k.Algorithm, k.KeyTag, set, string(sigs[j]), time.Unix(p.Start, 0), check)
				if err == nil && !p.isPeriodOf(sigs[j]) {
					err = errors.New("it is valid at other times than are recorded")
				}
				if err != nil {
					return fmt.Errorf("%w: %s by %s: %w", errStock, set.Type(), k, err)
				}
			}
		}
	}
	return nil
}

// isPeriodOf reports whether RRSIG RDATA is valid in the period.
func (p *Period) isPeriodOf(rdata []byte) bool {
	inception, expiration := rrsig.Validity(rdata, time.Unix(p.Start, 0))
	return inception.Unix() == p.Inception && expiration.Unix() == p.Expiration
}

// finder looks keys up by their ids.
func finder(records []*KeyRecord) func(id string) *KeyRecord {
	byID := make(map[string]*KeyRecord, len(records))
	for _, k := range records {
		byID[k.ID] = k
	}
	return func(id string) *KeyRecord { return byID[id] }
}
