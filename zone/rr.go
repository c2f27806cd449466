package zone

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Type is an RR type (RFC 6895 §3.1).
type Type uint16

// The types that this server knows by name. Every other type is answered too, with a denial.
const (
	TypeA       Type = 1
	TypeNS      Type = 2
	TypeCNAME   Type = 5
	TypeSOA     Type = 6
	TypeMX      Type = 15
	TypeTXT     Type = 16
	TypeAAAA    Type = 28
	TypeDS      Type = 43
	TypeRRSIG   Type = 46
	TypeNSEC    Type = 47
	TypeDNSKEY  Type = 48
	TypeTLSA    Type = 52
	TypeCDS     Type = 59
	TypeCDNSKEY Type = 60
	TypeNXNAME  Type = 128 // RFC 9824 §2: in bitmaps only, never a record
	TypeIXFR    Type = 251
	TypeAXFR    Type = 252
	TypeANY     Type = 255
)

// RRset is the records of one owner name and type, class IN, in canonical order and without duplicates
// (RFC 4034 §6.3). It is immutable.
type RRset struct {
	name  Name
	typ   Type
	ttl   uint32
	rdata []string
}

// NewRRset builds a set from RDATA in wire form, names inside uncompressed and in lower case. It sorts and
// removes duplicates; the slice is not kept. Without RDATA the result is the empty RRset.
func NewRRset(name Name, typ Type, ttl uint32, rdata []string) RRset {
	if len(rdata) == 0 {
		return RRset{}
	}
	return RRset{name, typ, ttl, canonicalOrder(slices.Clone(rdata))}
}

// canonicalOrder sorts RDATA in place and removes duplicates. RFC 4034 §6.3: left-justified unsigned octets, which is how Go
// compares strings.
func canonicalOrder(rdata []string) []string {
	slices.Sort(rdata)
	return slices.Clip(slices.Compact(rdata))
}

// Name returns the owner.
func (s RRset) Name() Name { return s.name }

// Type returns the RR type.
func (s RRset) Type() Type { return s.typ }

// TTL returns the TTL in seconds.
func (s RRset) TTL() uint32 { return s.ttl }

// Len counts the records.
func (s RRset) Len() int { return len(s.rdata) }

// RData returns the RDATA of record i in wire form.
func (s RRset) RData(i int) string { return s.rdata[i] }

// IsEmpty reports whether there are no records, and hence no RRset.
func (s RRset) IsEmpty() bool { return len(s.rdata) == 0 }

// Same reports whether two sets have the same owner, type, TTL and records.
func (s RRset) Same(o RRset) bool {
	return s.name == o.name && s.typ == o.typ && s.ttl == o.ttl && slices.Equal(s.rdata, o.rdata)
}

// RData constructors. Each returns the wire form of the RFC it names.

// AddressRData is the RDATA of A (RFC 1035 §3.4.1) or AAAA (RFC 3596 §2.2).
func AddressRData(a netip.Addr) string { return string(a.AsSlice()) }

// MXRData is the RDATA of MX (RFC 1035 §3.3.9).
func MXRData(preference uint16, exchange Name) string {
	return string(binary.BigEndian.AppendUint16(nil, preference)) + exchange.Wire()
}

// SOAData is the content of an SOA record (RFC 1035 §3.3.13); times in seconds.
type SOAData struct {
	MName, RName                            Name
	Serial, Refresh, Retry, Expire, Minimum uint32
}

// RData returns the wire form.
func (d SOAData) RData() string {
	b := append([]byte(d.MName.Wire()), d.RName.Wire()...)
	for _, v := range []uint32{d.Serial, d.Refresh, d.Retry, d.Expire, d.Minimum} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return string(b)
}

// RData returns the RDATA of a TLSA record (RFC 6698 §2.1).
func (t TLSA) RData() string {
	return string([]byte{t.Usage, t.Selector, t.MatchingType}) + string(t.Data)
}

// TypeBitmap encodes types as in an NSEC record (RFC 4034 §4.1.2). Order and duplicates do not matter.
func TypeBitmap(types []Type) string {
	sorted := slices.Clone(types)
	slices.Sort(sorted)
	var b strings.Builder
	for i := 0; i < len(sorted); {
		window := byte(sorted[i] >> 8)
		var bits [32]byte
		last := 0
		for ; i < len(sorted) && byte(sorted[i]>>8) == window; i++ {
			low := int(sorted[i] & 0xff)
			bits[low/8] |= 0x80 >> (low % 8)
			last = low / 8
		}
		b.WriteByte(window)
		b.WriteByte(byte(last + 1))
		b.Write(bits[:last+1])
	}
	return b.String()
}

var typeNames = map[Type]string{
	TypeA: "A", TypeNS: "NS", TypeCNAME: "CNAME", TypeSOA: "SOA", TypeMX: "MX", TypeTXT: "TXT",
	TypeAAAA: "AAAA", TypeDS: "DS", TypeRRSIG: "RRSIG", TypeNSEC: "NSEC", TypeDNSKEY: "DNSKEY",
	TypeTLSA: "TLSA", TypeCDS: "CDS", TypeCDNSKEY: "CDNSKEY", TypeNXNAME: "NXNAME", TypeIXFR: "IXFR",
	TypeAXFR: "AXFR", TypeANY: "ANY",
}

// String returns the mnemonic, or TYPE123 (RFC 3597 §5).
func (t Type) String() string {
	if name, known := typeNames[t]; known {
		return name
	}
	return fmt.Sprintf("TYPE%d", uint16(t))
}
