package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// Limits of what fits into a head.
const (
	maxFileLines = 600
	maxFuncLines = 70
)

// checkInit: nothing happens before main.
func checkInit(s *source) (problems []string) {
	for _, decl := range s.tree.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" && !s.isTest() {
			problems = append(problems, s.problem(f.Pos(), "func init: what a program does follows from what main calls, in an order that can be read"))
		}
	}
	return problems
}

// checkGlobals: nobody registers with, serves from or asks the global state of a library.
func checkGlobals(s *source) (problems []string) {
	banned := map[string]map[string]bool{
		"net/http": {"DefaultServeMux": true, "Handle": true, "HandleFunc": true, "DefaultClient": true, "Get": true, "Post": true, "Head": true,
			"PostForm": true, "ListenAndServe": true, "ListenAndServeTLS": true},
		"github.com/prometheus/client_golang/prometheus":          {"DefaultRegisterer": true, "DefaultGatherer": true, "MustRegister": true, "Register": true, "Unregister": true},
		"github.com/prometheus/client_golang/prometheus/promhttp": {"Handler": true},
		"github.com/spf13/viper":                                  {"Get": true, "Set": true, "GetString": true, "ReadInConfig": true, "Unmarshal": true, "BindEnv": true, "AutomaticEnv": true, "SetDefault": true, "GetViper": true},
		"log":                                                     {"Print": true, "Printf": true, "Println": true, "Fatal": true, "Fatalf": true, "Fatalln": true, "Panic": true, "Panicf": true, "SetOutput": true},
		"log/slog":                                                {"SetDefault": true, "Default": true, "Info": true, "Warn": true, "Error": true, "Debug": true},
		"flag":                                                    {"Parse": true, "String": true, "Bool": true, "Int": true, "Duration": true},
	}
	if s.isTest() || s.within("e2e", "bench") {
		return nil
	}
	for target, names := range banned {
		s.selections(target, func(name string, at ast.Node) {
			if names[name] {
				problems = append(problems, s.problem(at.Pos(), "%s.%s: state that the whole process shares couples what does not know of each other, and tests with it", target, name))
			}
		})
	}
	for _, hidden := range []string{"net/http/pprof", "expvar"} {
		if pos, imports := s.imports()[hidden]; imports {
			problems = append(problems, s.problem(pos, "imports %s: it adds itself to http.DefaultServeMux", hidden))
		}
	}
	return problems
}

// unchanging lists the package-level variables that are not errors. Each is written once, where it is
// declared, and never again.
func unchanging() map[string]string {
	return map[string]string{
		"internal/p256.n":        "the order of the curve",
		"internal/p256.order":    "the same for math/big",
		"internal/p256.rSquared": "a constant of the curve",
		"zone.Root":              "a Name, and names cannot be changed; Go has no constants of struct types",
		"zone.algorithmNames":    "a table that is only read",
		"zone.typeNames":         "a table that is only read",
		"zone.hyphens":           "a table of replacements that is only read",
		"zone.lowerBase32":       "an alphabet that is only read",
		"api.kinds":              "a table that is only read",
		"store.loadedKinds":      "a list that is only read",
		"signer.absentBitmap":    "a string, which is computed once because it is compared with on every query",

		"cmd/mxseal.domainColumns": "describes a table of the output; only read",
		"cmd/mxseal.hostColumns":   "describes a table of the output; only read",
		"cmd/mxseal.keyColumns":    "describes a table of the output; only read",
		"cmd/mxseal.poolColumns":   "describes a table of the output; only read",
		"cmd/mxseal.tenantColumns": "describes a table of the output; only read",
		"cmd/mxseal.zoneColumns":   "describes a table of the output; only read",
	}
}

// checkVariables: a package has no state. Errors, checks of interfaces, regular expressions and embedded files are
// no state; other variables must be listed.
func checkVariables(s *source) (problems []string) {
	if s.isTest() || s.within("e2e", "bench") {
		return nil
	}
	for _, decl := range s.tree.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			for i, name := range value.Names {
				if !s.isConstant(group, value, name.Name, i) {
					problems = append(problems, s.problem(name.Pos(), "package-level variable %s: a package has no state, or tests and tenants share it; if it never changes, list it with the reason", name.Name))
				}
			}
		}
	}
	return problems
}

func (s *source) isConstant(group *ast.GenDecl, spec *ast.ValueSpec, name string, i int) bool {
	if name == "_" || unchanging()[s.dir()+"."+name] != "" || isEmbedded(group.Doc) || isEmbedded(spec.Doc) {
		return true
	}
	if i >= len(spec.Values) {
		return false
	}
	call, ok := spec.Values[i].(*ast.CallExpr)
	if !ok {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := sel.X.(*ast.Ident)
	if !ok {
		return false
	}
	switch from.Name + "." + sel.Sel.Name {
	case "errors.New", "fmt.Errorf":
		return regexp.MustCompile(`^(err|Err)[A-Z]`).MatchString(name)
	case "regexp.MustCompile":
		return true
	}
	return false
}

func isEmbedded(doc *ast.CommentGroup) bool {
	if doc == nil {
		return false
	}
	for _, c := range doc.List {
		if strings.HasPrefix(c.Text, "//go:embed ") {
			return true
		}
	}
	return false
}

// clocks lists the files outside cmd, e2e and bench that may read the clock.
func clocks() map[string]string {
	return map[string]string{
		"server/tcp.go":             "deadlines of sockets are in the time of the operating system",
		"server/failure.go":         "the log of panics must not depend on what may have panicked",
		"internal/dnstest/query.go": "deadlines of sockets are in the time of the operating system",
		"store/queue.go":            "the writer of an engine, which waits for no longer than it took to write",
	}
}

// checkClock: time is an argument.
func checkClock(s *source) (problems []string) {
	if s.isTest() || s.within("cmd", "e2e", "bench") || clocks()[s.name] != "" {
		return nil
	}
	s.selections("time", func(name string, at ast.Node) {
		if name == "Now" || name == "Since" || name == "Until" {
			problems = append(problems, s.problem(at.Pos(), "time.%s: time is an argument, so that a year passes in a test; only loops at the edge read the clock", name))
		}
	})
	return problems
}

// panicking lists the files where something else than a Must function panics.
func panicking() map[string]string {
	return map[string]string{
		"store/state.go":         "a table or index that the schema of the same package lacks is seen by every test",
		"cmd/mxseal/ceremony.go": "a flag that the same function does not define is seen by every test",
		"cmd/mxseal/token.go":    "a flag that the same function does not define is seen by every test",
	}
}

// checkPanic: only a Must function panics, which is for what is written in the program itself.
func checkPanic(s *source) (problems []string) {
	if s.isTest() || s.within("e2e", "bench") || panicking()[s.name] != "" {
		return nil
	}
	for _, decl := range s.tree.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && (strings.HasPrefix(f.Name.Name, "Must") || strings.HasPrefix(f.Name.Name, "must")) {
			continue
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if f, ok := call.Fun.(*ast.Ident); ok && f.Name == "panic" {
					problems = append(problems, s.problem(call.Pos(), "panic: an error is returned; one tenant's data must not stop the service of all. A Must… function may, for what is written in the program"))
				}
			}
			return true
		})
	}
	return problems
}

// lists are the functions that may be longer, because there is nothing to follow in them.
func lists() map[string]string {
	return map[string]string{"conf/keys.go keys": "one literal, with an entry for each key of the configuration and its documentation"}
}

// checkSize: a file is a chapter and a function fits a screen.
func checkSize(s *source) (problems []string) {
	if s.isTest() || s.within("e2e", "bench") {
		return nil
	}
	if n := strings.Count(s.text, "\n"); n > maxFileLines {
		problems = append(problems, s.problem(s.tree.Package, "%d lines, over %d: a file has one subject", n, maxFileLines))
	}
	for _, decl := range s.tree.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFuncLines && lists()[s.name+" "+f.Name.Name] == "" {
			problems = append(problems, s.problem(f.Pos(), "%s has %d lines, over %d: a function fits on a screen, so that it can be seen to be right", f.Name.Name, n, maxFuncLines))
		}
	}
	return problems
}
