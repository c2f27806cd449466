package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/mxseal/mxseal/conf"
	"github.com/mxseal/mxseal/store"
	"github.com/mxseal/mxseal/store/bolt"
	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// isEtcd says which of the two engines a configuration names.
func isEtcd(cfg conf.Config) bool { return cfg.Store.Engine == "etcd" }

// place is where the database is, for people.
func place(cfg conf.Config) string {
	if isEtcd(cfg) {
		return "etcd under " + cfg.Store.Etcd.Prefix
	}
	return cfg.DataDir
}

// openEngine opens the database of a configuration.
func openEngine(ctx context.Context, cfg conf.Config, log *slog.Logger) (store.Engine, error) {
	if !isEtcd(cfg) {
		return engineOr(bolt.Open(cfg.DataDir))
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return nil, err
	}
	c.Log = log
	return engineOr(etcd.Open(ctx, c))
}

// imagePatience is for how long a node that has an image tries to reach etcd before it is started from that. It is short, because nothing is
// lost: the node goes on trying, and has everything a second or two after etcd can be reached.
const imagePatience = 2 * time.Second

// openNode is openEngine for who serves: a node of a cluster whose etcd cannot be reached is started from its image, if it has one.
func openNode(ctx context.Context, cfg conf.Config, log *slog.Logger) (store.Engine, error) {
	if !isEtcd(cfg) {
		return openEngine(ctx, cfg, log)
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return nil, err
	}
	c.Log, c.Dir = log, cfg.DataDir
	booted, refused := etcd.OpenImage(c)
	if refused == nil {
		c.Patience = imagePatience
	}
	engine, err := engineOr(etcd.Open(ctx, c))
	if !errors.Is(err, etcd.ErrUnreachable) || ctx.Err() != nil {
		return engine, err
	}
	if refused != nil {
		return nil, errors.Join(err, refused)
	}
	ago, left := booted.Heard()
	log.Warn("this node is started from its image", "heard ago", ago, "for another", left, "error", err)
	return booted, nil
}

// engineOr is no engine at all, and not a nil one, with an error.
func engineOr[E store.Engine](e E, err error) (store.Engine, error) {
	if err != nil {
		return nil, err
	}
	return e, nil
}

// existsEngine reports whether there is a database.
func existsEngine(ctx context.Context, cfg conf.Config) (bool, error) {
	if !isEtcd(cfg) {
		return bolt.Exists(cfg.DataDir), nil
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return false, err
	}
	return etcd.Exists(ctx, c)
}

// createEngine makes a database with some rows.
func createEngine(ctx context.Context, cfg conf.Config, rows ...zone.Row) error {
	if !isEtcd(cfg) {
		return bolt.Create(cfg.DataDir, rows...)
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return err
	}
	return etcd.Create(ctx, c, rows...)
}

// restoreEngine brings a backup of the same engine back, and says what of it.
func restoreEngine(ctx context.Context, cfg conf.Config, in io.Reader) (what string, err error) {
	if !isEtcd(cfg) {
		revision, err := bolt.Restore(cfg.DataDir, in)
		return fmt.Sprintf("revision %d into %s", revision, cfg.DataDir), err
	}
	c, err := etcdConfig(cfg)
	if err != nil {
		return "", err
	}
	n, err := etcd.Restore(ctx, c, in)
	return fmt.Sprintf("%d records into etcd under %s", n, c.Prefix), err
}

func etcdConfig(cfg conf.Config) (etcd.Config, error) {
	e := cfg.Store.Etcd
	c := etcd.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, Node: e.Node, CA: e.CA, Cert: e.Cert, Key: e.Key, User: e.User, StaleAfter: e.StaleAfter.Truncate(time.Second),
		Version: version(), Now: time.Now}
	if e.PasswordFile == "" {
		return c, nil
	}
	info, err := os.Stat(e.PasswordFile)
	if err != nil {
		return c, fmt.Errorf("store.etcd.password_file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return c, fmt.Errorf("store.etcd.password_file: %s has mode %04o: only its owner may read it", e.PasswordFile, info.Mode().Perm())
	}
	password, err := os.ReadFile(e.PasswordFile)
	if err != nil {
		return c, fmt.Errorf("store.etcd.password_file: %w", err)
	}
	if c.Password = strings.TrimSpace(string(password)); c.Password == "" {
		return c, fmt.Errorf("store.etcd.password_file: %s has no password", e.PasswordFile)
	}
	return c, nil
}
