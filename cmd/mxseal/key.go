package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func keyCommand(f *clientFlags) *cobra.Command {
	return group("key", "Keys that sign the zones, and their rollovers",
		keyList(f), keyExplain(f), keyRoll(f), keyConfirmDS(f), keyRestore(f), keyExportDS(f),
		keyAdd(f), keyRemove(f), keyExportRequest(f), keyImportResponse(f), keyCreateOffline(), keySignRequest())
}

var keyColumns = row(func(k api.Key) []string {
	return []string{k.ID, k.Role, fmt.Sprint(k.KeyTag), k.Algorithm, k.Place, k.Use, orDash(k.DNSKEY), orDash(k.RRSIG), orDash(k.DS), k.Since.Format(time.RFC3339)}
}, "KEY", "ROLE", "TAG", "ALGORITHM", "PLACE", "USE", "DNSKEY", "RRSIG", "DS", "SINCE")

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func keyList(f *clientFlags) *cobra.Command {
	cmd := f.calling("list ZONE", "List the keys of a zone, and what caches may hold of them", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		s, err := c.KeyStatus(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if err := printList(out, f.output, each(s.Keys), keyColumns); err != nil || f.output == asJSON {
			return err
		}
		printNextStep(out, s)
		return nil
	})
	cmd.Long = `List the keys of a zone. For each record of a key the list says what caches may hold of it: hidden, no cache has it; rumoured, it is
being spread; omnipresent, whatever cache has anything of its kind has it; unretentive, it is withdrawn, and some may still have
it. Below it is said what comes next, or what is waited for.`
	return cmd
}

// printNextStep says what comes next.
func printNextStep(out io.Writer, s *api.KeyStatus) {
	fmt.Fprintln(out)
	if s.Holding != "" {
		fmt.Fprintf(out, "no key changes: %s\n", s.Holding)
	}
	if s.Failing != "" {
		fmt.Fprintf(out, "the last step has failed, and is tried again: %s\n", s.Failing)
	}
	if s.Wanted != "" {
		fmt.Fprintf(out, "wanted: %s\n", s.Wanted)
	}
	if s.Because != "" {
		fmt.Fprintf(out, "waits: %s%s\n", s.Because, untilText(s))
	}
	if s.ToDo != "" {
		fmt.Fprintf(out, "to do: %s\n", s.ToDo)
	}
	if len(s.Coming) > 0 {
		fmt.Fprintf(out, "next: %s\n", eventText(s.Coming[0]))
	}
}

// untilText says how long it has to wait.
func untilText(s *api.KeyStatus) string {
	if s.Until == nil {
		return "; it is not known until when"
	}
	return ", until " + s.Until.Format(time.RFC3339)
}

func eventText(e api.KeyEvent) string {
	when := e.At.Format(time.RFC3339)
	if e.Waits {
		when = "after " + when + ", when the parent has it:"
	}
	return fmt.Sprintf("%s  %-8s %s", when, e.Kind, e.Why)
}

func keyExplain(f *clientFlags) *cobra.Command {
	var file string
	cmd := f.calling("explain ZONE", "Tell what was done with the keys of a zone, what is waited for, and what comes", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		s, err := c.KeyStatus(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if file != "" {
			if err := os.WriteFile(file, []byte(timeline(s)), 0o644); err != nil {
				return err
			}
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), s)
		}
		explain(cmd.OutOrStdout(), s)
		return nil
	})
	cmd.Flags().StringVar(&file, "svg", "", "write the timeline as a picture to this file too")
	return cmd
}

// explain writes a timeline in words.
func explain(out io.Writer, s *api.KeyStatus) {
	section := func(title string, events []api.KeyEvent) {
		fmt.Fprintln(out, title)
		for _, e := range events {
			fmt.Fprintln(out, "  "+eventText(e))
		}
		if len(events) == 0 {
			fmt.Fprintln(out, "  nothing")
		}
	}
	section("Done:", s.Past)
	fmt.Fprintln(out, "Now:")
	for _, k := range s.Keys {
		fmt.Fprintf(out, "  %s %d (%s) is %s since %s: DNSKEY %s, signatures %s, DS %s\n", k.Role, k.KeyTag, k.Algorithm, k.Use, k.Since.Format(time.RFC3339), orDash(k.DNSKEY), orDash(k.RRSIG), orDash(k.DS))
	}
	fmt.Fprintf(out, "  the key sets are signed until %s\n", s.Stock.Format(time.RFC3339))
	if s.DSSeen != nil {
		fmt.Fprintf(out, "  the parent has the DS that is wanted, since %s\n", s.DSSeen.Format(time.RFC3339))
	} else {
		fmt.Fprintln(out, "  nobody has seen the DS that is wanted at all servers of the parent")
	}
	for _, p := range s.Parents {
		if p.Error != "" {
			fmt.Fprintf(out, "  %s of the parent gave no answer that counts: %s\n", p.Server, p.Error)
		} else {
			fmt.Fprintf(out, "  %s of the parent has %d DS records, with a TTL of %d s\n", p.Server, len(p.DS), p.TTL)
		}
	}
	printNextStep(out, s)
	fmt.Fprintln(out)
	section("To come, if the policy stays as it is and the parent acts as soon as it can:", s.Coming)
}

func keyRoll(f *clientFlags) *cobra.Command {
	var r api.RollRequest
	cmd := f.calling("roll ZONE", "Begin the rollover of a key", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		made, err := c.RollKey(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		if f.output == asJSON {
			return printJSON(cmd.OutOrStdout(), made)
		}
		if made.Queued != "" {
			fmt.Fprintln(cmd.OutOrStdout(), made.Queued)
		}
		for _, e := range made.Steps {
			fmt.Fprintln(cmd.OutOrStdout(), eventText(e))
		}
		return nil
	})
	cmd.Long = `Begin the rollover of a key, and print the steps that it takes until it has ended. Every step waits until it can make no answer bogus, in an emergency too.
While a rollover of the same role is on its way another one is refused; with --emergency it begins right after that.`
	cmd.Flags().StringVar(&r.Role, "role", "", "ksk or zsk; of a CSK either means both")
	cmd.Flags().BoolVar(&r.Emergency, "emergency", false, "do not be refused while a rollover of the role is on its way: begin right after it")
	cmd.Flags().BoolVar(&r.DryRun, "dry-run", false, "change nothing; print the steps")
	return cmd
}

func keyConfirmDS(f *clientFlags) *cobra.Command {
	cmd := f.calling("confirm-ds ZONE KEY|none", "Say that all servers of the parent have the DS of a key, or no DS", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return printStatus(f, cmd, func() (*api.KeyStatus, error) { return c.ConfirmDS(cmd.Context(), args[0], args[1]) })
	})
	cmd.Long = `Say that all servers of the parent have the DS of a key, and no DS that is not wanted; or, with none, that they have no DS at all, after
parent.withdraw_ds. A rollover goes on from there, so say it when you have seen it. Where the zone's policy names the servers of the parent, they are asked, and have to say the same. ` + keyNaming
	return cmd
}

const keyNaming = "KEY is the id of the key or its key tag, as \"mxseal key list\" shows them."

func keyRestore(f *clientFlags) *cobra.Command {
	cmd := f.calling("restore ZONE KEY", "Take a key out of the trash and roll to it", cobra.ExactArgs(2), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return printStatus(f, cmd, func() (*api.KeyStatus, error) { return c.RestoreKey(cmd.Context(), args[0], args[1]) })
	})
	cmd.Long = "Take a key out of the trash and roll to it. " + keyNaming
	return cmd
}

// printStatus prints the keys after a change.
func printStatus(f *clientFlags, cmd *cobra.Command, change func() (*api.KeyStatus, error)) error {
	s, err := change()
	if err != nil {
		return err
	}
	if f.output == asJSON {
		return printJSON(cmd.OutOrStdout(), s)
	}
	if err := printList(cmd.OutOrStdout(), f.output, each(s.Keys), keyColumns); err != nil {
		return err
	}
	printNextStep(cmd.OutOrStdout(), s)
	return nil
}

func keyExportDS(f *clientFlags) *cobra.Command {
	cmd := zoneDS(f)
	cmd.Use, cmd.Short = "export-ds ZONE", "Show the DS records that the parent of a zone is to have"
	return cmd
}
