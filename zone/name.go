package zone

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of RFC 1035 §2.3.4, in octets.
const (
	MaxNameLen  = 255 // of a name in wire form, root octet included
	MaxLabelLen = 63
)

// Errors of the name constructors.
var (
	ErrNameTooLong  = errors.New("name is longer than 255 octets")
	ErrLabelTooLong = errors.New("label is longer than 63 octets")
	ErrEmptyLabel   = errors.New("name has an empty label")
	ErrBadEscape    = errors.New("name has a bad escape")
	ErrBadWire      = errors.New("name is not in wire form")
)

// Name is an absolute domain name in canonical form (RFC 4034 §6.2): wire format, uncompressed, ASCII
// letters in lower case. The zero Name is no name at all and is never returned without an error. Names
// are comparable with == and usable as map keys.
type Name struct{ wire string }

// Root is the name of the root zone.
var Root = Name{"\x00"}

// ParseName reads a name in presentation form (RFC 1035 §5.1: \DDD and \X escapes). A missing final dot
// is supplied: every name is absolute.
func ParseName(text string) (Name, error) {
	if text == "." {
		return Root, nil
	}
	if text == "" {
		return Name{}, ErrEmptyLabel
	}
	wire := make([]byte, 1, len(text)+2)
	start := 0 // of the length octet of the label being read
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '.' {
			if err := closeLabel(wire, start); err != nil {
				return Name{}, err
			}
			start = len(wire)
			wire = append(wire, 0)
			continue
		}
		if c == '\\' {
			octet, used, err := unescape(text[i:])
			if err != nil {
				return Name{}, err
			}
			i += used - 1
			c = octet
		}
		wire = append(wire, lower(c))
	}
	if len(wire) > start+1 { // no final dot
		if err := closeLabel(wire, start); err != nil {
			return Name{}, err
		}
		wire = append(wire, 0)
	}
	if len(wire) > MaxNameLen {
		return Name{}, ErrNameTooLong
	}
	return Name{string(wire)}, nil
}

func closeLabel(wire []byte, start int) error {
	n := len(wire) - start - 1
	if n == 0 {
		return ErrEmptyLabel
	}
	if n > MaxLabelLen {
		return ErrLabelTooLong
	}
	wire[start] = byte(n)
	return nil
}

// unescape decodes the escape at the start of text and says how many octets of text it takes.
func unescape(text string) (octet byte, used int, err error) {
	if len(text) < 2 {
		return 0, 0, ErrBadEscape
	}
	if text[1] < '0' || text[1] > '9' {
		return text[1], 2, nil
	}
	if len(text) < 4 {
		return 0, 0, ErrBadEscape
	}
	value := 0
	for _, d := range []byte(text[1:4]) {
		if d < '0' || d > '9' {
			return 0, 0, ErrBadEscape
		}
		value = value*10 + int(d-'0')
	}
	if value > 255 {
		return 0, 0, ErrBadEscape
	}
	return byte(value), 4, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// MustParseName is ParseName for names written in the program itself.
func MustParseName(text string) Name {
	n, err := ParseName(text)
	if err != nil {
		panic(fmt.Sprintf("zone: %q: %v", text, err))
	}
	return n
}

// NameFromWire takes a name in uncompressed wire form. Upper case is folded; octets after the root label
// are an error.
func NameFromWire(wire []byte) (Name, error) {
	if len(wire) > MaxNameLen {
		return Name{}, ErrNameTooLong
	}
	for i := 0; ; {
		if i >= len(wire) {
			return Name{}, ErrBadWire
		}
		n := int(wire[i])
		if n == 0 {
			if i != len(wire)-1 {
				return Name{}, ErrBadWire
			}
			break
		}
		if n > MaxLabelLen {
			return Name{}, ErrLabelTooLong
		}
		i += n + 1
	}
	// Length octets are at most 63 and therefore never in the range of upper-case letters.
	for i, c := range wire {
		if lower(c) != c {
			folded := append([]byte(nil), wire...)
			for j := i; j < len(folded); j++ {
				folded[j] = lower(folded[j])
			}
			return Name{string(folded)}, nil
		}
	}
	return Name{string(wire)}, nil
}

// Wire returns the name in canonical wire form.
func (n Name) Wire() string { return n.wire }

// IsZero reports whether n is no name at all.
func (n Name) IsZero() bool { return n.wire == "" }

// IsRoot reports whether n is the root.
func (n Name) IsRoot() bool { return n.wire == "\x00" }

// String returns the presentation form with the final dot.
func (n Name) String() string {
	if n.wire == "" {
		return ""
	}
	if n.IsRoot() {
		return "."
	}
	var b strings.Builder
	for w := n.wire; w[0] != 0; w = w[1+w[0]:] {
		for _, c := range []byte(w[1 : 1+w[0]]) {
			switch {
			case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$':
				b.WriteByte('\\')
				b.WriteByte(c)
			case c <= ' ' || c > '~':
				fmt.Fprintf(&b, "\\%03d", c)
			default:
				b.WriteByte(c)
			}
		}
		b.WriteByte('.')
	}
	return b.String()
}

// MarshalText gives the presentation form.
func (n Name) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText reads the presentation form; the empty text is the zero Name.
func (n *Name) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*n = Name{}
		return nil
	}
	parsed, err := ParseName(string(text))
	if err != nil {
		return err
	}
	*n = parsed
	return nil
}

// Labels counts the labels, the root not included.
func (n Name) Labels() int {
	count := 0
	for w := n.wire; len(w) > 0 && w[0] != 0; w = w[1+w[0]:] {
		count++
	}
	return count
}

// FirstLabel returns the left-most label, empty for the root.
func (n Name) FirstLabel() string {
	if n.wire == "" || n.wire[0] == 0 {
		return ""
	}
	return n.wire[1 : 1+n.wire[0]]
}

// Parent returns the name without its left-most label. The root is its own parent.
func (n Name) Parent() Name {
	if n.wire == "" || n.wire[0] == 0 {
		return n
	}
	return Name{n.wire[1+n.wire[0]:]}
}

// Child returns the name one label below n.
func (n Name) Child(label string) (Name, error) {
	if label == "" {
		return Name{}, ErrEmptyLabel
	}
	if len(label) > MaxLabelLen {
		return Name{}, ErrLabelTooLong
	}
	if 1+len(label)+len(n.wire) > MaxNameLen {
		return Name{}, ErrNameTooLong
	}
	b := make([]byte, 0, 1+len(label)+len(n.wire))
	b = append(b, byte(len(label)))
	for i := range len(label) {
		b = append(b, lower(label[i]))
	}
	return Name{string(append(b, n.wire...))}, nil
}

// Within reports whether n is apex or a name below it.
func (n Name) Within(apex Name) bool {
	if apex.wire == "" || !strings.HasSuffix(n.wire, apex.wire) {
		return false
	}
	// The suffix counts only at a label boundary.
	for w := n.wire; len(w) >= len(apex.wire); w = w[1+w[0]:] {
		if len(w) == len(apex.wire) {
			return true
		}
		if w[0] == 0 {
			break
		}
	}
	return false
}

// LabelBelow returns the label of n that stands directly below apex: "b" for a.b.example. and example.
// It is empty when n is not below apex.
func (n Name) LabelBelow(apex Name) string {
	if n == apex || !n.Within(apex) {
		return ""
	}
	for {
		parent := n.Parent()
		if parent == apex {
			return n.FirstLabel()
		}
		n = parent
	}
}

// CompareNames orders names canonically (RFC 4034 §6.1): by label from the right, as octet strings.
func CompareNames(a, b Name) int {
	al, bl := labelsOf(a), labelsOf(b)
	for i := 1; i <= len(al) && i <= len(bl); i++ {
		if c := strings.Compare(al[len(al)-i], bl[len(bl)-i]); c != 0 {
			return c
		}
	}
	return len(al) - len(bl)
}

func labelsOf(n Name) []string {
	var labels []string
	for w := n.wire; len(w) > 0 && w[0] != 0; w = w[1+w[0]:] {
		labels = append(labels, w[1:1+w[0]])
	}
	return labels
}
