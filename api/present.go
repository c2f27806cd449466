package api

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mxseal/mxseal/zone"
)

// lines renders an RRset, one record a line, in presentation form (RFC 1035 §5.1).
func lines(set zone.RRset) []string {
	out := make([]string, set.Len())
	for i := range out {
		out[i] = line(set, i)
	}
	return out
}

func line(set zone.RRset, i int) string {
	return fmt.Sprintf("%s %d IN %s %s", set.Name(), set.TTL(), set.Type(), dataText(set.Type(), set.RData(i)))
}

// dataText renders RDATA. Types that no tenant or key has, and RDATA that is not of its type, appear in the
// generic form of RFC 3597 §5.
func dataText(typ zone.Type, rdata string) string {
	b := []byte(rdata)
	switch {
	case typ == zone.TypeA && len(b) == 4, typ == zone.TypeAAAA && len(b) == 16:
		if addr, ok := netip.AddrFromSlice(b); ok {
			return addr.String()
		}
	case typ == zone.TypeMX && len(b) > 2:
		if name, err := zone.NameFromWire(b[2:]); err == nil {
			return fmt.Sprintf("%d %s", binary.BigEndian.Uint16(b), name)
		}
	case typ == zone.TypeTLSA && len(b) > 3: // RFC 6698 §2.2
		return fmt.Sprintf("%d %d %d %s", b[0], b[1], b[2], hex.EncodeToString(b[3:]))
	case (typ == zone.TypeDS || typ == zone.TypeCDS) && len(b) > 4: // RFC 4034 §5.3
		return fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(b), b[2], b[3], strings.ToUpper(hex.EncodeToString(b[4:])))
	case (typ == zone.TypeDNSKEY || typ == zone.TypeCDNSKEY) && len(b) > 4: // RFC 4034 §2.2
		return fmt.Sprintf("%d %d %d %s", binary.BigEndian.Uint16(b), b[2], b[3], base64.StdEncoding.EncodeToString(b[4:]))
	}
	return strings.TrimSpace(fmt.Sprintf(`\# %d %s`, len(b), hex.EncodeToString(b)))
}

// isSecureEntryPoint reads the SEP flag of DNSKEY RDATA (RFC 4034 §2.1.1).
func isSecureEntryPoint(rdata string) bool { return len(rdata) > 1 && rdata[1]&1 != 0 }
