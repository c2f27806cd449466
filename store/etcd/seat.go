package etcd

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store"
)

// seat is the place of this node among those that answer: a key that says up to which revision it has everything, on a lease of
// Config.StaleAfter. The others rely on what it says for as long as the key is there; a node that could not renew the lease for as
// long must answer no more.
type seat struct {
	e          *Engine
	claim      claim // as it was written last
	lease      clientv3.LeaseID
	key        int64 // revision of the key as it was written last
	silent     bool  // the last attempt to renew it has failed
	comparison comparison
	advanced   chan struct{} // there may be something to tell

	progress progress                  // of what this node has
	applied  atomic.Uint64             // has everything up to here
	doubted  atomic.Bool               // another node has something else: everything is being loaded again
	astray   atomic.Bool               // etcd has another history: the same, and until then this node must not answer
	owed     atomic.Uint64             // what was there already when the seat was taken
	current  atomic.Pointer[time.Time] // the seat was ours then, and what had been committed is all here; nil: never
	lost     atomic.Pointer[error]     // why this process will not have the seat any more
}

// claim is what a node says of itself: the value of its key.
type claim struct {
	Run      string    `json:"run"` // of the process; no two are the same
	Version  string    `json:"version"`
	Format   uint8     `json:"format,omitempty"` // the newest that it knows; without it 1
	Since    time.Time `json:"since"`
	Revision uint64    `json:"revision"`         // it has everything up to here; 0: it is loading
	Digest   string    `json:"digest,omitempty"` // of its records there; not always known
}

const (
	renewEvery = 3 * time.Second
	renewTime  = time.Second            // for etcd to answer at all, when it has not taken a renewal
	tellPause  = 100 * time.Millisecond // at least, between two reports of a node
	leaseSlack = 10 * time.Second       // the lease outlasts the time for which the node answers without it
)

// Why the seat is not there.
var (
	errVacant = errors.New("the seat is gone") // its lease has ended, or the node was forgotten
	errRaised = errors.New("the format of the database was raised while the seat was being taken")
)

// Why a node may have missed something. It must not answer.
var (
	errSilent = errors.New("what etcd has was not all heard for longer than store.etcd.stale_after")
	errBehind = errors.New("what was committed while this node was not there has not all arrived yet")
	errAstray = errors.New("etcd has another history than this node, which loads everything again")
	errTaken  = errors.New("another process has the name of this node (store.etcd.node); when that is mended, restart this one")
)

// Join makes this process the node that Config names, in place of an earlier one. It says what it has heard until Close.
func (e *Engine) Join(ctx context.Context) error {
	s := &e.seat
	s.claim = claim{Run: rand.Text(), Version: e.config.Version, Format: e.config.known(), Since: e.config.Now().UTC()}
	err := s.take(ctx, true)
	for errors.Is(err, errRaised) {
		err = s.take(ctx, true)
	}
	if err != nil {
		return fmt.Errorf("etcd: %w", err)
	}
	e.tasks.Go(s.attend)
	e.tasks.Go(e.hearClocks)
	if e.config.Dir != "" {
		e.keeper.clean() // before there is anything that is not complete
		e.keeper.seated.Store(true)
		e.tasks.Go(e.keeper.attend)
	}
	return nil
}

// Stale returns why this node may have missed what was committed longer ago than Config.StaleAfter, nil if it has not.
func (e *Engine) Stale() error {
	current, lost := e.seat.current.Load(), e.seat.lost.Load()
	switch now := e.config.Now(); {
	case lost != nil:
		return *lost
	case e.seat.astray.Load():
		return errAstray
	case current == nil || age(now, *current) > e.config.StaleAfter:
		return errSilent
	case e.seat.applied.Load() < e.seat.owed.Load():
		return errBehind
	}
	return nil
}

// age is how long ago something was, by both clocks: one stands still while the machine sleeps, the other may be set.
func age(now, at time.Time) time.Duration { return max(now.Sub(at), now.Round(0).Sub(at.Round(0))) }

// Heard returns how long ago this node had everything, and for how long it may answer without hearing more. If it never had, that is 0.
func (e *Engine) Heard() (ago, left time.Duration) {
	at := e.seat.current.Load()
	if at == nil {
		return math.MaxInt64, 0
	}
	ago = age(e.config.Now(), *at)
	return ago, max(0, e.config.StaleAfter-ago)
}

// give gives the seat up for good.
func (s *seat) give(why error) { s.lost.CompareAndSwap(nil, &why) }

// advance notes what this node has.
func (s *seat) advance(revision uint64) {
	s.applied.Store(revision)
	if s.e.keeper.kept.Load() < revision {
		s.e.keeper.wake()
		return
	}
	s.wake()
}

// wake has the others told what this node has.
func (s *seat) wake() {
	select {
	case s.advanced <- struct{}{}:
	default: // it is about to look anyway
	}
}

// has is what the others may be told that this node has: that it would have, too, if it were started from its image now.
func (s *seat) has() uint64 {
	if s.suspect() {
		return 0
	}
	return min(s.applied.Load(), s.e.keeper.kept.Load())
}

// suspect reports whether this node may not have what it should have.
func (s *seat) suspect() bool { return s.doubted.Load() || s.astray.Load() }

// trust ends that: everything was loaded.
func (s *seat) trust() {
	s.doubted.Store(false)
	s.astray.Store(false)
}

// say returns what there is to tell now.
func (s *seat) say() claim {
	c := s.claim
	c.Revision, c.Digest = s.has(), ""
	if p, known := s.e.trail.at(c.Revision); known && c.Revision != 0 {
		c.Digest = p.digest.String()
	}
	return c
}

// leave gives the seat back if etcd can be reached. If not, the others count on this node all the same, and it may come back from its image.
func (s *seat) leave() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.e.ctx), time.Second)
	defer cancel()
	if s.e.config.Dir != "" {
		if _, err := s.e.client.Get(ctx, s.e.config.metaKey()); err != nil {
			s.e.config.Log.Warn("etcd cannot be reached: this node keeps its seat, and may be started from its image", "error", err)
			return
		}
	}
	if err := s.e.keeper.withdraw(); err != nil {
		s.e.config.Log.Error("this node keeps its seat: it could be started from its image", "error", err)
		return
	}
	s.e.revoke(s.e.ctx, s.lease)
}

// attend keeps the seat.
func (s *seat) attend() {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	defer func() {
		if s.lost.Load() != nil {
			_ = s.e.keeper.withdraw()
		}
	}()
	for s.lost.Load() == nil {
		select {
		case <-tick.C:
			s.renew()
		case <-s.advanced:
			s.report()
			select {
			case <-time.After(tellPause):
			case <-s.e.ctx.Done():
			}
		case <-s.e.ctx.Done():
			s.leave()
			return
		}
	}
}

// report is tell for as long as a call may take. What fails is found out by renew.
func (s *seat) report() {
	ctx, cancel := context.WithTimeout(s.e.ctx, callTime)
	defer cancel()
	_, _ = s.tell(ctx)
}

// renew renews the lease, or takes the seat again, and says so when etcd is not heard any more. What fails is tried again at the next tick.
func (s *seat) renew() {
	err := s.tryRenew()
	if s.e.ctx.Err() != nil || s.lost.Load() != nil {
		return
	}
	if errors.Is(err, store.ErrGap) || errors.Is(err, errRaised) { // so said etcd
		err = nil
	}
	ago, left := s.e.Heard()
	switch {
	case err != nil && !s.silent:
		s.e.config.Log.Error("this node could not tell etcd that it is alive, and goes on with what it has", "heard ago", ago, "for another", left, "error", err)
	case err == nil && s.silent:
		s.e.config.Log.Info("etcd was told again that this node is alive")
	}
	switch s.silent = err != nil; {
	case !s.silent:
		s.compare()
	case !s.e.answers(renewTime):
		s.e.leave()
	}
}

// tryRenew is one attempt.
func (s *seat) tryRenew() error {
	ctx, cancel := context.WithTimeout(s.e.ctx, callTime)
	defer cancel()
	now := s.e.config.Now()
	_, err := s.e.client.KeepAliveOnce(ctx, s.lease)
	var last uint64
	if err == nil {
		last, err = s.tell(ctx)
	}
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound), errors.Is(err, errVacant):
		err = s.take(ctx, false)
	case err == nil:
		at := s.progress.note(now, s.applied.Load(), last)
		s.current.Store(&at)
		s.e.tellClock(ctx, s.lease)
	}
	return err
}

// take takes the seat: in place of whoever had it, or only if nobody has; and only in a database whose format this node knows.
func (s *seat) take(ctx context.Context, replace bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	now := s.e.config.Now()
	format, err := s.e.checkFormat(ctx)
	if errors.Is(err, store.ErrNewer) { // one that is too old may be what a restore has not written yet
		s.give(err)
	}
	if err != nil {
		return err
	}
	lease, err := s.e.client.Grant(ctx, int64((s.e.config.StaleAfter+leaseSlack)/time.Second))
	if err != nil {
		return err
	}
	claim, key := s.say(), s.e.config.nodeKey()
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.e.config.formatKey()), "=", format)}
	if !replace {
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
	}
	last := clientv3.OpGet(s.e.config.lastKey())
	response, err := s.e.client.Txn(ctx).If(ifs...).Then(s.put(claim, lease.ID), last).Else(clientv3.OpGet(key), last, clientv3.OpGet(s.e.config.formatKey())).Commit()
	if err != nil || !response.Succeeded {
		s.e.revoke(ctx, lease.ID)
	}
	if err != nil {
		return err
	}
	s.owed.Store(revisionOf(response.Responses[1])) // before anybody can take this node for current
	switch {
	case response.Succeeded:
		s.lease, s.key, s.claim = lease.ID, response.Header.Revision, claim
		s.progress = progress{all: now}
		s.current.Store(&now)
	case revisionOf(response.Responses[2]) != uint64(format):
		err = errRaised
	default:
		err = s.recognise(response)
	}
	return err
}

func (s *seat) put(c claim, lease clientv3.LeaseID) clientv3.Op {
	value, _ := json.Marshal(c) // there is nothing in it that could fail
	return clientv3.OpPut(s.e.config.nodeKey(), string(value), clientv3.WithLease(lease))
}

// recognise looks at a key of the node that is not as it was expected: written by an attempt whose answer was lost, or by somebody
// else, to whom the seat is lost.
func (s *seat) recognise(response *clientv3.TxnResponse) error {
	found := response.Responses[0].GetResponseRange().Kvs
	if len(found) == 0 {
		return errVacant
	}
	var c claim
	if err := json.Unmarshal(found[0].Value, &c); err != nil || c.Run != s.claim.Run {
		s.give(errTaken)
		return errTaken
	}
	s.lease, s.key, s.claim = clientv3.LeaseID(found[0].Lease), found[0].ModRevision, c
	return nil
}

// tell makes sure that the seat is ours, tells the others what this node has, if that has changed, and returns the revision of the last
// commit.
func (s *seat) tell(ctx context.Context) (last uint64, err error) {
	claim, key, have := s.say(), s.e.config.nodeKey(), s.applied.Load()
	then := []clientv3.Op{clientv3.OpGet(s.e.config.lastKey())}
	if claim != s.claim {
		then = append(then, s.put(claim, s.lease))
	}
	response, err := s.e.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", s.key)).Then(then...).
		Else(clientv3.OpGet(key)).Commit()
	switch {
	case err != nil:
		return 0, err
	case !response.Succeeded:
		return 0, s.recognise(response)
	case len(then) > 1:
		s.claim, s.key = claim, response.Header.Revision
	}
	return revisionOf(response.Responses[0]), s.e.look(response.Header, have)
}

// revisionOf returns the revision of the key that was asked for, 0 if it is not there.
func revisionOf(r *etcdserverpb.ResponseOp) uint64 {
	for _, kv := range r.GetResponseRange().Kvs {
		return uint64(kv.ModRevision)
	}
	return 0
}
