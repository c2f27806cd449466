package zone

import (
	"errors"
	"fmt"
	"strings"
)

// What a planning function may refuse with. Every error it returns wraps exactly one of these.
var (
	ErrInvalid       = errors.New("invalid")          // the request breaks a rule, see [FieldErrors]
	ErrNotFound      = errors.New("not found")        // the resource named in the request does not exist
	ErrUnknownRef    = errors.New("unknown")          // the request refers to a zone or pool that does not exist
	ErrConflict      = errors.New("conflict")         // somebody else owns the name, or the state forbids it
	ErrInUse         = errors.New("in use")           // something still refers to what should be deleted
	ErrStale         = errors.New("revision differs") // the If-Match precondition failed
	ErrNotAccepting  = errors.New("not accepting")    // no zone takes new tenants
	ErrNoDrainPool   = errors.New("no drain pool")    // suspension needs one
	ErrTooManyOfKind = errors.New("too many")         // a bounded collection is full
)

// FieldError names a field of a request and the rule that its value breaks.
type FieldError struct {
	Field string // as in the API: "hosts[0].addresses[1]"
	Rule  string // a sentence without full stop
}

func (e FieldError) Error() string { return e.Field + ": " + e.Rule }

// FieldErrors is all that is wrong with one request. It wraps [ErrInvalid].
type FieldErrors []FieldError

func (e FieldErrors) Error() string {
	texts := make([]string, len(e))
	for i, f := range e {
		texts[i] = f.Error()
	}
	return strings.Join(texts, "; ")
}

// Unwrap makes errors.Is(err, ErrInvalid) true.
func (e FieldErrors) Unwrap() error { return ErrInvalid }

// add appends a problem.
func (e *FieldErrors) add(field, rule string, args ...any) {
	*e = append(*e, FieldError{field, fmt.Sprintf(rule, args...)})
}

// err is nil when nothing is wrong.
func (e FieldErrors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// refuse builds an error that wraps kind and names the field that caused it.
func refuse(kind error, field, rule string, args ...any) error {
	return &RefusedError{Kind: kind, FieldError: FieldError{field, fmt.Sprintf(rule, args...)}}
}

// RefusedError is a refusal that is not about the form of a value but about the state it meets.
type RefusedError struct {
	Kind error // one of the sentinels of this package
	FieldError
}

// Unwrap returns the sentinel.
func (e *RefusedError) Unwrap() error { return e.Kind }
