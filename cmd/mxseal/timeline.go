package main

import (
	"fmt"
	"html"
	"strings"
	"time"

	"github.com/mxseal/mxseal/api"
)

// Measures of the timeline, in pixels.
const (
	timelineWidth = 960
	timelineLeft  = 190
	timelineRow   = 24
)

// timeline draws the steps of a zone's keys as an SVG picture: one row a step, at the time at which it was made or will be,
// times not to scale where they lie close together. What depends on the parent is dashed.
func timeline(s *api.KeyStatus) string {
	var b strings.Builder
	rows := len(s.Past) + len(s.Coming) + 1
	height := (rows + 3) * timelineRow
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", timelineWidth, height, timelineWidth, height)
	fmt.Fprintf(&b, `<title>Keys of %s</title><rect width="100%%" height="100%%" fill="#fff"/>`+"\n", html.EscapeString(s.Zone))
	fmt.Fprintf(&b, `<text x="12" y="%d" font-size="16" font-weight="bold">Keys of %s</text>`+"\n", timelineRow, html.EscapeString(s.Zone))
	y := 2 * timelineRow
	line := func(when, colour, dash, text string) {
		y += timelineRow
		fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="%s" stroke-width="2"%s/>`, timelineLeft-12, y-timelineRow, timelineLeft-12, y, colour, dash)
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="5" fill="%s"/>`, timelineLeft-12, y-4, colour)
		fmt.Fprintf(&b, `<text x="12" y="%d" fill="#555">%s</text><text x="%d" y="%d">%s</text>`+"\n", y, when, timelineLeft, y, html.EscapeString(text))
	}
	for _, e := range s.Past {
		line(e.At.Format(time.DateTime), "#2a7d4f", "", e.Kind+": "+e.Why)
	}
	line("now", "#b03060", "", nowText(s))
	for _, e := range s.Coming {
		dash := ""
		if e.Waits {
			dash = ` stroke-dasharray="4 4"`
		}
		line(e.At.Format(time.DateTime), "#3465a4", dash, e.Kind+": "+e.Why)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// nowText says what is waited for.
func nowText(s *api.KeyStatus) string {
	switch {
	case s.Holding != "":
		return "no key changes: " + s.Holding
	case s.Wanted != "" && s.Because != "":
		return s.Wanted + "; waits: " + s.Because + untilText(s)
	case s.Wanted != "":
		return s.Wanted
	}
	return "nothing is waited for"
}
