package api

import (
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

// ZoneSpec is what a provider says about a zone: the body of PUT /v1/zones/{zone}. What is absent gets its
// default, also when a zone is replaced. Durations are texts such as "8h"; TTLs are in seconds.
type ZoneSpec struct {
	Nameservers []Nameserver     `json:"nameservers,omitempty" required:"true" doc:"1 to 13; the first is the MNAME of the SOA"`
	Hostmaster  *string          `json:"hostmaster,omitempty" doc:"RNAME of the SOA; default hostmaster.<zone>"`
	TTL         *TTLs            `json:"ttl,omitempty"`
	Signature   *SignaturePolicy `json:"signature,omitempty"`
	Keys        *KeyPolicy       `json:"keys,omitempty"`
	Parent      *ParentPolicy    `json:"parent,omitempty"`
	DrainPool   string           `json:"drain_pool,omitempty" doc:"pool that serves suspended tenants; without one, tenants cannot be suspended"`
	Accepting   *bool            `json:"accepting,omitempty" doc:"whether tenants without a zone may be placed here; default true"`
	ImportKeys  []GivenKey       `json:"import_keys,omitempty" doc:"keys that another server has signed the zone with, all of them; only when the zone is created; never shown"`
}

// Nameserver is a name server of a zone.
type Nameserver struct {
	Name      string   `json:"name"`
	Addresses []string `json:"addresses,omitempty" doc:"for names inside the zone, and only for them"`
}

// GivenKey is a private key of a zone that is taken over.
type GivenKey struct {
	Role       string `json:"role" doc:"ksk, zsk or csk"`
	PrivateKey string `json:"private_key" doc:"PKCS #8 in PEM, or the content of a .private file of BIND"`
}

// TTLs are in seconds, 1 to 86400.
type TTLs struct {
	Host     *uint32 `json:"host,omitempty" doc:"A, AAAA, MX, TLSA; default 300"`
	Negative *uint32 `json:"negative,omitempty" doc:"SOA, its minimum, NSEC; default 60"`
	DNSKEY   *uint32 `json:"dnskey,omitempty" doc:"DNSKEY, CDS, CDNSKEY; default 3600"`
	NS       *uint32 `json:"ns,omitempty" doc:"NS, addresses of name servers, DS of shards; default 3600"`
}

// SignaturePolicy says when signatures begin and end.
type SignaturePolicy struct {
	Lifetime       *string `json:"lifetime,omitempty" doc:"from the start of a window to the expiration; default 8h"`
	Quantum        *string `json:"quantum,omitempty" doc:"distance between the starts of two windows; default 1h"`
	Backdate       *string `json:"backdate,omitempty" doc:"inception lies this long before the start; default 1h"`
	DNSKEYLifetime *string `json:"dnskey_lifetime,omitempty" doc:"of DNSKEY, CDS and CDNSKEY signatures; default 48h"`
	DNSKEYStock    *string `json:"dnskey_stock,omitempty" doc:"for how long those are made ahead; default 336h"`
}

// KeyPolicy says which keys a zone has and how long they live.
type KeyPolicy struct {
	Algorithm              *string `json:"algorithm,omitempty" doc:"ECDSAP256SHA256 (default), ED25519 or RSASHA256; a change begins an algorithm rollover"`
	CSK                    *bool   `json:"csk,omitempty" doc:"one key for both roles; default false; a change begins a rollover"`
	StandbyKSK             *bool   `json:"standby_ksk,omitempty" doc:"have the DS of a spare KSK at the parent, which replaces the KSK without waiting for it; default false"`
	KSKPlace               *string `json:"ksk_place,omitempty" doc:"where private keys of KSKs are: sealed (default), in the database; pkcs11, in the server's token; offline, see the ceremony; a change begins a rollover"`
	ZSKLifetime            *string `json:"zsk_lifetime,omitempty" doc:"default 720h"`
	KSKLifetime            *string `json:"ksk_lifetime,omitempty" doc:"default 8760h"`
	PropagationDelay       *string `json:"propagation_delay,omitempty" doc:"until all nodes know of a change; default 5m"`
	ParentPropagationDelay *string `json:"parent_propagation_delay,omitempty" doc:"until all servers of the parent know of a change; default 1h"`
	ParentDSTTL            *string `json:"parent_ds_ttl,omitempty" doc:"TTL of the DS in the parent; default 24h"`
}

// ParentPolicy says how the DS reaches the parent zone.
type ParentPolicy struct {
	Mode    *string  `json:"mode,omitempty" doc:"manual, check or hosted; of a new zone the default is hosted if its parent is on this server, else manual; of another one what it was"`
	Servers []string `json:"servers,omitempty" doc:"address:port of all servers of the parent; asked for the DS in mode check, and before a confirmation in mode manual"`
	Push    string   `json:"push,omitempty" doc:"address:port of a server that takes the DS in DNS UPDATE messages (RFC 2136); with mode check"`
	PushKey string   `json:"push_key,omitempty" doc:"name of the TSIG key that signs them, in the server's keys.tsig_file"`
	// WithdrawDS is for going insecure, and back.
	WithdrawDS *bool `json:"withdraw_ds,omitempty" doc:"ask the parent to delete the DS (RFC 8078), so that the zone becomes insecure; it stays signed; default false"`
}

// Zone is a zone as the API shows it.
type Zone struct {
	Name string `json:"name"`
	ZoneSpec
	Serial   uint32    `json:"serial" doc:"of the SOA; counts changes of this object"`
	Created  time.Time `json:"created"`
	Closing  bool      `json:"closing,omitempty" doc:"a deletion was interrupted; repeat it, or PUT the zone to keep it"`
	Revision uint64    `json:"revision"`
}

// parse fills the defaults of apex with what the request says.
func (s ZoneSpec) parse(apex zone.Name) (zone.ZoneSpec, error) {
	var p parser
	out := zone.DefaultZoneSpec(apex)
	out.Parent.Mode = "" // depends on what there is
	for i, ns := range s.Nameservers {
		field := index("nameservers", i)
		out.Nameservers = append(out.Nameservers, zone.Nameserver{
			Name:      p.name(field+".name", ns.Name),
			Addresses: p.addresses(field+".addresses", ns.Addresses),
		})
	}
	if s.Hostmaster != nil {
		out.Hostmaster = p.name("hostmaster", *s.Hostmaster)
	}
	if s.TTL != nil {
		t := &out.TTL
		t.Host, t.Negative = or(s.TTL.Host, t.Host), or(s.TTL.Negative, t.Negative)
		t.DNSKEY, t.NS = or(s.TTL.DNSKEY, t.DNSKEY), or(s.TTL.NS, t.NS)
	}
	if s.Signature != nil {
		p.duration("signature.lifetime", s.Signature.Lifetime, &out.Signature.Lifetime)
		p.duration("signature.quantum", s.Signature.Quantum, &out.Signature.Quantum)
		p.duration("signature.backdate", s.Signature.Backdate, &out.Signature.Backdate)
		p.duration("signature.dnskey_lifetime", s.Signature.DNSKEYLifetime, &out.Signature.DNSKEYLifetime)
		p.duration("signature.dnskey_stock", s.Signature.DNSKEYStock, &out.Signature.DNSKEYStock)
	}
	if s.Keys != nil {
		s.Keys.parse(&p, &out.Keys)
	}
	if s.Parent != nil {
		out.Parent.Mode = or(s.Parent.Mode, out.Parent.Mode)
		out.Parent.Servers = p.addrPorts("parent.servers", s.Parent.Servers)
		out.Parent.WithdrawDS = or(s.Parent.WithdrawDS, out.Parent.WithdrawDS)
		out.Parent.PushKey = s.Parent.PushKey
		if s.Parent.Push != "" {
			out.Parent.Push = p.addrPort("parent.push", s.Parent.Push)
		}
	}
	out.DrainPool = s.DrainPool
	out.Accepting = or(s.Accepting, out.Accepting)
	return out, p.err()
}

func (k KeyPolicy) parse(p *parser, out *zone.KeyPolicy) {
	if k.Algorithm != nil {
		var known bool
		if out.Algorithm, known = zone.ParseAlgorithm(*k.Algorithm); !known {
			p.report("keys.algorithm", "must be ECDSAP256SHA256, ED25519 or RSASHA256")
		}
	}
	out.CSK, out.StandbyKSK = or(k.CSK, out.CSK), or(k.StandbyKSK, out.StandbyKSK)
	if k.KSKPlace != nil && *k.KSKPlace != sealed {
		out.KSKPlace = *k.KSKPlace
	}
	p.duration("keys.zsk_lifetime", k.ZSKLifetime, &out.ZSKLifetime)
	p.duration("keys.ksk_lifetime", k.KSKLifetime, &out.KSKLifetime)
	p.duration("keys.propagation_delay", k.PropagationDelay, &out.PropagationDelay)
	p.duration("keys.parent_propagation_delay", k.ParentPropagationDelay, &out.ParentPropagationDelay)
	p.duration("keys.parent_ds_ttl", k.ParentDSTTL, &out.ParentDSTTL)
}

// showZone renders a zone; everything that has a default is spelled out.
func showZone(z *zone.Zone) Zone {
	spec := ZoneSpec{
		Hostmaster: new(z.Hostmaster.String()),
		TTL:        &TTLs{&z.TTL.Host, &z.TTL.Negative, &z.TTL.DNSKEY, &z.TTL.NS},
		Signature: &SignaturePolicy{
			Lifetime: durationText(z.Signature.Lifetime), Quantum: durationText(z.Signature.Quantum),
			Backdate: durationText(z.Signature.Backdate), DNSKEYLifetime: durationText(z.Signature.DNSKEYLifetime),
			DNSKEYStock: durationText(z.Signature.Stock()),
		},
		Keys: &KeyPolicy{
			Algorithm: new(z.Keys.Algorithm.String()), CSK: &z.Keys.CSK, StandbyKSK: &z.Keys.StandbyKSK,
			KSKPlace:    new(showPlace(keymgmt.Place(z.Keys.KSKPlace))),
			ZSKLifetime: durationText(z.Keys.ZSKLifetime), KSKLifetime: durationText(z.Keys.KSKLifetime),
			PropagationDelay:       durationText(z.Keys.PropagationDelay),
			ParentPropagationDelay: durationText(z.Keys.ParentPropagationDelay),
			ParentDSTTL:            durationText(z.Keys.ParentDSTTL),
		},
		Parent:    &ParentPolicy{Mode: &z.Parent.Mode, Servers: texts(z.Parent.Servers), WithdrawDS: &z.Parent.WithdrawDS, PushKey: z.Parent.PushKey},
		DrainPool: z.DrainPool,
		Accepting: &z.Accepting,
	}
	if z.Parent.Push.IsValid() {
		spec.Parent.Push = z.Parent.Push.String()
	}
	for _, ns := range z.Nameservers {
		spec.Nameservers = append(spec.Nameservers, Nameserver{ns.Name.String(), texts(ns.Addresses)})
	}
	return Zone{Name: z.Name.String(), ZoneSpec: spec, Serial: z.Serial, Created: z.Created, Closing: z.Closing, Revision: z.Revision}
}
