// Package cable is for tests: a TCP connection to a server that can be cut, and on which what was sent can be late.
package cable

import (
	"bytes"
	"io"
	"net"
	"sync"
	"time"
)

// Cable hands what clients send on to a server, and what it answers back.
type Cable struct {
	Addr   string // where clients connect to
	to     string
	listen net.Listener

	mu    sync.Mutex
	cut   [2]bool // towards the server, and back
	slow  time.Duration
	late  bool                 // what goes to the server is held
	held  map[io.Writer][]byte // by where it goes to
	ends  chan struct{}
	conns map[net.Conn]bool
}

const (
	there = 0
	back  = 1
)

// Lay lays a cable from an address ("127.0.0.1:0" for any) to a server.
func Lay(from, to string) (*Cable, error) {
	l, err := net.Listen("tcp", from)
	if err != nil {
		return nil, err
	}
	c := &Cable{Addr: l.Addr().String(), to: to, listen: l, held: map[io.Writer][]byte{}, ends: make(chan struct{}), conns: map[net.Conn]bool{}}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go c.connect(client)
		}
	}()
	return c, nil
}

// Close takes the cable away.
func (c *Cable) Close() {
	c.listen.Close()
	c.Mend()
}

// Cut lets nothing through, and tells nobody.
func (c *Cable) Cut() { c.set(true, true) }

// CutAnswers lets what clients send through, and no answers.
func (c *Cable) CutAnswers() { c.set(false, true) }

// Hold keeps what clients send from now on, until Release. Answers go through.
func (c *Cable) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = true
}

// Holds reports whether there is a text in what is held.
func (c *Cable) Holds(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, sent := range c.held {
		if bytes.Contains(sent, []byte(text)) {
			return true
		}
	}
	return false
}

// Release lets what is held through, and all that comes after it.
func (c *Cable) Release() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for to, sent := range c.held {
		if _, err := to.Write(sent); err != nil {
			return err
		}
	}
	c.late = false
	clear(c.held)
	return nil
}

// Mend breaks all connections; what was on its way is lost. New ones work.
func (c *Cable) Mend() {
	c.set(false, false)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late = false
	clear(c.held)
	close(c.ends)
	c.ends = make(chan struct{})
	for conn := range c.conns {
		conn.Close()
	}
}

// Slow holds up what comes back, each piece anew.
func (c *Cable) Slow(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slow = by
}

func (c *Cable) set(towards, back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = [2]bool{towards, back}
}

func (c *Cable) connect(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	ends := c.ends
	c.conns[client], c.conns[server] = true, true
	c.mu.Unlock()
	done := make(chan struct{}, 2)
	go func() { c.copy(server, client, there, ends); done <- struct{}{} }()
	go func() { c.copy(client, server, back, ends); done <- struct{}{} }()
	<-done
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, client)
	delete(c.conns, server)
}

// copy copies until an end is closed, or, from the moment at which something could not go through, until the cable is mended.
func (c *Cable) copy(to io.Writer, from io.Reader, direction int, ends <-chan struct{}) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		c.mu.Lock()
		cut, slow := c.cut[direction], c.slow
		held := c.late && direction == there && !cut
		if held {
			c.held[to] = append(c.held[to], buf[:n]...)
		}
		c.mu.Unlock()
		if held {
			continue
		}
		if cut {
			<-ends
			return
		}
		if direction == back {
			time.Sleep(slow)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
