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
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/mxseal/mxseal/store"
)

// What Open and Create may refuse with.
var (
	ErrNoData  = errors.New(`there is no database; "mxseal init" makes one, "mxseal restore" brings a backup back`)
	ErrExists  = errors.New("there is a database already; nothing was changed")
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
	Format    uint8  // the newest that this node knows; 0: store.Format
	// StaleAfter is for how long this node may answer without hearing of etcd; whole seconds. It is for [Engine.Join].
	StaleAfter time.Duration
	// Patience is for how long [Open] tries to reach etcd; 0: for as long as a commit does.
	Patience time.Duration
	// Dir is where the image of this node is kept, from which [OpenImage] can start it; empty: none is. It is for [Engine.Join].
	Dir string
	Now func() time.Time
	Log *slog.Logger
}

// Bounds on time. callTime is longer than an election in etcd takes, so that a commit survives one.
const (
	dialTime  = 5 * time.Second // for an attempt to connect, and at most between two; gRPC would wait for up to two minutes
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
	config := clientv3.Config{
		Endpoints: c.Endpoints, TLS: t, Username: c.User, Password: c.Password, Logger: zap.NewNop(), DialTimeout: min(dialTime, c.patience()),
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 3 * time.Second, MaxCallRecvMsgSize: maxMessage, MaxCallSendMsgSize: maxMessage,
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: dialTime,
			Backoff: backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: dialTime}})},
	}
	client, err := clientv3.New(config)
	if err != nil {
		return nil, c.unreached(err)
	}
	if c.User == "" {
		return client, nil
	}
	// With a token that etcd does not know any more, as after a restart of its members, etcd 3.4 refuses also the call that asks for a new one.
	// So that is asked for without.
	config.Username, config.Password = "", ""
	plain, err := clientv3.New(config)
	if err != nil {
		return nil, errors.Join(c.unreached(err), client.Close())
	}
	client.Auth = plain
	context.AfterFunc(client.Ctx(), func() { plain.Close() })
	return client, nil
}

func (c Config) patience() time.Duration {
	if c.Patience == 0 {
		return callTime
	}
	return c.Patience
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

// CheckFiles reads the files that a configuration names.
func (c Config) CheckFiles() error {
	_, err := tlsConfig(c)
	return err
}

func tlsConfig(c Config) (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("store.etcd.tls.ca: %w", err)
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !t.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("store.etcd.tls.ca: %s has no certificate", c.CA)
	}
	if c.Cert == "" {
		return t, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("store.etcd.tls.cert and key: %w", err)
	}
	t.Certificates = []tls.Certificate{pair}
	return t, nil
}

// layout is that of the keys. The format of records is another matter: see [store.Format].
const layout = 1

// meta is written once.
type meta struct {
	Layout int    `json:"format"`
	ID     string `json:"id"`
}

func (c Config) metaKey() string    { return c.Prefix + "/meta" }
func (c Config) records() string    { return c.Prefix + "/record/" }
func (c Config) leaderKey() string  { return c.Prefix + "/leader" }
func (c Config) writerKey() string  { return c.Prefix + "/writer/" + c.Node }
func (c Config) blocksKey() string  { return c.Prefix + "/block/" }
func (c Config) fillingKey() string { return c.Prefix + "/filling" }
func (c Config) heardKey() string   { return c.Prefix + "/heard" }
func (c Config) nodesKey() string   { return c.Prefix + "/node/" }
func (c Config) nodeKey() string    { return c.nodesKey() + c.Node }

// Whoever watches the records hears of these two keys besides, which are no records: after a kind there is a slash.
func (c Config) lastKey() string  { return c.records() + "last" } // is written with every commit
func (c Config) largeKey() string { return c.records() + "large" }

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
	ctx, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	response, err := client.Txn(ctx).Then(clientv3.OpGet(c.metaKey()), clientv3.OpGet(c.formatKey())).Commit()
	if err != nil {
		return c.unreached(err)
	}
	found := response.Responses[0].GetResponseRange().Kvs
	if len(found) == 0 {
		return fmt.Errorf("etcd has nothing under %s: %w", c.Prefix, ErrNoData)
	}
	var m meta
	if err := json.Unmarshal(found[0].Value, &m); err != nil {
		return fmt.Errorf("%s: %w", c.metaKey(), err)
	}
	if m.Layout != layout {
		return fmt.Errorf("%w: its keys have layout %d, and this version knows layout %d", store.ErrFormat, m.Layout, layout)
	}
	format, _, err := formatOf(response.Responses[1].GetResponseRange().Kvs)
	if err == nil {
		err = store.CheckFormat(c.known(), format)
	}
	if err != nil {
		return fmt.Errorf("etcd under %s: %w", c.Prefix, err)
	}
	return nil
}
