package conf

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Reference is a complete YAML file: every key with its meaning, its variable and its default. Loaded as it is, it
// gives the defaults, and example addresses for dns.listen.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Configuration of mxseal. A variable wins over this file; a list in a variable is separated by commas.\n")
	var open []string
	for _, k := range new(Config).keys() {
		path := strings.Split(k.name, ".")
		sections, leaf := path[:len(path)-1], path[len(path)-1]
		b.WriteByte('\n')
		for i, s := range sections {
			if i >= len(open) || open[i] != s {
				fmt.Fprintf(&b, "%s%s:\n", indent(i), s)
				open = nil
			}
		}
		open = sections
		in := indent(len(sections))
		for line := range strings.SplitSeq(k.doc, "\n") {
			fmt.Fprintf(&b, "%s# %s\n", in, line)
		}
		given := "required"
		if k.example == "" {
			given = "default " + literal(k, k.standard)
		}
		fmt.Fprintf(&b, "%s# %s; %s\n%s%s: %s\n", in, k.env(), given, in, leaf, literal(k, k.standard+k.example))
	}
	return b.String()
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// literal writes a value, given as in a variable, in YAML: JSON is YAML as well.
func literal(k key, s string) string {
	out, err := json.Marshal(k.value.read(s))
	if err != nil {
		return s // cannot be: texts, numbers, booleans and lists of texts are JSON
	}
	return string(out)
}
