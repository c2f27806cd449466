// Package enginetest has what every engine must do, as a test, and an engine in memory that does it and can be made to
// fail.
package enginetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// ErrDisk is what a Memory fails with when it is told to.
var ErrDisk = errors.New("the disk has failed")

// Failure says how a commit of a Memory fails.
type Failure int

// A commit that fails has been written, or has not: who called cannot know.
const (
	None Failure = iota
	NotWritten
	Written
)

// Memory is an engine without a disk. Its zero value is not ready; see [NewMemory].
type Memory struct {
	mu      sync.Mutex // guards what follows
	rows    map[zone.Ref]store.Record
	log     []store.Commit
	news    chan struct{}
	fail    Failure
	failure error
	closed  bool
	term    uint64
	lose    bool   // the next commit
	oldest  uint64 // what is older cannot be replayed
}

// NewMemory makes an empty engine.
func NewMemory() *Memory {
	return &Memory{rows: map[zone.Ref]store.Record{}, news: make(chan struct{})}
}

// FailNext makes the next commit fail, and after Written all commits.
func (m *Memory) FailNext(f Failure) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// LoseNext makes the next commit one that cannot be replayed: who watches has to load again.
func (m *Memory) LoseNext() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lose = true
}

// Reopen returns an engine that has what this one has written, as after a restart.
func (m *Memory) Reopen() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := NewMemory()
	for id, r := range m.rows {
		n.rows[id] = r
	}
	n.log = slices.Clone(m.log)
	return n
}

func id(kind zone.Kind, text string) zone.Ref { return zone.Ref{Kind: kind, ID: text} }

// Load implements store.Engine.
func (m *Memory) Load(_ context.Context, yield func(store.Record) error) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []store.Record
	for _, r := range m.rows {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b store.Record) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
	for _, r := range all {
		r.Value = bytes.Clone(r.Value)
		if err := yield(r); err != nil {
			return 0, err
		}
		clear(r.Value) // who keeps it has nothing
	}
	return uint64(len(m.log)), nil
}

// Commit implements store.Engine.
func (m *Memory) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := tx.Check(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case m.failure != nil:
		return 0, fmt.Errorf("%w, since a commit failed: %v", store.ErrClosed, m.failure)
	case m.closed:
		return 0, store.ErrClosed
	}
	if tx.Term != 0 && tx.Term != m.term {
		return 0, store.ErrDeposed
	}
	expected := slices.Clone(tx.Requires)
	for _, w := range tx.Writes {
		expected = append(expected, zone.Ref{Kind: w.Kind, ID: w.ID, Revision: w.Expect})
	}
	for _, ref := range expected {
		if have := m.rows[id(ref.Kind, ref.ID)].Revision; have != ref.Revision {
			return 0, fmt.Errorf("%w: %s %s has revision %d, not %d", zone.ErrRetry, ref.Kind, ref.ID, have, ref.Revision)
		}
	}
	fail := m.fail
	m.fail = None
	if fail == NotWritten {
		return 0, ErrDisk
	}
	revision := uint64(len(m.log) + 1)
	for _, w := range tx.Writes {
		if w.Value == nil {
			delete(m.rows, id(w.Kind, w.ID))
			continue
		}
		m.rows[id(w.Kind, w.ID)] = store.Record{Kind: w.Kind, ID: w.ID, Revision: revision, Value: w.Value, Format: w.Format}
	}
	m.log = append(m.log, store.Commit{Revision: revision, Writes: tx.Writes})
	if m.lose {
		m.lose, m.oldest = false, revision
	}
	if fail == Written {
		m.failure = fmt.Errorf("%w: %w", zone.ErrUncertain, ErrDisk)
		m.wake()
		return 0, m.failure
	}
	m.wake()
	return revision, nil
}

func (m *Memory) wake() {
	close(m.news)
	m.news = make(chan struct{})
}

// Watch implements store.Engine.
func (m *Memory) Watch(ctx context.Context, after uint64, apply func(store.Commit) error) error {
	for {
		m.mu.Lock()
		log, news, failure, closed, oldest := m.log, m.news, m.failure, m.closed, m.oldest
		m.mu.Unlock()
		switch {
		case failure != nil: // what was written last is not known, so it is not told either
			return failure
		case after < oldest:
			return store.ErrGap
		case after < uint64(len(log)):
			for _, c := range log[after:] {
				if err := apply(c); err != nil {
					return err
				}
				after = c.Revision
			}
			continue
		case closed:
			return store.ErrClosed
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Lead implements store.Engine.
func (m *Memory) Lead(context.Context) (store.Term, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.term++
	return store.Term{Token: m.term}, nil
}

// Backup implements store.Engine: a JSON array of records.
func (m *Memory) Backup(w io.Writer) error {
	var all []store.Record
	if _, err := m.Load(context.Background(), func(r store.Record) error {
		r.Value = bytes.Clone(r.Value)
		all = append(all, r)
		return nil
	}); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(all)
}

// Close implements store.Engine.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.wake()
	return nil
}
