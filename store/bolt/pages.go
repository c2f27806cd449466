package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
)

// bbolt maps its file into memory and trusts what it finds there: a damaged page would end the program, or lose data in
// silence. So before bbolt sees a file, checkPages walks it with a bound on every step. The layout is that of bbolt
// 1.x: pages of one size; two meta pages, of which the newer valid one counts; from there trees of branch and leaf
// pages, one for each bucket; and the list of free pages. All numbers are little-endian.
const (
	pageHeader   = 16 // id, flags, count of elements, further pages that belong to it
	elementSize  = 16 // branch: position of the key, its size, page below; leaf: flags, position, sizes of key and value
	bucketHeader = 16 // root page, sequence
	metaSize     = 64
	metaSum      = 56 // where its checksum is
	metaMagic    = 0xED0CDAED

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10
	flagBucket   = 0x01 // of a leaf element
	noFreelist   = ^uint64(0)
	maxTreeDepth = 64
)

// metaPage is what counts of a meta page.
type metaPage struct {
	pageSize             uint32
	root, freelist, high uint64 // high: the first page that was never used
	txid                 uint64
}

// pages is a walk through the pages of a file.
type pages struct {
	file io.ReaderAt
	meta metaPage
	used []bool   // pages that belong to something, by id
	room [][]byte // for the page of each depth
}

// checkPages returns nil if bbolt can work with a file: all pages are there, each belongs to one thing, and everything in
// them lies within them and in order. What the records say is not looked at.
func checkPages(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := walkPages(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

func walkPages(f io.ReaderAt, size int64) error {
	meta, err := findMeta(f, size)
	if err != nil {
		return err
	}
	if meta.high < 2 || meta.high > uint64(size)/uint64(meta.pageSize) {
		return fmt.Errorf("it has %d octets and should have %d pages of %d", size, meta.high, meta.pageSize)
	}
	p := &pages{file: f, meta: meta, used: make([]bool, meta.high)}
	p.used[0], p.used[1] = true, true
	if err := p.tree(meta.root, 0, new([]byte)); err != nil {
		return err
	}
	return p.free()
}

// findMeta returns the newer of the valid meta pages. The second one begins where the first one says or, if that is
// damaged, at a power of two.
func findMeta(f io.ReaderAt, size int64) (best metaPage, err error) {
	found := false
	for at := int64(0); at <= 1<<16 && at+pageHeader+metaSize <= size; at = max(2*at, 1<<10) {
		var b [metaSize]byte
		if _, err := f.ReadAt(b[:], at+pageHeader); err != nil {
			return metaPage{}, err
		}
		sum := fnv.New64a()
		sum.Write(b[:metaSum])
		m := metaPage{binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint64(b[16:]), binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint64(b[48:])}
		isMeta := binary.LittleEndian.Uint32(b[:]) == metaMagic && binary.LittleEndian.Uint64(b[metaSum:]) == sum.Sum64() && m.pageSize >= 1<<10 && m.pageSize <= 1<<16
		if isMeta && (at == 0 || at == int64(m.pageSize)) && (!found || m.txid > best.txid) {
			best, found = m, true
		}
	}
	if !found {
		return metaPage{}, errors.New("it has no valid header")
	}
	return best, nil
}

// take reads a page with all that belong to it, and marks them as used. It stays until the next one of that depth is taken.
func (p *pages) take(id uint64, depth int) (page []byte, err error) {
	if id < 2 || id >= p.meta.high {
		return nil, fmt.Errorf("page %d: there is no such page", id)
	}
	size := uint64(p.meta.pageSize)
	for len(p.room) <= depth {
		p.room = append(p.room, make([]byte, size))
	}
	page = p.room[depth][:size]
	if _, err := p.file.ReadAt(page, int64(id*size)); err != nil {
		return nil, err
	}
	n := uint64(binary.LittleEndian.Uint32(page[12:])) + 1
	if binary.LittleEndian.Uint64(page) != id || n > p.meta.high-id {
		return nil, fmt.Errorf("page %d: its header is damaged", id)
	}
	for i := id; i < id+n; i++ {
		if p.used[i] {
			return nil, fmt.Errorf("page %d: belongs to two things", i)
		}
		p.used[i] = true
	}
	if n > 1 {
		page = slices.Grow(page, int(n*size))[:n*size]
		p.room[depth] = page
		_, err = p.file.ReadAt(page[size:], int64((id+1)*size))
	}
	return page, err
}

// tree walks a tree. last is the key that was seen before; keys must increase.
func (p *pages) tree(id uint64, depth int, last *[]byte) error {
	if depth > maxTreeDepth {
		return fmt.Errorf("page %d: the tree is too deep", id)
	}
	page, err := p.take(id, depth)
	if err != nil {
		return err
	}
	switch binary.LittleEndian.Uint16(page[8:]) {
	case flagBranch:
		return p.branch(id, page, depth, last)
	case flagLeaf:
		return p.leaf(id, page, depth, last)
	}
	return fmt.Errorf("page %d: belongs to no tree", id)
}

func (p *pages) branch(id uint64, page []byte, depth int, last *[]byte) error {
	count := int(binary.LittleEndian.Uint16(page[10:]))
	for i := range count {
		at := pageHeader + i*elementSize
		key, err := within(page, at, 0, 4, 0)
		if err != nil {
			return fmt.Errorf("page %d: element %d is damaged", id, i)
		}
		// A branch repeats the first key below it, which a deletion may have taken away since.
		if i > 0 && bytes.Compare(key, *last) <= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		if err := p.tree(binary.LittleEndian.Uint64(page[at+8:]), depth+1, last); err != nil {
			return err
		}
	}
	if count == 0 {
		return fmt.Errorf("page %d: has nothing below it", id)
	}
	return nil
}

func (p *pages) leaf(id uint64, page []byte, depth int, last *[]byte) error {
	for i := range int(binary.LittleEndian.Uint16(page[10:])) {
		at := pageHeader + i*elementSize
		key, err := within(page, at, 4, 8, 0)
		if err != nil {
			return fmt.Errorf("page %d: element %d is damaged", id, i)
		}
		value, err := within(page, at, 4, 12, len(key))
		if err != nil {
			return fmt.Errorf("page %d: element %d is damaged", id, i)
		}
		if bytes.Compare(key, *last) <= 0 {
			return fmt.Errorf("page %d: key %d is out of order", id, i)
		}
		*last = append((*last)[:0], key...) // the page does not stay
		if binary.LittleEndian.Uint32(page[at:])&flagBucket != 0 {
			if err := p.bucket(id, value, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// within returns the octets that the element at a place of a page points to: they begin skip octets behind the position
// that it has in field pos, counted from its own start, and are as many as it has in field size.
func within(page []byte, at, pos, size, skip int) ([]byte, error) {
	if at+elementSize > len(page) {
		return nil, io.ErrUnexpectedEOF
	}
	from := int64(at) + int64(binary.LittleEndian.Uint32(page[at+pos:])) + int64(skip)
	to := from + int64(binary.LittleEndian.Uint32(page[at+size:]))
	if to > int64(len(page)) {
		return nil, io.ErrUnexpectedEOF
	}
	return page[from:to], nil
}

// bucket walks the tree of a bucket. A small one has its only page in its value.
func (p *pages) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("page %d: a bucket is damaged", id)
	}
	last := new([]byte)
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		return p.tree(root, depth+1, last)
	}
	page := value[bucketHeader:]
	if len(page) < pageHeader || binary.LittleEndian.Uint16(page[8:]) != flagLeaf {
		return fmt.Errorf("page %d: a bucket is damaged", id)
	}
	return p.leaf(id, page, depth+1, last)
}

// free checks that the pages which the next write may take belong to nothing.
func (p *pages) free() error {
	if p.meta.freelist == noFreelist {
		return errors.New("it has no list of free pages")
	}
	page, err := p.take(p.meta.freelist, 0)
	if err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(page[8:]) != flagFreelist {
		return fmt.Errorf("page %d: is no list of free pages", p.meta.freelist)
	}
	count, ids := uint64(binary.LittleEndian.Uint16(page[10:])), page[pageHeader:]
	if count == 0xffff { // too many for the header: the first number is the count
		count, ids = binary.LittleEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids))/8 {
		return fmt.Errorf("page %d: the list of free pages is damaged", p.meta.freelist)
	}
	for i := range count {
		id := binary.LittleEndian.Uint64(ids[8*i:])
		if id < 2 || id >= p.meta.high || p.used[id] {
			return fmt.Errorf("page %d is free, but belongs to something", id)
		}
		p.used[id] = true
	}
	return nil
}
