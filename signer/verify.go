package signer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

var (
	errMissing   = errors.New("there is not one signature for each key")
	errMalformed = errors.New("the signature record is malformed or about something else")
	errPeriod    = errors.New("the time is outside of the validity period")
)

// Verify checks signatures as a validator with the zone's keys would at now (RFC 4035 §5.3). It serves to find out
// whether signing works; it returns nil if every signature is good.
func Verify(ks *keymgmt.KeySet, signed Signed, now time.Time) error {
	keys := ks.SigningKeys(signed.RRset.Type())
	if signed.RRset.IsEmpty() || len(signed.Sigs) != len(keys) {
		return fmt.Errorf("verify: %w", errMissing)
	}
	for i, key := range keys {
		if err := verifyOne(ks.Zone(), key, signed.RRset, signed.Sigs[i], now); err != nil {
			return fmt.Errorf("verify %s %s: %w", signed.RRset.Name(), signed.RRset.Type(), err)
		}
	}
	return nil
}

func verifyOne(apex zone.Name, key *keymgmt.SigningKey, set zone.RRset, rdata string, now time.Time) error {
	if len(rdata) < atSigner || !strings.HasPrefix(rdata[atSigner:], apex.Wire()) {
		return errMalformed
	}
	head, field := rdata[:atSigner+len(apex.Wire())], []byte(rdata[:atSigner])
	if zone.Type(binary.BigEndian.Uint16(field)) != set.Type() || field[atAlgorithm] != byte(key.Algorithm()) ||
		field[atLabels] != labelCount(set.Name()) || binary.BigEndian.Uint32(field[atTTL:]) != set.TTL() ||
		binary.BigEndian.Uint16(field[atKeyTag:]) != key.Tag() {
		return errMalformed
	}
	inception := signatureTime(binary.BigEndian.Uint32(field[atInception:]), now)
	expiration := signatureTime(binary.BigEndian.Uint32(field[atExpiration:]), now)
	if now.Before(inception) || now.After(expiration) {
		return errPeriod
	}
	return key.Verify(appendRecords([]byte(head), set), []byte(rdata[len(head):]))
}
