package server

import (
	"github.com/mxseal/mxseal/internal/wire"
	"github.com/mxseal/mxseal/zone"
)

// chaos answers what people ask a server about itself (RFC 4892). It is unsigned and must not be cached.
func (s *Server) chaos(q *wire.Query) reply {
	var text string
	switch string(q.Name()) {
	case "\x07version\x04bind\x00", "\x07version\x06server\x00":
		text = s.Version
	case "\x08hostname\x04bind\x00", "\x02id\x06server\x00":
		text = s.NSID
	}
	typ := zone.Type(q.Type)
	if text == "" || typ != zone.TypeTXT && typ != zone.TypeANY {
		return refused(edeNotAuthoritative)
	}
	name, err := zone.NameFromWire(q.Name())
	if err != nil { // cannot be: it is one of those above
		return refused(edeNotAuthoritative)
	}
	set := zone.NewRRset(name, zone.TypeTXT, 0, []string{string([]byte{byte(len(text))}) + text})
	re := reply{flags: wire.AA, outcome: outNoError, count: 1}
	re.sets[0] = section{in: wire.Answer, set: set}
	return re
}
