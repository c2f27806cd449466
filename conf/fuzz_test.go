package conf

import (
	"errors"
	"reflect"
	"testing"
)

// FuzzLoad proves that any text is either refused, with a reason, or gives a configuration that keeps all rules.
func FuzzLoad(f *testing.F) {
	for _, s := range []string{
		Reference(), "", "a: [", "- a", "dns: {listen: [\"127.0.0.1:53\"]}", "dns: &a {tcp: *a}", "x: &x [*x]", "? {a: b}\n: c",
		"data_dir: !!binary aGk=\ndns: {listen: !!set {a, b}}", "log: {<<: [{level: info}]}", "dns:\n  tcp: ~\n---\n", "keys: {kek: 1e400}",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := load("fuzz", text, nil)
		if err != nil {
			var invalid *Invalid
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || !reflect.DeepEqual(c, Config{}) {
				t.Fatalf("%+v, %v", c, err)
			}
			return
		}
		check(&c, func(name, rule string) { t.Errorf("accepted although %s %s", name, rule) })
	})
}
