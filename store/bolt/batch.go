package bolt

import (
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// batch applies transactions within one of bbolt's.
type batch struct {
	tx      *bbolt.Tx
	meta    meta
	commits []store.Commit // what has been written

	octets    int               // of the last commit
	concerned map[zone.Ref]bool // records, without revision, that the last commit writes (true) or relies on
}

// Transactions that are written together and have no record in common may be one commit, which costs those who watch hardly more than that
// of one alone. It stays small: the last commits are kept in memory, and who is in one waits for all of it.
const (
	maxTogether       = 32       // writes
	maxOctetsTogether = 32 << 10 // of ids and values
)

func newBatch(tx *bbolt.Tx, m meta) *batch {
	b := &batch{tx: tx, meta: m}
	b.meta.Counts = map[zone.Kind]int{}
	for kind, n := range m.Counts {
		b.meta.Counts[kind] = n
	}
	return b
}

// revision returns that of a record, 0 if there is none.
func (b *batch) revision(kind zone.Kind, id string) (uint64, error) {
	bucket := b.tx.Bucket([]byte(kind))
	if bucket == nil {
		return 0, nil
	}
	sealed := bucket.Get([]byte(id))
	if sealed == nil {
		return 0, nil
	}
	revision, _, _, err := unseal(string(kind), []byte(id), sealed)
	if err != nil {
		return 0, fmt.Errorf("record %q in bucket %q: %w", id, kind, err)
	}
	return revision, nil
}

// apply checks the preconditions of a transaction, then writes it. It returns the revision of the commit. After any error but zone.ErrRetry
// the batch is not to be committed.
func (b *batch) apply(tx store.Tx) (revision uint64, err error) {
	for _, w := range tx.Writes {
		if err := b.expect(zone.Ref{Kind: w.Kind, ID: w.ID, Revision: w.Expect}); err != nil {
			return 0, err
		}
	}
	for _, ref := range tx.Requires {
		if err := b.expect(ref); err != nil {
			return 0, err
		}
	}
	c := b.commit(tx)
	for _, w := range tx.Writes {
		if err := b.put(w); err != nil {
			return 0, fmt.Errorf("write %q to bucket %q: %w", w.ID, w.Kind, err)
		}
	}
	c.Writes = append(c.Writes, tx.Writes...)
	return c.Revision, nil
}

// commit returns the one that a transaction becomes a part of.
func (b *batch) commit(tx store.Tx) *store.Commit {
	octets := 0
	for _, w := range tx.Writes {
		octets += len(w.ID) + len(w.Value)
	}
	if !b.joins(tx, octets) {
		b.meta.Revision++
		b.commits = append(b.commits, store.Commit{Revision: b.meta.Revision})
		b.octets, b.concerned = 0, map[zone.Ref]bool{}
	}
	b.octets += octets
	for _, ref := range tx.Requires {
		b.concerned[zone.Ref{Kind: ref.Kind, ID: ref.ID}] = false
	}
	for _, w := range tx.Writes {
		b.concerned[zone.Ref{Kind: w.Kind, ID: w.ID}] = true
	}
	return &b.commits[len(b.commits)-1]
}

// joins reports whether a transaction may be a part of the last commit.
func (b *batch) joins(tx store.Tx, octets int) bool {
	n := len(b.commits)
	if n == 0 || len(b.commits[n-1].Writes)+len(tx.Writes) > maxTogether || b.octets+octets > maxOctetsTogether {
		return false
	}
	for _, w := range tx.Writes {
		if _, is := b.concerned[zone.Ref{Kind: w.Kind, ID: w.ID}]; is {
			return false
		}
	}
	return !slices.ContainsFunc(tx.Requires, func(ref zone.Ref) bool { return b.concerned[zone.Ref{Kind: ref.Kind, ID: ref.ID}] })
}

func (b *batch) expect(ref zone.Ref) error {
	have, err := b.revision(ref.Kind, ref.ID)
	if err != nil {
		return err
	}
	if have != ref.Revision {
		return fmt.Errorf("%w: %s %s has revision %d, not %d", zone.ErrRetry, ref.Kind, ref.ID, have, ref.Revision)
	}
	return nil
}

func (b *batch) put(w store.Write) error {
	bucket, err := b.tx.CreateBucketIfNotExists([]byte(w.Kind))
	if err != nil {
		return err
	}
	switch {
	case w.Value == nil:
		b.meta.Counts[w.Kind]--
		return bucket.Delete([]byte(w.ID))
	case w.Expect == 0:
		b.meta.Counts[w.Kind]++
	}
	return bucket.Put([]byte(w.ID), seal(string(w.Kind), []byte(w.ID), b.meta.Revision, w.Format, w.Value))
}

// finish writes the meta record.
func (b *batch) finish() error {
	value, err := json.Marshal(b.meta)
	if err != nil {
		return err
	}
	bucket, err := b.tx.CreateBucketIfNotExists([]byte(metaBucket))
	if err != nil {
		return err
	}
	return bucket.Put([]byte(metaKey), seal(metaBucket, []byte(metaKey), b.meta.Revision, 1, value))
}
