package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/store"
)

func TestCheckFormat(t *testing.T) {
	for known, formats := range map[uint8][]uint8{1: {1}, 2: {1, 2}, 7: {6, 7}} {
		for format := range uint8(10) {
			err := store.CheckFormat(known, format+1)
			want := format+1 == formats[0] || format+1 == formats[len(formats)-1]
			if (err == nil) != want || err != nil && !errors.Is(err, store.ErrFormat) {
				t.Errorf("a version of format %d in a database of format %d: %v", known, format+1, err)
			}
		}
	}
	for format, readable := range map[uint8]bool{0: false, 1: true, 6: true, 7: true, 8: false} {
		if err := store.CheckRecord(7, format); (err == nil) != readable {
			t.Errorf("a record of format %d: %v", format, err)
		}
	}
}

// Records are written in the format of the database, whatever newer one is known, and read in theirs.
func TestRecordsAreOfTheFormatOfTheDatabase(t *testing.T) {
	w := newWorld(t)
	format, revision := uint8(1), uint64(0)
	for want := uint8(store.OldestWritten); want <= store.Format; want++ {
		if want > format {
			var err error
			if revision, err = w.engine.Commit(t.Context(), store.Tx{Writes: []store.Write{store.WriteFormat(want, revision)}}); err != nil {
				t.Fatal(err)
			}
			format = want
			for w.store.State().Format() != want {
				time.Sleep(time.Millisecond)
			}
		}
		w.putPool("p"+string('0'+want), want)
	}
	w.restart()
	found := map[string]uint8{}
	if _, err := w.engine.Load(t.Context(), func(r store.Record) error { found[r.ID] = r.Format; return nil }); err != nil {
		t.Fatal(err)
	}
	for want := uint8(store.OldestWritten); want <= store.Format; want++ {
		id := "p" + string('0'+want)
		if pool := w.store.State().Pool(id); found[id] != want || pool == nil || pool.Hosts[0].Addresses[0].As4()[3] != want {
			t.Errorf("%s has format %d, and is %+v", id, found[id], pool)
		}
	}
	if got := w.store.State().Format(); got != format {
		t.Errorf("the database has format %d, want %d", got, format)
	}
}

// A record of a kind that is not known is not left out: not at a start, and not by a node that runs.
func TestUnknownKindsAreNotLeftOut(t *testing.T) {
	w := provisioned(t)
	if _, err := w.engine.Commit(t.Context(), store.Tx{Writes: []store.Write{{Kind: "novelties", ID: "x", Value: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	<-w.store.Done()
	if err := w.store.Err(); err == nil || !strings.Contains(err.Error(), "does not know the kind") {
		t.Errorf("the feed ended with %v", err)
	}
	w.store.Close()
	w.engine = w.engine.Reopen()
	if _, err := w.tryStart(); err == nil || !strings.Contains(err.Error(), "does not know the kind") {
		t.Errorf("started: %v", err)
	}
}
