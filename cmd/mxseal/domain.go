package main

import (
	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func domainCommand(f *clientFlags) *cobra.Command {
	return group("domain", "Accepted domains of a tenant", domainAdd(f), domainShow(f), domainRemove(f), domainDANE(f))
}

var domainColumns = row(func(d api.TenantDomain) []string {
	return []string{d.Tenant, d.State, onOff(d.DANE), d.Domain.Domain, d.MXRecord}
}, "TENANT", "STATE", "DANE", "DOMAIN", "MX RECORD TO PUBLISH")

func domainAdd(f *clientFlags) *cobra.Command {
	dane := true
	cmd := f.calling("add TENANT DOMAIN", "Add a domain to a tenant", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		var spec api.DomainSpec
		if cmd.Flags().Changed("dane") {
			spec.DANE = &dane
		}
		return printDomain(f, cmd)(c.PutDomain(cmd.Context(), args[0], args[1], spec))
	})
	cmd.Flags().BoolVar(&dane, "dane", true, "publish TLSA records for the domain")
	return cmd
}

// printDomain prints what a call has returned.
func printDomain(f *clientFlags, cmd *cobra.Command) func(*api.TenantDomain, error) error {
	return func(d *api.TenantDomain, err error) error {
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, d, domainColumns)
	}
}

func domainShow(f *clientFlags) *cobra.Command {
	return f.calling("show TENANT DOMAIN", "Show a domain of a tenant", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return printDomain(f, cmd)(c.Domain(cmd.Context(), args[0], args[1]))
	})
}

func domainRemove(f *clientFlags) *cobra.Command {
	return f.calling("remove TENANT DOMAIN", "Withdraw a domain: its host disappears", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		d, err := c.RemoveDomain(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), d)
		}
		return printForget(cmd.OutOrStdout(), "Domain "+d.Domain.Domain, d.Forget)
	})
}

func domainDANE(f *clientFlags) *cobra.Command {
	turn := func(on bool, short string) *cobra.Command {
		return f.calling(onOff(on)+" TENANT DOMAIN", short, cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
			return printDomain(f, cmd)(c.PatchDomain(cmd.Context(), args[0], args[1], api.DomainSpec{DANE: &on}))
		})
	}
	return group("dane", "Whether TLSA records are published for a domain",
		turn(true, "Publish TLSA records for a domain, if its tenant has DANE on"), turn(false, "Withdraw the TLSA records of a domain"))
}
