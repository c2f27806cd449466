package api

import (
	"encoding/base64"
	"unicode/utf8"
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
