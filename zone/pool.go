package zone

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
)

// Bounds of a pool. They keep every answer made from one under 64 KiB and most under 1232 octets.
const (
	maxPoolHosts     = 64
	maxPoolAddresses = 128
	maxTLSARecords   = 16
	maxTLSAPorts     = 16
	maxTLSAData      = 4096
	maxTLSAInAll     = 32 << 10 // octets of data
)

// TLSA is one association (RFC 6698 §2.1) as SMTP uses it: usage 2 or 3 (RFC 7672 §3.1).
type TLSA struct {
	Usage        uint8  `json:"usage"`
	Selector     uint8  `json:"selector"`
	MatchingType uint8  `json:"matching_type"`
	Data         []byte `json:"data"` // digest or DER
}

// MailServer is one machine of a pool.
type MailServer struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
}

// PoolSpec is what a provider says about a pool, already of the right types but not yet checked.
type PoolSpec struct {
	Hosts        []MailServer
	MXPreference uint16
	TLSA         []TLSA
	TLSAPorts    []uint16 // empty means 25 alone
}

// Pool is a group of mail servers; the answers of every host that points to it are made from it.
// Rows are immutable: change a copy.
type Pool struct {
	Name         string       `json:"name"`
	Hosts        []MailServer `json:"hosts"`
	MXPreference uint16       `json:"mx_preference"`
	TLSA         []TLSA       `json:"tlsa"`
	TLSAPorts    []uint16     `json:"tlsa_ports"`
	Closing      bool         `json:"closing,omitempty"` // being deleted: takes no new tenants
	Revision     uint64       `json:"-"`                 // of the last write, 0 before the first

	v4, v6, tlsa []string // RDATA in canonical order; made once, since every answer needs it
}

// prepare makes the RDATA. Addresses and TLSA never change afterwards, in copies neither.
func (p *Pool) prepare() *Pool {
	p.v4, p.v6, p.tlsa = nil, nil, nil
	for _, h := range p.Hosts {
		for _, a := range h.Addresses {
			if a.Is6() {
				p.v6 = append(p.v6, AddressRData(a))
			} else {
				p.v4 = append(p.v4, AddressRData(a))
			}
		}
	}
	for _, t := range p.TLSA {
		p.tlsa = append(p.tlsa, t.RData())
	}
	p.v4, p.v6, p.tlsa = canonicalOrder(p.v4), canonicalOrder(p.v6), canonicalOrder(p.tlsa)
	return p
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *Pool) UnmarshalJSON(b []byte) error {
	type plain Pool
	err := json.Unmarshal(b, (*plain)(p))
	p.prepare()
	return err
}

// NewPool checks a specification. All problems are reported together as [FieldErrors].
func NewPool(name string, spec PoolSpec) (*Pool, error) {
	var errs FieldErrors
	checkID(&errs, "pool", name)
	checkMailServers(&errs, spec.Hosts)
	if len(spec.TLSA) > maxTLSARecords {
		errs.add("tlsa", "must have at most %d records", maxTLSARecords)
	}
	inAll := 0
	for i, t := range spec.TLSA {
		checkTLSA(&errs, "tlsa["+strconv.Itoa(i)+"]", t)
		inAll += len(t.Data)
	}
	if inAll > maxTLSAInAll {
		errs.add("tlsa", "must have at most %d octets of data in all", maxTLSAInAll)
	}
	ports := slices.Clone(spec.TLSAPorts)
	if len(ports) == 0 {
		ports = []uint16{25}
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	if ports[0] == 0 {
		errs.add("tlsa_ports", "must be port numbers from 1 to 65535")
	}
	if len(ports) > maxTLSAPorts {
		errs.add("tlsa_ports", "must have at most %d ports", maxTLSAPorts)
	}
	if err := errs.err(); err != nil {
		return nil, err
	}
	p := &Pool{Name: name, Hosts: spec.Hosts, MXPreference: spec.MXPreference, TLSA: spec.TLSA, TLSAPorts: ports}
	return p.prepare(), nil
}

func checkMailServers(errs *FieldErrors, hosts []MailServer) {
	seen := map[netip.Addr]bool{}
	names := map[string]bool{}
	for i, h := range hosts {
		field := "hosts[" + strconv.Itoa(i) + "]"
		if h.Name == "" || len(h.Name) > MaxLabelLen {
			errs.add(field+".name", "must have 1 to 63 characters")
		} else if names[h.Name] {
			errs.add(field+".name", "is used twice")
		}
		names[h.Name] = true
		for j, a := range h.Addresses {
			checkAddress(errs, field+".addresses["+strconv.Itoa(j)+"]", a)
			if seen[a] {
				errs.add(field+".addresses["+strconv.Itoa(j)+"]", "is given twice")
			}
			seen[a] = true
		}
	}
	switch {
	case len(seen) == 0:
		errs.add("hosts", "must have at least one address in all: a host without addresses cannot receive mail")
	case len(seen) > maxPoolAddresses:
		errs.add("hosts", "must have at most %d addresses in all", maxPoolAddresses)
	case len(hosts) > maxPoolHosts:
		errs.add("hosts", "must have at most %d entries", maxPoolHosts)
	}
}

// checkAddress accepts what an A or AAAA record may hold for a server: unicast, without zone, not an IPv4
// address in IPv6 clothing. Loopback and private addresses are left to the provider's judgement.
func checkAddress(errs *FieldErrors, field string, a netip.Addr) {
	switch {
	case !a.IsValid():
		errs.add(field, "must be an IPv4 or IPv6 address")
	case a.Zone() != "":
		errs.add(field, "must not have a zone")
	case a.Is4In6():
		errs.add(field, "must not be an IPv4-mapped IPv6 address; write it as IPv4")
	case a.IsUnspecified():
		errs.add(field, "must not be the unspecified address")
	case a.IsMulticast():
		errs.add(field, "must not be a multicast address")
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		errs.add(field, "must not be the broadcast address")
	}
}

func checkTLSA(errs *FieldErrors, field string, t TLSA) {
	if t.Usage != 2 && t.Usage != 3 {
		errs.add(field+".usage", "must be 3 (DANE-EE) or 2 (DANE-TA); SMTP clients treat 0 and 1 as unusable (RFC 7672 section 3.1.3)")
	}
	if t.Selector > 1 {
		errs.add(field+".selector", "must be 0 (certificate) or 1 (public key)")
	}
	want, known := map[uint8]int{1: 32, 2: 64}[t.MatchingType]
	switch {
	case t.MatchingType > 2:
		errs.add(field+".matching_type", "must be 0 (full), 1 (SHA-256) or 2 (SHA-512)")
	case known && len(t.Data) != want:
		errs.add(field+".data", "must be a digest of %d octets (%d hexadecimal digits) for matching type %d, has %d", want, 2*want, t.MatchingType, len(t.Data))
	case len(t.Data) == 0:
		errs.add(field+".data", "must not be empty")
	case len(t.Data) > maxTLSAData:
		errs.add(field+".data", "must have at most %d octets", maxTLSAData)
	}
}

// Same reports whether two versions of a pool give the same answers and the same API representation.
func (p *Pool) Same(o *Pool) bool {
	return p.MXPreference == o.MXPreference && p.Closing == o.Closing && slices.Equal(p.TLSAPorts, o.TLSAPorts) &&
		slices.EqualFunc(p.TLSA, o.TLSA, func(a, b TLSA) bool { return compareTLSA(a, b) == 0 }) &&
		slices.EqualFunc(p.Hosts, o.Hosts, func(a, b MailServer) bool {
			return a.Name == b.Name && slices.Equal(a.Addresses, b.Addresses)
		})
}

func compareTLSA(a, b TLSA) int {
	return cmp.Or(cmp.Compare(a.Usage, b.Usage), cmp.Compare(a.Selector, b.Selector),
		cmp.Compare(a.MatchingType, b.MatchingType), bytes.Compare(a.Data, b.Data))
}

// String is the presentation form of the RDATA (RFC 6698 §2.2).
func (t TLSA) String() string {
	return strconv.Itoa(int(t.Usage)) + " " + strconv.Itoa(int(t.Selector)) + " " +
		strconv.Itoa(int(t.MatchingType)) + " " + hex.EncodeToString(t.Data)
}

// checkID applies the rule for ids that the provider chooses: tenants and pools.
func checkID(errs *FieldErrors, field, id string) {
	const rule = "must have 1 to 64 characters of a-z, 0-9, '.', '_' and '-', beginning and ending with a letter or digit"
	if id == "" || len(id) > 64 || !alphanumeric(id[0]) || !alphanumeric(id[len(id)-1]) {
		errs.add(field, rule)
		return
	}
	for i := range len(id) {
		if c := id[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '-' {
			errs.add(field, rule)
			return
		}
	}
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }
