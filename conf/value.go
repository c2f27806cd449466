package conf

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// value is the place of a key's value and the way into it.
type value struct {
	// set takes a value as YAML gives it: string, int, bool, []any. Its error is the rule that was broken, and
	// then the place is unchanged.
	set func(v any) error
	// read turns the text of an environment variable into what set takes. Text that cannot be read stays text,
	// for set to refuse.
	read func(s string) any
}

// option is one of the words that a key may have as its value.
type option[T any] struct {
	word string
	is   T
}

// options are words that mean themselves.
func options(words ...string) []option[string] {
	out := make([]option[string], len(words))
	for i, w := range words {
		out[i] = option[string]{w, w}
	}
	return out
}

func levels() []option[slog.Level] {
	return []option[slog.Level]{
		{"debug", slog.LevelDebug}, {"info", slog.LevelInfo}, {"warn", slog.LevelWarn}, {"error", slog.LevelError},
	}
}

func readText(s string) any { return s }

func text(to *string) value {
	return value{read: readText, set: func(v any) error {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("must be text, not %s; quote it", show(v))
		}
		*to = s
		return nil
	}}
}

func choice[T any](to *T, among []option[T]) value {
	words := make([]string, len(among))
	for i, o := range among {
		words[i] = o.word
	}
	return value{read: readText, set: func(v any) error {
		for _, o := range among {
			if v == any(o.word) {
				*to = o.is
				return nil
			}
		}
		return fmt.Errorf("must be %s, not %s", strings.Join(words, " or "), show(v))
	}}
}

func boolean(to *bool) value {
	read := func(s string) any {
		switch s {
		case "true":
			return true
		case "false":
			return false
		}
		return s
	}
	return value{read: read, set: func(v any) error {
		b, ok := v.(bool)
		if !ok {
			return fmt.Errorf("must be true or false, not %s", show(v))
		}
		*to = b
		return nil
	}}
}

func number(to *int, least, most int) value {
	read := func(s string) any {
		if n, err := strconv.Atoi(s); err == nil {
			return n
		}
		return s
	}
	return value{read: read, set: func(v any) error {
		n, ok := v.(int)
		if !ok || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d, not %s", least, most, show(v))
		}
		*to = n
		return nil
	}}
}

func duration(to *time.Duration, least, most time.Duration) value {
	return value{read: readText, set: func(v any) error {
		s, _ := v.(string)
		d, err := time.ParseDuration(s)
		if err != nil || d < least || d > most {
			return fmt.Errorf("must be a duration with its unit, from %s to %s, not %s", least, most, show(v))
		}
		*to = d
		return nil
	}}
}

func address(to *netip.AddrPort) value {
	return value{read: readText, set: func(v any) error {
		a, err := parseAddress(v)
		if err != nil {
			return err
		}
		*to = a
		return nil
	}}
}

// readList takes the text of a variable as items between commas.
func readList(s string) any {
	list := []any{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// words is a list of texts. What is refused is not shown.
func words(to *[]string) value {
	return value{read: readList, set: func(v any) error {
		list, ok := v.([]any)
		if !ok {
			return errors.New("must be a list of texts")
		}
		var out []string
		for _, item := range list {
			s, ok := item.(string)
			if !ok {
				return errors.New("must be a list of texts")
			}
			out = append(out, s)
		}
		*to = out
		return nil
	}}
}

func addresses(to *[]netip.AddrPort) value {
	return value{read: readList, set: func(v any) error {
		list, ok := v.([]any)
		if !ok {
			return fmt.Errorf("must be a list of addresses, such as [\"192.0.2.53:53\"], not %s", show(v))
		}
		out := make([]netip.AddrPort, 0, len(list))
		for _, item := range list {
			a, err := parseAddress(item)
			if err != nil {
				return err
			}
			out = append(out, a)
		}
		*to = out
		return nil
	}}
}

// parseAddress takes an address in its one usual form, so that equal addresses are equal values.
func parseAddress(v any) (netip.AddrPort, error) {
	s, _ := v.(string)
	a, err := netip.ParseAddrPort(s)
	switch {
	case err != nil:
		return a, fmt.Errorf("must be an IP address and a port, such as 192.0.2.53:53 or [2001:db8::53]:53, not %s", show(v))
	case a.Port() == 0:
		return a, fmt.Errorf("must have a port from 1 to %d, not %s", math.MaxUint16, show(v))
	case a.Addr().Is4In6():
		return a, fmt.Errorf("must have an IPv4 address in its own form (%s), not %s", a.Addr().Unmap(), show(v))
	case a.Addr().IsMulticast():
		return a, fmt.Errorf("must be an address of one machine, not the multicast address %s", show(v))
	}
	return a, nil
}

// show names a refused value, in one line of bounded length.
func show(v any) string {
	const most = 80
	switch v := v.(type) {
	case string:
		if len(v) > most {
			return strconv.Quote(v[:most]) + "…"
		}
		return strconv.Quote(v)
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	case map[string]any, map[any]any:
		return "a section"
	default:
		return fmt.Sprintf("a value of type %T", v)
	}
}
