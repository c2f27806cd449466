package store

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"

	"github.com/mxseal/mxseal/zone"
)

// InOrder passes records on to write, for an engine that numbers them anew. Of the hosts of one owner it counts which was written last
// (see [zone.HostOf]): before a later one comes, next is called, and what is written after that must get larger revisions. Nothing
// else in rows depends on revisions.
func InOrder(records func(yield func(Record) error) error, write func(Record) error, next func() error) error {
	type host struct {
		owner zone.Owner
		Record
	}
	var hosts []host
	err := records(func(r Record) error {
		if r.Kind != zone.KindHost {
			return write(r)
		}
		row, err := decode(r)
		if h, is := row.(*zone.Host); err == nil && is {
			r.Value = bytes.Clone(r.Value)
			hosts = append(hosts, host{h.Owner, r})
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(hosts, func(a, b host) int { return cmp.Or(cmp.Compare(a.owner, b.owner), cmp.Compare(a.Revision, b.Revision)) })
	for len(hosts) > 0 {
		var later []host
		first := hosts[0] // of its owner
		for _, h := range hosts {
			if h.owner != first.owner {
				first = h
			}
			if h.Revision > first.Revision {
				later = append(later, h)
			} else if err := write(h.Record); err != nil {
				return err
			}
		}
		if hosts = later; len(hosts) > 0 {
			if err := next(); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sum tells whether two engines have the same records, but for their revisions. Its zero value is that of no records.
type Sum struct {
	Records int
	kinds   map[zone.Kind]hash.Hash
}

// Add takes in a record. Those of a kind must come in the order of their ids, as Load visits them.
func (s *Sum) Add(r Record) {
	if s.kinds == nil {
		s.kinds = map[zone.Kind]hash.Hash{}
	}
	h := s.kinds[r.Kind]
	if h == nil {
		h = sha256.New()
		s.kinds[r.Kind] = h
	}
	s.Records++
	var head [17]byte
	binary.BigEndian.PutUint64(head[:8], uint64(len(r.ID)))
	binary.BigEndian.PutUint64(head[8:16], uint64(len(r.Value)))
	head[16] = max(1, r.Format)
	h.Write(head[:])
	h.Write([]byte(r.ID))
	h.Write(r.Value)
}

// Digest is the same for the same records.
func (s *Sum) Digest() string {
	all := sha256.New()
	for _, kind := range slices.Sorted(maps.Keys(s.kinds)) {
		fmt.Fprintf(all, "%q %x\n", kind, s.kinds[kind].Sum(nil))
	}
	return hex.EncodeToString(all.Sum(nil))
}
