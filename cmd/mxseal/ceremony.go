package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/keymgmt"
	"github.com/mxseal/mxseal/zone"
)

func keyAdd(f *clientFlags) *cobra.Command {
	var k api.AddedKey
	cmd := f.calling("add ZONE DNSKEY", "Add an offline KSK, or a key of another signer of the zone", cobra.MinimumNArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		for _, part := range args[1:] {
			k.DNSKEY += part + " "
		}
		s, err := c.AddKey(cmd.Context(), args[0], k)
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), f.output, each(s.Keys), keyColumns)
	})
	cmd.Long = `Add the public part of a key that somebody else has. DNSKEY is a record, or its data: 257 3 13 and the public key in base64.

An offline KSK (made by "mxseal key create-offline") takes its place when the zone's KSK is rolled, which happens at once if
the zone's keys.ksk_place is offline and its KSK is not. A foreign key is that of another signer of the zone (RFC 8901,
model 2): its ZSK is published, its KSK gets a DS.`
	cmd.Flags().StringVar(&k.Place, "place", "", "offline or foreign")
	return cmd
}

func keyRemove(f *clientFlags) *cobra.Command {
	cmd := f.calling("remove ZONE KEY", "Give up a key of another signer, or an offline KSK that is not used yet", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		s, err := c.RemoveKey(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		return printList(cmd.OutOrStdout(), f.output, each(s.Keys), keyColumns)
	})
	cmd.Long = "Give up a key of another signer, or an offline KSK that is not used yet. " + keyNaming
	return cmd
}

// defaultCeremony is for how long a ceremony signs if nothing else is said.
const defaultCeremony = 180 * 24 * time.Hour

func keyExportRequest(f *clientFlags) *cobra.Command {
	var ahead time.Duration
	var file string
	cmd := f.calling("export-request ZONE", "Write down what the offline KSK of a zone has to sign", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		r, err := c.ExportRequest(cmd.Context(), args[0], api.RequestSpec{For: ahead.String()})
		if err != nil {
			return err
		}
		return writeJSON(cmd, file, r)
	})
	cmd.Long = `Foresee the key sets that the zone will publish for some time, make the ZSKs that they need, and write a request: what the offline
KSK has to sign. Take it to the machine that has the KSK, sign it there with "mxseal key sign-request", and bring the
response back to "mxseal key import-response". The request has no secrets. What was not foreseen, such as an emergency, needs
another one.`
	cmd.Flags().DurationVar(&ahead, "for", defaultCeremony, "for how long, 24h to 9600h; hold the next ceremony well before that is over")
	cmd.Flags().StringVar(&file, "out", "", "write to this file instead of standard output")
	return cmd
}

func keyImportResponse(f *clientFlags) *cobra.Command {
	return f.calling("import-response ZONE FILE", "Give the server what the offline KSK has signed", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		r, err := readCeremony(cmd, args[1])
		if err != nil {
			return err
		}
		if r.Sets != nil {
			return fmt.Errorf("%s is a request and has no signatures: import what \"mxseal key sign-request\" makes of it", args[1])
		}
		var s *api.KeyStatus
		for _, signed := range r.Signed { // each is complete; all of them would be too much for one request
			if s, err = c.ImportResponse(cmd.Context(), args[0], keymgmt.Response{Zone: r.Zone, ZoneID: r.ZoneID, Signed: []keymgmt.Signed{signed}}); err != nil {
				return err
			}
		}
		if s == nil {
			return fmt.Errorf("%s: has no signatures", args[1])
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "Imported the signatures of %d key sets.\n", len(r.Signed))
		printNextStep(cmd.OutOrStdout(), s)
		return nil
	})
}

// ceremonyFile is a request or a response; which of the two its sets or its signatures tell.
type ceremonyFile struct {
	keymgmt.Request
	Signed []keymgmt.Signed `json:"signed"`
}

func readCeremony(cmd *cobra.Command, file string) (f ceremonyFile, err error) {
	return f, readSpec(cmd, file, &f)
}

// offlineFlags are those of commands on the machine that has an offline KSK. They need no server.
type offlineFlags struct{ kek, out string }

func (o *offlineFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.kek, "kek", "", "key-encryption key of this machine: file:PATH or env:NAME")
	cmd.Flags().StringVar(&o.out, "out", "", "file to write")
	for _, name := range []string{"kek", "out"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flags are defined above
		}
	}
}

func keyCreateOffline() *cobra.Command {
	var o offlineFlags
	var algorithm string
	cmd := command("create-offline ZONE", "Make an offline KSK; on the machine that is to have it", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		apex, err := zone.ParseName(args[0])
		if err != nil {
			return fmt.Errorf("zone: %w", err)
		}
		z := &zone.Zone{Name: apex, ZoneSpec: zone.DefaultZoneSpec(apex)}
		var known bool
		if z.Keys.Algorithm, known = zone.ParseAlgorithm(algorithm); !known {
			return errors.New("--algorithm must be ECDSAP256SHA256, ED25519 or RSASHA256")
		}
		if _, err := os.Stat(o.out); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already, and is not overwritten: it may be a key", o.out)
		}
		keys := conf.Keys{KEK: o.kek}
		if err := createKEK(keys); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		vault, err := openVault(keys)
		if err != nil {
			return err
		}
		k, err := vault.Generate(z, keymgmt.KSK, keymgmt.PlaceHere, time.Now(), func(uint16) bool { return false })
		if err != nil {
			return err
		}
		text, err := json.MarshalIndent(k, "", "  ")
		if err != nil {
			return err
		}
		if err := writeSecret(o.out, string(text)+"\n"); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s IN DNSKEY %s\n", apex, k.Presentation())
		return err
	})
	cmd.Long = `Make a KSK on a machine without a network, seal it under the key-encryption key of that machine (which is made if there is none), and
print its DNSKEY record, for "mxseal key add --place offline". Keep copies of both files, apart from each other.`
	cmd.Flags().StringVar(&algorithm, "algorithm", "ECDSAP256SHA256", "ECDSAP256SHA256, ED25519 or RSASHA256; that of the zone")
	o.register(cmd)
	return cmd
}

func keySignRequest() *cobra.Command {
	var o offlineFlags
	var files []string
	cmd := command("sign-request FILE", "Sign a request with offline KSKs; on the machine that has them", cobra.ExactArgs(1), func(cmd *cobra.Command, args []string) error {
		f, err := readCeremony(cmd, args[0])
		if err != nil {
			return err
		}
		if f.Signed != nil {
			return fmt.Errorf("%s is a response and is signed already: it is for \"mxseal key import-response\"", args[0])
		}
		r := &f.Request
		vault, err := openVault(conf.Keys{KEK: o.kek})
		if err != nil {
			return err
		}
		var keys []*keymgmt.KeyRecord
		for _, file := range files {
			k := &keymgmt.KeyRecord{}
			if err := readSpec(cmd, file, k); err != nil {
				return err
			}
			keys = append(keys, k)
		}
		signed, err := vault.Sign(r, keys)
		if err != nil {
			return err
		}
		if err := explainCeremony(cmd, r, signed); err != nil {
			return err
		}
		return writeJSON(cmd, o.out, signed)
	})
	cmd.Long = `Sign what a request asks for with offline KSKs, print what was signed, and write the response for "mxseal key import-response".
Look at what is printed: whose keys a KSK has signed can sign every answer of the zone as long as the signatures last. A KSK that
has to sign and is not given with --key is warned of.`
	cmd.Flags().StringArrayVar(&files, "key", nil, "file of an offline KSK, made by create-offline; may be repeated")
	if err := cmd.MarkFlagRequired("key"); err != nil {
		panic(err) // the flag is defined above
	}
	o.register(cmd)
	return cmd
}

// explainCeremony says what is signed, and warns of keys that have to sign and have not.
func explainCeremony(cmd *cobra.Command, r *keymgmt.Request, signed *keymgmt.Response) error {
	records, err := r.Records()
	if err != nil {
		return err
	}
	out, names := cmd.OutOrStdout(), map[string]string{}
	fmt.Fprintf(out, "Zone %s, signed for the time from %s to %s:\n", r.Zone, r.Made.Format(time.RFC3339), r.Until.Format(time.RFC3339))
	for i, k := range records {
		names[k.ID] = fmt.Sprintf("%s %d", k.Role, k.KeyTag)
		fmt.Fprintf(out, "  %s: %s\n", names[k.ID], r.Keys[i].DNSKEY)
	}
	named := func(ids []string) string {
		texts := make([]string, len(ids))
		for i, id := range ids {
			texts[i] = names[id]
		}
		return cmp.Or(strings.Join(texts, ", "), "no key")
	}
	for _, s := range r.Sets {
		var signers []string
		for _, o := range signed.Signed {
			if o.TTL == s.TTL && slices.Equal(o.Keys, s.Keys) && slices.Equal(o.DS, s.DS) {
				signers = append(signers, o.Key)
			}
		}
		fmt.Fprintf(out, "  foreseen from %s to %s, %d windows, signed by %s:\n    DNSKEY of %s\n    CDS of %s\n", s.From.Format(time.RFC3339), s.Until.Format(time.RFC3339),
			len(s.Windows), named(signers), named(s.Keys), named(s.DS))
	}
	for _, k := range r.Keys {
		if k.Signs && !slices.ContainsFunc(signed.Signed, func(s keymgmt.Signed) bool { return s.Key == k.ID }) {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s has to sign too, and was not given with --key; until it has signed, no key set that it is in is published\n", names[k.ID])
		}
	}
	return nil
}

// writeJSON writes to a file, or to standard output if none is named.
func writeJSON(cmd *cobra.Command, file string, v any) error {
	if file == "" {
		return printJSON(cmd.OutOrStdout(), v)
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
