package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mxseal/mxseal/zone"
)

// shapes returns a new value of every request body.
func shapes() []any {
	return []any{new(ZoneSpec), new(PoolSpec), new(TenantSpec), new(TenantPatch), new(DomainSpec), new(TokenSpec)}
}

// FuzzBody: the decoder never panics; what it accepts encodes to what it decodes from; it never accepts a
// body in which a member occurs twice.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"dane":true}`, `{"pool":"default","domains":["a.com","b.com"],"dane":false}`, `{"scope":"read","expires_in":"1h"}`,
		`{"hosts":[{"name":"a","addresses":["192.0.2.1"]}],"mx_preference":10,"tlsa":[{"usage":3,"selector":1,"matching_type":1,"data":"00"}],"tlsa_ports":[25]}`,
		`{"nameservers":[{"name":"ns1.x.","addresses":[]}],"ttl":{"host":300},"keys":{"csk":true},"parent":{"mode":"check","servers":["[::1]:53"]}}`,
		`{"pool":"a","pool":"b"}`, `{"pool":"a","p\u006fol":"b"}`, `[[[[]]]]`, `null`, `{"state":null}`, `{"mx_preference":65536}`, `{"mx_preference":1e1}`,
		"{\"display_name\":\"\xff\"}", `{"display_name":"\ud800"}`, `{} {}`,
		`{"color":"red"}`, `{"Pool":"default"}`, `{"pool":7}`, `{"dane":"true"}`, `{"domains":{}}`, `{"hosts":[null]}`, `{"a":{"b":1,"b":2}}`,
		`{"pool":"a"}]`, `{"pool":"a"}x`, "\ufeff{}", `{"tlsa":[{"usage":-1}]}`, `{"tlsa":[{"usage":256}]}`, `{"ttl":{"host":4294967296}}`,
		`{"parent":` + strings.Repeat(`[`, 15) + strings.Repeat(`]`, 15) + `}`, strings.Repeat(`{"a":`, 200), strings.Repeat(`[`, 200),
		`{"pool":"` + strings.Repeat("a", 1<<16) + `"}`, `{"display_name":"` + "\u2028<&>\u0000" + `"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, target := range shapes() {
			if decode(body, target) != nil {
				continue
			}
			if hasDuplicate(json.NewDecoder(bytes.NewReader(body))) {
				t.Errorf("accepted a duplicate: %q", body)
			}
			encoded, err := json.Marshal(target)
			if err != nil {
				t.Fatal(err)
			}
			if reference := lenient(t, body, target); !bytes.Equal(encoded, reference) {
				t.Errorf("%q is read as %s, by encoding/json as %s", body, encoded, reference)
			}
			again := reflect.New(reflect.TypeOf(target).Elem()).Interface()
			if err := decode(encoded, again); err != nil || !reflect.DeepEqual(target, again) {
				t.Errorf("%q became %q, and then %+v (%v)", body, encoded, again, err)
			}
		}
	})
}

// lenient decodes body as encoding/json does, into the shape of target, and encodes it again.
func lenient(t *testing.T, body []byte, target any) []byte {
	shape := reflect.New(reflect.TypeOf(target).Elem()).Interface()
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(shape); err != nil {
		t.Fatalf("accepted %q, which encoding/json refuses: %v", body, err)
	}
	encoded, err := json.Marshal(shape)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// A body is bounded before it is decoded; the decoder does not depend on it.
func TestDecodeOfHugeBodies(t *testing.T) {
	const size = 10 << 20
	for name, body := range map[string]string{
		"text": `{"pool":"` + strings.Repeat("a", size) + `"}`, "blanks": strings.Repeat(" ", size) + "{}", "objects": strings.Repeat(`{"a":`, size/5),
		"arrays": strings.Repeat("[", size), "unknown members": `{"a":1` + strings.Repeat(`,"b":2`, maxBody/6) + "}",
		"elements": `{"domains":["a"` + strings.Repeat(`,"b"`, maxBody/4) + "]}",
	} {
		var target TenantSpec
		err := decode([]byte(body), &target)
		if ok := name == "text" || name == "blanks" || name == "elements"; ok != (err == nil) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// hasDuplicate is an independent search: by recursion over objects as encoding/json reads them.
func hasDuplicate(d *json.Decoder) bool {
	var stack []map[string]bool // nil for arrays
	key := false
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		if name, isText := tok.(string); isText && key {
			if stack[len(stack)-1][name] {
				return true
			}
			stack[len(stack)-1][name] = true
			key = false
			continue
		}
		switch tok {
		case json.Delim('{'):
			stack = append(stack, map[string]bool{})
		case json.Delim('['):
			stack = append(stack, nil)
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		}
		key = len(stack) > 0 && stack[len(stack)-1] != nil
	}
}

// Every member of every request shape is of a kind that the decoder knows and has a name of its own.
func TestShapesAreDecodable(t *testing.T) {
	var check func(typ reflect.Type, path string)
	check = func(typ reflect.Type, path string) {
		switch typ.Kind() {
		case reflect.Pointer, reflect.Slice:
			check(typ.Elem(), path)
		case reflect.String, reflect.Bool, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		case reflect.Struct:
			for i := range typ.NumField() {
				f := typ.Field(i)
				name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
				if name == "" || name == "-" || f.Anonymous || name != strings.ToLower(name) {
					t.Errorf("%s.%s: json name %q", path, f.Name, name)
				}
				check(f.Type, path+"."+f.Name)
			}
		default:
			t.Errorf("%s is a %s", path, typ)
		}
	}
	for _, shape := range shapes() {
		typ := reflect.TypeOf(shape).Elem()
		check(typ, typ.Name())
	}
}

func TestDurationTextParsesBack(t *testing.T) {
	for d, want := range map[time.Duration]string{
		8 * time.Hour: "8h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 20 * time.Second: "20s", 600*time.Hour + time.Second: "600h0m1s",
		time.Hour + 10*time.Second: "1h0m10s", 100*time.Hour + 20*time.Minute: "100h20m",
	} {
		got := *durationText(d)
		if back, err := time.ParseDuration(got); got != want || back != d || err != nil {
			t.Errorf("%s: %q, want %q; parses to %s, %v", d, got, want, back, err)
		}
	}
}

// RDATA that is not what its type promises is shown in the generic form, and never panics.
func TestDataText(t *testing.T) {
	for _, c := range []struct {
		typ         zone.Type
		rdata, want string
	}{
		{zone.TypeA, "\xc0\x00\x02\x01", "192.0.2.1"},
		{zone.TypeA, "\xc0", `\# 1 c0`},
		{zone.TypeAAAA, "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01", "2001:db8::1"},
		{zone.TypeMX, "\x00\x0a\x01a\x00", "10 a."},
		{zone.TypeMX, "\x00\x0a\x05a\x00", `\# 5 000a056100`},
		{zone.TypeTLSA, "\x03\x01\x01\xab\xcd", "3 1 1 abcd"},
		{zone.TypeDS, "\x30\x39\x0d\x02\xab\xcd", "12345 13 2 ABCD"},
		{zone.TypeDNSKEY, "\x01\x01\x03\x0d\x00\x01", "257 3 13 AAE="},
		{zone.TypeTXT, "", `\# 0`},
	} {
		if got := dataText(c.typ, c.rdata); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.typ, c.rdata, got, c.want)
		}
	}
}
