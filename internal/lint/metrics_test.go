package lint

import (
	"go/ast"
	"go/token"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

const prometheus = "github.com/prometheus/client_golang/prometheus"

// metricTypes are the options of client_golang, by the type of metric they are for. Vectors use the same.
func metricTypes() map[string]dto.MetricType {
	return map[string]dto.MetricType{"CounterOpts": dto.MetricType_COUNTER, "GaugeOpts": dto.MetricType_GAUGE,
		"HistogramOpts": dto.MetricType_HISTOGRAM, "SummaryOpts": dto.MetricType_SUMMARY}
}

// checkMetrics: metrics are found by their prefix and read by their units. What they are is read from the source,
// so that also those count that no test registers.
func checkMetrics(s *source) (problems []string) {
	if s.importName(prometheus) == "" || s.isTest() || s.within("e2e", "bench") {
		return nil
	}
	for _, decl := range s.tree.Decls {
		scopes := []scope{{}}
		if f, ok := decl.(*ast.FuncDecl); ok && s.makesMetric(f) {
			if called := s.callsOf(f); len(called) > 0 {
				scopes = called
			}
		}
		for _, sc := range scopes {
			ast.Inspect(decl, func(n ast.Node) bool {
				problems = append(problems, s.checkMetric(n, sc)...)
				return true
			})
		}
	}
	return problems
}

// scope has the values of the parameters that are known to be literals, and where they come from.
type scope struct {
	values map[string]string
	pos    token.Pos
}

// makesMetric reports whether a function has parameters of type string, of which the options of a metric may be
// made.
func (s *source) makesMetric(f *ast.FuncDecl) bool {
	if f.Recv != nil || f.Type.Params == nil {
		return false
	}
	for _, p := range f.Type.Params.List {
		if isIdent(p.Type, "string") {
			return true
		}
	}
	return false
}

// callsOf returns the parameters of each call of a function in its file.
func (s *source) callsOf(f *ast.FuncDecl) (scopes []scope) {
	var names []string
	for _, p := range f.Type.Params.List {
		for _, name := range p.Names {
			names = append(names, name.Name)
		}
	}
	ast.Inspect(s.tree, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !isIdent(call.Fun, f.Name.Name) {
			return true
		}
		sc := scope{values: map[string]string{}, pos: call.Pos()}
		for i, arg := range call.Args {
			if value := literal(arg, scope{}); value != nil && i < len(names) {
				sc.values[names[i]] = *value
			}
		}
		scopes = append(scopes, sc)
		return true
	})
	return scopes
}

// checkMetric checks a node, if it says what a metric is.
func (s *source) checkMetric(n ast.Node, sc scope) []string {
	local := s.importName(prometheus)
	switch n := n.(type) {
	case *ast.CompositeLit:
		if sel, ok := n.Type.(*ast.SelectorExpr); ok && isIdent(sel.X, local) {
			if typ, isOpts := metricTypes()[sel.Sel.Name]; isOpts {
				return s.checkOpts(n, typ, sc)
			}
		}
	case *ast.CallExpr:
		if sel, ok := n.Fun.(*ast.SelectorExpr); ok && isIdent(sel.X, local) && sel.Sel.Name == "NewDesc" && len(n.Args) > 1 {
			family := &dto.MetricFamily{Name: literal(n.Args[0], sc), Help: literal(n.Args[1], sc), Type: dto.MetricType_GAUGE.Enum()}
			if strings.HasSuffix(family.GetName(), "_total") { // the type is said elsewhere
				family.Type = dto.MetricType_COUNTER.Enum()
			}
			return s.lintFamily(sc.or(n.Pos()), family)
		}
	}
	return nil
}

func isIdent(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

// or is the place that a problem is reported at: that of the call if there was one.
func (sc scope) or(pos token.Pos) token.Pos {
	if sc.pos.IsValid() {
		return sc.pos
	}
	return pos
}

// checkOpts checks the options of a metric.
func (s *source) checkOpts(lit *ast.CompositeLit, typ dto.MetricType, sc scope) []string {
	family := &dto.MetricFamily{Type: &typ}
	for _, element := range lit.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		switch key, _ := pair.Key.(*ast.Ident); key.Name {
		case "Name":
			family.Name = literal(pair.Value, sc)
		case "Help":
			family.Help = literal(pair.Value, sc)
		case "Namespace", "Subsystem":
			return []string{s.problem(pair.Pos(), "the name of a metric is in pieces: it is written as it is searched for")}
		}
	}
	return s.lintFamily(sc.or(lit.Pos()), family)
}

// lintFamily gives what is known of a metric to promlint.
func (s *source) lintFamily(pos token.Pos, family *dto.MetricFamily) (problems []string) {
	name := family.GetName()
	if name == "" {
		return []string{s.problem(pos, "the name of a metric is not a literal: what is measured can be read in the source")}
	}
	if !strings.HasPrefix(name, "mxseal_") {
		problems = append(problems, s.problem(pos, "metric %s: all of ours begin with mxseal_", name))
	}
	family.Metric = []*dto.Metric{{}}
	found, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{family}).Lint()
	if err != nil {
		problems = append(problems, s.problem(pos, "metric %s: %v", name, err))
	}
	for _, p := range found {
		problems = append(problems, s.problem(pos, "metric %s: %s", name, p.Text))
	}
	return problems
}

// literal returns the value of a string literal, of a parameter that is one, or of a sum of them; nil for
// anything else.
func literal(x ast.Expr, sc scope) *string {
	switch x := x.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(x.Value); err == nil {
			return &text
		}
	case *ast.Ident:
		if text, known := sc.values[x.Name]; known {
			return &text
		}
	case *ast.BinaryExpr:
		if a, b := literal(x.X, sc), literal(x.Y, sc); x.Op == token.ADD && a != nil && b != nil {
			return new(*a + *b)
		}
	}
	return nil
}
