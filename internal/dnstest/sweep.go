package dnstest

import (
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// CheckName asks a name for every given type, with DO, and returns what is there: the bitmap of its denials. It is
// an error if an answer is not correct, if two denials have different bitmaps, or if a type is in the bitmap and has
// no records, or the other way round. Types that are never answered (NXNAME, zone transfers) must not be given.
func CheckName(ask Asker, keys Keys, name string, types []uint16, now func() time.Time) (bitmap []uint16, err error) {
	positive := map[uint16]bool{}
	for _, typ := range types {
		q := Query{Name: name, Type: typ, DO: true}
		m, err := ask(q)
		if err != nil {
			return nil, err
		}
		if err := CheckAnswer(keys, q, m, now()); err != nil {
			return nil, err
		}
		positive[typ] = len(m.Answer) > 0
		found := bitmapOf(m)
		switch {
		case found == nil:
		case bitmap == nil:
			bitmap = found
		case !slices.Equal(bitmap, found):
			return nil, fmt.Errorf("%s: the bitmap is %v, and %v elsewhere", q, found, bitmap)
		}
	}
	if bitmap == nil {
		return nil, nil // nothing was denied
	}
	for _, typ := range types {
		listed := slices.Contains(bitmap, typ)
		if typ != dns.TypeANY && positive[typ] != listed {
			return nil, fmt.Errorf("%s %s: in the bitmap: %t, has records: %t", name, dns.Type(typ), listed, positive[typ])
		}
	}
	return bitmap, nil
}

// bitmapOf returns the bitmap of the first NSEC in the message, nil if there is none.
func bitmapOf(m *dns.Msg) []uint16 {
	for _, rr := range append(append([]dns.RR{}, m.Answer...), m.Ns...) {
		if nsec, ok := rr.(*dns.NSEC); ok {
			return nsec.TypeBitMap
		}
	}
	return nil
}
