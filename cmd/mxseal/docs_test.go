package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// Every command line that the documentation shows is one that the program takes.
func TestDocumentedCommands(t *testing.T) {
	line := regexp.MustCompile(`(?m)^ {4,}(?:build/)?mxseal (.+)$`)
	for _, page := range []string{"../../README.md", "../../docs/operations.md", "../../docs/cluster.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		lines := line.FindAllStringSubmatch(string(text), -1)
		if len(lines) == 0 {
			t.Errorf("%s shows no command", page)
		}
		for _, found := range lines {
			if err := accepts(words(found[1])); err != nil {
				t.Errorf("%s: mxseal %s: %v", page, found[1], err)
			}
		}
	}
}

// words splits as a shell does, as far as the documentation needs it: double quotes, comments and redirections.
func words(line string) []string {
	line, _, _ = strings.Cut(line, " #")
	line, _, _ = strings.Cut(line, " > ")
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

// accepts reports what is wrong with a command line, without running it.
func accepts(args []string) error {
	cmd, rest, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestAcceptsCanRefuse(t *testing.T) {
	for _, line := range []string{"zone bogus", "zone list --bogus", "zone show", "bogus", `pool set p --tlsa "3 1 1 ab" extra`} {
		if accepts(words(line)) == nil {
			t.Errorf("mxseal %s was accepted", line)
		}
	}
}
