package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A metric that the documentation tells operators to look at must be there.
func TestDocumentedMetricsExist(t *testing.T) {
	var code strings.Builder
	for _, s := range readModule(t) {
		if s.base() == "metrics.go" || s.within("cmd") {
			text, err := os.ReadFile(filepath.Join("..", "..", s.name))
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("documentation: %v, %v", pages, err)
	}
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`mxseal_[a-z_]+`).FindAllString(string(text), -1) {
			found++
			if !strings.Contains(code.String(), `"`+name+`"`) {
				t.Errorf("%s: there is no metric %s", page, name)
			}
		}
	}
	if found == 0 {
		t.Error("the documentation names no metric")
	}
}
