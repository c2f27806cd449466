package store

import (
	"errors"
	"fmt"

	"github.com/mxseal/mxseal/zone"
)

// Every record has the format that it was written in. A version of mxseal reads all formats up to Format, and writes Format or the one
// before it: whichever is the format of the database, which is that of the record FormatRef, and 1 without it. That is raised when every
// node knows the next one, and never lowered. So no node meets a record that it cannot read, and none that it would only seem to read.
//
// What a version of format n would drop or misread is a new format, n+1, be it a kind or a field.
const (
	presentFormat = 1
	// Format is the newest format that this version reads and writes.
	Format = presentFormat + ahead
	// OldestWritten is the oldest format that this version writes: every version that may share its database reads it.
	OldestWritten = max(1, Format-1)
)

// KindFormat is the kind of one record, whose own format is that of the database.
const KindFormat zone.Kind = "formats"

const formatID = "database"

// FormatRef is the record that has the format of the database, at a revision.
func FormatRef(revision uint64) zone.Ref {
	return zone.Ref{Kind: KindFormat, ID: formatID, Revision: revision}
}

// WriteFormat makes a format that of the database. The record of that so far has a revision, 0 if there is none.
func WriteFormat(format uint8, revision uint64) Write {
	return Write{Kind: KindFormat, ID: formatID, Expect: revision, Value: []byte("{}"), Format: format}
}

var (
	// ErrFormat means that the database is that of another version.
	ErrFormat = errors.New("the format of the database is of another version of mxseal")
	// ErrNewer is the ErrFormat of what this version does not know yet, and never will.
	ErrNewer = fmt.Errorf("%w", ErrFormat)
)

// CheckFormat returns why a version whose newest format is known cannot work with a database of a format.
func CheckFormat(known, format uint8) error {
	switch {
	case format > known:
		return fmt.Errorf("%w: it has format %d, and this version knows none newer than %d: start a newer version; the format is never lowered, so the way back is a backup of before",
			ErrNewer, format, known)
	case format+1 < known:
		return fmt.Errorf("%w: it has format %d, and this version writes %d and %d: run a version in between first, on all nodes", ErrFormat, format, known-1, known)
	}
	return nil
}

// CheckRecord returns an error for a record that a version whose newest format is known cannot read.
func CheckRecord(known, format uint8) error {
	if format == 0 || format > known {
		return fmt.Errorf("%w: it has format %d, and this version reads those up to %d: start a newer version", ErrNewer, format, known)
	}
	return nil
}

// First returns what a new database begins with.
func First(rows []zone.Row) (Tx, error) {
	tx, err := Encode(zone.Changes{Puts: rows}, Format)
	if Format > 1 {
		tx.Writes = append(tx.Writes, WriteFormat(Format, 0))
	}
	return tx, err
}
