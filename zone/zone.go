package zone

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Safety limits. SignatureReserve is what must be left of a signature's lifetime beyond the TTL when it is
// served, so that a resolver that caches it and has a slow clock never holds an expired one.
const (
	SignatureReserve = time.Hour
	minBackdate      = time.Hour
	maxLifetime      = 30 * 24 * time.Hour
	defaultStock     = 14 * 24 * time.Hour
	maxStock         = 100 * 24 * time.Hour
	maxTTL           = 86400
	maxNameservers   = 13
)

// Nameserver is a name server of a zone. Addresses are given for names inside the zone and only there.
type Nameserver struct {
	Name      Name         `json:"name"`
	Addresses []netip.Addr `json:"addresses,omitempty"`
}

// TTLs of a zone's records, in seconds.
type TTLs struct {
	Host     uint32 `json:"host"`     // A, AAAA, MX, TLSA
	Negative uint32 `json:"negative"` // SOA, SOA minimum, NSEC
	DNSKEY   uint32 `json:"dnskey"`   // DNSKEY, CDS, CDNSKEY
	NS       uint32 `json:"ns"`       // NS and addresses of name servers, DS and NS of shards below
}

// Signed is the largest TTL of records that a ZSK signs.
func (t TTLs) Signed() time.Duration {
	return time.Duration(max(t.Host, t.Negative, t.NS)) * time.Second
}

// SignaturePolicy says when signatures begin and end. Windows are quantised: all nodes that sign at the same
// time with the same key give the same bytes.
type SignaturePolicy struct {
	Lifetime       time.Duration `json:"lifetime"`        // from the start of the window to the expiration
	Quantum        time.Duration `json:"quantum"`         // distance between the starts of two windows
	Backdate       time.Duration `json:"backdate"`        // inception lies this long before the start
	DNSKEYLifetime time.Duration `json:"dnskey_lifetime"` // of DNSKEY, CDS and CDNSKEY signatures
	DNSKEYStock    time.Duration `json:"dnskey_stock"`    // for how long those are made ahead
}

// Stock is for how long DNSKEY, CDS and CDNSKEY signatures are made ahead. Zones that were written before there was a setting
// have the default.
func (p SignaturePolicy) Stock() time.Duration {
	if p.DNSKEYStock == 0 {
		return defaultStock
	}
	return p.DNSKEYStock
}

// DNSKEYQuantum is the distance between two windows of DNSKEY, CDS and CDNSKEY signatures.
func (p SignaturePolicy) DNSKEYQuantum() time.Duration {
	return (p.DNSKEYLifetime / 4).Truncate(time.Second)
}

// Algorithm is a DNSSEC algorithm number (RFC 8624 §3.1).
type Algorithm uint8

// The algorithms that a zone may be signed with.
const (
	RSASHA256       Algorithm = 8  // RFC 5702
	ECDSAP256SHA256 Algorithm = 13 // RFC 6605
	ED25519         Algorithm = 15 // RFC 8080
)

var algorithmNames = map[Algorithm]string{RSASHA256: "RSASHA256", ECDSAP256SHA256: "ECDSAP256SHA256", ED25519: "ED25519"}

// String returns the mnemonic.
func (a Algorithm) String() string {
	if name, known := algorithmNames[a]; known {
		return name
	}
	return strconv.Itoa(int(a))
}

// ParseAlgorithm reads a mnemonic or a number.
func ParseAlgorithm(text string) (Algorithm, bool) {
	for a, name := range algorithmNames {
		if text == name || text == strconv.Itoa(int(a)) {
			return a, true
		}
	}
	return 0, false
}

// KeyPolicy says which keys a zone has and how long they live.
type KeyPolicy struct {
	Algorithm              Algorithm     `json:"algorithm"`
	CSK                    bool          `json:"csk"`
	StandbyKSK             bool          `json:"standby_ksk,omitempty"` // its DS is at the parent, to replace the KSK at once
	KSKPlace               string        `json:"ksk_place,omitempty"`   // where private parts of KSKs are
	ZSKLifetime            time.Duration `json:"zsk_lifetime"`
	KSKLifetime            time.Duration `json:"ksk_lifetime"`
	PropagationDelay       time.Duration `json:"propagation_delay"`
	ParentPropagationDelay time.Duration `json:"parent_propagation_delay"`
	ParentDSTTL            time.Duration `json:"parent_ds_ttl"`
}

// Places of the private parts of KSKs.
const (
	KSKSealed  = ""        // in the database, sealed
	KSKToken   = "pkcs11"  // in a token
	KSKOffline = "offline" // somewhere else: key sets are signed in ceremonies
)

// ParentPolicy says how the DS reaches the parent zone.
type ParentPolicy struct {
	Mode       string           `json:"mode"` // manual, check or hosted
	Servers    []netip.AddrPort `json:"servers,omitempty"`
	WithdrawDS bool             `json:"withdraw_ds,omitempty"` // the parent is to have no DS: the zone goes insecure
	Push       netip.AddrPort   `json:"push,omitzero"`         // server that takes the DS in DNS UPDATE messages; zero: none
	PushKey    string           `json:"push_key,omitempty"`    // name of the TSIG key that signs them
}

// ZoneSpec is what a provider says about a zone. [DefaultZoneSpec] has the default of every field but the
// name servers.
type ZoneSpec struct {
	Nameservers []Nameserver    `json:"nameservers"`
	Hostmaster  Name            `json:"hostmaster"`
	TTL         TTLs            `json:"ttl"`
	Signature   SignaturePolicy `json:"signature"`
	Keys        KeyPolicy       `json:"keys"`
	Parent      ParentPolicy    `json:"parent"`
	DrainPool   string          `json:"drain_pool,omitempty"`
	Accepting   bool            `json:"accepting"`
}

// Zone is a signed shard of the namespace. Rows are immutable: change a copy.
type Zone struct {
	Name Name   `json:"name"`
	ID   string `json:"id"` // random; a zone deleted and created again is another zone with other keys
	ZoneSpec
	Serial   uint32    `json:"serial"`            // of the SOA: counts changes of this row
	Created  time.Time `json:"created"`           // UTC
	Legacy   Legacy    `json:"legacy"`            // promises made under earlier policies
	Closing  bool      `json:"closing,omitempty"` // being deleted: takes no new tenants
	Revision uint64    `json:"-"`                 // of the last write, 0 before the first
}

// Legacy remembers how long records and signatures made under earlier, longer policies stay usable.
type Legacy struct {
	CachedUntil time.Time `json:"cached_until"`          // caches may hold records of hosts, served with an earlier, larger TTL
	SignedUntil time.Time `json:"signed_until,omitzero"` // the same of any records that a ZSK has signed
	// Validators may accept signatures made with an earlier, longer lifetime.
	ReplayedUntil time.Time `json:"replayed_until"`
}

// DefaultZoneSpec returns the defaults of design §6 for a zone.
func DefaultZoneSpec(apex Name) ZoneSpec {
	hostmaster, err := apex.Child("hostmaster")
	if err != nil { // an apex of nearly 255 octets; the check refuses it for other reasons
		hostmaster = apex
	}
	return ZoneSpec{
		Hostmaster: hostmaster,
		TTL:        TTLs{Host: 300, Negative: 60, DNSKEY: 3600, NS: 3600},
		Signature: SignaturePolicy{
			Lifetime: 8 * time.Hour, Quantum: time.Hour, Backdate: time.Hour, DNSKEYLifetime: 48 * time.Hour,
			DNSKEYStock: defaultStock,
		},
		Keys: KeyPolicy{
			Algorithm: ECDSAP256SHA256, ZSKLifetime: 720 * time.Hour, KSKLifetime: 8760 * time.Hour,
			PropagationDelay: 5 * time.Minute, ParentPropagationDelay: time.Hour, ParentDSTTL: 24 * time.Hour,
		},
		Parent:    ParentPolicy{Mode: ParentManual},
		Accepting: true,
	}
}

// Modes of ParentPolicy.
const (
	ParentManual = "manual"
	ParentCheck  = "check"
	ParentHosted = "hosted"
)

// apexReserve keeps room below the apex for the longest name this server makes: _65535._tcp.<63>.
const apexReserve = 7 + 5 + 64

// check reports everything that is wrong with a specification for apex.
func (s ZoneSpec) check(apex Name) error {
	var errs FieldErrors
	if apex.IsRoot() || len(apex.Wire()) > MaxNameLen-apexReserve {
		errs.add("zone", "must not be the root and must leave %d octets for the names below it", apexReserve)
	}
	if !isPlain(apex) {
		errs.add("zone", plainRule)
	}
	if s.Hostmaster.IsZero() || s.Hostmaster.IsRoot() || strings.ContainsAny(s.Hostmaster.Wire(), "*@ ") {
		errs.add("hostmaster", "must be a mailbox in the form of a domain name: admin.example.com for admin@example.com")
	}
	s.checkNameservers(&errs, apex)
	s.checkTTLs(&errs)
	s.checkSignature(&errs)
	s.checkKeys(&errs)
	switch s.Parent.Mode {
	case ParentManual, ParentCheck, ParentHosted:
	default:
		errs.add("parent.mode", "must be manual, check or hosted")
	}
	if s.Parent.Mode == ParentCheck && len(s.Parent.Servers) == 0 {
		errs.add("parent.servers", "must name the parent's servers as address:port in mode check")
	}
	switch p := s.Parent; {
	case p.Push.IsValid() && p.Mode != ParentCheck:
		errs.add("parent.push", "needs mode check: it has to be seen whether the parent has what was put there")
	case p.Push.IsValid() != (p.PushKey != ""):
		errs.add("parent.push_key", "must be given with push, and only then")
	}
	if s.DrainPool != "" {
		checkID(&errs, "drain_pool", s.DrainPool)
	}
	return errs.err()
}

const plainRule = "must have letters, digits, hyphens and underscores alone"

// isPlain reports whether a name can be a zone or a host. A wildcard, above all, must not be: a signature over its records
// fits every name that it stands for.
func isPlain(n Name) bool {
	for _, label := range labelsOf(n) {
		for i := range len(label) {
			if c := label[i]; !alphanumeric(c) && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

func (s ZoneSpec) checkNameservers(errs *FieldErrors, apex Name) {
	if len(s.Nameservers) == 0 || len(s.Nameservers) > maxNameservers {
		errs.add("nameservers", "must have 1 to %d entries", maxNameservers)
	}
	seen := map[Name]bool{}
	for i, ns := range s.Nameservers {
		field := "nameservers[" + strconv.Itoa(i) + "]"
		inside := ns.Name.Within(apex)
		switch {
		case ns.Name.IsZero() || ns.Name.IsRoot():
			errs.add(field+".name", "must be a host name")
		case !isPlain(ns.Name):
			errs.add(field+".name", plainRule)
		case seen[ns.Name]:
			errs.add(field+".name", "is given twice")
		case inside && len(ns.Addresses) == 0:
			errs.add(field+".addresses", "must not be empty for a name inside the zone: nobody else can answer for it")
		case !inside && len(ns.Addresses) > 0:
			errs.add(field+".addresses", "must be empty for a name outside the zone: its own zone answers for it")
		}
		seen[ns.Name] = true
		for j, a := range ns.Addresses {
			checkAddress(errs, field+".addresses["+strconv.Itoa(j)+"]", a)
		}
	}
}

func (s ZoneSpec) checkTTLs(errs *FieldErrors) {
	for _, t := range []struct {
		field string
		value uint32
	}{{"host", s.TTL.Host}, {"negative", s.TTL.Negative}, {"dnskey", s.TTL.DNSKEY}, {"ns", s.TTL.NS}} {
		if t.value < 1 || t.value > maxTTL {
			errs.add("ttl."+t.field, "must be 1 to %d seconds", maxTTL)
		}
	}
}

// checkSignature makes sure that a signature made at any moment of its window has the reserve left at the
// window's end, where it is served for the last time.
func (s ZoneSpec) checkSignature(errs *FieldErrors) {
	p := s.Signature
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"lifetime", p.Lifetime}, {"quantum", p.Quantum}, {"backdate", p.Backdate}, {"dnskey_lifetime", p.DNSKEYLifetime}} {
		if d.value < time.Second || d.value > maxLifetime || d.value%time.Second != 0 {
			errs.add("signature."+d.field, "must be whole seconds, from 1s to %s", maxLifetime)
			return
		}
	}
	if p.DNSKEYStock < p.DNSKEYLifetime || p.DNSKEYStock > maxStock || p.DNSKEYStock%time.Second != 0 {
		errs.add("signature.dnskey_stock", "must be whole seconds, from the dnskey_lifetime to %s", maxStock)
	}
	if p.Backdate < minBackdate {
		errs.add("signature.backdate", "must be at least %s: validators' clocks differ", minBackdate)
	}
	need := time.Duration(max(s.TTL.Host, s.TTL.Negative, s.TTL.NS))*time.Second + SignatureReserve
	if p.Lifetime-p.Quantum < need {
		errs.add("signature.lifetime", "must exceed the quantum by the largest TTL and %s, that is by %s", SignatureReserve, need)
	}
	need = time.Duration(s.TTL.DNSKEY)*time.Second + SignatureReserve
	if p.DNSKEYLifetime-p.DNSKEYQuantum() < need {
		errs.add("signature.dnskey_lifetime", "three quarters of it must exceed the DNSKEY TTL and %s, that is %s", SignatureReserve, need)
	}
}

func (s ZoneSpec) checkKeys(errs *FieldErrors) {
	if _, known := algorithmNames[s.Keys.Algorithm]; !known {
		errs.add("keys.algorithm", "must be ECDSAP256SHA256, ED25519 or RSASHA256")
	}
	switch place := s.Keys.KSKPlace; {
	case place != KSKSealed && place != KSKToken && place != KSKOffline:
		errs.add("keys.ksk_place", "must be sealed, pkcs11 or offline")
	case place != KSKSealed && s.Keys.CSK:
		errs.add("keys.ksk_place", "must be sealed with csk: the one key signs every answer")
	case place == KSKToken && s.Keys.Algorithm == ED25519:
		errs.add("keys.ksk_place", "pkcs11 needs the algorithm ECDSAP256SHA256 or RSASHA256")
	}
	ok := true
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"zsk_lifetime", s.Keys.ZSKLifetime}, {"ksk_lifetime", s.Keys.KSKLifetime},
		{"propagation_delay", s.Keys.PropagationDelay}, {"parent_propagation_delay", s.Keys.ParentPropagationDelay},
		{"parent_ds_ttl", s.Keys.ParentDSTTL},
	} {
		if d.value <= 0 || d.value%time.Second != 0 {
			errs.add("keys."+d.field, "must be whole seconds, at least 1s")
			ok = false
		}
	}
	if !ok {
		return
	}
	// The intervals of RFC 7583 §3.2 and §3.3: a rollover has to be over before the next one is due.
	k := s.Keys
	records := k.PropagationDelay + s.TTL.Signed()
	published := k.PropagationDelay + time.Duration(s.TTL.DNSKEY)*time.Second
	if need := 2*published + records; k.ZSKLifetime < need && !k.CSK {
		errs.add("keys.zsk_lifetime", "must be at least %s: a new key is published for %s, its predecessor's signatures are remembered for %s, its DNSKEY for %[2]s", need, published, records)
	}
	if need := 2*published + records + k.ParentPropagationDelay + k.ParentDSTTL; k.KSKLifetime < need {
		errs.add("keys.ksk_lifetime", "must be at least %s, which is what a rollover takes when the parent changes its DS at once", need)
	}
}

// SOA returns the zone's SOA RRset. Its TTL equals its minimum, so that the TTL of a negative answer is the
// same whichever of the two a resolver takes (RFC 2308 §5, RFC 9077 §3).
func (z *Zone) SOA() RRset {
	d := SOAData{
		MName: z.Nameservers[0].Name, RName: z.Hostmaster, Serial: z.Serial,
		Refresh: 3600, Retry: 600, Expire: 1209600, Minimum: z.TTL.Negative,
	}
	return NewRRset(z.Name, TypeSOA, z.TTL.Negative, []string{d.RData()})
}

// Same reports whether two specifications are equal.
func (s ZoneSpec) Same(o ZoneSpec) bool {
	return s.Hostmaster == o.Hostmaster && s.TTL == o.TTL && s.Signature == o.Signature && s.Keys == o.Keys &&
		s.Parent.Mode == o.Parent.Mode && s.Parent.WithdrawDS == o.Parent.WithdrawDS &&
		s.Parent.Push == o.Parent.Push && s.Parent.PushKey == o.Parent.PushKey && slices.Equal(s.Parent.Servers, o.Parent.Servers) &&
		s.DrainPool == o.DrainPool && s.Accepting == o.Accepting &&
		slices.EqualFunc(s.Nameservers, o.Nameservers, func(a, b Nameserver) bool {
			return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
		})
}
