package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/zone"
)

// A database is copied to where there is none, while nobody changes it, and nothing else is.
func TestStoreCopy(t *testing.T) {
	dir := t.TempDir()
	config := func(name string) (file, data string) {
		t.Helper()
		file, data = filepath.Join(dir, name+".yaml"), filepath.Join(dir, name)
		text := fmt.Sprintf("data_dir: %s\nkeys: {kek: \"file:%s\"}\ndns: {listen: [\"127.0.0.1:1\"]}\n", data, filepath.Join(dir, "kek"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file, data
	}
	from, fromDir := config("from")
	to, toDir := config("to")
	t.Setenv("MXSEAL_DATA_DIR", filepath.Join(dir, "elsewhere"))
	t.Setenv("MXSEAL_STORE_ENGINE", "etcd")
	expect := func(code int, says string, args ...string) string {
		t.Helper()
		got, stdout, stderr := execute(t, append([]string{"store", "copy"}, args...)...)
		if got != code || !strings.Contains(stdout+stderr, says) {
			t.Errorf("exit %d, want %d; output, which should have %q: %s%s", got, code, says, stdout, stderr)
		}
		return stdout
	}
	expect(exitFailed, "there is no database", "--from", from, "--to", to)

	if err := os.Mkdir(fromDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := bolt.Create(fromDir, &zone.Pool{Name: "a"}, &zone.Pool{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	e, err := bolt.Open(fromDir)
	if err != nil {
		t.Fatal(err)
	}
	expect(exitFailed, "in use by another process: stop the server", "--from", from, "--to", to)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if bolt.Exists(toDir) {
		t.Error("a copy that was refused has made a database")
	}
	expect(exitFailed, "already; nothing was changed", "--from", from, "--to", from)
	out := expect(exitOK, "Copied 2 records from "+fromDir+" into "+toDir, "--from", from, "--to", to)
	if !regexp.MustCompile(`SHA-256 [0-9a-f]{64}`).MatchString(out) {
		t.Errorf("no digest: %s", out)
	}
	expect(exitFailed, "already; nothing was changed", "--from", from, "--to", to)

	e, err = bolt.Open(toDir)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	names := ""
	if _, err := e.Load(t.Context(), func(r store.Record) error { names += r.ID; return nil }); err != nil || names != "ab" {
		t.Errorf("the copy has %q, %v", names, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err == nil {
		t.Error("the environment has counted")
	}
}
