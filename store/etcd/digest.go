package etcd

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// digest is the sum of the hashes of all records, as etcd has them. A commit changes it by what it writes and by what that replaces, for
// which etcd is asked. So who has missed something has another one than the others from then on, until it loads everything again.
type digest uint64

func digestOf(kv *mvccpb.KeyValue) digest {
	var d xxhash.Digest
	d.Reset()
	var head [16]byte
	binary.BigEndian.PutUint64(head[:8], uint64(kv.ModRevision))
	binary.BigEndian.PutUint64(head[8:], uint64(len(kv.Key)))
	_, _ = d.Write(head[:])
	_, _ = d.Write(kv.Key)
	_, _ = d.Write(kv.Value)
	return digest(d.Sum64())
}

// digestWay says how a digest is made. One that is made otherwise cannot be compared.
const digestWay = "1:"

func (d digest) String() string { return fmt.Sprintf("%s%016x", digestWay, uint64(d)) }

// changeBy returns by how much an event changes the digest.
func changeBy(event *clientv3.Event) (d digest) {
	if event.Type != clientv3.EventTypeDelete {
		d += digestOf(event.Kv)
	}
	if event.PrevKv != nil {
		d -= digestOf(event.PrevKv)
	}
	return d
}

// link names a commit. No two have the same, also where an etcd that was restored from a copy has given a revision to another one.
type link struct {
	revision uint64
	hash     digest // of the key that says which commit was the last one
}

// linkOf returns the link of the last commit, whose key was found. Without that there was none.
func linkOf(found ...*mvccpb.KeyValue) (l link) {
	for _, kv := range found {
		if kv != nil {
			l = link{uint64(kv.ModRevision), digestOf(kv)}
		}
	}
	return l
}

// sign is the part of a commit that tells it from all others, and its author.
func (e *Engine) sign() clientv3.Op {
	return clientv3.OpPut(e.config.lastKey(), e.config.Node+" "+rand.Text())
}

// trail is what this node had after each of its last commits.
type trail struct {
	mu     sync.Mutex
	points []point // in order of revision; at first that of the last commit before the watch
	begun  time.Time
	loaded point  // by the last load
	up     uint64 // to this revision
}

type point struct {
	link
	digest digest
}

// trailLength is how many of the last commits are known. What another node tells is compared some seconds later.
const trailLength = 4096

// load notes what was loaded up to a revision.
func (t *trail) load(last point, up uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded, t.up = last, up
}

// begin begins a watch after a revision. If that is not where the last load ended, nothing is known.
func (t *trail) begin(after uint64, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.points, t.begun = t.points[:0], now; after == t.up {
		t.points = append(t.points, t.loaded)
	}
}

// add notes a commit.
func (t *trail) add(c arrival) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.points)
	if n == 0 {
		return
	}
	next := point{c.link, t.points[n-1].digest + c.change}
	if n == 2*trailLength {
		t.points = append(t.points[:0], t.points[n-trailLength:]...)
	}
	t.points = append(t.points, next)
}

// last returns the last commit, if anything is known.
func (t *trail) last() (p point, known bool) { return t.at(math.MaxUint64) }

// at returns the last commit up to a revision, all of whose commits this node has. It may not be known any more.
func (t *trail) at(revision uint64) (p point, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := sort.Search(len(t.points), func(i int) bool { return t.points[i].revision > revision })
	if i == 0 {
		return p, false
	}
	return t.points[i-1], true
}

// age is for how long it has gone on.
func (t *trail) age(now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.begun)
}

// Who has loaded everything is not the one that has missed something; but the others may tell for a while what they had before they did
// the same. If that does not help, it is tried less and less often.
const (
	trust     = time.Minute
	mostTrust = time.Hour
)

// comparison compares what this node has with what etcd and the other nodes have.
type comparison struct {
	others roster // as they were the last time: by now this node should have what they said that they had
	trust  time.Duration
}

// compare is done every few seconds. What cannot be found out is found out the next time.
func (s *seat) compare() {
	ctx, cancel := context.WithTimeout(s.e.ctx, callTime)
	defer cancel()
	c, have := &s.comparison, s.applied.Load()
	r, err := s.e.nodes(ctx)
	if err != nil || have == 0 {
		return
	}
	if p, known := s.e.trail.at(have); known && r.last.revision <= have && r.last != p.link {
		s.e.part(s.e.astray(otherLast(p.link, r.last)))
		return
	}
	before := c.others
	c.others = r
	if c.trust = max(c.trust, trust); s.suspect() || before.last.revision > have || s.e.trail.age(s.e.config.Now()) < c.trust {
		return
	}
	switch agrees, err := s.e.agree(before.nodes); {
	case err != nil:
		c.trust = min(2*c.trust, mostTrust)
		s.doubted.Store(true)
		s.e.mistrust(err)
		s.e.part(err)
	case agrees:
		c.trust = trust
	}
}

// agree compares this node with others. It returns an error if one of them had something else at the same revision, and reports whether one was
// known to have the same.
func (e *Engine) agree(nodes []seated) (agrees bool, err error) {
	for _, n := range nodes {
		p, known := e.trail.at(n.told.Revision)
		if !known || n.Name == e.config.Node || !strings.HasPrefix(n.told.Digest, digestWay) {
			continue
		}
		if p.digest.String() != n.told.Digest {
			return false, fmt.Errorf("at revision %d this node had other records (%s) than %s (%s): %w", n.told.Revision, p.digest, n.Name, n.told.Digest, store.ErrGap)
		}
		agrees = true
	}
	return agrees, nil
}

// follows returns an error if a commit is not the next one after the last that this node has.
func (e *Engine) follows(c arrival) error {
	had, known := e.trail.last()
	switch {
	case c.link == link{}:
		return fmt.Errorf("revision %d was not written by a node: %w", c.Revision, store.ErrGap)
	case known && c.previous != had.link:
		return e.astray(otherLast(had.link, c.previous))
	}
	return nil
}

func otherLast(mine, theirs link) error {
	return fmt.Errorf("the last commit of this node is %d (%s), and that of etcd %d (%s): %w", mine.revision, mine.hash, theirs.revision, theirs.hash, store.ErrGap)
}

// astray has this node not answer before it has loaded everything: what it has is not of etcd's history.
func (e *Engine) astray(why error) error {
	e.seat.applied.Store(0)
	if !e.seat.astray.Swap(true) {
		e.mistrust(why)
	}
	return why
}

// mistrust notes that this node does not have what it should have.
func (e *Engine) mistrust(why error) {
	e.mismatches.Add(1)
	e.config.Log.Error("what this node has is not what it should have: everything is loaded again", "error", why)
	e.keeper.distrust()
}

// part ends the watch with an error.
func (e *Engine) part(gap error) {
	e.gap.Store(&gap)
	if rewind := e.rewind.Load(); rewind != nil {
		(*rewind)()
	}
}

// Mismatches returns how often this node was found to have something else than etcd, or than another node.
func (e *Engine) Mismatches() uint64 { return e.mismatches.Load() }
