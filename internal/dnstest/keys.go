package dnstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// Keys has the DNSKEY records of each zone whose answers are to be checked.
type Keys map[zone.Name][]*dns.DNSKEY

// NewKeys collects DNSKEY records by their owners.
func NewKeys(records ...*dns.DNSKEY) (Keys, error) {
	keys := Keys{}
	for _, r := range records {
		apex, err := nameOf(r.Hdr.Name)
		if err != nil {
			return nil, err
		}
		keys[apex] = append(keys[apex], r)
	}
	return keys, nil
}

// KeysOf collects the DNSKEY RRsets among sets, as key sets return them. Other RRsets are passed over.
func KeysOf(sets ...zone.RRset) (Keys, error) {
	var records []*dns.DNSKEY
	for _, set := range sets {
		if set.Type() != zone.TypeDNSKEY {
			continue
		}
		rrs, err := Records(set)
		if err != nil {
			return nil, err
		}
		for _, rr := range rrs {
			if k, ok := rr.(*dns.DNSKEY); ok {
				records = append(records, k)
			}
		}
	}
	return NewKeys(records...)
}

// FetchKeys asks a zone for its DNSKEY RRset and trusts it if one of the keys that a DS record (digest 2 or 4)
// stands for has signed it, as a validator does (RFC 4035 §5.2). The answer is checked in full.
func FetchKeys(ask Asker, apex string, anchors []*dns.DS, now time.Time) (Keys, error) {
	q := Query{Name: apex, Type: dns.TypeDNSKEY, DO: true}
	m, err := ask(q)
	if err != nil {
		return nil, fmt.Errorf("fetch the keys of %s: %w", apex, err)
	}
	var records []*dns.DNSKEY
	anchored := map[uint16]bool{}
	for _, rr := range m.Answer {
		k, ok := rr.(*dns.DNSKEY)
		if !ok {
			continue
		}
		records = append(records, k)
		if matchesAnchor(k, anchors) {
			anchored[k.KeyTag()] = true
		}
	}
	keys, err := NewKeys(records...)
	if err != nil {
		return nil, err
	}
	if err := CheckAnswer(keys, q, m, now); err != nil {
		return nil, fmt.Errorf("keys of %s: %w", apex, err)
	}
	for _, rr := range m.Answer {
		if sig, ok := rr.(*dns.RRSIG); ok && anchored[sig.KeyTag] {
			return keys, nil
		}
	}
	return nil, fmt.Errorf("keys of %s: no key that is a trust anchor has signed them", apex)
}

func matchesAnchor(k *dns.DNSKEY, anchors []*dns.DS) bool {
	for _, anchor := range anchors {
		ds := k.ToDS(anchor.DigestType)
		if ds != nil && ds.KeyTag == anchor.KeyTag && ds.Algorithm == anchor.Algorithm && ds.Digest == anchor.Digest {
			return true
		}
	}
	return false
}

// signer returns the zone that has to sign an RRset in the answer to q: the closest enclosing one, and for what is
// said about a DS record at a zone cut the one above (RFC 4035 §3.1.4.1), if its keys are known.
func (keys Keys) signer(q Query, owner zone.Name, typ uint16) (zone.Name, error) {
	apex, found := keys.enclosing(owner)
	isParents := typ == dns.TypeDS || typ == dns.TypeNSEC && q.Type == dns.TypeDS
	if found && isParents && owner == apex && !apex.IsRoot() {
		if parent, ours := keys.enclosing(apex.Parent()); ours {
			apex = parent
		}
	}
	if !found {
		return zone.Name{}, fmt.Errorf("the keys of the zone of %s are not known", owner)
	}
	return apex, nil
}

func (keys Keys) enclosing(name zone.Name) (apex zone.Name, found bool) {
	for {
		if _, found := keys[name]; found {
			return name, true
		}
		if name.IsRoot() {
			return zone.Name{}, false
		}
		name = name.Parent()
	}
}

// algorithms returns the algorithms in the DNSKEY RRset of a zone.
func (keys Keys) algorithms(apex zone.Name) map[uint8]bool {
	all := map[uint8]bool{}
	for _, k := range keys[apex] {
		all[k.Algorithm] = true
	}
	return all
}

// Records turns an RRset into records of miekg/dns, by way of the wire form.
func Records(set zone.RRset) ([]dns.RR, error) {
	rdata := make([]string, set.Len())
	for i := range rdata {
		rdata[i] = set.RData(i)
	}
	return parse(set.Name(), set.Type(), set.TTL(), rdata)
}

// SignedRecords is Records followed by the RRSIG records whose RDATA is given.
func SignedRecords(set zone.RRset, sigs []string) ([]dns.RR, error) {
	rrs, err := Records(set)
	if err != nil {
		return nil, err
	}
	rrsigs, err := parse(set.Name(), zone.TypeRRSIG, set.TTL(), sigs)
	return append(rrs, rrsigs...), err
}

func parse(name zone.Name, typ zone.Type, ttl uint32, rdata []string) ([]dns.RR, error) {
	var rrs []dns.RR
	for _, d := range rdata {
		b := []byte(name.Wire())
		b = binary.BigEndian.AppendUint16(b, uint16(typ))
		b = binary.BigEndian.AppendUint16(b, dns.ClassINET)
		b = binary.BigEndian.AppendUint32(b, ttl)
		b = binary.BigEndian.AppendUint16(b, uint16(len(d)))
		rr, end, err := dns.UnpackRR(append(b, d...), 0)
		if err == nil && end != len(b)+len(d) {
			err = errors.New("trailing octets")
		}
		if err != nil {
			return nil, fmt.Errorf("parse %s %s: %w", name, typ, err)
		}
		rrs = append(rrs, rr)
	}
	return rrs, nil
}

// nameOf turns the presentation form of miekg/dns into a canonical name.
func nameOf(text string) (zone.Name, error) {
	wire, err := wireOf(text)
	if err != nil {
		return zone.Name{}, err
	}
	return zone.NameFromWire(wire)
}

// wireOf is the wire form with the case kept.
func wireOf(text string) ([]byte, error) {
	wire := make([]byte, zone.MaxNameLen+1)
	n, err := dns.PackDomainName(dns.Fqdn(text), wire, 0, nil, false)
	if err != nil {
		return nil, fmt.Errorf("name %q: %w", text, err)
	}
	return wire[:n], nil
}
