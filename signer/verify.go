package signer

import (
	"errors"
	"fmt"
	"time"

	"github.com/mxseal/mxseal/internal/rrsig"
	"github.com/mxseal/mxseal/keymgmt"
)

var errMissing = errors.New("there is not one signature for each key")

// Verify checks signatures as a validator with the zone's keys would at now (RFC 4035 §5.3). It serves to find out
// whether signing works; it returns nil if every signature is good.
func Verify(ks *keymgmt.KeySet, signed Signed, now time.Time) error {
	keys := ks.SigningKeys(signed.RRset.Name(), signed.RRset.Type())
	if signed.RRset.IsEmpty() || len(signed.Sigs) != len(keys) {
		return fmt.Errorf("verify: %w", errMissing)
	}
	for i, key := range keys {
		if err := rrsig.Verify(ks.Zone(), key.Algorithm(), key.Tag(), signed.RRset, signed.Sigs[i], now, key.Verify); err != nil {
			return fmt.Errorf("verify %s %s: %w", signed.RRset.Name(), signed.RRset.Type(), err)
		}
	}
	return nil
}
