package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mxseal/mxseal/api"
	"github.com/mxseal/mxseal/api/client"
)

func tenantImport(f *clientFlags) *cobra.Command {
	var quiet bool
	cmd := f.calling("import FILE", "Create or replace many tenants, one a line", cobra.ExactArgs(1), func(c *client.Client, cmd *cobra.Command, args []string) error {
		in := io.Reader(cmd.InOrStdin())
		var size int64
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			if info, err := file.Stat(); err == nil {
				size = info.Size()
			}
			in = file
		}
		im := &importer{client: c, out: cmd.OutOrStdout(), asJSON: f.output == asJSON, bar: newBar(cmd.ErrOrStderr(), size, quiet)}
		return im.run(cmd.Context(), in)
	})
	cmd.Long = `Create or replace tenants. FILE (- for standard input) has one on each line: the body of PUT /v1/tenants/{tenant} with an "id", as
"mxseal tenant export" writes it. Lines that fail are reported and do not end the import; then the exit code is 1. If the
connection breaks it goes on where it was. To import a file again changes nothing that is as it should be, and is fast:
that is how an import that was killed is resumed.`
	cmd.Flags().BoolVar(&quiet, "quiet", false, "no progress bar")
	return cmd
}

func tenantExport(f *clientFlags) *cobra.Command {
	return f.calling("export", "Write all tenants that are not revoked, one a line, as import takes them", cobra.NoArgs, func(c *client.Client, cmd *cobra.Command, _ []string) error {
		return c.Export(cmd.Context(), cmd.OutOrStdout())
	})
}

// Bounds of an import.
const (
	maxAhead   = 4096 // lines that are sent and have no result yet
	maxRetries = 10   // in a row, without a line that was done
	retryPause = time.Second
)

// importer sends lines, and those without a result again when the connection breaks.
type importer struct {
	client *client.Client
	out    io.Writer
	asJSON bool
	bar    *bar

	ahead     [][]byte // lines that were read and have no result yet
	done, bad int
}

// run imports everything that in has.
func (im *importer) run(ctx context.Context, in io.Reader) error {
	lines := make(chan []byte, maxAhead)
	var readErr error
	go func() {
		defer close(lines)
		readErr = eachLine(in, func(line []byte) bool {
			select {
			case lines <- line:
				return true
			case <-ctx.Done():
				return false
			}
		})
	}()
	for tries := 0; ; tries++ {
		before := im.done
		err := im.attempt(ctx, lines)
		var refused *client.Error
		switch {
		case err == nil:
			im.bar.finish(im.done)
			return errors.Join(readErr, im.verdict())
		case ctx.Err() != nil || errors.As(err, &refused) && refused.Status < 500 || tries >= maxRetries:
			im.bar.finish(im.done)
			return fmt.Errorf("%d lines are done: %w", im.done, err)
		case im.done > before:
			tries = 0
		}
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
		}
	}
}

func (im *importer) verdict() error {
	if im.bad > 0 {
		return fmt.Errorf("%d of %d lines were refused", im.bad, im.done)
	}
	if !im.asJSON {
		_, err := fmt.Fprintf(im.out, "Imported %d tenants.\n", im.done)
		return err
	}
	return nil
}

// attempt sends what has no result yet, and then what comes, over one connection.
func (im *importer) attempt(ctx context.Context, lines <-chan []byte) error {
	body, feed := io.Pipe()
	sent := make(chan []byte, maxAhead) // lines in the order in which they were sent
	again := im.ahead
	im.ahead = nil
	stopped := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(sent)
		send := func(line []byte) bool {
			select {
			case sent <- line:
			case <-stopped:
				im.ahead = append(im.ahead, line)
				return false
			}
			_, err := feed.Write(append(line, '\n'))
			return err == nil
		}
		for i, line := range again {
			if !send(line) {
				im.ahead = append(im.ahead, again[i+1:]...)
				return
			}
		}
		for line := range lines {
			if !send(line) {
				return
			}
		}
		feed.Close()
	}()
	_, err := im.client.Import(ctx, body, func(r api.ImportResult) error { return im.take(r, <-sent) })
	body.CloseWithError(io.ErrClosedPipe)
	close(stopped)
	<-ended
	var left [][]byte
	for line := range sent {
		left = append(left, line)
	}
	im.ahead = append(left, im.ahead...)
	if err == nil && len(im.ahead) > 0 {
		err = errors.New("the server has ended the import")
	}
	return err
}

// take reports a result.
func (im *importer) take(r api.ImportResult, line []byte) error {
	im.done++
	r.Line = im.done // of the whole import, not of the connection
	im.bar.add(im.done, len(line)+1)
	switch {
	case im.asJSON:
		if r.Problem != nil {
			im.bad++
		}
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(im.out, "%s\n", text)
		return err
	case r.Problem != nil:
		im.bad++
		im.bar.clear()
		_, err := fmt.Fprintf(im.out, "line %d, tenant %q: %s\n", r.Line, r.ID, r.Problem.Detail)
		return err
	}
	return nil
}

// eachLine calls next for each line that is not empty, until it returns false.
func eachLine(in io.Reader, next func(line []byte) bool) error {
	for r := bufio.NewReaderSize(in, 1<<16); ; {
		line, err := r.ReadBytes('\n')
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		if len(bytes.TrimSpace(line)) > 0 && !next(line) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// bar draws progress on a terminal.
type bar struct {
	w     io.Writer // nil: nobody looks
	size  int64     // octets, 0 if not known
	read  int64
	drawn time.Time
	begun time.Time
}

func newBar(w io.Writer, size int64, quiet bool) *bar {
	b := &bar{size: size, begun: time.Now()}
	if file, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(file.Fd())) {
		b.w = w
	}
	return b
}

// add draws the state after a line, at most ten times a second.
func (b *bar) add(lines, octets int) {
	b.read += int64(octets)
	if b.w == nil || time.Since(b.drawn) < 100*time.Millisecond {
		return
	}
	b.drawn = time.Now()
	rate := float64(lines) / max(time.Since(b.begun).Seconds(), 0.001)
	if b.size == 0 {
		fmt.Fprintf(b.w, "\r\033[K%d lines, %.0f a second", lines, rate)
		return
	}
	const width = 30
	part := min(float64(b.read)/float64(b.size), 1)
	full := int(part * width)
	left := time.Duration(float64(time.Since(b.begun)) * (1 - part) / max(part, 0.001)).Round(time.Second)
	fmt.Fprintf(b.w, "\r\033[K[%-*.*s] %3.0f %%  %d lines, %.0f a second, %s left", width, full, "##############################", part*100, lines, rate, left)
}

func (b *bar) clear() {
	if b.w != nil {
		fmt.Fprint(b.w, "\r\033[K")
	}
}

func (b *bar) finish(lines int) {
	if b.w != nil {
		fmt.Fprintf(b.w, "\r\033[K%d lines in %s\n", lines, time.Since(b.begun).Round(100*time.Millisecond))
	}
}
