package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// What Open and Create may refuse with.
var (
	ErrNoData  = errors.New(`there is no database; "mxseal init" makes one, "mxseal restore" brings a backup back`)
	ErrExists  = errors.New("there is a database already; nothing was changed")
	ErrFormat  = errors.New("the format of the database is of another version")
	ErrTooMany = errors.New("too much for one commit")
	// ErrUnreachable means that nothing was heard of the cluster, or only that it has no majority.
	ErrUnreachable = errors.New("it cannot be reached")
)

// Config says where the cluster is.
type Config struct {
	Endpoints []string // URLs or host:port, at least one
	Prefix    string   // of all keys, without final slash
	CA        string   // name of a PEM file; empty: no TLS
	Cert, Key string   // PEM files of a client certificate, or both empty
	User      string   // empty: no authentication by password
	Password  string
	Node      string // names this node; no two may have the same name
	Version   string // of this program
	// StaleAfter is for how long this node may answer without hearing of etcd; whole seconds. It is for [Engine.Join].
	StaleAfter time.Duration
	// Dir is where the image of this node is kept, from which [OpenImage] can start it; empty: none is. It is for [Engine.Join].
	Dir string
	Now func() time.Time
	Log *slog.Logger
}

// Bounds on time. callTime is longer than an election in etcd takes, so that a commit survives one.
const (
	dialTime  = 5 * time.Second
	callTime  = 8 * time.Second
	leaseTime = 15 // seconds; how long nobody leads when the leader is gone
)

// maxMessage bounds what is sent and answered at once; etcd's own limit for a commit is smaller.
const maxMessage = 64 << 20

func dial(c Config) (*clientv3.Client, error) {
	t, err := tlsConfig(c)
	if err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.Endpoints, TLS: t, Username: c.User, Password: c.Password, Logger: zap.NewNop(), DialTimeout: dialTime,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, MaxCallRecvMsgSize: maxMessage, MaxCallSendMsgSize: maxMessage,
	})
	if err != nil {
		return nil, c.unreached(err)
	}
	return client, nil
}

// unreached wraps the error of a first call, with ErrUnreachable if that is what it says.
func (c Config) unreached(err error) error {
	var known rpctypes.EtcdError
	code := status.Code(err)
	if errors.As(err, &known) {
		code = known.Code()
	}
	if code == codes.Unavailable || code == codes.DeadlineExceeded || errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return fmt.Errorf("etcd at %s: %w", strings.Join(c.Endpoints, ", "), err)
}

func tlsConfig(c Config) (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", c.CA)
	}
	if c.Cert == "" {
		return t, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, err
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

// format is that of the database as a whole; recordFormat is that of a record.
const (
	format       = 1
	recordFormat = 1
)

// meta is written once.
type meta struct {
	Format int    `json:"format"`
	ID     string `json:"id"`
}

func (c Config) metaKey() string    { return c.Prefix + "/meta" }
func (c Config) records() string    { return c.Prefix + "/record/" }
func (c Config) leaderKey() string  { return c.Prefix + "/leader" }
func (c Config) writerKey() string  { return c.Prefix + "/writer/" + c.Node }
func (c Config) lastKey() string    { return c.Prefix + "/last" }    // is written with every commit
func (c Config) largeKey() string   { return c.records() + "large" } // is no record's: after a kind there is a slash
func (c Config) blocksKey() string  { return c.Prefix + "/block/" }
func (c Config) fillingKey() string { return c.Prefix + "/filling" }
func (c Config) heardKey() string   { return c.Prefix + "/heard" }
func (c Config) nodesKey() string   { return c.Prefix + "/node/" }
func (c Config) nodeKey() string    { return c.nodesKey() + c.Node }

// Exists reports whether there is a database.
func Exists(ctx context.Context, c Config) (bool, error) {
	client, err := dial(c)
	if err != nil {
		return false, err
	}
	defer client.Close()
	err = checkMeta(ctx, client, c)
	if errors.Is(err, ErrNoData) {
		return false, nil
	}
	return err == nil, err
}

// checkMeta makes sure that there is a database, and that this version can work with it.
func checkMeta(ctx context.Context, client *clientv3.Client, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	found, err := client.Get(ctx, c.metaKey())
	switch {
	case err != nil:
		return c.unreached(err)
	case len(found.Kvs) == 0:
		return fmt.Errorf("etcd has nothing under %s: %w", c.Prefix, ErrNoData)
	}
	var m meta
	if err := json.Unmarshal(found.Kvs[0].Value, &m); err != nil {
		return fmt.Errorf("%s: %w", c.metaKey(), err)
	}
	if m.Format != format {
		return fmt.Errorf("%w: it has format %d; this version of mxseal knows format %d", ErrFormat, m.Format, format)
	}
	return nil
}
