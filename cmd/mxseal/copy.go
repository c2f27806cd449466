package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/store/etcd"
)

func storeCommand() *cobra.Command {
	return group("store", "The database itself, without a server", storeCopyCommand())
}

func storeCopyCommand() *cobra.Command {
	var from, to string
	cmd := command("copy --from CONFIG --to CONFIG", "Copy a database to another place, from one engine to the other too", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		if from == "" || to == "" {
			return usage{errors.New("--from and --to have to be given")}
		}
		source, err := loadForCopy(from)
		if err != nil {
			return err
		}
		target, err := loadForCopy(to)
		if err != nil {
			return err
		}
		sum, err := copyStore(cmd.Context(), source, target, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "Copied %d records from %s into %s, and compared them: SHA-256 %s.\n"+
			"The key-encryption key and the token files are not in the database: %s must be the one that the keys were sealed with.\n",
			sum.Records, place(source), place(target), sum.Digest(), target.Keys.KEK)
		return err
	})
	cmd.Long = `Copy all records of the database that one configuration names into the place that another one names, with the same engine or the
other one, and compare them afterwards. There must be no database in that place; what exists is never overwritten, and an interrupted
copy can be begun again. Both configurations must be complete. MXSEAL_DATA_DIR and MXSEAL_STORE_... in the environment do not count,
since they would count for both.

A database of the engine bolt is copied while no server runs on it. One of the engine etcd is copied as it is when the copy begins, at
one revision: changes that are made after that are not in the copy. Stop all of its nodes before: two sets of nodes that roll the same
keys on their own make bogus answers, so those of before must not answer any more when those of the copy do.

Keys, their histories and signatures are copied as they are: answers stay the same. Revisions may be others, so an ETag of before is
to be asked for anew. etcd has to keep its history for as long as the copy takes.`
	cmd.Flags().StringVar(&from, "from", "", "configuration file (YAML) of the database that is copied")
	cmd.Flags().StringVar(&to, "to", "", "configuration file (YAML) of the place where there is no database yet")
	return cmd
}

// loadForCopy reads one of the two configurations. What the environment says of where the database is would make both the same.
func loadForCopy(file string) (conf.Config, error) {
	environ := slices.DeleteFunc(os.Environ(), func(item string) bool {
		return strings.HasPrefix(item, "MXSEAL_DATA_DIR=") || strings.HasPrefix(item, "MXSEAL_STORE_")
	})
	return conf.Load(file, environ)
}

// progressEvery is after how many records a copy says how far it is.
const progressEvery = 100_000

// copyStore copies a database to where there is none, and makes sure that both have the same records.
func copyStore(ctx context.Context, from, to conf.Config, progress io.Writer) (sum store.Sum, err error) {
	if exists, err := existsEngine(ctx, to); err != nil || exists {
		return sum, cmp.Or(err, fmt.Errorf("%s has a database already; nothing was changed", place(to)))
	}
	source, err := openEngine(ctx, from, slog.New(slog.DiscardHandler))
	if errors.Is(err, bolt.ErrInUse) {
		return sum, fmt.Errorf("%w: stop the server that runs on it", err)
	}
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	err = fillEngine(ctx, to, func(ctx context.Context, yield func(store.Record) error) (uint64, error) {
		return source.Load(ctx, func(r store.Record) error {
			if sum.Add(r); sum.Records%progressEvery == 0 {
				fmt.Fprintf(progress, "%d records read\n", sum.Records)
			}
			return yield(r)
		})
	})
	if err != nil {
		return sum, fmt.Errorf("copy %s into %s: %w", place(from), place(to), err)
	}
	if sum.Records >= progressEvery {
		fmt.Fprintf(progress, "%d records copied; they are compared\n", sum.Records)
	}
	copied, err := sumOf(ctx, to)
	if err == nil && copied.Digest() != sum.Digest() {
		err = fmt.Errorf("it has %d records with SHA-256 %s, not %d with %s", copied.Records, copied.Digest(), sum.Records, sum.Digest())
	}
	if err != nil {
		return sum, fmt.Errorf("the copy in %s is not to be used: %w", place(to), err)
	}
	return sum, nil
}

// sumOf reads a whole database.
func sumOf(ctx context.Context, cfg conf.Config) (sum store.Sum, err error) {
	e, err := openEngine(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return sum, err
	}
	_, err = e.Load(ctx, func(r store.Record) error { sum.Add(r); return nil })
	return sum, errors.Join(err, e.Close())
}

// fillEngine makes a database with all records that load visits.
func fillEngine(ctx context.Context, cfg conf.Config, load func(ctx context.Context, yield func(store.Record) error) (uint64, error)) error {
	if !isEtcd(cfg) {
		return bolt.Fill(ctx, cfg.DataDir, load)
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return err
	}
	return etcd.Fill(ctx, c, func(yield func(store.Record) error) error {
		_, err := load(ctx, yield)
		return err
	})
}
