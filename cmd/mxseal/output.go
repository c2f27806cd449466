package main

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"text/tabwriter"
)

// outputFormat is the value of --output.
type outputFormat string

const (
	asTable outputFormat = "table"
	asJSON  outputFormat = "json"
)

// String is the value, table unless another one was set.
func (o *outputFormat) String() string {
	if *o == "" {
		return string(asTable)
	}
	return string(*o)
}

// Set refuses other words.
func (o *outputFormat) Set(s string) error {
	switch outputFormat(s) {
	case asTable, asJSON:
		*o = outputFormat(s)
		return nil
	}
	return fmt.Errorf("must be table or json")
}

// Type names the values in help texts.
func (o *outputFormat) Type() string { return "table|json" }

// columns says how items of a list become the lines of a table.
type columns[T any] struct {
	head []string
	rows func(item T) [][]string // one for each line
}

// row is columns for items that are one line each.
func row[T any](cells func(T) []string, head ...string) columns[T] {
	return columns[T]{head, func(item T) [][]string { return [][]string{cells(item)} }}
}

// printList prints items as they arrive: as a table, or as one JSON array.
func printList[T any](w io.Writer, format outputFormat, items iter.Seq2[T, error], c columns[T]) error {
	if format == asJSON {
		return printArray(w, items)
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, strings.Join(c.head, "\t"))
	for item, err := range items {
		if err != nil {
			return err
		}
		for _, cells := range c.rows(item) {
			fmt.Fprintln(table, strings.Join(cells, "\t"))
		}
	}
	return table.Flush()
}

func printArray[T any](w io.Writer, items iter.Seq2[T, error]) error {
	separator := "[\n"
	for item, err := range items {
		if err != nil {
			return err
		}
		b, err := json.Marshal(item)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s%s", separator, b); err != nil {
			return err
		}
		separator = ",\n"
	}
	if separator == "[\n" {
		_, err := fmt.Fprintln(w, "[]")
		return err
	}
	_, err := fmt.Fprintln(w, "\n]")
	return err
}

// printItem prints one item: as a table of one, or as a JSON object.
func printItem[T any](w io.Writer, format outputFormat, item *T, c columns[T]) error {
	if format == asJSON {
		return printJSON(w, item)
	}
	return printList(w, format, one(*item), c)
}

func printJSON(w io.Writer, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", b)
	return err
}

func one[T any](item T) iter.Seq2[T, error] { return each([]T{item}) }

func each[T any](items []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}

// yesNo spells what is or is not so.
func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// onOff spells a switch.
func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
