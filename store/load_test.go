package store_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/zone"
)

// What is loaded is what was there, however the records fall into batches: many, small and large ones in turns.
func TestLoadOfManyAndLargeRows(t *testing.T) {
	w := provisioned(t)
	domains := make([]zone.Domain, zone.MaxDomains)
	for i := range domains {
		domains[i] = zone.Domain(fmt.Sprintf("d%d.%s.example.com", i, strings.Repeat("long", 8))) // 250 kB in all
	}
	const tenants = 3000
	for from := 0; from < tenants; from += 500 {
		w.must(func(*store.State) (zone.Changes, error) {
			var rows []zone.Row
			for i := from; i < from+500; i++ {
				row := &zone.Tenant{ID: fmt.Sprintf("t%d", i), Pool: "default", Zone: zone.MustParseName("mx.test."), State: zone.Active, DANE: i%2 == 0, Domains: slices.Clone(domains[i:][:i%4])}
				switch {
				case i%700 == 0:
					row.Domains = slices.Clone(domains)
				case i%3 == 0:
					row.Withdrawn = zone.Forget{CachesForgetBy: now, ReplayEndsBy: now.AddDate(0, 0, i)}
				}
				rows = append(rows, row)
			}
			return zone.Changes{Puts: rows}, nil
		})
	}
	all := func() (rows []zone.Tenant) {
		w.store.State().Tenants("", func(row *zone.Tenant) bool {
			r := *row
			if len(r.Domains) == 0 {
				r.Domains = nil
			}
			rows = append(rows, r)
			return true
		})
		return rows
	}
	before := all()
	w.restart()
	after := all()
	if len(before) != tenants+1 || len(after) != len(before) {
		t.Fatalf("%d tenants before the restart, %d after it", len(before), len(after))
	}
	for i := range before {
		if !reflect.DeepEqual(before[i], after[i]) {
			t.Fatalf("%s was\n%.300v, is\n%.300v", before[i].ID, before[i], after[i])
		}
	}
}
