package parent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadTSIG(t *testing.T) {
	write := func(text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), "tsig")
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // past the umask
			t.Fatal(err)
		}
		return path
	}
	keys, err := ReadTSIG(write("# keys\n\nhmac-sha256 Key.Test "+secret+"\nHMAC-SHA512  other.test.\t"+secret+"\n", 0o600))
	if err != nil || len(keys) != 2 || keys[mustName(t, "key.test.")].Secret != secret {
		t.Errorf("%v, %v", keys, err)
	}
	if keys, err := ReadTSIG(""); err != nil || len(keys) != 0 {
		t.Errorf("without a file: %v, %v", keys, err)
	}
	for says, path := range map[string]string{
		"0600":              write("hmac-sha256 key.test "+secret, 0o640),
		"line 2: must have": write("\nhmac-sha256 "+secret, 0o600),
		"unknown algorithm": write("hmac-md5 key.test "+secret, 0o600),
		"not base64":        write("hmac-sha256 key.test %%%", 0o600),
		"line 2: the name":  write("hmac-sha256 key.test "+secret+"\nhmac-sha256 KEY.test. "+secret, 0o600),
		"no such file":      "/nowhere/tsig",
	} {
		if _, err := ReadTSIG(path); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}
