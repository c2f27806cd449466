package bolt

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// fileName is the database in the data directory.
const fileName = "mxseal.db"

// lockWait is how long an open waits for another process to let go of the file.
const lockWait = 2 * time.Second

// What opening a database may fail with.
var (
	ErrNoData  = errors.New("there is no database; serve never makes one, since a lost disk must not become a new key: mxseal init makes one, mxseal restore brings one back")
	ErrCorrupt = errors.New("the database is damaged; restore a backup")
	ErrInUse   = errors.New("the database is in use by another process")
)

// meta is the one record of the bucket meta.
type meta struct {
	Layout   int               `json:"format"`
	ID       string            `json:"id"` // random
	Revision uint64            `json:"revision"`
	Counts   map[zone.Kind]int `json:"counts"` // records of each bucket
}

const (
	layout     = 1 // of the file. The format of records is another matter: see store.Format
	metaBucket = "meta"
	metaKey    = "meta"
)

// Exists reports whether a directory has a database.
func Exists(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, fileName))
	return !errors.Is(err, fs.ErrNotExist)
}

// Create makes a database in a directory that exists and has none (else fs.ErrExist). Its first commit, revision 1, has the
// rows. It appears complete or not at all.
func Create(dir string, rows ...zone.Row) error {
	return appear(dir, func(path string) error {
		db, err := open(path, empty)
		if err != nil {
			return err
		}
		return errors.Join(first(db, rows), db.Close())
	})
}

// newMeta is that of a database that has nothing yet.
func newMeta() meta {
	return meta{Layout: layout, ID: rand.Text(), Counts: map[zone.Kind]int{}}
}

// first writes the first commit.
func first(db *bbolt.DB, rows []zone.Row) error {
	tx, err := store.First(rows)
	if err != nil {
		return err
	}
	return db.Update(func(btx *bbolt.Tx) error {
		b := batch{tx: btx, meta: newMeta()}
		if _, err := b.apply(tx); err != nil {
			return err
		}
		return b.finish()
	})
}

// fillBatch is how many records share one transaction while a database is filled.
const fillBatch = 10_000

// Fill makes a database with all records that a function visits, as [Engine.Load] does, in a directory that has none (else
// fs.ErrExist); it is made if need be. Records keep their revisions, and the database has the one that the function returns. It
// appears complete or not at all.
func Fill(ctx context.Context, dir string, load func(ctx context.Context, yield func(store.Record) error) (revision uint64, err error)) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return appear(dir, func(path string) error {
		db, err := open(path, empty)
		if err != nil {
			return err
		}
		f := &filling{db: db, meta: newMeta()}
		revision, err := load(ctx, f.add)
		if err == nil {
			f.meta.Revision = max(revision, f.meta.Revision, 1)
			err = f.send(true)
		}
		return errors.Join(err, db.Close())
	})
}

// filling is a database that is being made.
type filling struct {
	db      *bbolt.DB
	meta    meta
	records []store.Record
}

func (f *filling) add(r store.Record) error {
	if err := (store.Tx{Writes: []store.Write{{Kind: r.Kind, ID: r.ID, Value: r.Value, Format: r.Format}}}).Check(); err != nil {
		return err
	}
	r.Value = bytes.Clone(r.Value)
	if f.records = append(f.records, r); len(f.records) < fillBatch {
		return nil
	}
	return f.send(false)
}

// send writes what has gathered, and at last the meta record.
func (f *filling) send(last bool) error {
	b := batch{meta: f.meta}
	err := f.db.Update(func(tx *bbolt.Tx) error {
		b.tx = tx
		for _, r := range f.records {
			b.meta.Revision = max(r.Revision, 1)
			if err := b.put(store.Write{Kind: r.Kind, ID: r.ID, Value: r.Value, Format: r.Format}); err != nil {
				return fmt.Errorf("write %q to bucket %q: %w", r.ID, r.Kind, err)
			}
			f.meta.Revision = max(f.meta.Revision, b.meta.Revision)
		}
		b.meta.Revision = f.meta.Revision
		if last {
			return b.finish()
		}
		return nil
	})
	f.records = nil
	return err
}

// appear lets make write a file under a temporary name and gives it the name of the database when it is durable.
func appear(dir string, make func(path string) error) error {
	path := filepath.Join(dir, fileName)
	if Exists(dir) {
		return fmt.Errorf("%s has a database already; nothing was changed: %w", dir, fs.ErrExist)
	}
	temp, err := os.CreateTemp(dir, fileName+newSuffix+"*") // of mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // when it has its name, there is nothing to remove
	if err := temp.Close(); err != nil {
		return err
	}
	if err := make(temp.Name()); err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil { // unlike a rename, never replaces
		return err
	}
	return syncDir(dir)
}

// syncDir makes the entries of a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Restore makes a backup the database of a directory that has none; the directory is made if need be. The backup is
// checked completely before.
func Restore(dir string, r io.Reader) (revision uint64, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return 0, err
	}
	err = appear(dir, func(path string) error {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		revision, err = check(path)
		return err
	})
	if errors.Is(err, ErrCorrupt) {
		return 0, fmt.Errorf("restore into %s: the backup is damaged or not complete, and nothing was changed: %w", dir, err)
	}
	if err != nil {
		return 0, fmt.Errorf("restore into %s: %w", dir, err)
	}
	return revision, nil
}

// check reads everything in a file.
func check(path string) (revision uint64, err error) {
	db, err := open(path, copied)
	if err != nil {
		return 0, err
	}
	m, err := load(context.Background(), db, func(store.Record) error { return nil })
	return m.Revision, errors.Join(err, db.Close())
}

// state says what a file that is to be opened is.
type state int

const (
	empty    state = iota // to become a database
	existing              // the database
	copied                // of a database; only to be read
)

// open opens a file with bbolt. The file must be there.
func open(path string, is state) (db *bbolt.DB, err error) {
	var file *os.File
	err = guarded(func() (err error) {
		db, err = bbolt.Open(path, 0o600, &bbolt.Options{
			// The list of free pages is kept in the file: to rebuild it, bbolt walks all pages in a goroutine of its own,
			// where a damaged one would end the program.
			ReadOnly: is == copied, FreelistType: bbolt.FreelistMapType, Timeout: lockWait,
			OpenFile: func(path string, flag int, mode os.FileMode) (_ *os.File, err error) {
				file, err = openFile(path, flag&^os.O_CREATE, mode, is)
				return file, err
			},
		})
		return err
	})
	if err != nil && file != nil {
		file.Close() // bbolt has done it unless it panicked; then the file would stay locked
	}
	switch {
	case errors.Is(err, berrors.ErrTimeout): // unless this system lets us lock, see lock
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch), errors.Is(err, berrors.ErrChecksum):
		return nil, fmt.Errorf("%s: %w: %w", path, ErrCorrupt, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return db, nil
}

// openFile opens a file for bbolt, which locks it and maps it into memory at once. What is in it has to be checked before
// that, and under the lock: who looks at a file that another process writes sees damage.
func openFile(path string, flag int, mode os.FileMode, is state) (*os.File, error) {
	f, err := os.OpenFile(path, flag, mode)
	if err != nil || is == empty {
		return f, err
	}
	if err = lock(f); err == nil {
		err = checkPages(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// guarded runs what reads through bbolt. Its panics become errors, and so do pages of the file that cannot be read.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	return f()
}

// What follows the name of the database in those of files that are made beside it: copies for backups, and databases to be.
const (
	copySuffix = ".copy-"
	newSuffix  = ".new-"
)

// removeCopies removes what backups and restores have left in a directory when their processes were killed. The caller has
// the lock.
func removeCopies(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), fileName+copySuffix) || strings.HasPrefix(entry.Name(), fileName+newSuffix) {
			if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// load visits all records in a file and checks them.
func load(ctx context.Context, db *bbolt.DB, yield func(store.Record) error) (m meta, err error) {
	err = guarded(func() error {
		return db.View(func(tx *bbolt.Tx) (err error) {
			if m, err = readMeta(tx); err != nil {
				return err
			}
			for kind, count := range m.Counts {
				if err := loadBucket(ctx, tx, kind, count, m.Revision, yield); err != nil {
					return err
				}
			}
			forgetPages(tx)
			return nil
		})
	})
	return m, err
}

func readMeta(tx *bbolt.Tx) (m meta, err error) {
	bucket := tx.Bucket([]byte(metaBucket))
	if bucket == nil {
		return m, fmt.Errorf("%w: it has no bucket %q; is it a database of mxseal?", ErrCorrupt, metaBucket)
	}
	_, _, value, err := unseal(metaBucket, []byte(metaKey), bucket.Get([]byte(metaKey)))
	if err != nil {
		return m, fmt.Errorf("meta record: %w", err)
	}
	if err := json.Unmarshal(value, &m); err != nil {
		return m, fmt.Errorf("%w: meta record: %w", ErrCorrupt, err)
	}
	if m.Layout != layout {
		return m, fmt.Errorf("the file has layout %d; this version of mxseal knows layout %d", m.Layout, layout)
	}
	return m, nil
}

func loadBucket(ctx context.Context, tx *bbolt.Tx, kind zone.Kind, want int, newest uint64, yield func(store.Record) error) error {
	bucket := tx.Bucket([]byte(kind))
	if bucket == nil {
		return fmt.Errorf("%w: bucket %q is missing", ErrCorrupt, kind)
	}
	n := 0
	err := bucket.ForEach(func(k, b []byte) error {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		revision, format, value, err := unseal(string(kind), k, b)
		if err == nil && revision > newest {
			err = fmt.Errorf("%w: it has revision %d, the database %d", ErrCorrupt, revision, newest)
		}
		if err != nil {
			return fmt.Errorf("record %q in bucket %q: %w", k, kind, err)
		}
		return yield(store.Record{Kind: kind, ID: string(k), Revision: revision, Value: value, Format: format})
	})
	if err == nil && n != want {
		err = fmt.Errorf("%w: bucket %q has %d records, not %d", ErrCorrupt, kind, n, want)
	}
	return err
}
