package dnstest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// checkNegative checks an answer without records.
func checkNegative(keys Keys, q Query, name zone.Name, rcode int, authority []*rrset) error {
	apex, err := keys.signer(q, name, dns.TypeNSEC)
	if err != nil {
		return err
	}
	soas := find(authority, apex, dns.TypeSOA)
	if soas == nil || len(soas.records) != 1 {
		return fmt.Errorf("is negative without the SOA of %s", apex)
	}
	soa, ok := soas.records[0].(*dns.SOA)
	if !ok || soa.Hdr.Ttl > soa.Minttl {
		return errors.New("has an SOA whose TTL is longer than its minimum (RFC 2308 §3)")
	}
	if !q.DO {
		if len(authority) != 1 {
			return errors.New("has more than the SOA in the authority section")
		}
		return nil
	}
	nsecs := find(authority, name, dns.TypeNSEC)
	if nsecs == nil || len(authority) != 2 {
		return errors.New("has not exactly the SOA and the NSEC of the name in the authority section")
	}
	if nsecs.ttl() != min(soa.Hdr.Ttl, soa.Minttl) {
		return errors.New("has an NSEC whose TTL is not that of negative answers (RFC 9077 §3)")
	}
	bitmap, err := readNSEC(nsecs, apex)
	if err != nil {
		return err
	}
	return checkDenies(q, bitmap, rcode)
}

// checkDenies checks that a bitmap proves what the answer says.
func checkDenies(q Query, bitmap []uint16, rcode int) error {
	absent := slices.Contains(bitmap, dns.TypeNXNAME)
	want := dns.RcodeSuccess
	if absent && q.CO {
		want = dns.RcodeNameError
	}
	switch {
	case rcode != want:
		return fmt.Errorf("has RCODE %s, not %s", dns.RcodeToString[rcode], dns.RcodeToString[want])
	case slices.Contains(bitmap, q.Type), slices.Contains(bitmap, dns.TypeCNAME):
		return errors.New("denies a type that the bitmap has")
	case q.Type == dns.TypeANY && !absent && len(bitmap) > 2:
		return errors.New("has no records for ANY, but types in the bitmap")
	}
	return nil
}

// readNSEC returns the bitmap of the one NSEC record in a set, if it is one that RFC 9824 §3 allows at its owner.
func readNSEC(set *rrset, apex zone.Name) ([]uint16, error) {
	if len(set.records) != 1 {
		return nil, fmt.Errorf("has %d NSEC records at one name", len(set.records))
	}
	nsec, ok := set.records[0].(*dns.NSEC)
	if !ok {
		return nil, errors.New("has an NSEC record that is none")
	}
	has := func(typ uint16) bool { return slices.Contains(nsec.TypeBitMap, typ) }
	if !has(dns.TypeRRSIG) || !has(dns.TypeNSEC) {
		return nil, errors.New("has a bitmap without RRSIG or NSEC")
	}
	if has(dns.TypeNXNAME) && len(nsec.TypeBitMap) != 3 {
		return nil, errors.New("has a bitmap with NXNAME and other types")
	}
	for _, typ := range nsec.TypeBitMap {
		isMeta := typ == 0 || typ == dns.TypeOPT || typ >= 128 && typ <= 255 // RFC 6895 §3.1
		if isMeta && typ != dns.TypeNXNAME {
			return nil, fmt.Errorf("has the meta type %s in the bitmap", dns.Type(typ))
		}
	}
	isCut := has(dns.TypeNS) && !has(dns.TypeSOA)
	return nsec.TypeBitMap, checkNext(nsec.NextDomain, set.name, apex, isCut)
}

// checkNext: the next name must be the first one that could follow, so that the record covers nothing that exists
// or may come to exist.
func checkNext(text string, owner, apex zone.Name, isCut bool) error {
	wire, err := wireOf(text)
	if err != nil {
		return err
	}
	if strings.ContainsFunc(string(wire), func(r rune) bool { return 'A' <= r && r <= 'Z' }) {
		return fmt.Errorf("has upper case in the next name %s (RFC 6840 §5.1 keeps it)", text)
	}
	next, err := zone.NameFromWire(wire)
	if err != nil {
		return err
	}
	child, err := owner.Child("\x00")
	fits := err == nil
	switch {
	case !next.Within(apex):
		return fmt.Errorf("has the next name %s, outside of the zone", next)
	case fits && !isCut && next != child:
		return fmt.Errorf("has the next name %s, not %s", next, child)
	case isCut && next.Within(owner):
		return fmt.Errorf("has the next name %s, below the zone cut", next)
	case next == apex && len(owner.Wire()) < zone.MaxNameLen-1:
		return errors.New("claims to be the last name of the zone")
	case next != apex && zone.CompareNames(owner, next) >= 0:
		return fmt.Errorf("has the next name %s, which does not follow", next)
	}
	return nil
}
