package server

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/mxseal/mxseal/zone"
)

// maxProbes bounds the zones that one call of Ready looks at: each costs a signature.
const maxProbes = 32

var errNotLoaded = errors.New("the state is not loaded yet")

// Ready returns nil if queries are answered as they should be: each zone can sign, now and not just from memory, and
// its signatures are good; those over the keys and over the DS of its shards are good; and the SOA of a zone, asked for like a client does,
// comes with good signatures. Of many zones each call looks at some, in turn. The error names every zone with a
// fault.
func (s *Server) Ready() error {
	state := s.State()
	if state == nil {
		return errNotLoaded
	}
	apexes := s.cursor.next(state, maxProbes)
	if s.look(apexes) == nil {
		return nil
	}
	return s.look(apexes) // a commit between two looks at the state can make a fault out of nothing, but hardly twice
}

// look checks zones, and answers for one of them.
func (s *Server) look(apexes []zone.Name) error {
	state := s.State()
	if state == nil {
		return errNotLoaded
	}
	var errs []error
	asked := false
	for _, apex := range apexes {
		z := state.Zone(apex)
		if z == nil {
			continue // deleted since it was chosen
		}
		err := s.checkSigning(state, z)
		if err == nil && !asked {
			asked = true
			err = s.checkAnswering(state, z)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("zone %s: %w", apex, err))
		}
	}
	return errors.Join(errs...)
}

// checkSigning signs with the keys of a zone. What is signed is the denial of a name that no host can have and that is
// another one each time: so it is signed now, it takes no room from the signatures of names that exist, and it would
// be true if it ever got out.
func (s *Server) checkSigning(state State, z *zone.Zone) error {
	ks := state.KeySet(z.Name)
	if ks == nil {
		return errors.New("no usable keys")
	}
	name, err := z.Name.Child("_mxseal-" + strconv.FormatInt(s.Now().UnixNano(), 16))
	if err != nil {
		return err
	}
	denial := s.Signer.Denial(zone.Answer{Outcome: zone.NoName, Zone: z, Name: name, Types: []zone.Type{zone.TypeNXNAME}})
	sets := append([]zone.RRset{denial}, ks.Apex()...)
	for _, shard := range state.Shards(z.Name) {
		if a := zone.Lookup(state, state, shard.Name, zone.TypeDS); a.Outcome == zone.Positive && a.Zone == z {
			sets = append(sets, a.RRset)
		}
	}
	for _, set := range sets {
		sigs, _, err := s.Signer.Sign(ks, z, set, s.Now())
		if err != nil {
			return err
		}
		if err := s.Signer.Verify(ks, set, sigs, s.Now()); err != nil {
			return err
		}
	}
	return nil
}

// checkAnswering asks for the SOA of a zone and verifies the bytes that come back.
func (s *Server) checkAnswering(state State, z *zone.Zone) error {
	set, sigs, err := readSOA(s.Respond(nil, soaQuery(z.Name), probe), z.Name)
	if err != nil {
		return fmt.Errorf("ask for the SOA: %w", err)
	}
	return s.Signer.Verify(state.KeySet(z.Name), set, sigs, s.Now())
}

// cursor remembers where the next look at the zones begins. The zero value is ready.
type cursor struct {
	mu    sync.Mutex
	after zone.Name // the last zone of the last look
}

// next returns the names of at most n zones, beginning after those of the last call, and each once.
func (c *cursor) next(v zone.View, n int) []zone.Name {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []zone.Name
	begin := 0
	for z := range v.Zones {
		all = append(all, z.Name)
		if z.Name == c.after {
			begin = len(all)
		}
	}
	chosen := make([]zone.Name, min(n, len(all)))
	for i := range chosen {
		chosen[i] = all[(begin+i)%len(all)]
		c.after = chosen[i]
	}
	return chosen
}
