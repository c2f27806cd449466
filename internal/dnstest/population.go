package dnstest

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Cached is an RRset with its signatures as a resolver may have it in its cache.
type Cached struct {
	Text    string // tells RRsets with different records, TTLs or signatures apart
	RRs     []dns.RR
	Sigs    []*dns.RRSIG
	TTL     time.Duration
	forgets time.Time // when the last resolver forgets it
}

// NewCached makes one of a record section: RRSIG records are told from the others. Of an empty section the TTL, in seconds,
// is that of the denial.
func NewCached(what string, rrs []dns.RR, ttl uint32) *Cached {
	c := &Cached{Text: what, TTL: time.Duration(ttl) * time.Second}
	for _, rr := range rrs {
		c.Text += "\n    " + rr.String()
		if sig, ok := rr.(*dns.RRSIG); ok {
			c.Sigs = append(c.Sigs, sig)
		} else {
			c.RRs = append(c.RRs, rr)
		}
	}
	return c
}

// Cache is what any resolver may hold of one kind of RRset.
type Cache map[string]*Cached

// Population is all resolvers together: whatever any of them may hold, some resolver holds, in every combination.
type Population struct {
	DS, Keys, Data Cache
	Combinations   int // how many were looked at
	verdicts       map[[3]*Cached]error
}

// NewPopulation makes resolvers that know nothing.
func NewPopulation() *Population {
	return &Population{DS: Cache{}, Keys: Cache{}, Data: Cache{}, verdicts: map[[3]*Cached]error{}}
}

// Serve gives RRsets to the resolvers; it returns whether any is new to all of them.
func (cache Cache) Serve(now time.Time, items ...*Cached) (fresh bool) {
	for _, it := range items {
		have := cache[it.Text]
		if have == nil {
			cache[it.Text], have, fresh = it, it, true
		}
		if forgets := now.Add(it.TTL); forgets.After(have.forgets) {
			have.forgets = forgets
		}
	}
	return fresh
}

// Forget drops what is too old.
func (p *Population) Forget(now time.Time) {
	for _, cache := range []Cache{p.DS, p.Keys, p.Data} {
		cache.forget(now)
	}
}

func (cache Cache) forget(now time.Time) {
	for what, it := range cache {
		if !it.forgets.After(now) {
			delete(cache, what)
		}
	}
}

// Check validates every combination.
func (p *Population) Check() error {
	for _, ds := range p.DS {
		for _, keys := range p.Keys {
			for _, data := range p.Data {
				combination := [3]*Cached{ds, keys, data}
				verdict, known := p.verdicts[combination]
				if !known {
					verdict = validate(ds, keys, data)
					p.verdicts[combination] = verdict
					p.Combinations++
				}
				if verdict != nil {
					return fmt.Errorf("%w\n  %s\n  %s\n  %s", verdict, ds.Text, keys.Text, data.Text)
				}
			}
		}
	}
	if len(p.verdicts) > 1<<16 {
		clear(p.verdicts)
	}
	return nil
}

// validate is a strict validator (RFC 4035 §5, §2.2): every algorithm of the DS RRset has to lead into the DNSKEY RRset, and
// every algorithm of the DNSKEY RRset has to sign the data. It uses nothing of ours.
func validate(ds, keys, data *Cached) error {
	for _, algorithm := range algorithmsOf(ds.RRs) {
		if !leads(ds, keys, algorithm) {
			return fmt.Errorf("bogus: no path in algorithm %d from the DS to the DNSKEY RRset", algorithm)
		}
	}
	if len(ds.RRs) == 0 {
		return nil // insecure
	}
	for _, algorithm := range algorithmsOf(keys.RRs) {
		if !signs(keys, data, algorithm) {
			return fmt.Errorf("bogus: no signature in algorithm %d over the data", algorithm)
		}
	}
	return nil
}

func leads(ds, keys *Cached, algorithm uint8) bool {
	for _, rr := range ds.RRs {
		d := rr.(*dns.DS)
		for _, rr := range keys.RRs {
			k := rr.(*dns.DNSKEY)
			if d.Algorithm != algorithm || k.Algorithm != algorithm || k.KeyTag() != d.KeyTag {
				continue
			}
			if made := k.ToDS(d.DigestType); made == nil || !strings.EqualFold(made.Digest, d.Digest) {
				continue
			}
			for _, sig := range keys.Sigs {
				if sig.KeyTag == d.KeyTag && sig.Verify(k, keys.RRs) == nil {
					return true
				}
			}
		}
	}
	return false
}

func signs(keys, data *Cached, algorithm uint8) bool {
	for _, sig := range data.Sigs {
		for _, rr := range keys.RRs {
			k := rr.(*dns.DNSKEY)
			if sig.Algorithm == algorithm && k.Algorithm == algorithm && k.KeyTag() == sig.KeyTag && sig.Verify(k, data.RRs) == nil {
				return true
			}
		}
	}
	return false
}

func algorithmsOf(rrs []dns.RR) (all []uint8) {
	seen := map[uint8]bool{}
	for _, rr := range rrs {
		var a uint8
		switch r := rr.(type) {
		case *dns.DS:
			a = r.Algorithm
		case *dns.DNSKEY:
			a = r.Algorithm
		}
		if !seen[a] {
			seen[a] = true
			all = append(all, a)
		}
	}
	return all
}
