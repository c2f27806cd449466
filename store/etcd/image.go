package etcd

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// The image of a node is a file of frames: who it is of, all records at one revision, their end, and the commits since then. Every frame
// has a checksum over all that is before it, too. A frame that the file ends within was being written when the node was ended.
const (
	imageFormat = 2

	frameHead   = 'H'
	frameRecord = 'R'
	frameEnd    = 'E' // of the records
	frameCommit = 'C'

	frameHeader = 12 // octets: length, checksum up to there, checksum with the content
)

// imageHead is the content of the first frame, in JSON.
type imageHead struct {
	Format int    `json:"format"`
	Prefix string `json:"prefix"`
	Node   string `json:"node"`
}

// check returns why an image, or what is said of it, is not that of a node.
func (h imageHead) check(c Config) error {
	switch {
	case h.Format != imageFormat:
		return fmt.Errorf("it has format %d; this version of mxseal knows format %d", h.Format, imageFormat)
	case h.Node != c.Node:
		return fmt.Errorf("it is of the node %q, and this one is %q (store.etcd.node)", h.Node, c.Node)
	case h.Prefix != c.Prefix:
		return fmt.Errorf("it is of the database under %q, and this one is under %q (store.etcd.prefix)", h.Prefix, c.Prefix)
	}
	return nil
}

// imageWriter writes an image to a file that has another name until it is complete.
type imageWriter struct {
	file  *os.File
	out   *bufio.Writer
	sum   uint32
	frame []byte
	size  int64 // so far
	base  int64 // up to the end of the records
	count uint64
	err   error // the first one: nothing is written after it
}

const temporary = ".tmp" // ends the names of files that are not complete

// newImage begins an image beside that of a path.
func newImage(path string, c Config) (*imageWriter, error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*"+temporary) // of mode 0600
	if err != nil {
		return nil, err
	}
	w := &imageWriter{file: f, out: bufio.NewWriterSize(f, 1<<18)}
	head, err := json.Marshal(imageHead{imageFormat, c.Prefix, c.Node})
	if err != nil {
		return nil, errors.Join(err, w.discard())
	}
	w.write(append([]byte{frameHead}, head...))
	return w, nil
}

// discard gives up an image that is not complete.
func (w *imageWriter) discard() error { return errors.Join(w.file.Close(), os.Remove(w.file.Name())) }

// write writes a frame.
func (w *imageWriter) write(content []byte) {
	if w.err != nil {
		return
	}
	var header [frameHeader]byte
	binary.LittleEndian.PutUint32(header[:], uint32(len(content)))
	w.sum = addSum(w.sum, header[:4])
	binary.LittleEndian.PutUint32(header[4:], w.sum)
	w.sum = addSum(w.sum, content)
	binary.LittleEndian.PutUint32(header[8:], w.sum)
	if _, w.err = w.out.Write(header[:]); w.err == nil {
		_, w.err = w.out.Write(content)
	}
	w.size += int64(len(header) + len(content))
}

func addSum(sum uint32, content []byte) uint32 {
	return crc32.Update(sum, crc32.MakeTable(crc32.Castagnoli), content)
}

func (w *imageWriter) record(r store.Record) {
	w.count++
	w.frame = appendRecord(append(w.frame[:0], frameRecord), r)
	w.write(w.frame)
}

// end ends the records.
func (w *imageWriter) end(revision uint64) {
	w.frame = binary.AppendUvarint(append(w.frame[:0], frameEnd), revision)
	w.frame = binary.AppendUvarint(w.frame, w.count)
	w.write(w.frame)
	w.base = w.size
}

func (w *imageWriter) commit(c store.Commit) {
	w.frame = binary.AppendUvarint(append(w.frame[:0], frameCommit), c.Revision)
	for _, write := range c.Writes {
		w.frame = appendRecord(w.frame, c.Record(write))
	}
	w.write(w.frame)
}

// flush hands all to the operating system.
func (w *imageWriter) flush() error {
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.err
}

// appendRecord appends a record, or with revision 0 that there is none.
func appendRecord(b []byte, r store.Record) []byte {
	b = binary.AppendUvarint(b, r.Revision)
	b = appendText(b, string(r.Kind))
	b = appendText(b, r.ID)
	b = append(b, max(1, r.Format))
	b = binary.AppendUvarint(b, uint64(len(r.Value)))
	return append(b, r.Value...)
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// content reads what a frame has.
type content struct {
	left []byte
	bad  bool
}

func (c *content) number() uint64 {
	v, n := binary.Uvarint(c.left)
	if n <= 0 {
		c.bad, c.left = true, nil
		return 0
	}
	c.left = c.left[n:]
	return v
}

func (c *content) octet() byte {
	if len(c.left) == 0 {
		c.bad = true
		return 0
	}
	b := c.left[0]
	c.left = c.left[1:]
	return b
}

func (c *content) octets() []byte {
	n := c.number()
	if n > uint64(len(c.left)) {
		c.bad, c.left = true, nil
		return nil
	}
	b := c.left[:n:n]
	c.left = c.left[n:]
	return b
}

// record returns one whose value is a part of the frame.
func (c *content) record() store.Record {
	return store.Record{Revision: c.number(), Kind: zone.Kind(c.octets()), ID: string(c.octets()), Format: c.octet(), Value: c.octets()}
}

// write returns the write that has made a record, with a value of its own.
func (c *content) write() store.Write {
	r := c.record()
	w := store.Write{Kind: r.Kind, ID: r.ID, Revision: r.Revision}
	if r.Revision != 0 {
		w.Value, w.Format = append([]byte{}, r.Value...), r.Format
	}
	return w
}

// imageReader reads frames.
type imageReader struct {
	in    *bufio.Reader
	left  int64 // octets
	sum   uint32
	frame []byte
}

var (
	errTorn    = errors.New("it ends within a frame")
	errDamaged = errors.New("it is damaged")
)

func newImageReader(f *os.File, size int64) *imageReader {
	return &imageReader{in: bufio.NewReaderSize(io.NewSectionReader(f, 0, 1<<62), 1<<18), left: size}
}

// next returns the next frame, which is there until the one after it. At the end the error is io.EOF.
func (r *imageReader) next() (kind byte, c content, err error) {
	var header [frameHeader]byte
	switch {
	case r.left == 0:
		return 0, c, io.EOF
	case r.left < frameHeader:
		return 0, c, errTorn
	}
	if _, err := io.ReadFull(r.in, header[:]); err != nil {
		return 0, c, fmt.Errorf("it cannot be read: %v", err) // io.EOF has a meaning here
	}
	length := int64(binary.LittleEndian.Uint32(header[:]))
	r.sum = addSum(r.sum, header[:4])
	r.left -= frameHeader
	switch {
	case header == [frameHeader]byte{} && r.onlyZeros(): // as some file systems leave what was not written yet
		return 0, c, errTorn
	case binary.LittleEndian.Uint32(header[4:]) != r.sum || length == 0:
		return 0, c, errDamaged
	case length > r.left:
		return 0, c, errTorn
	}
	r.frame = slices.Grow(r.frame[:0], int(length))[:length]
	if _, err := io.ReadFull(r.in, r.frame); err != nil {
		return 0, c, fmt.Errorf("it cannot be read: %v", err)
	}
	r.left -= length
	if r.sum = addSum(r.sum, r.frame); binary.LittleEndian.Uint32(header[8:]) != r.sum {
		return 0, c, errDamaged
	}
	return r.frame[0], content{left: r.frame[1:]}, nil
}

func (r *imageReader) onlyZeros() bool {
	for ; r.left > 0; r.left-- {
		if b, err := r.in.ReadByte(); err != nil || b != 0 {
			return false
		}
	}
	return true
}

// image is a file that was found to be whole.
type image struct {
	file     *os.File
	rest     *imageReader      // behind what was read
	changes  map[string]change // by the commits since the records
	revision uint64
}

type change struct {
	key    string
	record store.Record // without revision there is none
}

// readImage reads the first octets of an image, or all if size is 0, and checks them.
func readImage(path string, c Config, size int64) (im *image, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
		}
	}()
	if size == 0 {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		size = info.Size()
	}
	im = &image{file: f, rest: newImageReader(f, size), changes: map[string]change{}}
	kind, head, err := im.rest.next()
	if err != nil {
		return nil, err
	}
	var h imageHead
	if err := json.Unmarshal(head.left, &h); err != nil || kind != frameHead {
		return nil, errDamaged
	}
	if err := h.check(c); err != nil {
		return nil, err
	}
	if err := im.skipRecords(); err != nil {
		return nil, err
	}
	// Of what is torn, nobody was told that this node has it.
	if err := im.commits(im.note); err != nil && !errors.Is(err, errTorn) {
		return nil, err
	}
	return im, nil
}

// extend has more read than the octets that were read.
func (im *image) extend(read, size int64) {
	im.rest.in.Reset(io.NewSectionReader(im.file, read, 1<<62)) // it may have seen an end that is none any more
	im.rest.left = size - read
}

// skipRecords reads up to the end of the records.
func (im *image) skipRecords() error {
	for n := uint64(0); ; n++ {
		kind, c, err := im.rest.next()
		if errors.Is(err, io.EOF) {
			err = errTorn
		}
		if err != nil {
			return err
		}
		if kind == frameEnd {
			im.revision = c.number()
			if c.number() != n || c.bad {
				return errDamaged
			}
			return nil
		}
	}
}

// commits visits those that were not read yet.
func (im *image) commits(visit func(store.Commit)) error {
	for {
		kind, c, err := im.rest.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		commit := store.Commit{Revision: c.number()}
		for len(c.left) > 0 {
			commit.Writes = append(commit.Writes, c.write())
		}
		if kind != frameCommit || c.bad || commit.Revision <= im.revision {
			return errDamaged
		}
		im.revision = commit.Revision
		visit(commit)
	}
}

func (im *image) note(c store.Commit) {
	for _, w := range c.Writes {
		r := c.Record(w)
		key := imageKey(r)
		im.changes[key] = change{key, r}
	}
}

// imageKey is what records are in the order of, as in etcd.
func imageKey(r store.Record) string { return string(r.Kind) + "/" + r.ID }

// visit visits all records as they are after the last commit. Values are there until the next one.
func (im *image) visit(yield func(store.Record) error) error {
	changes := make([]change, 0, len(im.changes))
	for _, c := range im.changes {
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.key, b.key) })
	instead := func(upTo func(key string) bool) error {
		for len(changes) > 0 && upTo(changes[0].key) {
			r := changes[0].record
			changes = changes[1:]
			if r.Revision == 0 {
				continue
			}
			if err := yield(r); err != nil {
				return err
			}
		}
		return nil
	}
	in := newImageReader(im.file, 1<<62)
	for {
		kind, c, err := in.next()
		if err != nil {
			return fmt.Errorf("%s: %w", im.file.Name(), err) // it was whole a moment ago
		}
		switch kind {
		case frameHead:
			continue
		case frameEnd:
			return instead(func(string) bool { return true })
		}
		r := c.record()
		key := imageKey(r)
		if c.bad {
			return fmt.Errorf("%s: %w", im.file.Name(), errDamaged)
		}
		if err := instead(func(next string) bool { return next <= key }); err != nil {
			return err
		}
		if _, changed := im.changes[key]; changed {
			continue
		}
		if err := yield(r); err != nil {
			return err
		}
	}
}

func (im *image) close() error { return im.file.Close() }

// writeFile replaces a small file, durably, with content and a checksum.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*"+temporary)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s\n%08x\n", text, addSum(0, text))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// readFile reads what writeFile has written.
func readFile(path string) ([]byte, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text, sum, _ := bytes.Cut(all, []byte("\n"))
	if string(sum) != fmt.Sprintf("%08x\n", addSum(0, text)) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	return text, nil
}

// syncDir makes the entries of a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
