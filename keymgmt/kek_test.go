package keymgmt

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func noEnv(string) (string, bool) { return "", false }

func TestOpenVaultReadsAllTextForms(t *testing.T) {
	kek := testKEK(1)
	want := testVault(t, 1).KEK()
	for _, text := range []string{
		hex.EncodeToString(kek), strings.ToUpper(hex.EncodeToString(kek)), base64.StdEncoding.EncodeToString(kek),
		base64.RawStdEncoding.EncodeToString(kek), " \t" + base64.StdEncoding.EncodeToString(kek) + "\r\n",
	} {
		v, err := OpenVault(Sources{KEK: "file:" + writeFile(t, text, 0o600), Lookup: noEnv})
		if err != nil {
			t.Errorf("%q: %v", text, err)
		} else if v.KEK() != want {
			t.Errorf("%q: another key", text)
		}
		v, err = OpenVault(Sources{KEK: "env:KEK", Lookup: func(name string) (string, bool) { return text, name == "KEK" }})
		if err != nil || v.KEK() != want {
			t.Errorf("environment %q: %v", text, err)
		}
	}
	if _, err := OpenVault(Sources{KEK: "file:" + writeFile(t, hex.EncodeToString(kek), 0o400), Lookup: noEnv}); err != nil {
		t.Errorf("stricter mode: %v", err)
	}
}

func TestOpenVaultRefusesFilesThatOthersCanUse(t *testing.T) {
	text := hex.EncodeToString(testKEK(1))
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777} {
		_, err := OpenVault(Sources{KEK: "file:" + writeFile(t, text, mode), Lookup: noEnv})
		if !errors.Is(err, ErrKEK) || !strings.Contains(err.Error(), "0600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestOpenVaultRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, fifo, "/dev/zero"} {
		if _, err := OpenVault(Sources{KEK: "file:" + path, Lookup: noEnv}); !errors.Is(err, ErrKEK) || !strings.Contains(err.Error(), "regular") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := OpenVault(Sources{KEK: "file:" + filepath.Join(dir, "absent"), Lookup: noEnv}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

type ownedBy struct {
	fs.FileInfo
	uid uint32
}

func (o ownedBy) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

func TestFilesOfOtherUsersAreRefused(t *testing.T) {
	us := uint32(os.Geteuid())
	if err := checkOwner(ownedBy{uid: us}); err != nil {
		t.Error(err)
	}
	if err := checkOwner(ownedBy{uid: us + 1}); err == nil {
		t.Error("a file of another user was accepted")
	}
}

func TestOpenVaultRefusesWhatIsNoKeyAndDoesNotRepeatIt(t *testing.T) {
	for _, text := range []string{"", "\n", "hunter2", strings.Repeat("0", 63), strings.Repeat("g", 64), strings.Repeat("A", 5000),
		base64.StdEncoding.EncodeToString(make([]byte, 31)), base64.StdEncoding.EncodeToString(make([]byte, 33))} {
		_, err := OpenVault(Sources{KEK: "file:" + writeFile(t, text, 0o600), Lookup: noEnv})
		if !errors.Is(err, ErrKEK) {
			t.Errorf("%q: %v", text, err)
		} else if len(text) > 3 && strings.Contains(err.Error(), strings.TrimSpace(text)) {
			t.Errorf("the error repeats the text: %v", err)
		}
	}
	for _, source := range []string{"", "file:", "env:", "/etc/kek", "http://example.org/kek", "env:UNSET"} {
		if _, err := OpenVault(Sources{KEK: source, Lookup: noEnv}); !errors.Is(err, ErrKEK) {
			t.Errorf("%q: %v", source, err)
		}
	}
}

func TestCreateKEKFileMakesAUsableFileOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if err := CreateKEKFile(path, nil); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenVault(Sources{KEK: "file:" + path, Lookup: noEnv}); err != nil {
		t.Error(err)
	}
	if err := CreateKEKFile(path, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second time: %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Error("the file was changed")
	}
	if err := CreateKEKFile(filepath.Join(t.TempDir(), "absent", "kek"), nil); err == nil {
		t.Error("made a file in a directory that is not there")
	}
}
