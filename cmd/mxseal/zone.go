package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func zoneCommand(f *clientFlags) *cobra.Command {
	return group("zone", "Signed zones that hold the tenants' hosts",
		zoneCreate(f), zoneSet(f), zoneList(f), zoneShow(f), zoneDS(f), zoneDelete(f))
}

var zoneColumns = row(func(z api.Zone) []string {
	drain := z.DrainPool
	if drain == "" {
		drain = "-"
	}
	return []string{z.Name, *z.Keys.Algorithm, fmt.Sprint(z.Serial), fmt.Sprint(*z.Accepting), drain, nameserverNames(z)}
}, "ZONE", "ALGORITHM", "SERIAL", "ACCEPTING", "DRAIN POOL", "NAME SERVERS")

func nameserverNames(z api.Zone) string {
	names := make([]string, len(z.Nameservers))
	for i, ns := range z.Nameservers {
		names[i] = ns.Name
	}
	return strings.Join(names, " ")
}

// zoneFlags are the fields of a zone that have a flag; the others come from --file.
type zoneFlags struct {
	file, hostmaster, algorithm, drainPool string
	nameservers, imports                   []string
	csk, accepting                         bool
}

// register defines the flags; some are for zones that do not exist yet.
func (z *zoneFlags) register(cmd *cobra.Command, create bool) {
	flags := cmd.Flags()
	if create {
		flags.StringVar(&z.algorithm, "algorithm", "ECDSAP256SHA256", "ECDSAP256SHA256, ED25519 or RSASHA256")
		flags.BoolVar(&z.csk, "csk", false, "one key for both roles instead of a KSK and a ZSK")
		flags.StringArrayVar(&z.imports, "import-key", nil, "ROLE:FILE of a key that another server signs the zone with, ROLE being ksk, zsk or csk, FILE PKCS #8 in PEM or a .private file of BIND; to be given for all of them")
	}
	flags.StringVar(&z.file, "file", "", "JSON file with the whole zone, as show prints it (- for standard input); other flags change it")
	flags.StringArrayVar(&z.nameservers, "nameserver", nil, "NAME, or NAME=ADDRESS[,ADDRESS...] for a name inside the zone; may be repeated; those not named are removed")
	flags.StringVar(&z.hostmaster, "hostmaster", "", "mailbox of the SOA, as a name")
	flags.StringVar(&z.drainPool, "drain-pool", "", "pool that serves suspended tenants")
	flags.BoolVar(&z.accepting, "accepting", true, "whether new tenants may be placed here")
}

// apply changes a specification by the flags that were given.
func (z *zoneFlags) apply(cmd *cobra.Command, spec *api.ZoneSpec) error {
	if z.file != "" {
		var whole api.Zone
		if err := readSpec(cmd, z.file, &whole); err != nil {
			return err
		}
		*spec = whole.ZoneSpec
	}
	given := cmd.Flags().Changed
	if given("nameserver") {
		spec.Nameservers = nil
		for _, text := range z.nameservers {
			name, addresses := splitAddresses(text)
			spec.Nameservers = append(spec.Nameservers, api.Nameserver{Name: name, Addresses: addresses})
		}
	}
	if given("hostmaster") {
		spec.Hostmaster = &z.hostmaster
	}
	if given("algorithm") || given("csk") {
		if spec.Keys == nil {
			spec.Keys = &api.KeyPolicy{}
		}
		if given("algorithm") {
			spec.Keys.Algorithm = &z.algorithm
		}
		if given("csk") {
			spec.Keys.CSK = &z.csk
		}
	}
	for _, text := range z.imports {
		role, file, _ := strings.Cut(text, ":")
		if role == "" || file == "" {
			return errors.New("--import-key: must be ROLE:FILE")
		}
		private, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("--import-key: %w", err)
		}
		spec.ImportKeys = append(spec.ImportKeys, api.GivenKey{Role: role, PrivateKey: string(private)})
	}
	if given("drain-pool") {
		spec.DrainPool = z.drainPool
	}
	if given("accepting") {
		spec.Accepting = &z.accepting
	}
	return nil
}

// splitAddresses reads NAME=ADDRESS,ADDRESS.
func splitAddresses(text string) (name string, addresses []string) {
	name, list, found := strings.Cut(text, "=")
	if !found {
		return name, nil
	}
	return name, strings.Split(list, ",")
}

// readSpec replaces a specification by the one in a JSON file, strictly: a misspelt field is an error.
func readSpec(cmd *cobra.Command, file string, spec any) error {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	d := json.NewDecoder(in)
	d.DisallowUnknownFields()
	if err := d.Decode(spec); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: has more than one JSON value", file)
	}
	return nil
}

func zoneCreate(f *clientFlags) *cobra.Command {
	z := &zoneFlags{}
	cmd := f.calling("create ZONE", "Create a zone and its keys", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		var spec api.ZoneSpec
		if err := z.apply(cmd, &spec); err != nil {
			return err
		}
		made, err := c.PutZone(cmd.Context(), args[0], spec, client.IfAbsent())
		if isCode(err, "revision_mismatch") {
			return fmt.Errorf("zone %s exists already; mxseal zone set changes it", args[0])
		}
		if err != nil {
			return z.naming(err, len(spec.ImportKeys)-len(z.imports))
		}
		return printItem(cmd.OutOrStdout(), f.output, made, zoneColumns)
	})
	z.register(cmd, true)
	return cmd
}

// naming makes an error name the keys of --import-key as they were given, with their files. Others may come before them.
func (z *zoneFlags) naming(err error, before int) error {
	var refused *client.Error
	if !errors.As(err, &refused) {
		return err
	}
	for i, text := range z.imports {
		for j, f := range refused.Errors {
			if strings.HasPrefix(f.Field, fmt.Sprintf("import_keys[%d]", before+i)) {
				refused.Errors[j].Field = "--import-key " + text
			}
		}
	}
	return err
}

// isCode reports whether the server has refused a call with a code.
func isCode(err error, code string) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Code == code
}

func zoneSet(f *clientFlags) *cobra.Command {
	z := &zoneFlags{}
	cmd := f.calling("set ZONE", "Change what the flags name of a zone", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		old, err := c.Zone(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		spec := old.ZoneSpec
		if z.file != "" {
			spec = api.ZoneSpec{} // the file has the whole zone
		}
		if err := z.apply(cmd, &spec); err != nil {
			return err
		}
		changed, err := c.PutZone(cmd.Context(), args[0], spec, client.IfRevision(old.Revision))
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, changed, zoneColumns)
	})
	z.register(cmd, false)
	return cmd
}

func zoneList(f *clientFlags) *cobra.Command {
	return f.calling("list", "List the zones", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		return printList(cmd.OutOrStdout(), f.output, c.Zones(cmd.Context()), zoneColumns)
	})
}

func zoneShow(f *clientFlags) *cobra.Command {
	return f.calling("show ZONE", "Show a zone with all its settings", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		z, err := c.Zone(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return printJSON(cmd.OutOrStdout(), z)
	})
}

func zoneDS(f *clientFlags) *cobra.Command {
	return f.calling("ds ZONE", "Show the DS records that the parent of a zone must publish", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		ds, err := c.ZoneDS(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), ds)
		}
		for _, line := range ds.DS {
			fmt.Fprintln(cmd.OutOrStdout(), line)
		}
		return nil
	})
}

func zoneDelete(f *clientFlags) *cobra.Command {
	cmd := f.calling("delete ZONE", "Delete a zone that has no tenants, and its keys", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return c.DeleteZone(cmd.Context(), args[0])
	})
	cmd.Long = `Delete a zone that has no tenants, and its keys. Remove its DS from the parent first and wait the TTL: a zone that is created
again under the same name has other keys, and is bogus to resolvers that remember the old DS.`
	return cmd
}
