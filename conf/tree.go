package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// tree checks the keys of a YAML document before its values are looked at.
type tree struct {
	leaves   map[string]bool // names of keys
	sections map[string]bool // dns, dns.tcp, …
	lines    map[string]int  // where each key was found, from 1
	problems []Problem
}

func newTree(keys []key) *tree {
	t := &tree{leaves: map[string]bool{}, sections: map[string]bool{}, lines: map[string]int{}}
	for _, k := range keys {
		t.leaves[k.name] = true
		for i, c := range k.name {
			if c == '.' {
				t.sections[k.name[:i]] = true
			}
		}
	}
	return t
}

// decode puts the values of the document into settings. Keys that do not belong there become problems and are left
// out; an error means that there is not one document with keys.
func (t *tree) decode(text []byte, settings map[string]any) error {
	in := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	if err := in.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // nothing but comments
	} else if err != nil {
		return err
	}
	if err := in.Decode(&next); !errors.Is(err, io.EOF) {
		return errors.New("must be a single YAML document")
	}
	root := doc.Content[0]
	if isNull(root) {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		return errors.New("must be keys and values")
	}
	t.prune(root, "")
	return root.Decode(&settings)
}

// prune removes from a section what does not belong there. The depth of the recursion is that of the sections.
func (t *tree) prune(section *yaml.Node, prefix string) {
	var kept []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(section.Content); i += 2 {
		k, v := section.Content[i], section.Content[i+1]
		name := prefix + k.Value
		rule := t.rule(k, v, name, seen)
		if rule != "" {
			t.problems = append(t.problems, Problem{Key: name, Source: fmt.Sprintf("line %d", k.Line), Rule: rule})
			continue
		}
		seen[k.Value] = true
		t.lines[name] = k.Line
		if v.Kind == yaml.MappingNode {
			t.prune(v, name+".")
		}
		kept = append(kept, k, v)
	}
	section.Content = kept
}

// rule is the rule that a key of the document breaks; empty if it may stay. A key with a dot in it is none of ours,
// although it reads like one.
func (t *tree) rule(k, v *yaml.Node, name string, seen map[string]bool) string {
	switch {
	case k.Kind != yaml.ScalarNode || strings.Contains(k.Value, ".") || !t.leaves[name] && !t.sections[name]:
		return "no such key"
	case seen[k.Value]:
		return "the key is there twice"
	case t.sections[name] && v.Kind != yaml.MappingNode && !isNull(v):
		return "must be a section with keys"
	}
	return ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }
