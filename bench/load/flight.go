//go:build linux

package main

// flight knows the queries that are out, by ID. IDs are given one after the other, so that the oldest queries come first.
type flight struct {
	sent [1 << 16]int64 // when, in ns since the start; 0: not out
	head uint16         // the next ID
	tail uint16         // no query that is out is older than this one
	out  int
	lost int
}

// launch notes a query that is sent at a time other than 0 and returns its ID. A query that still has that ID, 65,536
// queries ago, is lost.
func (f *flight) launch(now int64) uint16 {
	id := f.head
	switch {
	case f.out == 0:
		f.tail = id
	case f.tail == id:
		f.lose(id)
		f.tail++
	}
	f.sent[id] = now
	f.out++
	f.head++
	return id
}

// retract takes back the last n queries: they were not sent.
func (f *flight) retract(n int) {
	for range n {
		f.head--
		f.sent[f.head] = 0
		f.out--
	}
}

// land notes an answer. It returns when the query was sent, or false if none with that ID is out.
func (f *flight) land(id uint16) (sent int64, ok bool) {
	sent = f.sent[id]
	if sent == 0 {
		return 0, false
	}
	f.sent[id] = 0
	f.out--
	return sent, true
}

// expire gives up queries that were sent before a time.
func (f *flight) expire(before int64) {
	for f.out > 0 && f.sent[f.tail] < before {
		f.lose(f.tail)
		f.tail++
	}
}

func (f *flight) lose(id uint16) {
	if _, out := f.land(id); out {
		f.lost++
	}
}
