package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
)

// execute runs a command line and returns what it printed.
func execute(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(context.Background(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "mxseal.yaml")
	if err := os.WriteFile(config, []byte("dns: {listen: [\"127.0.0.1:1\"], udpsize: 7}\nlog: {level: loud}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MXSEAL_TOKEN", "")
	for _, c := range []struct {
		args string
		code int
		says string // on standard error
	}{
		{"version", exitOK, ""},
		{"--help", exitOK, ""},
		{"check-config --reference", exitOK, ""},
		{"", exitUsage, "needs a command"},
		{"bogus", exitUsage, `no command "bogus"`},
		{"zone", exitUsage, "needs a command"},
		{"zone bogus", exitUsage, `no command "bogus"`},
		{"zone show", exitUsage, "accepts 1 arg"},
		{"zone list --bogus", exitUsage, "unknown flag"},
		{"zone list --output xml", exitUsage, "table or json"},
		{"token create", exitUsage, "scope"},
		{"zone list", exitFailed, "MXSEAL_TOKEN"},
		{"zone list --token-file " + filepath.Join(dir, "none"), exitFailed, "none"},
		{"serve", exitUsage, "--config"},
		{"serve --data " + dir, exitUsage, "--dev"},
		{"serve --dev --config " + config, exitUsage, "exclude"},
		{"store", exitUsage, "needs a command"},
		{"store copy --from " + config, exitUsage, "--to"},
		{"check-config --config " + config, exitFailed, "dns.udpsize"},
		{"check-config --config " + config, exitFailed, "log.level"},
	} {
		code, _, stderr := execute(t, strings.Fields(c.args)...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("mxseal %s: exit %d, want %d; standard error, which should have %q: %s", c.args, code, c.code, c.says, stderr)
		}
	}
}

// The server refuses to run on a database that is not there, and makes nothing in its place.
func TestServeRefusesAnEmptyDirectory(t *testing.T) {
	dir := t.TempDir()
	kek := filepath.Join(dir, "kek")
	if err := createKEK(conf.Keys{KEK: "file:" + kek}); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "mxseal.yaml")
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	text := "data_dir: " + data + "\nkeys: {kek: \"file:" + kek + "\"}\ndns: {listen: [\"127.0.0.1:1\"]}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := execute(t, "serve", "--config", config)
	if code != exitFailed || !strings.Contains(stderr, data) || !strings.Contains(stderr, "init") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	if left, err := os.ReadDir(data); err != nil || len(left) != 0 {
		t.Errorf("the directory has %v, %v", left, err)
	}
	code, stdout, stderr := execute(t, "init", "--config", config)
	if code != exitOK || !strings.Contains(stdout, filepath.Join(data, tokenFile)) {
		t.Fatalf("init: exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := execute(t, "init", "--config", config); code != exitFailed || !strings.Contains(stderr, "already") {
		t.Errorf("second init: exit %d: %s", code, stderr)
	}
	// The way back in when the token is lost.
	if code, stdout, stderr := execute(t, "token", "create", "--scope", "admin", "--config", config); code != exitOK || !strings.HasPrefix(stdout, tokenMark) {
		t.Errorf("local token: exit %d: %s%s", code, stdout, stderr)
	}
	if info, err := os.Stat(filepath.Join(data, tokenFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v, %v", info, err)
	}
}

// Every command says what it does, and every flag too.
func TestHelpIsComplete(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" {
			t.Errorf("%s has no description", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

func TestParseTLSA(t *testing.T) {
	got, err := parseTLSA("3 1 1 AB cd")
	if err != nil || got.Usage != 3 || got.Selector != 1 || got.MatchingType != 1 || got.Data != "ABcd" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"", "3 1 1", "3 1 300 ab", "x 1 1 ab", "-1 1 1 ab"} {
		if _, err := parseTLSA(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

// A token in the environment is never printed, whatever is wrong with it; white space around it is not.
func TestTokenIsNotPrinted(t *testing.T) {
	const token = "mxs_0123456789abcdef_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, text := range []string{`"` + token + `"`, token + "x", "Bearer " + token} {
		t.Setenv("MXSEAL_TOKEN", text)
		code, stdout, stderr := execute(t, "zone", "list")
		if code != exitFailed || strings.Contains(stdout+stderr, "AAAA") || !strings.Contains(stderr, "MXSEAL_TOKEN") {
			t.Errorf("%q: exit %d: %s%s", text, code, stdout, stderr)
		}
	}
	t.Setenv("MXSEAL_TOKEN", "")
	if code, stdout, stderr := execute(t, "zone", "list", "--token-file", token); code != exitFailed || strings.Contains(stdout+stderr, "AAAA") {
		t.Errorf("as a file: exit %d: %s%s", code, stdout, stderr)
	}
	t.Setenv("MXSEAL_TOKEN", " "+token+"\n")
	if got, err := (&clientFlags{}).token(); err != nil || got != token {
		t.Errorf("%q, %v", got, err)
	}
}

// A configuration whose files cannot be used is not valid; what init is going to make may be missing.
func TestCheckConfigReadsTheFiles(t *testing.T) {
	dir := t.TempDir()
	config, kek := filepath.Join(dir, "mxseal.yaml"), filepath.Join(dir, "kek")
	check := func(text string) (int, string) {
		t.Helper()
		if err := os.WriteFile(config, []byte("dns: {listen: [\"127.0.0.1:1\"]}\nkeys: {kek: \"file:"+kek+"\"}\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, stdout, stderr := execute(t, "check-config", "--config", config)
		return code, stdout + stderr
	}
	if code, out := check(""); code != exitOK {
		t.Errorf("nothing made yet: exit %d: %s", code, out)
	}
	if code, out := check("api: {tls: {cert: " + filepath.Join(dir, "cert.pem") + ", key: " + filepath.Join(dir, "key.pem") + "}}\n"); code != exitFailed || !strings.Contains(out, "cert.pem") {
		t.Errorf("no certificate: exit %d: %s", code, out)
	}
	if err := os.WriteFile(kek, []byte("not a key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if code, out := check(""); code != exitFailed || !strings.Contains(out, "0644") {
		t.Errorf("a key for everybody: exit %d: %s", code, out)
	}
}
