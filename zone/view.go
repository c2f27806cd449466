package zone

import "errors"

// View is one consistent state of the namespace. Everything it returns is immutable and shared; absent rows
// are nil. It is safe for concurrent use.
type View interface {
	Zone(apex Name) *Zone
	// Shards returns the zones directly or indirectly below apex, in canonical order.
	Shards(apex Name) []*Zone
	Pool(name string) *Pool
	Tenant(id string) *Tenant
	// Host returns who holds a label of a zone now or held it ever.
	Host(apex Name, label string) *Host
	// HostsOf returns every host that an owner ever got, at most one in each zone.
	HostsOf(owner Owner) []*Host
	// Zones, Pools and Tenants visit all rows in the order of their names or ids, beginning after the given
	// one (empty: from the start), until yield returns false.
	Zones(yield func(*Zone) bool)
	Pools(yield func(*Pool) bool)
	Tenants(after string, yield func(*Tenant) bool)
}

// Keys is what the key sets of the zones contribute to the namespace. Safe for concurrent use.
type Keys interface {
	// Apex returns the DNSKEY, CDS and CDNSKEY RRsets of a zone; empty when the zone has no usable keys.
	Apex(apex Name) []RRset
	// DS returns the DS RRset that the parent of a zone should publish; empty when there is none.
	DS(apex Name) RRset
}

// ErrRetry is returned by a commit whose preconditions no longer hold: plan again on a newer View.
var ErrRetry = errors.New("state has changed since the plan was made")

// HostedParent returns the zone that has the delegation and the DS of z, if that is one of ours.
func HostedParent(v View, z *Zone) *Zone {
	if z.Parent.Mode != ParentHosted {
		return nil
	}
	return Enclosing(v, z.Name.Parent())
}

// ErrUncertain is wrapped by the error of a commit that may have been made: only to look shows whether it was.
var ErrUncertain = errors.New("it is not known whether the change was made")

// ErrUnavailable is wrapped by the error of a commit that was not tried because no changes are possible at present.
var ErrUnavailable = errors.New("no changes are possible now")

// Kind names a table of rows.
type Kind string

// The tables of the namespace.
const (
	KindZone   Kind = "zones"
	KindPool   Kind = "pools"
	KindTenant Kind = "tenants"
	KindHost   Kind = "hosts"
	KindOwner  Kind = "owners" // guards that two nodes do not give one owner two hosts at the same moment
)

// Ref points to a version of a row: Revision 0 means that there must be none.
type Ref struct {
	Kind     Kind
	ID       string
	Revision uint64
}

// Row is a row of the namespace: *Zone, *Pool, *Tenant or *Host.
type Row interface{ Ref() Ref }

// Ref names the row and the version it was derived from.
func (z *Zone) Ref() Ref { return Ref{KindZone, z.Name.String(), z.Revision} }

// Ref names the row and the version it was derived from.
func (p *Pool) Ref() Ref { return Ref{KindPool, p.Name, p.Revision} }

// Ref names the row and the version it was derived from.
func (t *Tenant) Ref() Ref { return Ref{KindTenant, t.ID, t.Revision} }

// Ref names the row and the version it was derived from. The id has the label first, so that the hosts of
// one zone do not share a long prefix.
func (h *Host) Ref() Ref { return Ref{KindHost, h.Label + "." + h.Zone.String(), h.Revision} }

// Changes is what one operation writes, all or nothing. Every row put or deleted must still have the
// revision it carries, and so must every row in Requires; otherwise the commit fails with [ErrRetry].
type Changes struct {
	Puts     []Row
	Deletes  []Ref
	Requires []Ref
	// Claims lists owners that get a host for the first time in their life, or a new one because the zone of
	// the old one is gone. The store makes sure that of two concurrent claims of an owner only one succeeds.
	Claims []Claim
}

// Claim gives an owner its host. Previous is a host that it replaces, nil for an owner that never had one. The
// plan also writes every host that is replaced: two claims with Previous meet at those rows, and only two
// without need the store's guard.
type Claim struct {
	Owner    Owner
	Host     *Host
	Previous *Host
}

// Len is how many records are written.
func (c Changes) Len() int { return len(c.Puts) + len(c.Deletes) + len(c.Claims) }

// IsEmpty reports whether there is nothing to write.
func (c Changes) IsEmpty() bool { return len(c.Puts) == 0 && len(c.Deletes) == 0 }
