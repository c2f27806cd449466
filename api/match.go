package api

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mxseal/mxseal/zone"
)

// precondition is what If-Match or If-None-Match say about the revision that a write meets (RFC 9110 §13.1).
type precondition struct {
	given  bool
	exists bool     // If-Match: *
	any    []uint64 // If-Match: one of these; If-None-Match: * is the 0 of a resource that does not exist
}

// impossible is a revision that no resource ever has.
const impossible = math.MaxUint64

// against gives the precondition the form that the planning functions take, for a resource whose revision is
// current (0: it does not exist).
func (p precondition) against(current uint64) *uint64 {
	want := uint64(impossible)
	switch {
	case !p.given || p.exists && current != 0:
		return nil
	case slices.Contains(p.any, current):
		want = current
	case len(p.any) > 0:
		want = p.any[0]
	}
	return &want
}

// check applies the precondition where no planning function does.
func (p precondition) check(current uint64) error {
	if want := p.against(current); want != nil && *want != current {
		return refuse(zone.ErrStale, "If-Match", "the resource has revision "+strconv.FormatUint(current, 10))
	}
	return nil
}

// etag is the entity tag of a revision.
func etag(revision uint64) string { return `"` + strconv.FormatUint(revision, 10) + `"` }

// parsePrecondition reads the conditional headers of a write. Reads are unconditional.
func parsePrecondition(r *http.Request) (precondition, error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return precondition{}, nil
	}
	ifMatch := strings.Join(r.Header.Values("If-Match"), ",")
	ifNoneMatch := strings.Join(r.Header.Values("If-None-Match"), ",")
	switch {
	case ifMatch == "" && ifNoneMatch == "":
		return precondition{}, nil
	case ifMatch != "" && ifNoneMatch != "":
		return precondition{}, refuse(errMalformed, "If-None-Match", "must not be combined with If-Match")
	case ifNoneMatch != "":
		if strings.TrimSpace(ifNoneMatch) != "*" {
			return precondition{}, refuse(errMalformed, "If-None-Match", "must be * on a write")
		}
		return precondition{given: true, any: []uint64{0}}, nil
	case strings.TrimSpace(ifMatch) == "*":
		return precondition{given: true, exists: true}, nil
	}
	p := precondition{given: true}
	for tag := range strings.SplitSeq(ifMatch, ",") {
		revision, err := parseETag(strings.TrimSpace(tag))
		if err != nil {
			return precondition{}, err
		}
		p.any = append(p.any, revision)
	}
	return p, nil
}

// parseETag reads an entity tag as the API gives it out. One that it never gives out cannot match.
func parseETag(tag string) (uint64, error) {
	inner, isQuoted := strings.CutPrefix(tag, `"`)
	inner, isClosed := strings.CutSuffix(inner, `"`)
	if !isQuoted || !isClosed || strings.Contains(inner, `"`) {
		return 0, refuse(errMalformed, "If-Match", `must be * or an ETag, such as "17"`)
	}
	revision, err := strconv.ParseUint(inner, 10, 64)
	if err != nil || revision == 0 || inner != strconv.FormatUint(revision, 10) {
		return impossible, nil
	}
	return revision, nil
}
