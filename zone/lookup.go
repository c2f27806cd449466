package zone

import (
	"errors"
	"slices"
	"strconv"
)

// Outcome classifies an answer.
type Outcome uint8

// The outcomes of Lookup.
const (
	NotHere  Outcome = iota // the name is in no zone of ours
	Positive                // Answer.RRset is what was asked for
	NoData                  // the name exists, the type does not
	NoName                  // the name does not exist
	NoKeys                  // the zone has no usable keys; nothing may be said about it
	Broken                  // the host is held, but what it is served from is missing; nothing may be said about it
	OwnNSEC                 // NSEC was asked for: the denial itself is the answer
	OwnRRSIG                // RRSIG was asked for: the signature of one RRset, or of the denial, is the answer
)

// Answer is the unsigned content of an answer.
type Answer struct {
	Outcome Outcome
	Zone    *Zone // the zone that answers; nil with NotHere
	Name    Name
	RRset   RRset  // with Positive, and with OwnRRSIG unless the denial's signature is meant
	Types   []Type // types at the name, RRSIG and NSEC not included; NXNAME alone for a name that does not exist
}

// Lookup answers a question of class IN. Unsigned, it is RFC 1034 §4.3.2; what it says about types is exact,
// because the records and the bitmap are taken from the same list (RFC 9824 §3).
//
//   - ANY gets one RRset (RFC 8482 §4.1).
//   - RRSIG gets the signatures of one RRset, as for ANY.
//   - NSEC gets the NSEC record at the name, existing or not: every bitmap says that it is there.
//   - DS at the apex of a shard is answered by the enclosing zone, if it is ours (RFC 4035 §3.1.4.1).
func Lookup(v View, keys Keys, name Name, typ Type) Answer {
	z := Enclosing(v, name)
	if z == nil {
		return Answer{Outcome: NotHere, Name: name}
	}
	// Without keys a zone has no DS either. For its parent to prove that would tell resolvers that the zone is unsigned.
	usable := len(keys.Apex(z.Name)) > 0
	if typ == TypeDS && name == z.Name {
		if parent := Enclosing(v, name.Parent()); parent != nil {
			z = parent
			usable = usable && len(keys.Apex(z.Name)) > 0
		}
	}
	a := Answer{Zone: z, Name: name}
	if !usable {
		a.Outcome = NoKeys
		return a
	}
	sets, exists, err := recordsAt(v, keys, z, name)
	if err != nil {
		a.Outcome = Broken
		return a
	}
	for _, s := range sets {
		a.Types = append(a.Types, s.Type())
	}
	if !exists {
		a.Types = []Type{TypeNXNAME}
	}
	i := slices.IndexFunc(sets, func(s RRset) bool { return s.Type() == typ })
	switch {
	case i >= 0:
		a.Outcome, a.RRset = Positive, sets[i]
	case typ == TypeNSEC:
		a.Outcome = OwnNSEC
	case typ == TypeRRSIG:
		a.Outcome = OwnRRSIG
		if len(sets) > 0 && !isDelegation(z, name, sets) {
			a.RRset = sets[0]
		}
	case typ == TypeANY && len(sets) > 0:
		a.Outcome, a.RRset = Positive, sets[0]
	case exists:
		a.Outcome = NoData
	default:
		a.Outcome = NoName
	}
	return a
}

// Enclosing returns the zone that encloses name most closely, nil if none does.
func Enclosing(v View, name Name) *Zone {
	for {
		if z := v.Zone(name); z != nil {
			return z
		}
		if name.IsRoot() || name.IsZero() {
			return nil
		}
		name = name.Parent()
	}
}

// isDelegation reports whether sets are those of a zone cut, whose NS RRset is not signed (RFC 4035 §2.2).
func isDelegation(z *Zone, name Name, sets []RRset) bool {
	return name != z.Name && sets[0].Type() == TypeNS
}

// recordsAt is the one function that knows what exists: every record and every type bit comes from it.
// It returns the RRsets at a name of z, and whether the name exists at all; a name without RRsets that
// exists is an empty non-terminal. NSEC and RRSIG are the signer's and are not included.
// The error is errBroken.
func recordsAt(v View, keys Keys, z *Zone, name Name) (sets []RRset, exists bool, err error) {
	if name == z.Name {
		sets = append(apexRecords(z), keys.Apex(z.Name)...)
		return append(sets, nameserverAddresses(z, name)...), true, nil
	}
	for _, shard := range v.Shards(z.Name) {
		if shard.Name == name {
			return delegationRecords(z, shard, keys), true, nil
		}
		if shard.Name.Within(name) {
			exists = true
		}
	}
	for _, ns := range z.Nameservers {
		if ns.Name.Within(name) {
			exists = true
		}
	}
	if exists {
		return nameserverAddresses(z, name), true, nil
	}
	if hasLabel(name, z.Name, signalLabel) {
		if sets, exists = signalRecords(v, keys, z, name); exists {
			return sets, true, nil
		}
	}
	return hostRecords(v, z, name)
}

func apexRecords(z *Zone) []RRset {
	names := make([]string, len(z.Nameservers))
	for i, ns := range z.Nameservers {
		names[i] = ns.Name.Wire()
	}
	return []RRset{z.SOA(), NewRRset(z.Name, TypeNS, z.TTL.NS, names)}
}

func delegationRecords(z, shard *Zone, keys Keys) []RRset {
	ns := apexRecords(shard)[1]
	ns.ttl = z.TTL.NS
	ds := keys.DS(shard.Name)
	ds.ttl = z.TTL.NS // as a record of this zone, signed by its policy
	return compact(ns, ds)
}

func nameserverAddresses(z *Zone, name Name) []RRset {
	var v4, v6 []string
	for _, ns := range z.Nameservers {
		if ns.Name != name {
			continue
		}
		for _, a := range ns.Addresses {
			if a.Is4() {
				v4 = append(v4, AddressRData(a))
			} else {
				v6 = append(v6, AddressRData(a))
			}
		}
	}
	return compact(NewRRset(name, TypeA, z.TTL.NS, v4), NewRRset(name, TypeAAAA, z.TTL.NS, v6))
}

// hostRecords makes the records of a host and of the two names below it.
func hostRecords(v View, z *Zone, name Name) (sets []RRset, exists bool, err error) {
	host := v.Host(z.Name, name.LabelBelow(z.Name))
	pool, dane, err := servedFrom(v, z, host)
	if err != nil || pool == nil {
		return nil, false, err
	}
	ttl := z.TTL.Host
	switch depth := name.Labels() - z.Name.Labels(); {
	case depth == 1:
		return compact(
			RRset{name, TypeA, ttl, pool.v4},
			RRset{name, TypeMX, ttl, []string{MXRData(pool.MXPreference, name)}},
			RRset{name, TypeAAAA, ttl, pool.v6},
		), true, nil
	case !dane || len(pool.TLSA) == 0:
		return nil, false, nil
	case depth == 2 && name.FirstLabel() == "_tcp":
		return nil, true, nil
	case depth == 3 && name.Parent().FirstLabel() == "_tcp" && isTLSAPort(pool, name.FirstLabel()):
		return []RRset{{name, TypeTLSA, ttl, pool.tlsa}}, true, nil
	}
	return nil, false, nil
}

// isTLSAPort reports whether label is "_" and one of the pool's ports in decimal without leading zeros
// (RFC 6698 §3).
func isTLSAPort(p *Pool, label string) bool {
	for _, port := range p.TLSAPorts {
		if label == "_"+strconv.Itoa(int(port)) {
			return true
		}
	}
	return false
}

// errBroken means that a host is held by a tenant whose pool is missing. The planning functions do not let
// that happen; if it does, "no such name" would make senders bounce.
var errBroken = errors.New("host is held but has no pool")

// servedFrom returns the pool that answers for a host, nil if the host does not exist, and whether TLSA
// records are published for it.
func servedFrom(v View, z *Zone, h *Host) (pool *Pool, dane bool, err error) {
	if h == nil || h.Tenant == "" {
		return nil, false, nil
	}
	t := v.Tenant(h.Tenant)
	switch {
	case t == nil:
	case t.State == Revoked:
		return nil, false, nil
	case t.State == Active:
		pool = v.Pool(t.Pool)
	case t.State == Suspended:
		pool = v.Pool(z.DrainPool)
	}
	if pool == nil {
		return nil, false, errBroken
	}
	return pool, t.DANE && h.DANE, nil
}

// compact drops the empty RRsets.
func compact(sets ...RRset) []RRset {
	return slices.DeleteFunc(sets, RRset.IsEmpty)
}
