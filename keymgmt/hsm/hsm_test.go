package hsm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writePIN(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestPINFilesThatOthersCanUseAreRefused(t *testing.T) {
	for says, path := range map[string]string{
		"mode 0644":     writePIN(t, "1234", 0o644),
		"is empty":      writePIN(t, " \n", 0o600),
		"regular file":  t.TempDir(),
		"no such file":  "/nowhere/pin",
		"at most 256 o": writePIN(t, strings.Repeat("1", 300), 0o600),
	} {
		if _, err := readPIN(path); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "1234") {
			t.Errorf("%v, want %q", err, says)
		}
	}
	if pin, err := readPIN(writePIN(t, "1234\n", 0o600)); err != nil || pin != "1234" {
		t.Errorf("%q, %v", pin, err)
	}
}
