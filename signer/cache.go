package signer

import (
	"encoding/binary"
	"sync"

	"github.com/mxseal/mxseal/internal/memo"
)

// cacheKey identifies a signature: the id of the key, and the SHA-256 of the signed data, which contains the window.
type cacheKey [keyIDSize + digestSize]byte

const (
	keyIDSize  = 16
	digestSize = 32
)

// remembered is a signature.
type remembered struct {
	rdata string // of the RRSIG
	until int64  // last second in which it is the one to give out
}

// makers is how many signatures can be made at the same time.
const makers = 1024

// cache remembers signatures, and has each made by one goroutine at a time. What is remembered is read without a lock. Who
// misses a signature takes the lock that its digest points to, and looks again: whoever had the lock before may have made it.
// Nothing is handed over, so that an error or a panic concerns only whom it happens to: the next one tries itself. Of n cores
// that sign, each finds its lock taken for another signature once in makers/n times. A table of the signatures at work would
// save that wait, and take more time for each signature than the wait does on average.
type cache struct {
	table  *memo.Table[remembered]
	making [makers]sync.Mutex
}

// get returns a signature that is remembered, or makes it in second now and remembers it. It reports which of both it did.
func (c *cache) get(key *cacheKey, now int64, sign func() (remembered, error)) (rdata string, hit bool, err error) {
	if r := c.current(key, now); r != nil {
		return r.rdata, true, nil
	}
	lock := &c.making[binary.BigEndian.Uint16(key[keyIDSize:])%makers]
	lock.Lock()
	defer lock.Unlock()
	if r := c.current(key, now); r != nil {
		return r.rdata, true, nil
	}
	r, err := sign()
	if err != nil {
		return "", false, err
	}
	c.table.Put(string(key[:]), r, len(r.rdata), now)
	return r.rdata, false, nil
}

// current returns the signature if it is remembered and may be given out in second now.
func (c *cache) current(key *cacheKey, now int64) *remembered {
	if r, _ := c.table.Get(key[:]); r != nil && r.until >= now {
		return r
	}
	return nil
}
