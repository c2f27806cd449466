package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func poolCommand(f *clientFlags) *cobra.Command {
	return group("pool", "Groups of mail servers: addresses and TLSA records", poolSet(f), poolList(f), poolShow(f), poolDelete(f))
}

var poolColumns = row(func(p api.Pool) []string {
	var addresses []string
	for _, h := range p.Hosts {
		addresses = append(addresses, h.Addresses...)
	}
	return []string{p.Name, strconv.Itoa(len(p.Hosts)), strings.Join(addresses, " "), strconv.Itoa(len(p.TLSA)), fmt.Sprint(*p.MXPreference)}
}, "POOL", "HOSTS", "ADDRESSES", "TLSA", "MX PREFERENCE")

// poolFlags are the fields of a pool.
type poolFlags struct {
	file        string
	hosts, tlsa []string
	preference  uint16
	ports       []uint
}

func (p *poolFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&p.file, "file", "", "JSON file with the whole pool, as show prints it (- for standard input); other flags change it")
	flags.StringArrayVar(&p.hosts, "host", nil, "mail server as NAME=ADDRESS[,ADDRESS...]; may be repeated; those not named are removed")
	flags.StringArrayVar(&p.tlsa, "tlsa", nil, `TLSA record as "USAGE SELECTOR MATCHING-TYPE HEX", such as "3 1 1 ab12..."; may be repeated; those not named are removed`)
	flags.Uint16Var(&p.preference, "mx-preference", 10, "preference of the MX at the hosts themselves")
	flags.UintSliceVar(&p.ports, "tlsa-port", []uint{25}, "port that TLSA records are for; may be repeated")
}

func (p *poolFlags) apply(cmd *cobra.Command, spec *api.PoolSpec) error {
	if p.file != "" {
		var whole api.Pool
		if err := readSpec(cmd, p.file, &whole); err != nil {
			return err
		}
		*spec = whole.PoolSpec
	}
	given := cmd.Flags().Changed
	if given("host") {
		spec.Hosts = nil
		for _, text := range p.hosts {
			name, addresses := splitAddresses(text)
			spec.Hosts = append(spec.Hosts, api.MailServer{Name: name, Addresses: addresses})
		}
	}
	if given("tlsa") {
		spec.TLSA = nil
		for _, text := range p.tlsa {
			t, err := parseTLSA(text)
			if err != nil {
				return err
			}
			spec.TLSA = append(spec.TLSA, t)
		}
	}
	if given("mx-preference") {
		spec.MXPreference = &p.preference
	}
	if given("tlsa-port") {
		spec.TLSAPorts = nil
		for _, port := range p.ports {
			if port > 65535 {
				return fmt.Errorf("--tlsa-port: must be 1 to 65535, not %d", port)
			}
			spec.TLSAPorts = append(spec.TLSAPorts, uint16(port))
		}
	}
	return nil
}

// parseTLSA reads the presentation form (RFC 6698 §2.2); the hex digits may have spaces in them.
func parseTLSA(text string) (api.TLSA, error) {
	fields := strings.Fields(text)
	if len(fields) < 4 {
		return api.TLSA{}, fmt.Errorf("--tlsa %q: must be USAGE SELECTOR MATCHING-TYPE HEX", text)
	}
	var numbers [3]uint8
	for i := range numbers {
		n, err := strconv.ParseUint(fields[i], 10, 8)
		if err != nil {
			return api.TLSA{}, fmt.Errorf("--tlsa %q: %q must be a number from 0 to 255", text, fields[i])
		}
		numbers[i] = uint8(n)
	}
	return api.TLSA{Usage: numbers[0], Selector: numbers[1], MatchingType: numbers[2], Data: strings.Join(fields[3:], "")}, nil
}

func poolSet(f *clientFlags) *cobra.Command {
	p := &poolFlags{}
	cmd := f.calling("set POOL", "Create a pool, or change what the flags name of one", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		var spec api.PoolSpec
		unchanged := client.IfAbsent()
		old, err := c.Pool(cmd.Context(), args[0])
		switch {
		case err == nil:
			unchanged = client.IfRevision(old.Revision)
			if p.file == "" { // else the file has the whole pool
				spec = old.PoolSpec
			}
		case !isCode(err, "not_found"):
			return err
		}
		if err := p.apply(cmd, &spec); err != nil {
			return err
		}
		pool, err := c.PutPool(cmd.Context(), args[0], spec, unchanged)
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, pool, poolColumns)
	})
	p.register(cmd)
	return cmd
}

func poolList(f *clientFlags) *cobra.Command {
	return f.calling("list", "List the pools", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		return printList(cmd.OutOrStdout(), f.output, c.Pools(cmd.Context()), poolColumns)
	})
}

func poolShow(f *clientFlags) *cobra.Command {
	return f.calling("show POOL", "Show a pool with its TLSA records", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		p, err := c.Pool(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), p)
	})
}

func poolDelete(f *clientFlags) *cobra.Command {
	return f.calling("delete POOL", "Delete a pool that nothing uses", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return c.DeletePool(cmd.Context(), args[0])
	})
}
