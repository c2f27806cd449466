package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// Bounds on what shares a transaction of etcd, whose limits are 128 operations (--max-txn-ops) and 1.5 MiB (--max-request-bytes)
// unless its operator raises them. One commit alone may be larger than these: if etcd does not take it, it is divided.
const (
	maxWaiting = 1024
	maxOps     = 120
	maxOctets  = 1 << 20
)

// Portion implements store.Portioned: what is required besides goes into the same transaction.
func (*Engine) Portion() int { return maxOps - 20 }

// Commit implements store.Engine.
func (e *Engine) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := tx.Check(); err != nil {
		return 0, err
	}
	switch {
	case e.away.Load():
		return 0, errAway
	case e.seat.astray.Load(): // what it was planned on is of another history, and may have the same revisions
		return 0, fmt.Errorf("%w: %w", errAstray, zone.ErrUnavailable)
	}
	return e.queue.Commit(ctx, tx)
}

// errAway is the error of what is not even tried while etcd does not answer.
var errAway = fmt.Errorf("etcd does not answer: %w", zone.ErrUnavailable)

// writer is the one that writes for a node: transactions that wait share one of etcd's. While etcd is busy the next ones gather.
type writer struct {
	e       *Engine
	series  string          // no two are the same
	number  int             // of the last transaction in the series; the key of the writer has both. 0: a series has to be begun
	waiting []store.Request // in the order in which they came
}

// mark is the value of the writer's key when the transaction of a number is the last one.
func (w *writer) mark(number int) string { return w.series + " " + strconv.Itoa(number) }

func (w *writer) run() {
	defer w.e.queue.End()
	for w.e.ctx.Err() == nil {
		w.waiting = w.e.queue.Next(w.waiting, maxWaiting, w.e.ctx.Done())
		if w.e.ctx.Err() != nil {
			return // nothing was sent, and so says the end of the queue
		}
		var b *batch
		b, w.waiting = w.e.gather(w.waiting)
		w.commit(b)
	}
}

// refuse answers all that wait, while etcd does not.
func (w *writer) refuse() {
	for _, r := range w.e.queue.More(w.waiting, maxWaiting) {
		r.Answer(0, errAway)
	}
	w.waiting = nil
}

// batch is transactions on their way, none of which depends on what another one writes.
type batch struct {
	requests []store.Request
	done     []bool // answered
	octets   int
	ops      int
	written  map[string]bool // keys
	expected map[string]int64
}

// gather takes as many of the waiting transactions as may share one of etcd's; the first always.
func (e *Engine) gather(waiting []store.Request) (b *batch, left []store.Request) {
	b = &batch{written: map[string]bool{}, expected: map[string]int64{}}
	for _, r := range waiting {
		if !b.take(e, r) {
			left = append(left, r)
		}
	}
	b.done = make([]bool, len(b.requests))
	return b, left
}

func (b *batch) take(e *Engine, r store.Request) bool {
	octets, keys := 0, e.expectations(r.Tx)
	for _, w := range r.Tx.Writes {
		octets += sizeOf(w)
	}
	ops := max(len(r.Tx.Writes), len(keys))
	if len(b.requests) > 0 && (b.octets+octets > maxOctets || b.ops+ops > maxOps) {
		return false
	}
	for key, revision := range keys {
		if have, both := b.expected[key]; b.written[key] || both && have != revision {
			return false
		}
	}
	for _, w := range r.Tx.Writes {
		if _, read := b.expected[e.recordKey(w.Kind, w.ID)]; read {
			return false
		}
	}
	for key, revision := range keys {
		b.expected[key] = revision
	}
	for _, w := range r.Tx.Writes {
		b.written[e.recordKey(w.Kind, w.ID)] = true
	}
	b.requests, b.octets, b.ops = append(b.requests, r), b.octets+octets, b.ops+ops
	return true
}

// expectations returns the revisions that keys must have for a transaction; 0 for keys that must not be there.
func (e *Engine) expectations(tx store.Tx) map[string]int64 {
	keys := make(map[string]int64, len(tx.Writes)+len(tx.Requires)+1)
	for _, ref := range tx.Requires {
		keys[e.recordKey(ref.Kind, ref.ID)] = int64(ref.Revision)
	}
	for _, w := range tx.Writes {
		keys[e.recordKey(w.Kind, w.ID)] = int64(w.Expect)
	}
	if tx.Term != 0 {
		keys[e.config.leaderKey()] = int64(tx.Term)
	}
	return keys
}

// commit answers all of a batch.
func (w *writer) commit(b *batch) {
	for !b.complete() {
		if err := w.prepare(); err != nil {
			b.finish(0, err)
			w.refuse()
			return
		}
		revision, err := w.try(b)
		if errors.Is(err, ErrTooMany) && len(b.requests) == 1 && len(b.requests[0].Tx.Writes) > 0 { // without any no step would end it
			revision, err = w.divide(b)
		}
		switch {
		case errors.Is(err, errRepeat):
		case err != nil || revision != 0:
			b.finish(revision, err)
		}
	}
}

func (b *batch) complete() bool {
	for _, done := range b.done {
		if !done {
			return false
		}
	}
	return true
}

// finish answers all that are not answered yet.
func (b *batch) finish(revision uint64, err error) {
	for i := range b.requests {
		b.answer(i, revision, err)
	}
}

// answer answers one, if it is not answered yet.
func (b *batch) answer(i int, revision uint64, err error) {
	if !b.done[i] {
		b.done[i] = true
		b.requests[i].Answer(revision, err)
	}
}

// errRepeat means that nothing was written, and that the same can be tried again.
var errRepeat = errors.New("again")

// try makes one attempt at those that are not answered yet. Without revision and error some were answered: their preconditions
// do not hold.
func (w *writer) try(b *batch) (revision uint64, err error) {
	large := w.e.config.largeKey()
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(large), "=", 0)}
	then := []clientv3.Op{w.e.sign()}
	looks := []clientv3.Op{clientv3.OpGet(large)}
	seen := map[string]bool{}
	for i, r := range b.requests {
		if b.done[i] {
			continue
		}
		for key, want := range w.e.expectations(r.Tx) {
			if seen[key] {
				continue
			}
			seen[key] = true
			ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(key), "=", want))
			looks = append(looks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
		}
		then = append(then, w.e.puts(r.Tx.Writes)...)
	}
	revision, unmet, err := w.submit(b, ifs, then, looks)
	if unmet != nil {
		return 0, w.judge(b, unmet)
	}
	return revision, err
}

// submit makes the next transaction of the series, or returns what was seen instead because it could not be made.
func (w *writer) submit(b *batch, ifs []clientv3.Cmp, then, looks []clientv3.Op) (revision uint64, unmet []*mvccpb.KeyValue, err error) {
	next, mine := w.number+1, w.e.config.writerKey()
	ifs = append(ifs, clientv3.Compare(clientv3.Value(mine), "=", w.mark(w.number)))
	then = append(then, clientv3.OpPut(mine, w.mark(next)))
	looks = append(looks, clientv3.OpGet(mine))
	ctx, cancel := context.WithTimeout(w.e.ctx, callTime)
	defer cancel()
	have := w.e.seat.applied.Load()
	response, err := w.e.client.Txn(ctx).If(ifs...).Then(then...).Else(looks...).Commit()
	switch {
	case refused(err):
		return 0, nil, tooMuch(err)
	case err != nil:
		revision, err = w.resolve(b, next, err)
		return revision, nil, err
	case response.Succeeded:
		w.number = next
		w.e.away.Store(false)
		revision, err = w.made(uint64(response.Header.Revision), w.e.look(response.Header, have))
		return revision, nil, err
	}
	mark := ""
	for _, r := range response.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			if unmet = append(unmet, kv); string(kv.Key) == mine {
				mark, revision = string(kv.Value), uint64(kv.ModRevision)
			}
		}
	}
	switch mark {
	case w.mark(w.number):
		return 0, unmet, nil
	case w.mark(next): // the client has sent it twice
		w.number = next
		revision, err = w.made(revision, nil)
		return revision, nil, err
	}
	w.number = 0 // etcd was restored, or another node has our name
	return 0, nil, errRepeat
}

// made is the outcome of a transaction that was made at a revision. If etcd has gone back this node cannot serve it yet.
func (w *writer) made(revision uint64, gap error) (uint64, error) {
	if gap != nil {
		return 0, fmt.Errorf("%w: %v", zone.ErrUncertain, gap)
	}
	return revision, nil
}

// refused reports whether etcd has said that it will not do what was asked. That it has no space it also says of what it has done.
func refused(err error) bool {
	for _, known := range []error{rpctypes.ErrTooManyOps, rpctypes.ErrPermissionDenied, rpctypes.ErrDuplicateKey, rpctypes.ErrInvalidAuthToken,
		rpctypes.ErrUserEmpty} {
		if errors.Is(err, known) {
			return true
		}
	}
	return tooLarge(err)
}

// tooLarge includes what gRPC does not even hand on to etcd. It has the same code for other failures, of which nothing is known.
func tooLarge(err error) bool {
	s := status.Convert(err)
	return errors.Is(err, rpctypes.ErrRequestTooLarge) || s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max")
}

// tooMuch says which setting of etcd a commit does not fit.
func tooMuch(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: etcd's --max-txn-ops has to be its default, 128, or more", ErrTooMany)
	case tooLarge(err):
		return fmt.Errorf("%w: etcd's --max-request-bytes has to be raised, or less be changed at once", ErrTooMany)
	}
	return fmt.Errorf("etcd: %w", err)
}

// judge answers the transactions whose preconditions did not hold.
func (w *writer) judge(b *batch, found []*mvccpb.KeyValue) error {
	have := map[string]int64{}
	for _, kv := range found {
		if string(kv.Key) == w.e.config.largeKey() {
			return w.e.giveWay(w.e.ctx, kv)
		}
		have[string(kv.Key)] = kv.ModRevision
	}
	for i, r := range b.requests {
		for key, want := range w.e.expectations(r.Tx) {
			if have[key] != want {
				b.answer(i, 0, w.unmet(key, want, have[key]))
			}
		}
	}
	return nil
}

func (w *writer) unmet(key string, want, have int64) error {
	if key == w.e.config.leaderKey() {
		return store.ErrDeposed
	}
	return fmt.Errorf("%w: %s has revision %d, not %d", zone.ErrRetry, key, have, want)
}

// prepare begins a series, if there is none.
func (w *writer) prepare() error {
	if w.number != 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.e.ctx, callTime)
	defer cancel()
	w.series = rand.Text()
	if _, err := w.e.client.Put(ctx, w.e.config.writerKey(), w.mark(1)); err != nil {
		w.e.leave()
		return fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
	}
	w.number = 1
	return nil
}

// patience is how long a caller waits, after the call has failed, to hear what became of a commit before it is told that this is not
// known.
const patience = callTime

// settleTime is for the first attempt to settle a transaction; each of the next ones has twice as much, up to callTime. In an election etcd
// loses what it was asked, and does not answer.
const settleTime = time.Second

// resolve finds out what became of the transaction of a number. It goes on until it is known: the next one could not be judged
// otherwise.
func (w *writer) resolve(b *batch, number int, cause error) (revision uint64, err error) {
	limit := settleTime
	revision, err = w.insist(b, cause, func(ctx context.Context) (uint64, error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		limit = min(2*limit, callTime)
		return w.settle(ctx, number)
	})
	switch {
	case revision != 0:
		w.number = number
		return revision, nil
	case err == nil:
		err = fmt.Errorf("etcd: %w: %w", cause, zone.ErrUnavailable)
	}
	w.number = 0
	return 0, err
}

// insist asks until there is an answer, or zone.ErrUncertain. Who waits for a commit is told that nothing is known when that takes too long.
func (w *writer) insist(b *batch, cause error, ask func(context.Context) (uint64, error)) (revision uint64, err error) {
	w.e.away.Store(true)
	defer w.e.away.Store(false)
	unknown := fmt.Errorf("%w: etcd: %v", zone.ErrUncertain, cause) // the cause is no part of it: it may be a time-out
	ctx, cancel := context.WithTimeout(w.e.ctx, patience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if ctx.Err() != nil {
			b.finish(0, unknown)
			ctx = w.e.ctx
		}
		if revision, err := ask(ctx); err == nil || errors.Is(err, zone.ErrUncertain) {
			return revision, err
		}
		w.refuse()
		select {
		case <-time.After(pause):
		case <-w.e.ctx.Done():
			return 0, unknown
		}
	}
}

// settle makes one attempt. The transaction was committed, at the revision that is returned, or it never can be, and that is 0:
// the key that it requires is gone. To delete that needs no space, which may be what etcd lacks.
func (w *writer) settle(ctx context.Context, number int) (revision uint64, err error) {
	key := w.e.config.writerKey()
	response, err := w.e.client.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", w.mark(number-1))).
		Then(clientv3.OpDelete(key)).Else(clientv3.OpGet(key)).Commit()
	if err != nil || response.Succeeded {
		return 0, err
	}
	switch found := response.Responses[0].GetResponseRange().Kvs; {
	case len(found) == 0: // an attempt before this one, whose answer was lost
		return 0, nil
	case string(found[0].Value) == w.mark(number):
		return uint64(found[0].ModRevision), nil
	}
	return 0, fmt.Errorf("%w: another node has the name %q", zone.ErrUncertain, w.e.config.Node)
}

// leave refuses commits until etcd answers again.
func (e *Engine) leave() {
	if !e.away.Swap(true) {
		e.tasks.Go(e.probe)
	}
}

// probe waits until etcd answers again.
func (e *Engine) probe() {
	for e.away.Load() {
		if e.answers(callTime) {
			e.away.Store(false)
			return
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-e.ctx.Done():
			return
		}
	}
}

// answers reports whether etcd answers a question within some time.
func (e *Engine) answers(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(e.ctx, within)
	defer cancel()
	_, err := e.client.Get(ctx, e.config.metaKey())
	return err == nil
}
