package dnstest

import (
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// rrset is the records of one name and type in one section, with the signatures that cover them.
type rrset struct {
	name    zone.Name
	typ     uint16
	records []dns.RR
	sigs    []*dns.RRSIG
}

func (s *rrset) String() string { return fmt.Sprintf("%s %s", s.name, dns.Type(s.typ)) }

// ttl is that of the records, or of the signatures if there is nothing else.
func (s *rrset) ttl() uint32 {
	if len(s.records) > 0 {
		return s.records[0].Header().Ttl
	}
	return s.sigs[0].Hdr.Ttl
}

// groupRecords sorts a section into RRsets.
func groupRecords(section []dns.RR) ([]*rrset, error) {
	var sets []*rrset
	for _, rr := range section {
		name, err := nameOf(rr.Header().Name)
		if err != nil {
			return nil, err
		}
		typ := rr.Header().Rrtype
		sig, isSig := rr.(*dns.RRSIG)
		if isSig {
			typ = sig.TypeCovered
		}
		set := find(sets, name, typ)
		if set == nil {
			set = &rrset{name: name, typ: typ}
			sets = append(sets, set)
		}
		if isSig {
			set.sigs = append(set.sigs, sig)
		} else {
			set.records = append(set.records, rr)
		}
	}
	for _, set := range sets {
		if err := set.checkForm(); err != nil {
			return nil, fmt.Errorf("%s: %w", set, err)
		}
	}
	return sets, nil
}

func find(sets []*rrset, name zone.Name, typ uint16) *rrset {
	for _, s := range sets {
		if s.name == name && s.typ == typ {
			return s
		}
	}
	return nil
}

// checkForm: one class, one TTL (RFC 2181 §5.2), no record twice.
func (s *rrset) checkForm() error {
	for i, rr := range s.records {
		h := rr.Header()
		if h.Class != dns.ClassINET || h.Ttl != s.ttl() {
			return errors.New("has a wrong class or different TTLs")
		}
		for _, other := range s.records[:i] {
			if dns.IsDuplicate(rr, other) {
				return fmt.Errorf("has a record twice: %s", rr)
			}
		}
	}
	return nil
}

// checkSignatures requires one good signature of each algorithm of the zone and no other (RFC 4035 §2.2). Only
// when signatures were asked for may the RRset itself be absent.
func (s *rrset) checkSignatures(keys Keys, q Query, now time.Time) error {
	apex, err := keys.signer(q, s.name, s.typ)
	if err != nil {
		return err
	}
	if len(s.records) == 0 && q.Type != dns.TypeRRSIG {
		return errors.New("signature of an RRset that is not there")
	}
	missing := keys.algorithms(apex)
	if len(s.sigs) != len(missing) {
		return fmt.Errorf("has %d signatures, not %d", len(s.sigs), len(missing))
	}
	for _, sig := range s.sigs {
		if err := s.checkSignature(sig, apex, keys[apex], now); err != nil {
			return fmt.Errorf("signature of algorithm %d, key %d: %w", sig.Algorithm, sig.KeyTag, err)
		}
		if !missing[sig.Algorithm] {
			return fmt.Errorf("has two signatures of algorithm %d", sig.Algorithm)
		}
		delete(missing, sig.Algorithm)
	}
	return nil
}

func (s *rrset) checkSignature(sig *dns.RRSIG, apex zone.Name, keys []*dns.DNSKEY, now time.Time) error {
	signer, err := nameOf(sig.SignerName)
	if err != nil {
		return err
	}
	labels := s.name.Labels()
	if s.name.FirstLabel() == "*" {
		labels--
	}
	switch {
	case signer != apex:
		return fmt.Errorf("the signer is %s, not %s", signer, apex)
	case int(sig.Labels) != labels:
		return fmt.Errorf("it is about %d labels, not %d", sig.Labels, labels)
	case sig.Hdr.Class != dns.ClassINET || sig.Hdr.Ttl != s.ttl() || sig.OrigTtl != s.ttl():
		return fmt.Errorf("class or TTLs (%d, original %d) are not those of the RRset", sig.Hdr.Ttl, sig.OrigTtl)
	}
	if err := checkPeriod(sig, now); err != nil {
		return err
	}
	key := findKey(sig, keys)
	if key == nil {
		return errors.New("no key of the zone may have made it")
	}
	if len(s.records) == 0 {
		return nil
	}
	return sig.Verify(key, s.records)
}

// checkPeriod: begun, and not over for the TTL and zone.SignatureReserve. The fields count modulo 2^32 (RFC 4034
// §3.1.5).
func checkPeriod(sig *dns.RRSIG, now time.Time) error {
	until := func(field uint32) time.Duration {
		return time.Duration(int32(field-uint32(now.Unix()))) * time.Second
	}
	if d := until(sig.Inception); d > 0 {
		return fmt.Errorf("it begins in %s", d)
	}
	need := time.Duration(sig.Hdr.Ttl)*time.Second + zone.SignatureReserve
	if d := until(sig.Expiration); d < need {
		return fmt.Errorf("it lasts for %s, that is less than %s", d, need)
	}
	return nil
}

// findKey returns the key that made a signature, if it is one that may sign such RRsets: DNSKEY, CDS and CDNSKEY are
// signed with a key that has the SEP flag, all others without, unless there is but one key.
func findKey(sig *dns.RRSIG, keys []*dns.DNSKEY) *dns.DNSKEY {
	ofKeys := sig.TypeCovered == dns.TypeDNSKEY || sig.TypeCovered == dns.TypeCDS || sig.TypeCovered == dns.TypeCDNSKEY
	split := false // into KSK and ZSK
	for _, k := range keys {
		split = split || k.Algorithm == sig.Algorithm && k.Flags&dns.SEP == 0
	}
	for _, k := range keys {
		isSEP := k.Flags&dns.SEP != 0
		if k.KeyTag() == sig.KeyTag && k.Algorithm == sig.Algorithm && (isSEP == ofKeys || !split) {
			return k
		}
	}
	return nil
}
