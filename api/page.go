package api

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"unicode/utf8"

	"github.com/mxseal/mxseal/zone"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	maxPageSize  = 20000 // lines of a page: an item counts one, and one for each domain of a tenant
)

// Page is one part of a list, in the order of the items' names.
type Page[T any] struct {
	Items      []T    `json:"items"`
	NextCursor string `json:"next_cursor,omitempty" doc:"where the next page begins; absent on the last one"`
}

// page is the part of a list that a request asks for.
type page struct {
	limit int
	after string // the last name of the page before
}

// parsePage reads the query of a request. Every other parameter is an error: a misspelt one would do
// something that was not meant.
func parsePage(query string, paged bool) (page, error) {
	p := page{limit: defaultLimit}
	values, err := url.ParseQuery(query)
	if err != nil {
		return page{}, refuse(errMalformed, "query", "must be name=value pairs with valid escapes")
	}
	for name, v := range values {
		switch {
		case !paged || name != "limit" && name != "cursor":
			return page{}, refuse(zone.ErrInvalid, clip(name), "is not a query parameter of this path")
		case len(v) != 1:
			return page{}, refuse(zone.ErrInvalid, name, "must be given once")
		case name == "limit":
			if p.limit, err = strconv.Atoi(v[0]); err != nil || p.limit < 1 || p.limit > maxLimit {
				return page{}, refuse(zone.ErrInvalid, name, "must be a number from 1 to "+strconv.Itoa(maxLimit))
			}
		default:
			b, err := base64.RawURLEncoding.DecodeString(v[0])
			if err != nil || len(b) == 0 || !utf8.Valid(b) {
				return page{}, refuse(zone.ErrInvalid, name, "must be the next_cursor of another page")
			}
			p.after = string(b)
		}
	}
	return p, nil
}

// collector fills a page from a visit in order.
type collector[T any] struct {
	page
	size int
	last string
	Page[T]
}

func collect[T any](p page) *collector[T] {
	return &collector[T]{page: p, Page: Page[T]{Items: []T{}}}
}

// add takes an item of a size in lines, unless the page is full; then it notes that there is another page
// and returns false.
func (c *collector[T]) add(name string, size int, item func() T) bool {
	if len(c.Items) == c.limit || len(c.Items) > 0 && c.size+size > maxPageSize {
		c.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(c.last))
		return false
	}
	c.Items = append(c.Items, item())
	c.size += size
	c.last = name
	return true
}

// clip bounds a text that comes from a request and goes into an answer.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
