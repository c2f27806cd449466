package keymgmt

import (
	"fmt"
	"slices"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// KindChain is the kind of the rows that say which keys of a zone are used for what.
const KindChain zone.Kind = "chains"

// Chain is the chain of trust of a zone as validators may see it: which keys the parent's DS RRset points to, which are
// in the DNSKEY RRset, and which sign the other records; now, and in every cache that may still remember something
// older. It is the only state of a rollover. Rows are immutable and written by the [Manager] alone.
type Chain struct {
	Zone   zone.Name `json:"zone"`
	ZoneID string    `json:"zone_id"`
	Goal   Goal      `json:"goal"`
	// Each is a history, oldest first. The last entry is what is wanted of the parent, published, and signing.
	DS      []Version `json:"ds"`
	Keys    []Version `json:"keys"`
	Signers []Version `json:"signers"`
	// NoCDS says that the CDS and CDNSKEY RRsets are not published: no DS is wanted, and nobody could sign those that say so.
	NoCDS bool `json:"no_cds,omitempty"`
	// DSTTL is the largest TTL in seconds with which a server of the parent was seen to serve the DS.
	DSTTL uint32 `json:"ds_ttl,omitempty"`
	// Log is the last steps, oldest first.
	Log []Event `json:"log,omitempty"`
	// Signed is what offline keys have signed.
	Signed   []Signed `json:"signed,omitempty"`
	Stock    Stock    `json:"stock"`
	Revision uint64   `json:"-"` // of the last write, 0 before the first
}

// Version is one value of what caches may hold: a set of keys, by their ids, in order.
type Version struct {
	Keys  []string  `json:"keys"`
	Since time.Time `json:"since"`
	// Until is when the last cache has forgotten it. Zero: nobody knows, because it is still served, or, of a DS RRset,
	// because nobody has seen the parent serve something else.
	Until time.Time `json:"until,omitzero"`
	// Seen is when all servers of the parent were seen to serve this DS RRset, or their operator has said so.
	Seen time.Time `json:"seen,omitzero"`
	// Confirmed is the keys whose DS an operator says is there; with all of them the version is seen.
	Confirmed []string `json:"confirmed,omitempty"`
}

// Goal is the keys that a zone is to be signed with when all steps are done. A CSK is both KSK and ZSK.
type Goal struct {
	KSK     string    `json:"ksk"`
	ZSK     string    `json:"zsk"`
	Standby string    `json:"standby,omitempty"` // a KSK whose DS is at the parent, and whose DNSKEY nobody has seen
	Foreign []string  `json:"foreign,omitempty"` // keys of other signers of the zone (RFC 8901 §2.1.2)
	Reserve []string  `json:"reserve,omitempty"` // keys that take the next slots they fit: made ahead, or offline ones that were brought
	KSKFrom time.Time `json:"ksk_from"`          // when it became the goal
	ZSKFrom time.Time `json:"zsk_from"`
	Again   []Slot    `json:"again,omitempty"` // roles whose next rollover begins as soon as the present one has ended
	NoDS    bool      `json:"no_ds,omitempty"` // the parent is to have no DS: the zone goes insecure
}

// Ref names the row and the version it was derived from. There is one for each zone.
func (c *Chain) Ref() zone.Ref {
	return zone.Ref{Kind: KindChain, ID: c.Zone.String(), Revision: c.Revision}
}

// last returns what is wanted, published or signing.
func last(history []Version) Version {
	if len(history) == 0 {
		return Version{}
	}
	return history[len(history)-1]
}

// alive returns what a cache may hold at now.
func alive(history []Version, now time.Time) []Version {
	return slices.DeleteFunc(slices.Clone(history), func(v Version) bool { return !v.Until.IsZero() && !v.Until.After(now) })
}

// replace adds a version to a history. The one before it may be in caches until a time, zero if that is not known yet;
// what nobody remembers is dropped.
func replace(history []Version, keys []string, now, until time.Time) []Version {
	next := alive(history, now)
	if n := len(next); n > 0 && next[n-1].Until.IsZero() {
		next[n-1].Until = until
	}
	return append(next, Version{Keys: keys, Since: now})
}

// has reports whether a key is in a version.
func (v Version) has(id string) bool { return slices.Contains(v.Keys, id) }

// same reports whether two sets of keys are equal. Both are in order.
func (v Version) same(keys []string) bool { return slices.Equal(v.Keys, keys) }

// algorithmOf tells the algorithm of a key.
type algorithmOf func(id string) zone.Algorithm

// conflict is a combination of cached RRsets with which a validator would call an answer bogus.
type conflict struct {
	why string
	// until is when one of the two is forgotten; zero if that is not known.
	until time.Time
}

// check is the proof that no answer is bogus. A validator has a DS RRset, a DNSKEY RRset, and a record with its
// signatures, each of them fresh or out of some cache, in any combination of what caches may hold. Every combination
// must validate (RFC 4035 §5), also for validators that want every algorithm of one set in the next (§2.2).
//
// Nothing that a validator may hold is left out of the histories, and nothing that we publish or ask for enters one unless check
// has passed with it; time takes versions away and adds none. What a parent is seen to have enters as it is: it may be what nobody
// has asked for. While check is false for that, no step is made that has to pass it, until the parent gives it up; otherwise
// check is true at every moment.
func (c *Chain) check(algorithm algorithmOf, now time.Time) *conflict {
	keys := alive(c.Keys, now)
	for _, ds := range alive(c.DS, now) {
		for _, k := range keys {
			if a, ok := covers(ds.Keys, ds.Keys, k.Keys, algorithm); !ok {
				return newConflict(ds, k, fmt.Sprintf("a DS RRset may be cached that has no %s key of a DNSKEY RRset that may be cached", a))
			}
		}
	}
	for _, k := range keys {
		for _, s := range alive(c.Signers, now) {
			if a, ok := covers(k.Keys, k.Keys, s.Keys, algorithm); !ok {
				return newConflict(k, s, fmt.Sprintf("records may be cached with no %s signature of a key in a DNSKEY RRset that may be cached", a))
			}
		}
	}
	return nil
}

// covers reports whether for every algorithm that occurs in all there is a key of that algorithm which is in both a and
// b; else it returns the algorithm. An empty DS RRset asks for nothing: to a validator the zone is insecure.
func covers(all, a, b []string, algorithm algorithmOf) (zone.Algorithm, bool) {
	for _, id := range all {
		wanted := algorithm(id)
		if !slices.ContainsFunc(a, func(k string) bool { return algorithm(k) == wanted && slices.Contains(b, k) }) {
			return wanted, false
		}
	}
	return 0, true
}

func newConflict(a, b Version, why string) *conflict {
	x := &conflict{why: why, until: a.Until}
	if x.until.IsZero() || !b.Until.IsZero() && b.Until.Before(x.until) {
		x.until = b.Until
	}
	return x
}

// State says what caches may hold of one record of a key. The words are those of the field; see the package comment.
type State string

// The states of a record.
const (
	Hidden      State = "hidden"      // in no cache
	Rumoured    State = "rumoured"    // being spread; some caches may not have it
	Omnipresent State = "omnipresent" // in whatever cache has anything of its kind
	Unretentive State = "unretentive" // withdrawn; some caches may still have it
)

// stateIn derives the state of a key's record from the history it belongs to.
func stateIn(history []Version, id string, now time.Time) State {
	present := alive(history, now)
	in, out := false, false
	for _, v := range present {
		if v.has(id) {
			in = true
		} else {
			out = true
		}
	}
	switch {
	case !in:
		return Hidden
	case !out:
		return Omnipresent
	case last(present).has(id):
		return Rumoured
	}
	return Unretentive
}

// clone returns a copy that can be changed. Versions' keys are shared: they are never changed.
func (c *Chain) clone() *Chain {
	next := *c
	next.DS, next.Keys, next.Signers = slices.Clone(c.DS), slices.Clone(c.Keys), slices.Clone(c.Signers)
	next.Goal.Foreign, next.Goal.Reserve, next.Goal.Again = slices.Clone(c.Goal.Foreign), slices.Clone(c.Goal.Reserve), slices.Clone(c.Goal.Again)
	next.Log, next.Signed = slices.Clone(c.Log), slices.Clone(c.Signed)
	return &next
}

// maxLog bounds the log: enough for a rollover of everything.
const maxLog = 50

// note adds a step to the log.
func (c *Chain) note(e Event) {
	c.Log = append(c.Log, e)
	if len(c.Log) > maxLog {
		c.Log = slices.Delete(c.Log, 0, len(c.Log)-maxLog)
	}
}

// parentMemory is how long a parent may take to act on a CDS RRset that it has read, although there is another one by then.
const parentMemory = 30 * 24 * time.Hour

// dsSeen notes that all servers of the parent have a DS RRset. What else they may have had is forgotten at until; but what was
// asked for later than that, and withdrawn, may still come. It reports whether that was news.
func (c *Chain) dsSeen(set []string, now, until time.Time) (news bool) {
	end := len(c.DS) - 1
	there := slices.IndexFunc(c.DS, func(v Version) bool { return v.same(set) && (v.Until.IsZero() || v.Until.After(now)) })
	if there < 0 {
		return false
	}
	for i := range c.DS {
		v := &c.DS[i]
		switch {
		case v.same(set):
			if !v.Until.IsZero() || v.Seen.IsZero() {
				v.Until, v.Seen, news = time.Time{}, now, true
			}
		case v.Until.IsZero() && i != end:
			v.Until, news = until, true
			if (i > there || c.NoCDS) && v.Seen.IsZero() { // without CDS it was somebody else who has removed what is gone
				v.Until = later(until, c.DS[i+1].Since.Add(parentMemory))
			}
		}
	}
	if c.DS[end].same(set) && there != end { // once is enough
		c.DS = slices.Delete(c.DS, there, there+1)
		news = true
	}
	return news
}
