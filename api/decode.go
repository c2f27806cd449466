package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mxseal/mxseal/zone"
)

// maxReported bounds the errors listed for one body.
const maxReported = 20

// decode reads exactly one JSON value into target, a pointer to a shape made of structs, pointers, slices,
// strings, booleans and unsigned integers. It is stricter than encoding/json, which matches names without
// regard to case, lets the last of two members win, takes null for anything and repairs broken text: what
// this server and a proxy in front of it could understand differently is refused (RFC 8259 §4, RFC 7493).
func decode(body []byte, target any) error {
	if !utf8.Valid(body) {
		return refuse(errMalformed, "body", "must be UTF-8")
	}
	var syntax json.RawMessage
	if err := json.Unmarshal(body, &syntax); err != nil {
		return refuse(errMalformed, "body", "must be one JSON value: "+err.Error())
	}
	d := &decoder{tokens: json.NewDecoder(bytes.NewReader(body))}
	d.tokens.UseNumber()
	if err := d.value("", 0, reflect.ValueOf(target).Elem()); err != nil {
		return err
	}
	if len(d.errs) > 0 {
		return d.errs
	}
	return nil
}

// decoder walks the tokens of a body whose syntax is known to be right.
type decoder struct {
	tokens *json.Decoder
	errs   zone.FieldErrors
}

func (d *decoder) report(field, rule string) {
	if field == "" {
		field = "body"
	}
	if len(d.errs) < maxReported {
		d.errs = append(d.errs, zone.FieldError{Field: field, Rule: rule})
	}
}

// value reads the next value into v. With the zero Value it only checks what holds for every value, because
// nothing in the shape corresponds to it.
func (d *decoder) value(field string, depth int, v reflect.Value) error {
	tok, err := d.tokens.Token()
	if err != nil {
		return refuse(errMalformed, "body", "must be one JSON value")
	}
	for v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	delim, isDelim := tok.(json.Delim)
	if isDelim && depth == maxDepth {
		return refuse(errMalformed, "body", fmt.Sprintf("must not be nested deeper than %d levels", maxDepth))
	}
	switch {
	case delim == '{':
		if v.Kind() != reflect.Struct {
			v = d.mismatch(field, v)
		}
		return d.object(field, depth+1, v)
	case delim == '[':
		if v.Kind() != reflect.Slice || isOctets(v) {
			v = d.mismatch(field, v)
		}
		return d.array(field, depth+1, v)
	}
	d.scalar(field, tok, v)
	return nil
}

// mismatch reports that a value is not of the type of v, and returns the Value for what cannot be stored.
func (d *decoder) mismatch(field string, v reflect.Value) reflect.Value {
	if v.IsValid() {
		d.report(field, "must be "+nameOfKind(v.Type()))
	}
	return reflect.Value{}
}

func nameOfKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Int64:
		return "a whole number"
	case reflect.Struct:
		return "an object"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "base64"
		}
		return "an array"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	default:
		return "a whole number from 0 to " + strconv.FormatUint(uint64(1)<<t.Bits()-1, 10)
	}
}

func (d *decoder) object(field string, depth int, v reflect.Value) error {
	byName := members(v)
	seen := map[string]bool{}
	for d.tokens.More() {
		tok, err := d.tokens.Token()
		if err != nil {
			return refuse(errMalformed, "body", "must be one JSON value")
		}
		name, _ := tok.(string) // nothing else can stand here
		path := clip(name)
		if field != "" {
			path = clip(field) + "." + path
		}
		member, known := byName[name]
		switch {
		case seen[name]:
			d.report(path, "must not be given twice")
			member = reflect.Value{}
		case !known && v.IsValid():
			d.report(path, "is not a known member")
		}
		seen[name] = true
		if err := d.value(path, depth, member); err != nil {
			return err
		}
	}
	_, err := d.tokens.Token()
	return err
}

// members returns the fields of a struct by their JSON names.
func members(v reflect.Value) map[string]reflect.Value {
	if !v.IsValid() {
		return nil
	}
	byName := make(map[string]reflect.Value, v.NumField())
	for i := range v.NumField() {
		if v.Type().Field(i).Anonymous {
			maps.Copy(byName, members(v.Field(i)))
			continue
		}
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		byName[name] = v.Field(i)
	}
	return byName
}

// array reads the elements of an array. An empty one is the nil slice.
func (d *decoder) array(field string, depth int, v reflect.Value) error {
	for i := 0; d.tokens.More(); i++ {
		path := field + "[" + strconv.Itoa(i) + "]"
		var element reflect.Value
		if v.IsValid() {
			element = reflect.New(v.Type().Elem()).Elem()
		}
		if err := d.value(path, depth, element); err != nil {
			return err
		}
		if v.IsValid() {
			v.Set(reflect.Append(v, element))
		}
	}
	_, err := d.tokens.Token()
	return err
}

// isOctets reports whether a value is written in base64, as encoding/json does it.
func isOctets(v reflect.Value) bool {
	return v.IsValid() && v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8
}

func (d *decoder) scalar(field string, tok json.Token, v reflect.Value) {
	switch s := tok.(type) {
	case string:
		if strings.ContainsRune(s, utf8.RuneError) { // what a lone surrogate becomes
			d.report(field, "must be valid Unicode text")
			return
		}
		if v.Kind() == reflect.String {
			v.SetString(s)
			return
		}
		if isOctets(v) {
			if b, err := base64.StdEncoding.DecodeString(s); err == nil {
				v.SetBytes(b)
				return
			}
		}
	case bool:
		if v.Kind() == reflect.Bool {
			v.SetBool(s)
			return
		}
	case json.Number:
		if v.IsValid() && v.CanUint() {
			if n, err := strconv.ParseUint(s.String(), 10, v.Type().Bits()); err == nil {
				v.SetUint(n)
				return
			}
		}
		if v.IsValid() && v.CanInt() {
			if n, err := strconv.ParseInt(s.String(), 10, 64); err == nil {
				v.SetInt(n)
				return
			}
		}
	}
	d.mismatch(field, v)
}
