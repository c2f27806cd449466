package keymgmt

import (
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// item is an RRset with its signatures as a resolver may have it in its cache.
type item struct {
	what    string
	rrs     []dns.RR
	sigs    []*dns.RRSIG
	ttl     time.Duration
	forgets time.Time // when the last resolver forgets it
}

// population is all resolvers together: whatever any of them may hold, some resolver holds, in every combination.
type population struct {
	ds, keys, data map[string]*item
	verdicts       map[[3]*item]error
	combinations   int
}

func newPopulation() *population {
	return &population{ds: map[string]*item{}, keys: map[string]*item{}, data: map[string]*item{}, verdicts: map[[3]*item]error{}}
}

// serve gives items to the resolvers; it returns whether any is new to all of them.
func serve(cache map[string]*item, now time.Time, items ...*item) (fresh bool) {
	for _, it := range items {
		have := cache[it.what]
		if have == nil {
			cache[it.what], have, fresh = it, it, true
		}
		if forgets := now.Add(it.ttl); forgets.After(have.forgets) {
			have.forgets = forgets
		}
	}
	return fresh
}

// forget drops what is too old.
func forget(cache map[string]*item, now time.Time) {
	for what, it := range cache {
		if !it.forgets.After(now) {
			delete(cache, what)
		}
	}
}

// check validates every combination.
func (p *population) check() error {
	for _, ds := range p.ds {
		for _, keys := range p.keys {
			for _, data := range p.data {
				combination := [3]*item{ds, keys, data}
				verdict, known := p.verdicts[combination]
				if !known {
					verdict = validate(ds, keys, data)
					p.verdicts[combination] = verdict
					p.combinations++
				}
				if verdict != nil {
					return fmt.Errorf("%w\n  %s\n  %s\n  %s", verdict, ds.what, keys.what, data.what)
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
func validate(ds, keys, data *item) error {
	for _, algorithm := range algorithmsOf(ds.rrs) {
		if !leads(ds, keys, algorithm) {
			return fmt.Errorf("bogus: no path in algorithm %d from the DS to the DNSKEY RRset", algorithm)
		}
	}
	if len(ds.rrs) == 0 {
		return nil // insecure
	}
	for _, algorithm := range algorithmsOf(keys.rrs) {
		if !signs(keys, data, algorithm) {
			return fmt.Errorf("bogus: no signature in algorithm %d over the data", algorithm)
		}
	}
	return nil
}

func leads(ds, keys *item, algorithm uint8) bool {
	for _, rr := range ds.rrs {
		d := rr.(*dns.DS)
		for _, rr := range keys.rrs {
			k := rr.(*dns.DNSKEY)
			if d.Algorithm != algorithm || k.Algorithm != algorithm || k.KeyTag() != d.KeyTag {
				continue
			}
			if made := k.ToDS(d.DigestType); made == nil || !strings.EqualFold(made.Digest, d.Digest) {
				continue
			}
			for _, sig := range keys.sigs {
				if sig.KeyTag == d.KeyTag && sig.Verify(k, keys.rrs) == nil {
					return true
				}
			}
		}
	}
	return false
}

func signs(keys, data *item, algorithm uint8) bool {
	for _, sig := range data.sigs {
		for _, rr := range keys.rrs {
			k := rr.(*dns.DNSKEY)
			if sig.Algorithm == algorithm && k.Algorithm == algorithm && k.KeyTag() == sig.KeyTag && sig.Verify(k, data.rrs) == nil {
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
