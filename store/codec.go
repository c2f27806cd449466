package store

import (
	"encoding/json"
	"fmt"

	fastjson "github.com/segmentio/encoding/json"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// Encode returns the writes that make changes durable, in a format. For owners that get their first host there is a guard record, which
// must not exist yet: of two plans that found no host of the owner, only one is committed. The rows are the last writes, in their order:
// the last one has the revision of the commit with every engine.
func Encode(c zone.Changes, format uint8) (Tx, error) {
	tx := Tx{Requires: c.Requires}
	for _, claim := range c.Claims {
		if claim.Previous == nil {
			tx.Writes = append(tx.Writes, Write{Kind: zone.KindOwner, ID: string(claim.Owner), Value: []byte("{}"), Format: format})
		}
	}
	for _, ref := range c.Deletes {
		tx.Writes = append(tx.Writes, Write{Kind: ref.Kind, ID: ref.ID, Expect: ref.Revision})
	}
	for _, row := range c.Puts {
		text, err := json.Marshal(row)
		ref := row.Ref()
		if err != nil {
			return Tx{}, fmt.Errorf("encode %s %s: %w", ref.Kind, ref.ID, err)
		}
		value := wrap(text, format)
		// What cannot be read again would end the feed, and no node would start any more.
		if _, err := decode(Record{ref.Kind, ref.ID, ref.Revision, value, format}); err != nil {
			return Tx{}, fmt.Errorf("encode: %w", err)
		}
		tx.Writes = append(tx.Writes, Write{Kind: ref.Kind, ID: ref.ID, Expect: ref.Revision, Value: value, Format: format})
	}
	return tx, tx.Check()
}

// decode turns a record back into a row. Guard records, and that of the format, have none: the row is nil.
func decode(r Record) (zone.Row, error) {
	var row zone.Row
	var revision *uint64
	switch r.Kind {
	case zone.KindOwner, KindFormat:
		return nil, nil
	case zone.KindZone:
		z := &zone.Zone{}
		row, revision = z, &z.Revision
	case zone.KindPool:
		p := &zone.Pool{}
		row, revision = p, &p.Revision
	case zone.KindTenant:
		t := &zone.Tenant{Domains: make([]zone.Domain, 0, 1)} // most have one, and the decoder would make room for ten
		row, revision = t, &t.Revision
	case zone.KindHost:
		h := &zone.Host{}
		row, revision = h, &h.Revision
	case keymgmt.KindKey:
		k := &keymgmt.KeyRecord{}
		row, revision = k, &k.Revision
	case keymgmt.KindChain:
		c := &keymgmt.Chain{}
		row, revision = c, &c.Revision
	case keymgmt.KindToken:
		t := &keymgmt.Token{}
		row, revision = t, &t.Revision
	default:
		return nil, fmt.Errorf("record %q of kind %q: this version does not know the kind", r.ID, r.Kind)
	}
	text, err := unwrap(r.Value, r.Format)
	if err == nil {
		err = fastjson.Unmarshal(text, row) // a fifth of the time of encoding/json, which counts at the start
	}
	if err != nil {
		return nil, fmt.Errorf("record %q of kind %q: %w", r.ID, r.Kind, err)
	}
	*revision = r.Revision
	if t, is := row.(*zone.Tenant); is && len(t.Domains) < cap(t.Domains) {
		t.Domains = append([]zone.Domain(nil), t.Domains...)
	}
	if row.Ref().ID != r.ID {
		return nil, fmt.Errorf("record %q of kind %q has the row of %q", r.ID, r.Kind, row.Ref().ID)
	}
	return row, nil
}
