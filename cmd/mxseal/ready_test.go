package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestReady(t *testing.T) {
	why := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || why != "" {
			http.Error(w, "not ready: "+why, http.StatusServiceUnavailable)
		}
	}))
	t.Setenv("MXSEAL_DNS_LISTEN", "127.0.0.1:1")
	t.Setenv("MXSEAL_METRICS_LISTEN", strings.TrimPrefix(s.URL, "http://"))
	if code, _, stderr := execute(t, "ready"); code != exitOK {
		t.Errorf("exit %d: %s", code, stderr)
	}
	why = "no keys"
	if code, _, stderr := execute(t, "ready"); code != exitFailed || !strings.Contains(stderr, "not ready: no keys") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	s.Close()
	if code, _, stderr := execute(t, "ready"); code != exitFailed || !strings.Contains(stderr, "refused") {
		t.Errorf("no server: exit %d: %s", code, stderr)
	}
}
