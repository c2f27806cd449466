package rrsig

import (
	"encoding/binary"
	"errors"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// What Verify refuses with, besides the errors of verify.
var (
	errMalformed = errors.New("the signature record is malformed or about something else")
	ErrPeriod    = errors.New("the time is outside of the validity period")
)

// Verify checks RRSIG RDATA over set as a validator does at now (RFC 4035 §5.3); verify checks the signature field
// over the signed data.
func Verify(apex zone.Name, algorithm zone.Algorithm, tag uint16, set zone.RRset, rdata string, now time.Time, verify func(data, signature []byte) error) error {
	if len(rdata) < AtSigner || !strings.HasPrefix(rdata[AtSigner:], apex.Wire()) {
		return errMalformed
	}
	head, field := rdata[:AtSigner+len(apex.Wire())], []byte(rdata[:AtSigner])
	if zone.Type(binary.BigEndian.Uint16(field)) != set.Type() || field[AtAlgorithm] != byte(algorithm) ||
		field[AtLabels] != Labels(set.Name()) || binary.BigEndian.Uint32(field[AtTTL:]) != set.TTL() ||
		binary.BigEndian.Uint16(field[AtKeyTag:]) != tag {
		return errMalformed
	}
	inception, expiration := Validity(field, now)
	if now.Before(inception) || now.After(expiration) {
		return ErrPeriod
	}
	return verify(AppendRecords([]byte(head), set), []byte(rdata[len(head):]))
}
