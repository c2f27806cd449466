package api_test

import (
	"strings"
	"testing"

	"github.com/mxseal/mxseal/api"
)

func TestKeyStatusTellsAll(t *testing.T) {
	w := newWorld(t)
	w.populate()
	s := decodeTo[api.KeyStatus](t, w.must(200, "GET", "/v1/zones/mx.test/keys/status", ""))
	if s.Wanted != "a step" || s.Because != "a reason" || s.Until == nil || len(s.Keys) != 2 || len(s.Past) != 1 || len(s.Coming) != 1 || s.DSSeen != nil {
		t.Errorf("status %+v", s)
	}
	if len(s.Parents) != 2 || len(s.Parents[0].DS) != 1 || s.Parents[1].Error == "" {
		t.Errorf("servers of the parent %+v", s.Parents)
	}
	if s.Keys[0].Use != s.Keys[0].Role || s.Keys[0].DNSKEY != "omnipresent" {
		t.Errorf("key %+v", s.Keys[0])
	}
}

func TestRollAnswersTheSteps(t *testing.T) {
	w := newWorld(t)
	w.populate()
	for body, want := range map[string]int{`{"role":"ksk"}`: 202, `{"role":"zsk","emergency":true}`: 202, `{"role":"zsk","dry_run":true}`: 200} {
		r := decodeTo[api.Rollover](t, w.must(want, "POST", "/v1/zones/mx.test/keys/roll", body))
		if len(r.Steps) != 1 || (r.Queued != "") != strings.Contains(body, "emergency") {
			t.Errorf("%s: %+v", body, r)
		}
	}
	id := decodeTo[api.Page[api.Key]](t, w.must(200, "GET", "/v1/zones/mx.test/keys", "")).Items[0].ID
	for _, verb := range []string{"confirm-ds", "restore"} {
		if r := w.must(200, "POST", "/v1/zones/mx.test/keys/"+id+"/"+verb, ""); !strings.Contains(string(r.body), id) {
			t.Errorf("%s: %s", verb, r.body)
		}
	}
}
