package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func tenantCommand(f *clientFlags) *cobra.Command {
	return group("tenant", "Customers of the provider", tenantSet(f), tenantShow(f), tenantList(f), tenantRecords(f), tenantImport(f), tenantExport(f),
		tenantRevoke(f), tenantState(f, "suspend", "Serve a tenant from its zone's drain pool: senders defer", "suspended"),
		tenantState(f, "resume", "End the suspension of a tenant", "active"), tenantDANE(f))
}

var tenantColumns = row(func(t api.Tenant) []string {
	return []string{t.ID, t.State, t.Pool, t.Zone, onOff(t.DANE), strconv.Itoa(len(t.Domains)), t.DisplayName}
}, "TENANT", "STATE", "POOL", "ZONE", "DANE", "DOMAINS", "NAME")

// hostColumns shows a tenant by its hosts: what its customers have to publish.
var hostColumns = columns[api.Tenant]{
	head: []string{"TENANT", "STATE", "DANE", "DOMAIN", "HOST"},
	rows: func(t api.Tenant) (rows [][]string) {
		if t.SmarthostHost != nil {
			rows = append(rows, []string{t.ID, t.State, onOff(t.DANE), "(smarthost)", *t.SmarthostHost})
		}
		for _, d := range t.Domains {
			rows = append(rows, []string{t.ID, d.State, onOff(d.DANE), d.Domain, d.Host})
		}
		if len(rows) == 0 {
			rows = append(rows, []string{t.ID, t.State, onOff(t.DANE), "-", "-"})
		}
		return rows
	},
}

func tenantSet(f *clientFlags) *cobra.Command {
	t := &tenantFlags{}
	cmd := f.calling("set TENANT", "Create a tenant, or change what the flags name of one; brings back a revoked one", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		var spec api.TenantSpec
		unchanged := client.IfAbsent()
		old, err := c.Tenant(cmd.Context(), args[0])
		switch {
		case err == nil:
			unchanged = client.IfRevision(old.Revision)
			spec = specOf(old)
		case !isCode(err, "not_found"):
			return err
		}
		t.apply(cmd, &spec)
		made, err := c.PutTenant(cmd.Context(), args[0], spec, unchanged)
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, made, hostColumns)
	})
	t.register(cmd)
	return cmd
}

// tenantFlags are the fields of a tenant.
type tenantFlags struct {
	given           api.TenantSpec
	dane, smarthost bool
}

func (t *tenantFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&t.given.Pool, "pool", "", "pool of mail servers that take the tenant's mail")
	flags.StringArrayVar(&t.given.Domains, "domain", nil, "accepted domain; may be repeated; those not named are withdrawn")
	flags.StringVar(&t.given.Zone, "zone", "", "zone of the hosts; by default one that accepts tenants; never changes")
	flags.StringVar(&t.given.DisplayName, "display-name", "", "name for people")
	flags.BoolVar(&t.dane, "dane", true, "publish TLSA records")
	flags.BoolVar(&t.smarthost, "smarthost", false, "give the tenant a host of its own")
}

// apply changes a specification by the flags that were given.
func (t *tenantFlags) apply(cmd *cobra.Command, spec *api.TenantSpec) {
	for name, take := range map[string]func(){
		"pool":         func() { spec.Pool = t.given.Pool },
		"domain":       func() { spec.Domains = t.given.Domains },
		"zone":         func() { spec.Zone = t.given.Zone },
		"display-name": func() { spec.DisplayName = t.given.DisplayName },
		"dane":         func() { spec.DANE = &t.dane },
		"smarthost":    func() { spec.Smarthost = t.smarthost },
	} {
		if cmd.Flags().Changed(name) {
			take()
		}
	}
}

// specOf is what a tenant is now.
func specOf(t *api.Tenant) api.TenantSpec {
	spec := api.TenantSpec{DisplayName: t.DisplayName, Pool: t.Pool, Zone: t.Zone, DANE: &t.DANE, Smarthost: t.Smarthost}
	for _, d := range t.Domains {
		spec.Domains = append(spec.Domains, d.Domain)
	}
	return spec
}

func tenantShow(f *clientFlags) *cobra.Command {
	return f.calling("show TENANT", "Show a tenant and its hosts", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		t, err := c.Tenant(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, t, hostColumns)
	})
}

func tenantList(f *clientFlags) *cobra.Command {
	return f.calling("list", "List the tenants", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		return printList(cmd.OutOrStdout(), f.output, c.Tenants(cmd.Context()), tenantColumns)
	})
}

func tenantRecords(f *clientFlags) *cobra.Command {
	return f.calling("records TENANT", "List the records that are served for a tenant", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		records, err := c.TenantRecords(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), f.output, each(records), row(func(r api.Record) []string {
			return []string{r.Name, fmt.Sprint(r.TTL), r.Type, r.Data}
		}, "NAME", "TTL", "TYPE", "DATA"))
	})
}

func tenantRevoke(f *clientFlags) *cobra.Command {
	return f.calling("revoke TENANT", "Make the hosts of a tenant disappear: mail to its domains bounces", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		t, err := c.RevokeTenant(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), t)
		}
		return printForget(cmd.OutOrStdout(), "Tenant "+t.ID, t.Forget)
	})
}

// printForget says when a withdrawal is complete.
func printForget(w io.Writer, what string, forget *api.Forget) error {
	if _, err := fmt.Fprintf(w, "%s is revoked.\n", what); err != nil || forget == nil {
		return err
	}
	_, err := fmt.Fprintf(w, "Honest resolvers forget it by  %s\nRecorded answers are void by    %s\n",
		forget.CachesForgetBy.Format(time.RFC3339), forget.ReplayEndsBy.Format(time.RFC3339))
	return err
}

func tenantState(f *clientFlags, verb, short, state string) *cobra.Command {
	return f.calling(verb+" TENANT", short, cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return patchTenant(f, c, cmd, args[0], api.TenantPatch{State: &state})
	})
}

func tenantDANE(f *clientFlags) *cobra.Command {
	turn := func(on bool, short string) *cobra.Command {
		return f.calling(onOff(on)+" TENANT", short, cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
			return patchTenant(f, c, cmd, args[0], api.TenantPatch{DANE: &on})
		})
	}
	return group("dane", "Whether TLSA records are published for a tenant",
		turn(true, "Publish TLSA records for a tenant"), turn(false, "Withdraw the TLSA records of a tenant; mail flows without DANE"))
}

func patchTenant(f *clientFlags, c *client.Client, cmd *cobra.Command, id string, patch api.TenantPatch) error {
	t, err := c.PatchTenant(cmd.Context(), id, patch)
	if err != nil {
		return err
	}
	return printItem(cmd.OutOrStdout(), f.output, t, tenantColumns)
}
