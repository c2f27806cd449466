package keymgmt

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/zone"
)

// Presentation returns the RDATA of the key's DNSKEY record in presentation form (RFC 4034 §2.2).
func (k *KeyRecord) Presentation() string {
	return fmt.Sprintf("%d %d %d %s", k.Flags, dnskeyProtocol, k.Algorithm, base64.StdEncoding.EncodeToString(k.PublicKey))
}

var errNotDNSKEY = errors.New("must be a DNSKEY record, or its data: 257 3 13 and the public key in base64")

// parseDNSKEY reads a DNSKEY record of a zone, or only its RDATA, in presentation form (RFC 4034 §2.2). What it returns has
// neither an id nor a private part.
func parseDNSKEY(apex zone.Name, text string) (*KeyRecord, error) {
	fields := strings.Fields(text)
	if i := slices.Index(fields, "DNSKEY"); i >= 0 {
		owner, err := zone.ParseName(fields[0])
		if err != nil || owner != apex {
			return nil, fmt.Errorf("is the DNSKEY of %s, not of %s", fields[0], apex)
		}
		fields = fields[i+1:]
	}
	if len(fields) < 4 {
		return nil, errNotDNSKEY
	}
	flags, err1 := strconv.ParseUint(fields[0], 10, 16)
	algorithm, known := zone.ParseAlgorithm(fields[2])
	public, err2 := base64.StdEncoding.DecodeString(strings.Join(fields[3:], ""))
	switch {
	case err1 != nil || err2 != nil || fields[1] != strconv.Itoa(dnskeyProtocol):
		return nil, errNotDNSKEY
	case !known:
		return nil, fmt.Errorf("has the algorithm %s, which is not supported", fields[2])
	}
	k := &KeyRecord{Zone: apex, Algorithm: algorithm, Flags: uint16(flags), PublicKey: public}
	switch k.Flags {
	case KSK.flags():
		k.Role = KSK
	case ZSK.flags():
		k.Role = ZSK
	default:
		return nil, errors.New("must have the flags 257 (KSK) or 256 (ZSK)")
	}
	if err := checkPublic(algorithm, public); err != nil {
		return nil, err
	}
	k.KeyTag, _ = tags(k.Flags, algorithm, public)
	return k, nil
}
