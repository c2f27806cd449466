// Command floor is the least that a DNS server with an admin API costs that is made of Go's parts: it echoes datagrams, and commits what is
// put over HTTP to bbolt before it answers, without looking at either. What provisioning takes from its answers a real server loses, too.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/mxseal/mxseal/internal/batch"
)

const (
	batchLen = 64
	octets   = 200 // of an answer, at most; about those of a host
	row      = 600 // octets of what is committed for a call
)

// reply is what the client of the API reads, and about as long as a tenant is.
var reply = fmt.Appendf(nil, `{"id":"x","display_name":%q}`, strings.Repeat("x", 300))

func main() {
	dns := flag.String("listen", "127.0.0.1:5300", "`address` of UDP")
	api := flag.String("api", "127.0.0.1:8053", "`address` of HTTP")
	gather := flag.Duration("gather", 0, "how long a commit waits for others")
	flag.Parse()
	dir, err := os.MkdirTemp("", "floor-")
	if err == nil {
		err = serve(dir, *dns, *api, *gather)
	}
	fmt.Fprintln(os.Stderr, "floor:", err)
	os.Exit(1)
}

// serve returns at the first error. The directory goes at once: the file needs no name any more, and whoever measures ends this with a signal.
func serve(dir, dns, api string, gather time.Duration) error {
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, nil)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return err
	}
	db.MaxBatchDelay = gather
	conn, err := net.ListenPacket("udp4", dns)
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- echo(conn.(*net.UDPConn)) }()
	go func() {
		ended <- http.ListenAndServe(api, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = commit(db, r.URL.Path, body, gather > 0)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Write(reply)
		}))
	}()
	return <-ended
}

func commit(db *bbolt.DB, key string, value []byte, gathered bool) error {
	put := func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("rows"))
		if err != nil {
			return err
		}
		return bucket.Put([]byte(key), append(value, make([]byte, max(0, row-len(value)))...))
	}
	if gathered {
		return db.Batch(put)
	}
	return db.Update(put)
}

// echo answers every datagram with one of a fixed size, over Go's poller, as a server does that has more to do.
func echo(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	in, out := batch.New(batchLen, 1232, true), batch.New(batchLen, 1232, false)
	var n int
	var errno unix.Errno
	for {
		err := raw.Read(func(fd uintptr) bool { n, errno = in.Receive(fd); return errno != unix.EAGAIN })
		if err := errors.Join(err, number(errno)); err != nil {
			return err
		}
		for i := range n {
			answer := out.Room(i)[:octets]
			copy(answer, in.Data(i))
			answer[2] |= 0x80 // QR; the ID stays, and whatever follows
			answer[3] = 0     // NOERROR
			out.Answer(i, octets, in, i)
		}
		for sent := 0; sent < n; {
			var done int
			err := raw.Write(func(fd uintptr) bool { done, errno = out.Send(fd, sent, n); return errno != unix.EAGAIN })
			if err := errors.Join(err, number(errno)); err != nil {
				return err
			}
			sent += done
		}
	}
}

// number is an error, or nil.
func number(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
