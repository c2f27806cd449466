package zone

import (
	"slices"
	"strconv"
	"time"
)

// State of a tenant.
type State string

// The states of design §5.
const (
	Active    State = "active"
	Suspended State = "suspended" // served from the zone's drain pool
	Revoked   State = "revoked"   // its hosts do not exist
)

// MaxDomains bounds the domains of one tenant, and with it the size of one write.
const MaxDomains = 5000

// Tenant is a customer of the provider. Rows are immutable: change a copy. Its revision covers its hosts: each
// write to one of them also writes the tenant.
type Tenant struct {
	ID          string   `json:"id"`
	DisplayName string   `json:"display_name,omitempty"`
	Pool        string   `json:"pool"`
	Zone        Name     `json:"zone"` // where new hosts of the tenant are placed
	DANE        bool     `json:"dane"`
	Smarthost   bool     `json:"smarthost,omitempty"`
	State       State    `json:"state"`
	Domains     []Domain `json:"domains,omitempty"`  // sorted; what the tenant owns now
	Withdrawn   Forget   `json:"withdrawn,omitzero"` // of all that was ever withdrawn from the tenant; zero if nothing was
	Revision    uint64   `json:"-"`                  // of the last write, 0 before the first
}

// Forget bounds how long answers that were given before a withdrawal can still have effect.
type Forget struct {
	CachesForgetBy time.Time `json:"caches_forget_by"` // honest resolvers have let go of the records
	ReplayEndsBy   time.Time `json:"replay_ends_by"`   // no validator accepts a recorded answer any more
}

// Host is the binding of an owner to one label of one zone. It is made once and never deleted: what changes is
// who holds it now. Rows are immutable: change a copy.
type Host struct {
	Owner  Owner  `json:"owner"`
	Zone   Name   `json:"zone"`
	Label  string `json:"label"`
	Tenant string `json:"tenant,omitempty"` // empty when released: the host does not exist
	DANE   bool   `json:"dane"`
	// Released tells of the last withdrawal while nobody holds the host.
	Released *Release `json:"released,omitempty"`
	Revision uint64   `json:"-"` // of the last write, 0 before the first
}

// Release records who gave a host up and how long its answers can still have effect.
type Release struct {
	From string `json:"from"` // tenant
	Forget
}

// Name returns the host's domain name.
func (h *Host) Name() Name {
	n, err := h.Zone.Child(h.Label)
	if err != nil {
		return Name{} // cannot be: labels are at most 63 octets and zones leave room for them
	}
	return n
}

// Owners returns the owners of all hosts that the tenant holds while it is not revoked.
func (t *Tenant) Owners() []Owner {
	owners := make([]Owner, 0, len(t.Domains)+1)
	if t.Smarthost {
		owners = append(owners, SmarthostOwner(t.ID))
	}
	for _, d := range t.Domains {
		owners = append(owners, DomainOwner(d))
	}
	return owners
}

// clone returns a copy whose slices may be changed.
func (t *Tenant) clone() *Tenant {
	c := *t
	c.Domains = slices.Clone(t.Domains)
	return &c
}

// same reports whether two versions of a tenant's own row are equal.
func (t *Tenant) same(o *Tenant) bool {
	return t.ID == o.ID && t.DisplayName == o.DisplayName && t.Pool == o.Pool && t.Zone == o.Zone && t.DANE == o.DANE &&
		t.Smarthost == o.Smarthost && t.State == o.State && slices.Equal(t.Domains, o.Domains)
}

// TLSAName returns the owner of the TLSA records of a port (RFC 6698 §3).
func TLSAName(host Name, port uint16) (Name, error) {
	tcp, err := host.Child("_tcp")
	if err != nil {
		return Name{}, err
	}
	return tcp.Child("_" + strconv.Itoa(int(port)))
}
