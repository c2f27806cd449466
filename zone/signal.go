package zone

import "slices"

// Labels of the names that tell of the keys of a zone elsewhere, in the signed zone of a name server (RFC 9615 §3.1).
const (
	bootLabel   = "_dsboot"
	signalLabel = "_signal"
)

// signalRecords makes what zone z says of the keys of other zones of ours: below each name server in z that such a zone has,
// the CDS and CDNSKEY RRsets of that zone. From them a parent that is not ours takes the first DS (RFC 9615 §4).
func signalRecords(v View, keys Keys, z *Zone, name Name) (sets []RRset, exists bool) {
	for child := range v.Zones {
		if child.Name == z.Name || keys.DS(child.Name).IsEmpty() || Enclosing(v, child.Name.Parent()) != nil {
			continue
		}
		for _, ns := range child.Nameservers {
			boot := bootName(child, ns.Name)
			if boot.IsZero() || !isNameserver(z, ns.Name) || !boot.Within(name) {
				continue
			}
			exists = true
			if boot != name {
				continue
			}
			for _, set := range keys.Apex(child.Name) {
				if set.Type() == TypeCDS || set.Type() == TypeCDNSKEY {
					set.name, set.ttl = name, z.TTL.NS
					sets = append(sets, set)
				}
			}
		}
	}
	return sets, exists
}

// bootName returns _dsboot.<child>._signal.<ns>; the zero Name if ns is inside the child, where it would prove nothing, or if
// it would be too long.
func bootName(child *Zone, ns Name) Name {
	if ns.Within(child.Name) {
		return Name{}
	}
	name, err := ns.Child(signalLabel)
	labels := labelsOf(child.Name)
	slices.Reverse(labels)
	for _, label := range append(labels, bootLabel) {
		if err == nil {
			name, err = name.Child(label)
		}
	}
	if err != nil {
		return Name{}
	}
	return name
}

// isNameserver reports whether a name inside z is one of its own name servers: only then it exists.
func isNameserver(z *Zone, name Name) bool {
	return name.Within(z.Name) && slices.ContainsFunc(z.Nameservers, func(ns Nameserver) bool { return ns.Name == name })
}

// hasLabel reports whether a name has a label below apex.
func hasLabel(name, apex Name, label string) bool {
	for ; name != apex && !name.IsRoot(); name = name.Parent() {
		if name.FirstLabel() == label {
			return true
		}
	}
	return false
}
