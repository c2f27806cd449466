package e2e

import (
	_ "embed"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

//go:embed packages.txt
var packages string

// program returns the path of a program that packages.txt lists. Without it the test fails: a test that is skipped
// where something is missing proves nothing.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: it is in the Debian package %s (make packages)", name, packageOf(t, name))
	}
	return path
}

func packageOf(t testing.TB, program string) string {
	t.Helper()
	for line := range strings.Lines(packages) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] != "#" && slices.Contains(fields[1:], program) {
			return fields[0]
		}
	}
	t.Fatalf("%s is not in packages.txt", program)
	return ""
}

// output runs a program to its end and returns what it printed. A failure of the program is one of the test.
func output(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := run(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// run is output for programs that may fail.
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, name), args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
