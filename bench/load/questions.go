//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/miekg/dns"
)

// udpSize is what queries offer (RFC 9715).
const udpSize = 1232

// questions are queries ready to be sent, but for the ID, one behind the other.
type questions struct {
	data []byte
	ends []int
	do   bool // with EDNS and DO
}

func (q *questions) len() int { return len(q.ends) }

// at is query i. It must not be changed: workers share it.
func (q *questions) at(i int) []byte {
	start := 0
	if i > 0 {
		start = q.ends[i-1]
	}
	return q.data[start:q.ends[i]]
}

// add appends the query for a name and type.
func (q *questions) add(name string, qtype uint16) error {
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	m.RecursionDesired = false
	if q.do {
		m.SetEdns0(udpSize, true)
	}
	packet, err := m.Pack()
	if err != nil {
		return fmt.Errorf("question %s: %w", name, err)
	}
	q.data = append(q.data, packet...)
	q.ends = append(q.ends, len(q.data))
	return nil
}

// shuffle puts the queries in another order, the same for every seed: neighbours must not help a server's caches.
func (q *questions) shuffle(seed uint64) {
	mixed := questions{data: make([]byte, 0, len(q.data)), ends: make([]int, 0, len(q.ends)), do: q.do}
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(q.len()) {
		mixed.data = append(mixed.data, q.at(i)...)
		mixed.ends = append(mixed.ends, len(mixed.data))
	}
	*q = mixed
}

// build makes the questions that the options ask for, at least one.
func (o options) build() (*questions, error) {
	q := &questions{do: o.do}
	var err error
	switch {
	case o.questions != "":
		err = q.addFile(o.questions)
	case o.absent != "":
		err = q.addAbsent(o)
	case o.names != "":
		err = q.addPattern(o)
	default:
		err = errors.New("give -questions, -names or -absent")
	}
	if err == nil && q.len() == 0 {
		err = errors.New("there are no questions")
	}
	q.shuffle(o.seed)
	return q, err
}

func (q *questions) addFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return q.addLines(f)
}

// addLines reads lines "name type". Empty ones are skipped.
func (q *questions) addLines(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		if len(fields) != 2 {
			return fmt.Errorf("line %q: must be a name and a type", lines.Text())
		}
		qtype, err := parseType(fields[1])
		if err == nil {
			err = q.add(fields[0], qtype)
		}
		if err != nil {
			return err
		}
	}
	return lines.Err()
}

// addPattern asks for every type at every name. The pattern has %d once or more often, always the same number, from 0.
func (q *questions) addPattern(o options) error {
	for _, text := range strings.Split(o.types, ",") {
		qtype, err := parseType(text)
		if err != nil {
			return err
		}
		for i := range o.count {
			name := strings.ReplaceAll(o.names, "%d", fmt.Sprint(i))
			if qtype == dns.TypeTLSA {
				name = "_25._tcp." + name
			}
			if err := q.add(name, qtype); err != nil {
				return err
			}
		}
	}
	return nil
}

// addAbsent asks for the addresses of random names below a zone, which another seed makes others.
func (q *questions) addAbsent(o options) error {
	random := rand.New(rand.NewPCG(o.seed, 1))
	for range o.count {
		if err := q.add(fmt.Sprintf("%016x.%s", random.Uint64(), o.absent), dns.TypeA); err != nil {
			return err
		}
	}
	return nil
}

func parseType(text string) (uint16, error) {
	qtype, known := dns.StringToType[strings.ToUpper(text)]
	if !known {
		return 0, fmt.Errorf("there is no type %q", text)
	}
	return qtype, nil
}
