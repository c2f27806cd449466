package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/mxseal/mxseal"

// source is one parsed Go file of the module.
type source struct {
	name string // path from the root of the module, with slashes: "zone/name.go"
	text string
	fset *token.FileSet
	tree *ast.File
}

// parse reads a file from its text.
func parse(name, text string) (*source, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{name, text, fset, tree}, nil
}

// dir is the path of the package from the root of the module.
func (s *source) dir() string { return path.Dir(s.name) }

func (s *source) base() string { return path.Base(s.name) }

func (s *source) isTest() bool { return strings.HasSuffix(s.name, "_test.go") }

// within reports whether the file is in one of the directories or below it.
func (s *source) within(dirs ...string) bool {
	for _, dir := range dirs {
		if s.dir() == dir || strings.HasPrefix(s.dir(), dir+"/") {
			return true
		}
	}
	return false
}

// imports returns the imported paths and where they stand.
func (s *source) imports() map[string]token.Pos {
	out := map[string]token.Pos{}
	for _, spec := range s.tree.Imports {
		if target, err := strconv.Unquote(spec.Path.Value); err == nil {
			out[target] = spec.Pos()
		}
	}
	return out
}

// importName is the name by which a file knows a package, empty if it does not import it.
func (s *source) importName(target string) string {
	for _, spec := range s.tree.Imports {
		if got, err := strconv.Unquote(spec.Path.Value); err != nil || got != target {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return path.Base(target)
	}
	return ""
}

// problem is one break of a rule.
func (s *source) problem(pos token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: ", s.name, s.fset.Position(pos).Line) + fmt.Sprintf(format, args...)
}

// selections calls f for each use of a name of the package that is imported from target.
func (s *source) selections(target string, f func(name string, at ast.Node)) {
	local := s.importName(target)
	if local == "" {
		return
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				f(sel.Sel.Name, sel)
			}
		}
		return true
	})
}

// readModule parses every Go file of the module.
func readModule(t *testing.T) []*source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	var all []*source
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); file != root && (name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		s, err := parse(filepath.ToSlash(name), string(text))
		if err != nil {
			return err
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// declares returns a test for declarations of a package-level variable.
func declares(name string) func(ast.Decl) bool {
	return func(decl ast.Decl) bool {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.VAR {
			return false
		}
		for _, spec := range group.Specs {
			for _, id := range spec.(*ast.ValueSpec).Names {
				if id.Name == name {
					return true
				}
			}
		}
		return false
	}
}
