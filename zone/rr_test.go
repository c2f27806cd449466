package zone

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"

	"github.com/miekg/dns"
)

func TestRRset(t *testing.T) {
	given := []string{"\x02", "\x01\xff", "\xff", "\x01", "\x02", "\x80"}
	set := NewRRset(mx, TypeTXT, 60, given)
	var got []string
	for i := range set.Len() {
		got = append(got, set.RData(i))
	}
	if want := []string{"\x01", "\x01\xff", "\x02", "\x80", "\xff"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q (RFC 4034 §6.3)", got, want)
	}
	if set.Name() != mx || set.Type() != TypeTXT || set.TTL() != 60 || set.IsEmpty() {
		t.Errorf("%+v", set)
	}
	given[0] = "changed"
	if set.RData(2) != "\x02" {
		t.Error("the set has kept the slice")
	}
	if none := NewRRset(mx, TypeA, 60, nil); !none.IsEmpty() || none.Type() != 0 || none.Len() != 0 {
		t.Errorf("an RRset without records: %+v", none)
	}
}

// RDATA is compared with what another implementation packs.
func TestRData(t *testing.T) {
	digest := []byte("0123456789abcdef0123456789abcdef")
	for text, rdata := range map[string]string{
		"x. 0 IN A 192.0.2.1":                              AddressRData(netip.MustParseAddr("192.0.2.1")),
		"x. 0 IN AAAA 2001:db8::1":                         AddressRData(netip.MustParseAddr("2001:db8::1")),
		"x. 0 IN MX 10 in.mx.test.":                        MXRData(10, MustParseName("IN.mx.test.")),
		"x. 0 IN MX 65535 .":                               MXRData(65535, Root),
		"x. 0 IN SOA ns.x. h.x. 1 2 3 4 5":                 SOAData{MustParseName("ns.x."), MustParseName("h.x."), 1, 2, 3, 4, 5}.RData(),
		"x. 0 IN TLSA 3 1 1 " + hex.EncodeToString(digest): TLSA{3, 1, 1, digest}.RData(),
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 512)
		end, err := dns.PackRR(rr, buf, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		if want := string(buf[3+10 : end]); rdata != want {
			t.Errorf("%s: %q, want %q", text, rdata, want)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for typ, name := range typeNames {
		if theirs := dns.TypeToString[uint16(typ)]; typ != TypeNXNAME && theirs != name {
			t.Errorf("%d is %s, not %s", typ, theirs, name)
		}
		if typ.String() != name {
			t.Errorf("%d prints as %s", typ, typ)
		}
	}
	if got := Type(65280).String(); got != "TYPE65280" {
		t.Error(got)
	}
}

func TestTypeBitmap(t *testing.T) {
	for _, types := range [][]Type{
		nil, {TypeA}, {TypeNXNAME}, {TypeNSEC, TypeRRSIG, TypeA}, {TypeA, TypeA, TypeMX, TypeA}, {1, 255, 256, 257}, {0xffff}, {0xff00}, {0x0100}, {0x01ff, 0x0300},
		{TypeSOA, TypeNS, TypeDNSKEY, TypeCDS, TypeCDNSKEY, TypeRRSIG, TypeNSEC, 1234, 65280},
		{7, 8}, {15, 16}, {247, 248}, {254, 255}, {256}, {0x7fff, 0x8000},
	} {
		compareBitmap(t, types)
	}
}

// FuzzTypeBitmap takes two octets for a type.
func FuzzTypeBitmap(f *testing.F) {
	for _, seed := range []string{"", "\x00\x01", "\x00\x01\x00\x01", "\xff\xff\x00\x01", "\x01\x00\x00\xff", "\x00\x2f\x00\x2e\x00\x80"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		var types []Type
		for ; len(octets) >= 2; octets = octets[2:] {
			types = append(types, Type(binary.BigEndian.Uint16(octets)))
		}
		compareBitmap(t, types)
	})
}

// compareBitmap has another implementation pack the same types and unpack ours.
func compareBitmap(t *testing.T, types []Type) {
	t.Helper()
	before := slices.Clone(types)
	ours := TypeBitmap(types)
	if !slices.Equal(before, types) {
		t.Errorf("%v was reordered", before)
	}
	sorted := slices.Compact(slices.Sorted(slices.Values(types)))
	theirTypes := make([]uint16, len(sorted))
	for i, typ := range sorted {
		theirTypes[i] = uint16(typ)
	}
	header := dns.RR_Header{Name: ".", Rrtype: dns.TypeNSEC, Class: dns.ClassINET}
	buf := make([]byte, 1<<16)
	end, err := dns.PackRR(&dns.NSEC{Hdr: header, NextDomain: ".", TypeBitMap: theirTypes}, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if theirs := string(buf[11+1 : end]); ours != theirs {
		t.Errorf("%v: %x, miekg/dns packs %x", types, ours, theirs)
	}
	message := append([]byte("\x00\x00\x2f\x00\x01\x00\x00\x00\x00"), binary.BigEndian.AppendUint16(nil, uint16(1+len(ours)))...)
	rr, _, err := dns.UnpackRR(append(append(message, 0), ours...), 0)
	if err != nil {
		t.Fatalf("%v: miekg/dns refuses %x: %v", types, ours, err)
	}
	if nsec, ok := rr.(*dns.NSEC); !ok || !slices.Equal(nsec.TypeBitMap, theirTypes) {
		t.Errorf("%v: %x is read as %v", types, ours, rr)
	}
}
