//go:build linux

package main

import (
	"encoding/binary"
	"runtime"
	"time"

	"github.com/mxseal/mxseal/bench/stats"
	"github.com/mxseal/mxseal/internal/batch"
)

const (
	batchLen  = 64
	headerLen = 12 // RFC 1035 §4.1.1
	maxQuery  = 512
	maxAnswer = 4096
	longest   = 10 * time.Millisecond // of a wait, since time-outs have to be looked for
)

// worker sends its share of the questions over a socket of its own and receives the answers, in one loop.
type worker struct {
	o       options
	asked   *questions
	start   time.Time
	next    int // the question to come
	stride  int // to the one after it: the number of workers
	socket  *batch.Socket
	queries *batch.Batch
	answers *batch.Batch
	flight  flight
	tally
}

// tally is what one worker has counted.
type tally struct {
	sent, answered, stray, truncated, unsent int
	octets                                   int
	rcodes                                   [16]int
	last                                     time.Duration // since the start, when the last answer came
	latency                                  stats.Histogram
}

// run asks until time is up or every question was asked once, and waits for the answers.
func (w *worker) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for {
		now := time.Since(w.start)
		due := w.due(now)
		if err := w.send(now, min(due, batchLen)); err != nil {
			return err
		}
		n, err := w.receive()
		if err != nil {
			return err
		}
		w.flight.expire(int64(now - w.o.timeout))
		if w.finished(now) && w.flight.out == 0 {
			if !w.o.once {
				w.unsent = max(0, w.behind(w.o.duration))
			}
			return nil
		}
		if n == 0 {
			if err := w.socket.Wait(w.idle(now)); err != nil {
				return err
			}
		}
	}
}

// finished reports whether nothing more is to be asked.
func (w *worker) finished(now time.Duration) bool {
	if w.o.once {
		return w.next >= w.asked.len()
	}
	return now >= w.o.duration
}

// due is how many queries to send now: what the window has room for, or what is behind the rate.
func (w *worker) due(now time.Duration) int {
	if w.finished(now) {
		return 0
	}
	due := w.o.window/w.stride - w.flight.out
	if w.o.rate > 0 {
		due = w.behind(now)
	}
	if w.o.once {
		due = min(due, (w.asked.len()-w.next+w.stride-1)/w.stride)
	}
	return max(0, due)
}

// behind is how many queries are missing to the rate, none in a closed loop.
func (w *worker) behind(now time.Duration) int {
	if w.o.rate == 0 {
		return 0
	}
	return int(now.Seconds()*w.o.rate/float64(w.stride)) - w.sent
}

// idle is how long nothing need be sent.
func (w *worker) idle(now time.Duration) time.Duration {
	if w.o.rate == 0 || w.finished(now) {
		return longest
	}
	due := time.Duration(float64(w.sent+1) * float64(w.stride) / w.o.rate * float64(time.Second))
	return min(due-now, longest)
}

// send sends the next n queries, or as many as the kernel takes.
func (w *worker) send(now time.Duration, n int) error {
	for i := range n {
		question := w.asked.at((w.next + i*w.stride) % w.asked.len())
		packet := w.queries.Resize(i, len(question))
		copy(packet, question)
		binary.BigEndian.PutUint16(packet, w.flight.launch(int64(now)+1)) // 0 means not sent
	}
	taken, err := w.socket.Send(w.queries, n)
	w.flight.retract(n - taken)
	w.sent += taken
	w.next += taken * w.stride
	return err
}

// receive takes what is there, and returns how many datagrams that were.
func (w *worker) receive() (int, error) {
	n, err := w.socket.Receive(w.answers)
	if n == 0 || err != nil {
		return 0, err
	}
	now := time.Since(w.start)
	for i := range n {
		w.count(w.answers.Data(i), now)
	}
	return n, nil
}

// count notes one answer.
func (w *worker) count(answer []byte, now time.Duration) {
	if len(answer) < headerLen {
		w.stray++
		return
	}
	sent, ok := w.flight.land(binary.BigEndian.Uint16(answer))
	if !ok {
		w.stray++
		return
	}
	w.answered++
	w.octets += len(answer)
	w.rcodes[answer[3]&0xf]++
	if answer[2]&0x02 != 0 {
		w.truncated++
	}
	w.latency.Add(now - time.Duration(sent))
	w.last = now
}
