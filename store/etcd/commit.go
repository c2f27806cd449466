package etcd

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// Bounds on what shares a transaction of etcd, whose limits are 128 operations (--max-txn-ops) and 1.5 MiB (--max-request-bytes)
// unless its operator raises them. One commit alone may be larger than these, if etcd takes it.
const (
	maxWaiting = 1024
	maxOps     = 120
	maxOctets  = 1 << 20
)

type request struct {
	tx    store.Tx
	reply chan<- reply
}

type reply struct {
	revision uint64
	err      error
}

// Commit implements store.Engine. A transaction that was taken up is waited for: what became of it must be told.
func (e *Engine) Commit(ctx context.Context, tx store.Tx) (uint64, error) {
	if err := tx.Check(); err != nil {
		return 0, err
	}
	if e.away.Load() {
		return 0, errAway
	}
	answer := make(chan reply, 1)
	select {
	case e.requests <- request{tx, answer}:
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-e.ended:
		return 0, store.ErrClosed
	}
	select {
	case r := <-answer:
		return r.revision, r.err
	case <-e.ended:
		select { // it may have been answered before the end
		case r := <-answer:
			return r.revision, r.err
		default:
			return 0, store.ErrClosed
		}
	}
}

// errAway is the error of what is not even tried while etcd does not answer.
var errAway = fmt.Errorf("etcd does not answer: %w", zone.ErrUnavailable)

// writer is the one that writes for a node: transactions that wait share one of etcd's. While etcd is busy the next ones gather.
type writer struct {
	e       *Engine
	series  string    // no two are the same
	number  int       // of the last transaction in the series; the key of the writer has both. 0: it has something else
	waiting []request // in the order in which they came
}

// mark is the value of the writer's key when the transaction of a number is the last one.
func (w *writer) mark(number int) string { return w.series + " " + strconv.Itoa(number) }

func (w *writer) run() {
	defer close(w.e.ended)
	for {
		if len(w.waiting) == 0 {
			select {
			case r := <-w.e.requests:
				w.waiting = append(w.waiting, r)
			case <-w.e.ctx.Done():
				return
			}
		}
		w.collect()
		var b *batch
		b, w.waiting = w.e.gather(w.waiting)
		w.commit(b)
	}
}

// collect takes up what has come.
func (w *writer) collect() {
	for len(w.waiting) < maxWaiting {
		select {
		case r := <-w.e.requests:
			w.waiting = append(w.waiting, r)
		default:
			return
		}
	}
}

// refuse answers all that wait, while etcd does not.
func (w *writer) refuse() {
	w.collect()
	for _, r := range w.waiting {
		r.reply <- reply{err: errAway}
	}
	w.waiting = nil
}

// batch is transactions on their way, none of which depends on what another one writes.
type batch struct {
	requests []request
	done     []bool // answered
	octets   int
	ops      int
	written  map[string]bool // keys
	expected map[string]int64
}

// gather takes as many of the waiting transactions as may share one of etcd's; the first always.
func (e *Engine) gather(waiting []request) (b *batch, left []request) {
	b = &batch{written: map[string]bool{}, expected: map[string]int64{}}
	for _, r := range waiting {
		if !b.take(e, r) {
			left = append(left, r)
		}
	}
	b.done = make([]bool, len(b.requests))
	return b, left
}

func (b *batch) take(e *Engine, r request) bool {
	octets, keys := 0, e.expectations(r.tx)
	for _, w := range r.tx.Writes {
		octets += len(w.ID) + len(w.Value) + 64
	}
	ops := max(len(r.tx.Writes), len(keys))
	if len(b.requests) > 0 && (b.octets+octets > maxOctets || b.ops+ops > maxOps) {
		return false
	}
	for key, revision := range keys {
		if have, both := b.expected[key]; b.written[key] || both && have != revision {
			return false
		}
	}
	for _, w := range r.tx.Writes {
		if _, read := b.expected[e.recordKey(w.Kind, w.ID)]; read {
			return false
		}
	}
	for key, revision := range keys {
		b.expected[key] = revision
	}
	for _, w := range r.tx.Writes {
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
			return
		}
		revision, err := w.try(b)
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
		b.answer(i, reply{revision, err})
	}
}

// answer answers one, if it is not answered yet.
func (b *batch) answer(i int, r reply) {
	if !b.done[i] {
		b.done[i] = true
		b.requests[i].reply <- r
	}
}

// errRepeat means that nothing was written, and that the same can be tried again.
var errRepeat = errors.New("again")

// try makes one attempt at those that are not answered yet. Without revision and error some were answered: their preconditions
// do not hold.
func (w *writer) try(b *batch) (revision uint64, err error) {
	next := w.number + 1
	mine := w.e.config.writerKey()
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.Value(mine), "=", w.mark(w.number))}
	then := []clientv3.Op{clientv3.OpPut(mine, w.mark(next))}
	looks := []clientv3.Op{clientv3.OpGet(mine)}
	seen := map[string]bool{}
	for i, r := range b.requests {
		if b.done[i] {
			continue
		}
		for key, want := range w.e.expectations(r.tx) {
			if seen[key] {
				continue
			}
			seen[key] = true
			ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(key), "=", want))
			looks = append(looks, clientv3.OpGet(key, clientv3.WithKeysOnly()))
		}
		for _, write := range r.tx.Writes {
			key := w.e.recordKey(write.Kind, write.ID)
			if write.Value == nil {
				then = append(then, clientv3.OpDelete(key))
			} else {
				then = append(then, clientv3.OpPut(key, seal(write.Value)))
			}
		}
	}
	ctx, cancel := context.WithTimeout(w.e.ctx, callTime)
	defer cancel()
	response, err := w.e.client.Txn(ctx).If(ifs...).Then(then...).Else(looks...).Commit()
	switch {
	case refused(err):
		return 0, tooMuch(err)
	case err != nil:
		return w.resolve(b, next, err)
	case response.Succeeded:
		w.number = next
		w.e.away.Store(false)
		return uint64(response.Header.Revision), nil
	}
	return 0, w.judge(b, response)
}

// refused reports whether etcd has said that it will not do what was asked.
func refused(err error) bool {
	for _, known := range []error{rpctypes.ErrTooManyOps, rpctypes.ErrPermissionDenied, rpctypes.ErrNoSpace,
		rpctypes.ErrDuplicateKey, rpctypes.ErrInvalidAuthToken, rpctypes.ErrUserEmpty} {
		if errors.Is(err, known) {
			return true
		}
	}
	return tooLarge(err)
}

// tooLarge includes what gRPC does not even hand on to etcd.
func tooLarge(err error) bool {
	return errors.Is(err, rpctypes.ErrRequestTooLarge) || status.Code(err) == codes.ResourceExhausted
}

// tooMuch says which setting of etcd a commit does not fit.
func tooMuch(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: etcd's --max-txn-ops has to be raised, or less be changed at once", ErrTooMany)
	case tooLarge(err):
		return fmt.Errorf("%w: etcd's --max-request-bytes has to be raised, or less be changed at once", ErrTooMany)
	}
	return fmt.Errorf("etcd: %w", err)
}

// judge answers the transactions whose preconditions did not hold.
func (w *writer) judge(b *batch, response *clientv3.TxnResponse) error {
	have, mark := map[string]int64{}, ""
	for i, r := range response.Responses {
		for _, kv := range r.GetResponseRange().Kvs {
			if i == 0 {
				mark = string(kv.Value)
			}
			have[string(kv.Key)] = kv.ModRevision
		}
	}
	if mark != w.mark(w.number) {
		w.number = 0 // etcd was restored, or another node has our name
		return errRepeat
	}
	for i, r := range b.requests {
		for key, want := range w.e.expectations(r.tx) {
			if have[key] != want {
				b.answer(i, reply{err: w.unmet(key, want, have[key])})
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
		if !w.e.away.Swap(true) {
			go w.e.probe()
		}
		return fmt.Errorf("etcd: %w: %w", err, zone.ErrUnavailable)
	}
	w.number = 1
	return nil
}

// patience is how long a caller waits to hear what became of a commit before it is told that this is not known.
const patience = 2 * callTime

// resolve finds out what became of the transaction of a number. It goes on until it is known: the next one could not be judged
// otherwise.
func (w *writer) resolve(b *batch, number int, cause error) (revision uint64, err error) {
	w.e.away.Store(true)
	other := &writer{e: w.e, series: rand.Text(), number: 1}
	late := time.NewTimer(patience)
	defer late.Stop()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		revision, err := w.settle(number, other)
		switch {
		case revision != 0:
			w.number = number
		case err == nil:
			err = fmt.Errorf("etcd: %w: %w", cause, zone.ErrUnavailable)
			w.series, w.number = other.series, other.number
		case errors.Is(err, store.ErrUnknown):
			w.number = 0
		default:
			w.refuse()
			select {
			case <-time.After(pause):
				continue
			case <-late.C:
				b.finish(0, fmt.Errorf("%w: etcd: %w", store.ErrUnknown, cause))
				continue
			case <-w.e.ctx.Done():
				return 0, fmt.Errorf("%w: etcd: %w", store.ErrUnknown, cause)
			}
		}
		w.e.away.Store(false)
		return revision, err
	}
}

// settle makes one attempt. The transaction was committed, at the revision that is returned, or it never can be, and that is 0:
// the key of the writer is in another series.
func (w *writer) settle(number int, other *writer) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(w.e.ctx, callTime)
	defer cancel()
	key := w.e.config.writerKey()
	response, err := w.e.client.Txn(ctx).If(clientv3.Compare(clientv3.Value(key), "=", w.mark(number-1))).
		Then(clientv3.OpPut(key, other.mark(other.number))).Else(clientv3.OpGet(key)).Commit()
	if err != nil || response.Succeeded {
		return 0, err
	}
	if found := response.Responses[0].GetResponseRange().Kvs; len(found) == 1 {
		switch string(found[0].Value) {
		case w.mark(number):
			return uint64(found[0].ModRevision), nil
		case other.mark(other.number): // an attempt before this one, whose answer was lost
			return 0, nil
		}
	}
	return 0, fmt.Errorf("%w: another node has the name %q", store.ErrUnknown, w.e.config.Node)
}

// probe waits until etcd answers again.
func (e *Engine) probe() {
	for e.away.Load() {
		ctx, cancel := context.WithTimeout(e.ctx, callTime)
		_, err := e.client.Get(ctx, e.config.metaKey())
		cancel()
		if err == nil {
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
