//go:build linux

// Command echo answers every datagram with one of a fixed size. It is what the network costs: no server on the same
// machine can be faster.
package main

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/mxseal/mxseal/internal/batch"
)

const (
	batchLen  = 64
	headerLen = 12   // RFC 1035 §4.1.1
	maxOctets = 4096 // of an answer
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5300", "`address` to answer on")
	octets := flag.Int("octets", 300, "size of every answer")
	flag.Parse()
	if err := serve(*listen, *octets); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

// serve answers until there is an error.
func serve(listen string, octets int) error {
	if octets < headerLen || octets > maxOctets {
		return fmt.Errorf("an answer has %d to %d octets", headerLen, maxOctets)
	}
	addr, err := netip.ParseAddrPort(listen)
	if err != nil {
		return err
	}
	s, err := batch.Listen(addr)
	if err != nil {
		return err
	}
	b := batch.New(batchLen, maxOctets, true)
	for {
		n, err := s.Receive(b)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := s.Wait(time.Second); err != nil {
				return err
			}
		}
		for i := range n {
			answer := b.Resize(i, octets)
			answer[2] |= 0x80 // QR; the ID stays, and whatever follows
			answer[3] = 0     // NOERROR
		}
		if _, err := s.Send(b, n); err != nil { // what is not taken is loss, which the generator counts
			return err
		}
	}
}
