package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// What engines refuse with, besides [zone.ErrRetry].
var (
	// ErrGap means that commits after a revision can no longer be replayed: load again.
	ErrGap = errors.New("the commits after that revision are no longer there")
	// ErrClosed means that the engine was closed, or accepts no more commits after one that ended in zone.ErrUncertain: nothing
	// was written.
	ErrClosed = fmt.Errorf("the engine is closed: %w", zone.ErrUnavailable)
	// ErrDeposed means that the term of a transaction is over: nothing was written.
	ErrDeposed = fmt.Errorf("this node does not lead any more: %w", zone.ErrUnavailable)
)

// Record is a row as an engine keeps it.
type Record struct {
	Kind     zone.Kind
	ID       string
	Revision uint64 // grows with every write; that of the commit that wrote it, or smaller if the engine has written the commit in steps
	Value    []byte
	Format   uint8 // of the value; 0 is 1
}

// Write puts a record, or deletes it if Value is nil, provided that the record there has revision Expect; 0 means
// that there must be none.
type Write struct {
	Kind     zone.Kind
	ID       string
	Expect   uint64
	Value    []byte
	Format   uint8  // of the value; 0 is 1
	Revision uint64 // of the record, in a Commit; 0: the commit's
}

// Tx is what is to be committed, all or nothing. A record is written at most once.
type Tx struct {
	Requires []zone.Ref // records that must have these revisions; 0: that there must be none
	Writes   []Write
	Term     uint64 // the token of the term that it is written in; 0: whoever leads
}

// maxID is the largest length of a record's id, in octets.
const maxID = 4096

// Check refuses transactions that make no sense, which no engine may write: a record written twice, the deletion of one
// that is required to be absent, formats that this version does not know, ids that are empty, too long or have a zero octet.
func (tx Tx) Check() error {
	seen := make(map[zone.Ref]bool, len(tx.Writes))
	for _, w := range tx.Writes {
		record := zone.Ref{Kind: w.Kind, ID: w.ID}
		switch {
		case w.Kind == "" || w.ID == "" || len(w.ID) > maxID || strings.ContainsRune(w.ID, 0):
			return fmt.Errorf("there can be no record %.80q of kind %q", w.ID, w.Kind)
		case w.Value == nil && w.Expect == 0:
			return fmt.Errorf("record %q of kind %q is to be deleted and not to be there", w.ID, w.Kind)
		case w.Format > Format:
			return fmt.Errorf("record %q of kind %q: %w", w.ID, w.Kind, CheckRecord(Format, w.Format))
		case seen[record]:
			return fmt.Errorf("record %q of kind %q is to be written twice", w.ID, w.Kind)
		}
		seen[record] = true
	}
	return nil
}

// Commit is a transaction that was committed.
type Commit struct {
	Revision uint64
	Writes   []Write
}

// Record returns what a write of the commit has made of its record; without revision there is none any more.
func (c Commit) Record(w Write) Record {
	r := Record{Kind: w.Kind, ID: w.ID, Value: w.Value}
	if w.Value != nil {
		r.Format = w.Format
		r.Revision = cmp.Or(w.Revision, c.Revision)
	}
	return r
}

// Term is the time in which a node leads.
type Term struct {
	Token uint64          // larger than that of any term before
	Ended <-chan struct{} // closed when the term is over, or this node cannot know; nil if it lasts as long as the engine
}

// Node is one of the nodes that share a database.
type Node struct {
	Name     string
	Version  string         // of the program
	Format   uint8          // the newest that the program knows
	Since    time.Time      // when it started
	Revision uint64         // it has everything up to here; 0 while it loads
	Silent   time.Duration  // since it was heard of last
	Offset   *time.Duration // of its clock, by the clock of the node that is asked; nil if that is not known
	Leads    bool
}

// Cluster is what an Engine of several nodes has besides.
type Cluster interface {
	// Nodes returns the nodes that answer, and those that may and cannot be heard of, in the order of their names.
	Nodes(ctx context.Context) ([]Node, error)
	// Forget says that a node does not answer any more. If it does, answers may become bogus.
	Forget(ctx context.Context, name string) error
}

// Shared is what an Engine has besides whose commits may come from elsewhere.
type Shared interface {
	// Newest returns the revision of a commit that is not older than the last one that was acknowledged to anybody before the call. An
	// error wraps zone.ErrUnavailable, or is that of ctx.
	Newest(ctx context.Context) (revision uint64, err error)
}

// Portioned is what an Engine has besides that makes small commits with less trouble for others.
type Portioned interface {
	// Portion returns how many records are best written at once, where that can be chosen.
	Portion() int
}

// Engine keeps records durably and puts all commits in one order, numbered by revisions that increase. All methods are
// safe for concurrent use.
type Engine interface {
	// Load visits all records as they are at one revision, which it returns: the records of a kind in the order of
	// their ids. Damage is an error, never a record left out, and so is a format that this version does not know, here and in Watch. A record's
	// value is there until yield returns, which copies what it keeps.
	Load(ctx context.Context, yield func(Record) error) (revision uint64, err error)
	// Watch calls apply with every commit after a revision, in order and without gaps, until ctx is done, apply fails or
	// the engine ends; it returns why. If commits are missing the error is ErrGap and apply was not called past the gap.
	Watch(ctx context.Context, after uint64, apply func(Commit) error) error
	// Commit writes tx; several that do not depend on each other may have one revision. When it returns nil, tx is durable. With
	// zone.ErrRetry a precondition did not hold and nothing was written; with zone.ErrUncertain it may have been
	// written, and an engine that cannot find out accepts no others until it is opened again; with any other error
	// nothing was written.
	Commit(ctx context.Context, tx Tx) (revision uint64, err error)
	// Lead waits until this node is the leader, which it is until ctx is done or the term ends. Transactions of a term that is over
	// are refused with ErrDeposed. The engine that is for one node alone leads at once. Who leads raises the format of the database, one
	// by one, when all nodes know the next.
	Lead(ctx context.Context) (Term, error)
	// Backup writes a copy that is consistent at one revision, in a form of the engine's own.
	Backup(w io.Writer) error
	Close() error
}
