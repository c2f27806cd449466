package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func nodeCommand(f *clientFlags) *cobra.Command {
	return group("node", "Nodes that answer from one database", nodeList(f), nodeForget(f))
}

func nodeList(f *clientFlags) *cobra.Command {
	cmd := f.calling("list", "List the nodes, and whether they have everything", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		nodes, err := c.Nodes(cmd.Context())
		if err != nil {
			return err
		}
		return printItem(cmd.OutOrStdout(), f.output, nodes, columns[api.Nodes]{
			head: []string{"NODE", "LEADS", "VERSION", "FORMAT", "WRITTEN", "SINCE", "REVISION", "BEHIND", "SILENT", "CLOCK"}, rows: nodeRows})
	})
	cmd.Long = `List the nodes that answer, and those that may and cannot be heard of. The one that leads rolls the keys. A node has everything up to its
REVISION; it is BEHIND while another one has more, as all are for a moment after each change. SILENT is how long ago a node was
heard of: more than a few seconds are no good sign. CLOCK is by how much the clock of a node is fast, by the clock of the node that is
asked, and ? if that has not heard of it yet; some milliseconds too little, for the time that it takes to hear of it.

FORMAT is the newest format of records that the node knows, WRITTEN the one that all write now: it is raised when all know a newer one.
From then on nodes that do not know it refuse to start.

A node that is stopped leaves the list by itself; one that is lost does when store.etcd.stale_after is over, or is forgotten.`
	return cmd
}

func nodeRows(all api.Nodes) (rows [][]string) {
	for _, n := range all.Nodes {
		clock := "?"
		if n.Offset != nil {
			clock = *n.Offset
		}
		rows = append(rows, []string{n.Name, yesNo(n.Leads), n.Version, fmt.Sprint(n.Format), fmt.Sprint(all.Format), n.Since.Format(time.RFC3339),
			fmt.Sprint(n.Revision), yesNo(n.Behind), n.Silent, clock})
	}
	return rows
}

func nodeForget(f *clientFlags) *cobra.Command {
	cmd := f.calling("forget NODE", "Say that a lost node does not answer any more: key rollovers go on without it", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		return c.ForgetNode(cmd.Context(), args[0])
	})
	cmd.Long = `Say that a node does not answer any more. Keys are not rolled while a node that cannot be heard of may still answer with the old
ones; when it is forgotten they are.

Make sure that it is down. If it is only cut off from the database and does answer, it goes on with what it has, and its answers may
become bogus. A node that is alive is not forgotten: stop it, and it leaves by itself.`
	return cmd
}
