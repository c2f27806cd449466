package zone

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// Owner is what a label belongs to for ever: an accepted domain ("contoso.com") or the smarthost of a
// tenant ("@acme"; "@" cannot occur in a domain). The two kinds share the label space of a zone.
type Owner string

// DomainOwner is the owner of a domain's host.
func DomainOwner(d Domain) Owner { return Owner(d) }

// SmarthostOwner is the owner of a tenant's smarthost.
func SmarthostOwner(tenant string) Owner { return Owner("@" + tenant) }

// IsSmarthost reports whether the owner is a tenant and not a domain.
func (o Owner) IsSmarthost() bool { return strings.HasPrefix(string(o), "@") }

// hashedTail is the hyphen and the eight base32 characters that end a label that had to be cut.
const hashedTail = 1 + 8

// PlainLabel is the label that reads like the owner: dots become hyphens. It may be longer than a label
// can be, or belong to another owner already.
func PlainLabel(o Owner) string {
	return hyphens.Replace(strings.TrimPrefix(string(o), "@"))
}

var hyphens = strings.NewReplacer(".", "-", "_", "-")

// HashedLabel is the label of an owner whose plain label is too long or taken: the plain label, cut where
// needed, and 40 bits of the owner's SHA-256.
func HashedLabel(o Owner) string {
	sum := sha256.Sum256([]byte(o))
	plain := PlainLabel(o)
	if len(plain) > MaxLabelLen-hashedTail {
		plain = plain[:MaxLabelLen-hashedTail]
	}
	return plain + "-" + lowerBase32.EncodeToString(sum[:5])
}

// lowerBase32 is that of RFC 4648 §6, in lower case.
var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567")

// AssignLabel chooses the label of owner in a zone. taken says who holds a label there, if anybody does;
// what it answers for a label must never change once it has named an owner. The choice is then the same
// every time: a label once given is found again, and never given to anybody else.
func AssignLabel(o Owner, taken func(label string) (Owner, bool)) (string, error) {
	hashed := HashedLabel(o)
	holder, held := taken(hashed)
	if held && holder == o {
		return hashed, nil
	}
	if plain := PlainLabel(o); len(plain) <= MaxLabelLen {
		if by, isTaken := taken(plain); !isTaken || by == o {
			return plain, nil
		}
	}
	if held {
		return "", refuse(ErrConflict, "domain", "both labels of %s belong to other owners", o)
	}
	return hashed, nil
}
