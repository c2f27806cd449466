package api

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/mxseal/mxseal/zone"
)

// parameters are those that the query may have.
func (e endpoint) parameters() []string {
	switch {
	case e.isWrite():
		return []string{"wait"}
	case e.paged:
		return []string{"limit", "cursor"}
	}
	return nil
}

// parseQuery reads the query of a request. Every other parameter is an error: a misspelt one would do
// something that was not meant.
func (c *call) parseQuery(e endpoint) error {
	c.page.limit = defaultLimit
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return refuse(errMalformed, "query", "must be name=value pairs with valid escapes")
	}
	for name, v := range values {
		switch {
		case !slices.Contains(e.parameters(), name):
			return refuse(zone.ErrInvalid, clip(name), "is not a query parameter of this path")
		case len(v) != 1:
			return refuse(zone.ErrInvalid, name, "must be given once")
		}
		if err := c.parseParameter(name, v[0]); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) parseParameter(name, text string) (err error) {
	switch name {
	case "wait":
		if c.waits = text == "all"; !c.waits && text != "local" {
			return refuse(errMalformed, name, "must be local or all")
		}
	case "limit":
		if c.page.limit, err = strconv.Atoi(text); err != nil || c.page.limit < 1 || c.page.limit > maxLimit {
			return refuse(zone.ErrInvalid, name, "must be a number from 1 to "+strconv.Itoa(maxLimit))
		}
	case "cursor":
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || len(b) == 0 || !utf8.Valid(b) {
			return refuse(zone.ErrInvalid, name, "must be the next_cursor of another page")
		}
		c.page.after = string(b)
	}
	return nil
}
