package conf

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/viper"
)

// devDir is the data directory of the development mode, unless another one is given.
const devDir = "./mxseal-dev"

// Load reads the configuration from a YAML file and from environ, whose items are "NAME=value" as [os.Environ] gives
// them; a variable wins over the file, also if it is empty. A key of the file without a value counts as not given.
// Without a file name, the environment alone counts. A configuration that is refused is an [*Invalid] error; other
// errors are those of reading the file.
func Load(file string, environ []string) (Config, error) {
	var text []byte
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
	}
	return load(file, text, environ)
}

// load is Load with the file read: name is what problems call it.
func load(name string, text []byte, environ []string) (Config, error) {
	l := newLoader()
	if err := l.readFile(text); err != nil {
		return Config{}, &Invalid{Problems: []Problem{{Key: name, Rule: err.Error()}}}
	}
	l.readEnv(environ)
	return l.finish(environ)
}

// Dev is the configuration of the development mode: everything on loopback and in one directory, and the variables
// of environ obeyed as in [Load]. The directory is dataDir if that is not empty, else MXSEAL_DATA_DIR, else
// ./mxseal-dev; the key-encryption key is in it, in the file kek.
func Dev(dataDir string, environ []string) (Config, error) {
	l := newLoader()
	l.viper.SetDefault("data_dir", devDir)
	l.viper.SetDefault("dns.listen", []any{"127.0.0.1:5300", "[::1]:5300"})
	l.viper.SetDefault("api.listen", "127.0.0.1:8053")
	l.viper.SetDefault("metrics.listen", "127.0.0.1:9153")
	l.viper.SetDefault("log.format", "text")
	l.readEnv(environ)
	if dataDir != "" {
		l.viper.Set("data_dir", dataDir)
	}
	l.viper.SetDefault("keys.kek", kekFile+filepath.Join(l.viper.GetString("data_dir"), "kek"))
	return l.finish(environ)
}

// loader brings defaults, file and environment together. viper knows which of them wins, and nothing more: it would
// look up variables in the process, accept keys in any case and convert values to other types.
type loader struct {
	viper    *viper.Viper
	config   *Config
	keys     []key
	sources  map[string]string // key → where its value is from, unless that is the default
	problems []Problem
}

func newLoader() *loader {
	l := &loader{config: &Config{}, sources: map[string]string{}}
	l.viper = viper.NewWithOptions(viper.WithDecoderRegistry(decoders{l}))
	l.viper.SetConfigType("yaml")
	l.keys = l.config.keys()
	for _, k := range l.keys {
		if k.example == "" {
			l.viper.SetDefault(k.name, k.value.read(k.standard))
		}
	}
	return l
}

// decoders is what viper asks for a decoder of the file.
type decoders struct{ *loader }

func (d decoders) Decoder(string) (viper.Decoder, error) { return d, nil }

// Decode fills settings from text and takes note of the keys that do not belong there.
func (d decoders) Decode(text []byte, settings map[string]any) error {
	tree := newTree(d.keys)
	err := tree.decode(text, settings)
	for name, line := range tree.lines {
		d.sources[name] = fmt.Sprintf("line %d", line)
	}
	d.problems = append(d.problems, tree.problems...)
	return err
}

// readFile takes the settings of the file; an error means that it is not YAML of the right form at all.
func (l *loader) readFile(text []byte) error {
	return l.viper.ReadConfig(bytes.NewReader(text))
}

// readEnv takes the settings of the environment.
func (l *loader) readEnv(environ []string) {
	set := map[string]string{}
	for _, item := range environ {
		name, text, _ := strings.Cut(item, "=")
		set[name] = text
	}
	for _, k := range l.keys {
		if text, ok := set[k.env()]; ok {
			l.viper.Set(k.name, k.value.read(text))
			l.sources[k.name] = k.env()
		}
	}
}

// finish parses what was read and applies all rules.
func (l *loader) finish(environ []string) (Config, error) {
	bad := map[string]bool{}
	for _, p := range l.problems {
		bad[p.Key] = true
	}
	for _, k := range l.keys {
		v := l.viper.Get(k.name)
		if v == nil { // a key without a default, which check requires
			continue
		}
		if err := k.value.set(v); err != nil {
			bad[k.name] = true
			l.report(k.name, err.Error())
		}
	}
	check(l.config, func(name, rule string) {
		if !bad[name] { // its value is not known
			l.report(name, rule)
		}
	})
	l.sortProblems()
	l.unknownVariables(environ)
	if len(l.problems) > 0 {
		return Config{}, &Invalid{Problems: l.problems}
	}
	return *l.config, nil
}

func (l *loader) report(name, rule string) {
	l.problems = append(l.problems, Problem{Key: name, Source: l.sources[name], Rule: rule})
}

// sortProblems puts them in the order of the keys; those of no key stay in front, as the file has them.
func (l *loader) sortProblems() {
	place := func(p Problem) int {
		return slices.IndexFunc(l.keys, func(k key) bool { return k.name == p.Key })
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int { return cmp.Compare(place(a), place(b)) })
}

// unknownVariables reports the variables that look like ours and name no key: most are misspelled. The client's
// variables and the one that holds the key-encryption key are no keys and allowed.
func (l *loader) unknownVariables(environ []string) {
	known := []string{envPrefix + "SERVER", envPrefix + "TOKEN", envPrefix + "CA", envPrefix + "CLIENT_CERT", envPrefix + "CLIENT_KEY"}
	if name, ok := strings.CutPrefix(l.config.Keys.KEK, kekEnv); ok {
		known = append(known, name)
	}
	for _, k := range l.keys {
		known = append(known, k.env())
	}
	for _, item := range environ {
		name, _, _ := strings.Cut(item, "=")
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) && !isServiceLink(item) {
			l.problems = append(l.problems, Problem{Key: name, Source: "environment", Rule: "no key has this variable"})
		}
	}
}

// isServiceLink reports whether an item of the environment is one of those that Kubernetes and Docker set in every
// container that runs beside a service named mxseal, or mxseal- and something.
func isServiceLink(item string) bool {
	return regexp.MustCompile(`^MXSEAL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=|` +
		`^MXSEAL_(\w+_)?PORT=(tcp|udp|sctp)://`).MatchString(item)
}
