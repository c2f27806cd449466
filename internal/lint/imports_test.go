package lint

import (
	"fmt"
	"go/token"
	"path"
	"slices"
	"strings"
)

// allowed says which packages of ours each package may import. What is missing here may not exist: decide
// first where it stands.
func allowed() map[string][]string {
	return map[string][]string{
		"zone":             {},
		"conf":             {},
		"internal/wire":    {},
		"internal/lint":    {},
		"internal/rrsig":   {"zone"},
		"internal/epoch":   {"zone"},
		"internal/batch":   {},
		"internal/p256":    {},
		"internal/memo":    {},
		"keymgmt":          {"zone", "internal/rrsig", "internal/p256"},
		"keymgmt/parent":   {"zone"},
		"keymgmt/hsm":      {},
		"signer":           {"zone", "keymgmt", "internal/memo", "internal/rrsig"},
		"store":            {"zone", "keymgmt", "internal/epoch"},
		"store/bolt":       {"zone", "keymgmt", "store"},
		"store/etcd":       {"zone", "keymgmt", "store"},
		"store/enginetest": {"zone", "keymgmt", "store"},
		"server":           {"zone", "keymgmt", "internal/wire", "internal/epoch", "internal/batch", "internal/memo", "internal/rrsig"},
		"api":              {"zone", "keymgmt", "internal/wire"},
		"console":          {"zone", "keymgmt", "internal/wire"},
		"dane":             {"zone", "keymgmt", "internal/wire"},
		"api/client":       {"api"},
		"internal/dnstest": {"zone"},
		"internal/cable":   {},
		"cmd":              {"*"},
		"e2e":              {"*"},
		"bench":            {"*"},
	}
}

// checkDirection: imports point one way. Tests may look anywhere.
func checkDirection(s *source) (problems []string) {
	const reason = "imports point one way (docs/architecture.md): what is below does not know what is above, and only cmd knows concrete types"
	if s.isTest() {
		return nil
	}
	rule, known := lookUp(allowed(), s.dir())
	if !known {
		return []string{s.problem(s.tree.Package, "package %s is not in the table of imports: %s", s.dir(), reason)}
	}
	for target, pos := range s.imports() {
		ours, isOurs := strings.CutPrefix(target, module+"/")
		if isOurs && !slices.Contains(rule, "*") && !slices.Contains(rule, ours) {
			problems = append(problems, s.problem(pos, "%s imports %s: %s", s.dir(), ours, reason))
		}
	}
	return problems
}

// lookUp finds the entry of a directory, or that of cmd, e2e and bench for what is below them.
func lookUp(table map[string][]string, dir string) ([]string, bool) {
	if rule, found := table[dir]; found {
		return rule, true
	}
	top, _, _ := strings.Cut(dir, "/")
	rule, found := table[top]
	return rule, found && slices.Contains(rule, "*")
}

// module we use, and where.
type dependency struct {
	path    string // of the module, or of packages in it; the first that matches counts
	allowed func(s *source) bool
	reason  string
}

func in(dirs ...string) func(*source) bool {
	return func(s *source) bool { return s.within(dirs...) }
}

func exactly(dirs ...string) func(*source) bool {
	return func(s *source) bool { return slices.Contains(dirs, s.dir()) }
}

func anywhere(*source) bool { return true }

func nowhere(*source) bool { return false }

func dependencies() []dependency {
	return []dependency{
		{"github.com/hashicorp/go-memdb", exactly("store"), "its traps (objects in it must never be changed, a watch channel may be nil) are known in one place"},
		{"go.uber.org/zap", exactly("store/etcd"), "etcd's client logs with it; we have slog"},
		{"google.golang.org/grpc", exactly("store/etcd"), "etcd's client tells some errors as gRPC's"},
		{"go.etcd.io/bbolt", exactly("store/bolt", "bench/floor"), "an engine is behind the interface of package store"},
		{"go.etcd.io/etcd", exactly("store/etcd"), "an engine is behind the interface of package store"},
		{"github.com/spf13/viper", exactly("conf"), "it is case-insensitive, weakly typed and global in spirit; everybody else gets a plain struct"},
		{"github.com/prometheus/client_golang/prometheus/promauto", nowhere, "it registers with the default registry"},
		{"github.com/prometheus/client_golang", func(s *source) bool { return s.isTest() || s.base() == "metrics.go" || s.within("cmd") },
			"what is measured is declared in one file of a package, and registered by cmd"},
		{"github.com/cespare/xxhash/v2", exactly("store/etcd"), "nodes compare digests of what they have; the module is one that client_golang needs anyway"},
		{"github.com/prometheus/client_model", func(s *source) bool { return s.isTest() }, "only tests read metrics"},
		{"github.com/miekg/dns", func(s *source) bool {
			return s.isTest() || s.within("internal/dnstest", "keymgmt/parent", "e2e", "bench")
		},
			"it talks to parents' servers, and is the oracle of the tests; a bug in it must not be on both sides of a comparison, nor its costs on the path of a query"},
		{"github.com/segmentio/encoding/json", exactly("store"), "what comes from outside is read with encoding/json; these are our own records"},
		{"filippo.io/nistec", exactly("internal/p256"), "arithmetic of curves is for the one package that signs"},
		{"github.com/ThalesGroup/crypto11", exactly("keymgmt/hsm"), "it needs cgo and a library of somebody else in our process"},
		{"github.com/miekg/pkcs11", exactly("keymgmt/hsm"), "it needs cgo and a library of somebody else in our process"},
		{"github.com/danielgtaylor/huma/v2", exactly("api"), "it describes the API and does nothing else"},
		{"github.com/spf13/cobra", in("cmd"), "flags are read by the command line"},
		{"github.com/quic-go/quic-go", in("server", "e2e", "bench"), "QUIC is a transport of the server"},
		{"go.yaml.in/yaml/v3", func(s *source) bool { return s.isTest() || s.dir() == "conf" }, "the configuration is the only YAML"},
		{"golang.org/x", anywhere, ""},
		{"go.uber.org/goleak", func(s *source) bool { return s.isTest() }, "it is for tests"},
		{"github.com/anishathalye/porcupine", func(s *source) bool { return s.isTest() }, "it is for tests"},
		{"github.com/rogpeppe/go-internal", func(s *source) bool { return s.isTest() || s.within("e2e") }, "it is for tests"},
	}
}

// checkDependencies: each module of others is used where its risks are known.
func checkDependencies(s *source) (problems []string) {
	for target, pos := range s.imports() {
		if first, _, _ := strings.Cut(target, "/"); !strings.Contains(first, ".") || target == module || strings.HasPrefix(target, module+"/") {
			continue
		}
		i := slices.IndexFunc(dependencies(), func(d dependency) bool { return target == d.path || strings.HasPrefix(target, d.path+"/") })
		switch {
		case i < 0:
			problems = append(problems, s.problem(pos, "imports %s, which is not in the list of modules that we use: every module is a risk; say in the list where and why", target))
		case !dependencies()[i].allowed(s):
			problems = append(problems, s.problem(pos, "imports %s: %s", target, dependencies()[i].reason))
		}
	}
	return problems
}

// checkViper: of the files that are not tests, one imports viper.
func checkViper(all []*source) (problems []string) {
	var first *source
	for _, s := range all {
		pos, imports := s.imports()["github.com/spf13/viper"]
		switch {
		case !imports || s.isTest():
		case first == nil:
			first = s
		default:
			problems = append(problems, s.problem(pos, "imports viper, as %s does: one file reads the configuration, so that no second one reads it differently", first.name))
		}
	}
	return problems
}

// checkTesting: the program does not know that it is under test.
func checkTesting(s *source) []string {
	if s.isTest() || s.within("internal/dnstest", "store/enginetest") {
		return nil
	}
	for _, target := range []string{"testing", "testing/synctest", "testing/iotest", "net/http/httptest"} {
		if pos, imports := s.imports()[target]; imports {
			return []string{s.problem(pos, "imports %s: code that can ask whether it is under test is not what was tested", target)}
		}
	}
	return nil
}

// checkDocs: every package has one package comment, in one file.
func checkDocs(all []*source) (problems []string) {
	documented := map[string][]string{}
	packages := map[string]token.Pos{}
	for _, s := range all {
		if s.isTest() {
			continue
		}
		packages[s.dir()] = s.tree.Package
		if s.tree.Doc == nil {
			continue
		}
		documented[s.dir()] = append(documented[s.dir()], s.name)
		want := "Package " + s.tree.Name.Name + " "
		if s.tree.Name.Name == "main" {
			want = "Command " + path.Base(s.dir()) + " "
		}
		if text := s.tree.Doc.Text(); !strings.HasPrefix(text, want) {
			problems = append(problems, s.problem(s.tree.Doc.Pos(), "the package comment does not begin with %q: that is how go doc finds what it is about", want))
		}
	}
	for dir := range packages {
		if files := documented[dir]; len(files) != 1 {
			problems = append(problems, fmt.Sprintf("%s: has %d package comments %v, not one: what a package is for is said once", dir, len(files), files))
		}
	}
	return problems
}
