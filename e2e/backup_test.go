package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mxseal/mxseal/api"
)

// TestBackup copies the database of a server while it is written to, and restores each copy elsewhere: it has all
// that was acknowledged before the copy began, and the keys are the same.
func TestBackup(t *testing.T) {
	t.Parallel()
	const copies = 3
	s := startServer(t)
	ds := s.ds(t, apex)
	var written atomic.Int64 // domains 0 to written-1 are acknowledged
	var stopped atomic.Bool
	var writer sync.WaitGroup
	write := func() {
		for i := int64(0); !stopped.Load(); i++ {
			id := fmt.Sprintf("b%d", i)
			if _, err := s.PutTenant(t.Context(), id, api.TenantSpec{Pool: pool, Domains: []string{id + ".example"}}); err != nil {
				t.Error(err)
				return
			}
			written.Store(i + 1)
		}
	}
	writer.Go(write)
	acknowledged := map[string]int64{}
	var backups []string
	for n := range copies {
		await(t, "writes go on", func() error {
			if have, want := written.Load(), int64(200*(n+1)); have < want {
				return fmt.Errorf("%d, want %d", have, want)
			}
			return nil
		})
		file := filepath.Join(t.TempDir(), "backup")
		before := written.Load()
		output(t, binary, "--server", s.url(), "--token-file", s.tokenFile(), "backup", file)
		acknowledged[file] = before
		backups = append(backups, file)
	}
	stopped.Store(true)
	writer.Wait()
	s.stop(t)

	for _, file := range backups {
		dir := filepath.Join(t.TempDir(), "restored")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		// Neither the key-encryption key nor the token are in a backup.
		for _, secret := range []string{"kek", "admin.token"} {
			text, err := os.ReadFile(filepath.Join(s.dir, secret))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, secret), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		output(t, binary, "restore", "--dev", "--data", dir, file)
		restored := startServerIn(t, dir)
		if got := restored.ds(t, apex); !slices.Equal(got, ds) {
			t.Errorf("the keys have changed: DS %q, were %q", got, ds)
		}
		keys := restored.keys(t, apex)
		var ids []int64
		for i := range acknowledged[file] {
			ids = append(ids, i)
		}
		n := each(t, ids, func(i int64) error {
			return restored.expectHost(keys, hostOf(fmt.Sprintf("b%d.example", i), apex))
		})
		t.Logf("%d tenants restored", n)
		restored.kill()
	}
}
