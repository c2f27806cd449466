package server

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/zone"
)

// soaQuery is a query for the SOA of a zone, with DO.
func soaQuery(apex zone.Name) []byte { return appendQuery(nil, apex.Wire(), zone.TypeSOA, keyDO) }

var errReply = errors.New("the reply is not as it should be")

// readSOA reads the reply to soaQuery: an answer section with one SOA and signatures, all at the name asked for. It
// knows no more of DNS than that needs: whatever looks different is an error.
func readSOA(reply []byte, apex zone.Name) (set zone.RRset, sigs []string, err error) {
	const (
		flags   = 0x8400 // QR and AA alone: NOERROR, not truncated
		fixed   = 12     // pointer, TYPE, CLASS, TTL, RDLENGTH: RFC 1035 §4.1.3
		pointer = 0xc00c // to the question
	)
	body := headerLen + len(apex.Wire()) + 4
	if len(reply) < body {
		return set, nil, errReply
	}
	if got := binary.BigEndian.Uint16(reply[2:]); got != flags {
		return set, nil, fmt.Errorf("%w: flags %#04x", errReply, got)
	}
	var soa []string
	var ttl uint32
	rest := reply[body:]
	for range binary.BigEndian.Uint16(reply[6:]) {
		if len(rest) < fixed || binary.BigEndian.Uint16(rest) != pointer {
			return set, nil, errReply
		}
		size := int(binary.BigEndian.Uint16(rest[10:]))
		if len(rest)-fixed < size {
			return set, nil, errReply
		}
		rdata := string(rest[fixed : fixed+size])
		switch zone.Type(binary.BigEndian.Uint16(rest[2:])) {
		case zone.TypeSOA:
			ttl = binary.BigEndian.Uint32(rest[6:])
			soa = append(soa, rdata)
		case zone.TypeRRSIG:
			sigs = append(sigs, rdata)
		}
		rest = rest[fixed+size:]
	}
	if len(soa) != 1 || len(sigs) == 0 {
		return set, nil, fmt.Errorf("%w: %d SOA, %d signatures", errReply, len(soa), len(sigs))
	}
	return zone.NewRRset(apex, zone.TypeSOA, ttl, soa), sigs, nil
}
