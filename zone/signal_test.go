package zone

import (
	"slices"
	"testing"
)

// A zone whose parent is not ours is told of at its name servers that are in other zones of ours, and nowhere else.
func TestSignalsOfOtherZones(t *testing.T) {
	w := nested(t)
	other := MustParseName("o-v1.example.")
	spec := zoneSpec(other)
	spec.Nameservers = append(spec.Nameservers, Nameserver{Name: MustParseName("ns1.mx.test.")}, Nameserver{Name: MustParseName("nowhere.mx.test.")},
		Nameserver{Name: MustParseName("ns9.elsewhere.")})
	w.zone(other, spec)
	both := []Type{TypeCDS, TypeCDNSKEY}
	for name, want := range map[string][]Type{
		"_dsboot.o-v1.example._signal.ns1.mx.test.": both,
		"o-v1.example._signal.ns1.mx.test.":         {},
		"example._signal.ns1.mx.test.":              {},
		"_signal.ns1.mx.test.":                      {},
		"ns1.mx.test.":                              {TypeA, TypeAAAA},

		"x._signal.ns1.mx.test.":                         nil,
		"_dsboot.x.example._signal.ns1.mx.test.":         nil,
		"x._dsboot.o-v1.example._signal.ns1.mx.test.":    nil,
		"_dsboot.o-v1.example._signal.nowhere.mx.test.":  nil, // not a name server of mx.test: it does not exist there
		"_signal.nowhere.mx.test.":                       nil,
		"_dsboot.o-v1.example._signal.ns1.o-v1.example.": nil, // inside the zone it would prove nothing
		"_dsboot.o-v1.eu.mx.test._signal.ns1.mx.test.":   nil, // we are the parent
		"_dsboot.mx.test._signal.ns1.mx.test.":           nil,
	} {
		checkName(t, w, w, MustParseName(name), want)
	}
	a := Lookup(w, w, MustParseName("_dsboot.o-v1.example._signal.ns1.mx.test."), TypeCDS)
	i := slices.IndexFunc(w.Apex(other), func(s RRset) bool { return s.Type() == TypeCDS })
	if a.RRset.RData(0) != w.Apex(other)[i].RData(0) || a.Zone.Name != mx || a.RRset.TTL() != 3600 {
		t.Errorf("CDS %+v", a.RRset)
	}
	w.dropZone(other)
	checkName(t, w, w, MustParseName("_signal.ns1.mx.test."), nil)
}
