package rrsig

import (
	"encoding/binary"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// Layout of the fixed part of RRSIG RDATA (RFC 4034 §3.1). The signer's name and the signature follow.
const (
	AtAlgorithm  = 2
	AtLabels     = 3
	AtTTL        = 4
	AtExpiration = 8
	AtInception  = 12
	AtKeyTag     = 16
	AtSigner     = 18
)

const classIN = 1

// AppendData appends what a signature is made over (RFC 4034 §3.1.8.1): RRSIG RDATA up to the signature, without
// algorithm and key tag, for which see [SetKey]; then the records in canonical form and order.
func AppendData(b []byte, apex zone.Name, set zone.RRset, w Window) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(set.Type()))
	b = append(b, 0, Labels(set.Name()))
	b = binary.BigEndian.AppendUint32(b, set.TTL())
	b = binary.BigEndian.AppendUint32(b, uint32(w.Expiration)) // modulo 2^32, RFC 4034 §3.1.5
	b = binary.BigEndian.AppendUint32(b, uint32(w.Inception))
	b = append(b, 0, 0)
	return AppendRecords(append(b, apex.Wire()...), set)
}

// SetKey fills algorithm and key tag in.
func SetKey(data []byte, algorithm zone.Algorithm, tag uint16) {
	data[AtAlgorithm] = byte(algorithm)
	binary.BigEndian.PutUint16(data[AtKeyTag:], tag)
}

// Head returns the part of data that is also the beginning of the RRSIG RDATA.
func Head(data []byte, apex zone.Name) []byte { return data[:AtSigner+len(apex.Wire())] }

// Labels is the labels field: neither the root nor a leading asterisk counts (RFC 4034 §3.1.3).
func Labels(name zone.Name) byte {
	n := name.Labels()
	if name.FirstLabel() == "*" {
		n--
	}
	return byte(n)
}

// AppendRecords appends the records in canonical form and order (RFC 4034 §3.1.8.1, §6), which is how an RRset
// has them.
func AppendRecords(b []byte, set zone.RRset) []byte {
	for i := range set.Len() {
		rdata := set.RData(i)
		b = append(b, set.Name().Wire()...)
		b = binary.BigEndian.AppendUint16(b, uint16(set.Type()))
		b = binary.BigEndian.AppendUint16(b, classIN)
		b = binary.BigEndian.AppendUint32(b, set.TTL())
		b = binary.BigEndian.AppendUint16(b, uint16(len(rdata)))
		b = append(b, rdata...)
	}
	return b
}

// Validity returns inception and expiration of RRSIG RDATA, which has at least its fixed part; see [Time].
func Validity(rdata []byte, now time.Time) (inception, expiration time.Time) {
	return Time(binary.BigEndian.Uint32(rdata[AtInception:]), now), Time(binary.BigEndian.Uint32(rdata[AtExpiration:]), now)
}
