package bolt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

// Backup implements store.Engine: the copy is a database file. It is first made beside the database, because a
// transaction of bbolt that waits for a slow reader makes all writers wait, and checked, because a backup that cannot be
// restored is none. With any of these errors nothing was sent.
func (e *Engine) Backup(w io.Writer) (err error) {
	f, err := os.CreateTemp(filepath.Dir(e.db.Path()), fileName+copySuffix+"*") // of mode 0600
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := e.copyTo(f); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	// From here on only we have the copy: whatever ends us, it goes.
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("send the backup: %w", err)
	}
	return nil
}

// copyTo makes a copy of the database and checks it. It leaves the disk room for commits: one that fails for want of it
// would be the last.
func (e *Engine) copyTo(f *os.File) error {
	err := guarded(func() error {
		return e.db.View(func(tx *bbolt.Tx) error {
			if err := checkRoom(f, tx.Size()+diskReserve); err != nil {
				return err
			}
			_, err := tx.WriteTo(f)
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", e.db.Path(), err)
	}
	if _, err := check(f.Name()); err != nil {
		return fmt.Errorf("back up: the copy: %w", err)
	}
	return nil
}

// diskReserve is the room that a backup leaves on the disk, in octets.
const diskReserve = 64 << 20

func checkRoom(f *os.File, need int64) error {
	var s unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &s); err != nil {
		return err
	}
	if free := int64(s.Bavail) * int64(s.Bsize); free < need {
		return fmt.Errorf("the data directory has %d octets of free space; a backup needs %d", free, need)
	}
	return nil
}
