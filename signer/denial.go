package signer

import (
	"slices"
	"strings"

	"github.com/mxseal/mxseal/zone"
)

// absentBitmap is that of a name that does not exist (RFC 9824 §3.1).
var absentBitmap = zone.TypeBitmap([]zone.Type{zone.TypeRRSIG, zone.TypeNSEC, zone.TypeNXNAME})

// Denial returns the NSEC RRset at the name of an answer (RFC 9824 §3): its bitmap has the answer's types, its next
// name is the name that follows immediately. The TTL is that of negative answers (RFC 9077 §3), which is both the
// TTL and the minimum of the SOA.
func (s *Signer) Denial(a zone.Answer) zone.RRset {
	next := successor(a.Name, a.Zone.Name)
	if isDelegation(a) {
		// RFC 9824 §3.4: what is below a zone cut is not ours to deny.
		next = successorOfTree(a.Name, a.Zone.Name)
	}
	types := append(slices.Clone(a.Types), zone.TypeRRSIG, zone.TypeNSEC)
	return zone.NewRRset(a.Name, zone.TypeNSEC, a.Zone.TTL.Negative, []string{next.Wire() + zone.TypeBitmap(types)})
}

func isDelegation(a zone.Answer) bool {
	return a.Name != a.Zone.Name && slices.Contains(a.Types, zone.TypeNS)
}

// deniesName reports whether an RRset is the denial of a name that does not exist.
func deniesName(set zone.RRset) bool {
	return set.Type() == zone.TypeNSEC && strings.HasSuffix(set.RData(0), absentBitmap)
}

// successor returns the name that follows name immediately in the canonical order (RFC 4034 §6.1) of all names
// that a zone could have; after the last one comes the apex. Nearly always it is \000.name; see RFC 4471 §3.1.2
// for the rest.
func successor(name, apex zone.Name) zone.Name {
	if child, err := name.Child("\x00"); err == nil {
		return child
	}
	return successorOfTree(name, apex)
}

// successorOfTree returns the name that follows immediately after name and all names below it.
func successorOfTree(name, apex zone.Name) zone.Name {
	for name != apex && !name.IsRoot() {
		parent := name.Parent()
		if next, err := parent.Child(name.FirstLabel() + "\x00"); err == nil {
			return next
		}
		if label := increment(name.FirstLabel()); label != "" {
			if next, err := parent.Child(label); err == nil {
				return next
			}
		}
		name = parent // its first label is the last one there can be: go on after the whole parent
	}
	return apex
}

// increment returns the shortest label that sorts after label and all labels that begin with it, in the order of
// octets without upper-case letters, which canonical names do not have. It is empty if there is none.
func increment(label string) string {
	for i := len(label) - 1; i >= 0; i-- {
		octet := label[i] + 1
		if octet == 'A' {
			octet = 'Z' + 1
		}
		if octet != 0 { // 0xff cannot be incremented: the octet before it has to
			return label[:i] + string([]byte{octet})
		}
	}
	return ""
}
