package keymgmt

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// newChain publishes the keys of a zone that nobody has asked for yet. They are those of newKeys, or, if they are not fresh, maybe
// more of the same: the zone was signed before there were chains, or by somebody else.
func newChain(z *zone.Zone, records []*KeyRecord, fresh bool, now time.Time) *Chain {
	now = now.UTC()
	c := &Chain{Zone: z.Name, ZoneID: z.ID, Goal: Goal{KSKFrom: now, ZSKFrom: now, NoDS: z.Parent.WithdrawDS}}
	c.Stock.TTL = z.TTL.DNSKEY
	for _, k := range records {
		c.Goal.take(k)
	}
	find := finder(records)
	c.Keys = replace(nil, c.Goal.keys(find), now, now)
	c.Signers = replace(nil, c.Goal.signers(), now, now)
	if c.Goal.NoDS && !fresh { // it may have any, and nobody has seen that it has none
		for _, k := range records {
			if k.Role.signsKeys() && !k.isForeign() {
				c.DS = append(c.DS, Version{Keys: []string{k.ID}, Since: now})
			}
		}
		c.DS = append(c.DS, Version{Keys: []string{}, Since: now})
		return c
	}
	c.DS = []Version{{Since: now, Seen: now}} // the parent has none, as far as anybody knows
	if ds := c.Goal.ds(find); len(ds) > 0 {
		c.DS = append(c.DS, Version{Keys: ds, Since: now})
	}
	return c
}

// take makes a key the goal of its role: the first one of a role is the present one, another KSK the standby.
func (g *Goal) take(k *KeyRecord) {
	switch {
	case k.isForeign():
		g.Foreign = append(g.Foreign, k.ID)
	case k.Role.signsKeys() && g.KSK != "":
		g.Standby = k.ID
	default:
		if k.Role.signsKeys() {
			g.KSK = k.ID
		}
		if k.Role.signsRest() {
			g.ZSK = k.ID
		}
	}
}

// keys returns the DNSKEY RRset of the goal. Of other signers it has the keys that sign records; those that sign keys are
// in the DS alone (RFC 8901 §2.1.2).
func (g Goal) keys(find func(id string) *KeyRecord) []string {
	ids := []string{g.KSK, g.ZSK}
	for _, id := range g.Foreign {
		if k := find(id); k != nil && k.Role.signsRest() {
			ids = append(ids, id)
		}
	}
	return ordered(ids)
}

// ds returns the DS RRset of the goal, empty if there is to be none.
func (g Goal) ds(find func(id string) *KeyRecord) []string {
	if g.NoDS {
		return []string{}
	}
	ids := []string{g.KSK}
	if g.Standby != "" {
		ids = append(ids, g.Standby)
	}
	for _, id := range g.Foreign {
		if k := find(id); k != nil && k.Role.signsKeys() {
			ids = append(ids, id)
		}
	}
	return ordered(ids)
}

func (g Goal) signers() []string { return []string{g.ZSK} }

// has reports whether a key is part of the goal.
func (g Goal) has(id string) bool {
	return id == g.KSK || id == g.ZSK || id == g.Standby || slices.Contains(g.Foreign, id) || slices.Contains(g.Reserve, id)
}

// ordered sorts ids and removes duplicates: signatures come in the same order on all nodes.
func ordered(ids []string) []string {
	slices.Sort(ids)
	return slices.Compact(ids)
}

// A DS at the parent whose key nobody here knows has an id too: the mark and its algorithm, all that matters of it.
const unknownMark = "unknown:"

func unknownID(ds string) string {
	var algorithm byte
	if len(ds) > 2 {
		algorithm = ds[2]
	}
	return unknownMark + strconv.Itoa(int(algorithm))
}

// algorithmIn tells the algorithm of a key, also of an unknown one.
func algorithmIn(find func(id string) *KeyRecord, id string) zone.Algorithm {
	if k := find(id); k != nil {
		return k.Algorithm
	}
	if number, ok := strings.CutPrefix(id, unknownMark); ok {
		if a, err := strconv.ParseUint(number, 10, 8); err == nil {
			return zone.Algorithm(a)
		}
	}
	return 0
}

// dsKeys returns the ids of the keys that DS records point to.
func dsKeys(records []*KeyRecord, ds []string) []string {
	owner := map[string]string{}
	for _, k := range records {
		for _, d := range k.DS() {
			owner[d] = k.ID
		}
	}
	ids := []string{}
	for _, d := range ds {
		if id, known := owner[d]; known {
			ids = append(ids, id)
		} else {
			ids = append(ids, unknownID(d))
		}
	}
	return ordered(ids)
}
