package conf

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Key    string // the key (dns.listen), the variable that names no key, or the file if it is not YAML at all
	Source string // where the value is from: a variable, a line of the file; empty for a default or a missing key
	Rule   string // what holds for the key, and what was found instead
}

// String is "key (source): rule".
func (p Problem) String() string {
	if p.Source == "" {
		return p.Key + ": " + p.Rule
	}
	return fmt.Sprintf("%s (%s): %s", p.Key, p.Source, p.Rule)
}

// Invalid is the error for a configuration that was read and is refused: everything that is wrong with it, in the
// order of the keys. It has at least one problem.
type Invalid struct {
	Problems []Problem
}

// Error is one line for a single problem, and a line for each if there are several.
func (e *Invalid) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d problems", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}
