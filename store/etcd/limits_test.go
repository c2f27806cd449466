package etcd_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mxseal/mxseal/store/etcd"
	"github.com/mxseal/mxseal/zone"
)

// An etcd that is full refuses; nothing that was refused is there, and when there is room again commits go on.
func TestEtcdIsFull(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, "--quota-backend-bytes", fmt.Sprint(4<<20))
	create(t, c)
	e := open(t, c, "a")
	large, refused := strings.Repeat("x", 200<<10), 0
	there := map[string]bool{}
	for i := range 60 {
		id := fmt.Sprint(i)
		switch _, err := e.Commit(t.Context(), put(id, large, 0)); {
		case err == nil:
			there[id] = true
		case errors.Is(err, zone.ErrUncertain):
			t.Errorf("%s: %v", id, err)
		default:
			refused++
		}
	}
	if _, err := e.Commit(t.Context(), largeTx("v")); err == nil || errors.Is(err, zone.ErrUncertain) {
		t.Errorf("a large commit: %v", err)
	}
	all, _ := loadAt(t, e)
	for id := range all {
		if !there[id] {
			t.Errorf("%s was refused, and is there", id)
		}
	}
	if refused == 0 || len(all) != len(there) {
		t.Fatalf("%d refused, %d made, %d there", refused, len(there), len(all))
	}
	admin := c.Client()
	gone, err := admin.Delete(t.Context(), config(c, t, "a").Prefix+"/record/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Compact(t.Context(), gone.Header.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Defragment(t.Context(), c.Members[0].Endpoint); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	await(t, "commits go on", func() bool {
		_, err := e.Commit(t.Context(), put("after", "x", 0))
		return err == nil || errors.Is(err, zone.ErrRetry) // it is there since the attempt before
	})
}

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.issue("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// file is the name of a file of the authority.
func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	must := func(err error) {
		a.t.Helper()
		if err != nil {
			a.t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	must(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(err)
	must(os.WriteFile(a.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(os.WriteFile(a.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	cert, err := x509.ParseCertificate(der)
	must(err)
	return cert, key
}

// With certificates on both sides, nobody comes in without.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue("etcd", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	a.issue("ns1", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	other := newAuthority(t)
	other.issue("ns1", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})

	c := startTLSMember(t, a)
	node := config(c, t, "ns1")
	node.CA, node.Cert, node.Key = a.file("ca.pem"), a.file("ns1.pem"), a.file("ns1.key")
	await(t, "a database is made", func() bool {
		err := etcd.Create(t.Context(), node)
		return err == nil || errors.Is(err, etcd.ErrExists)
	})
	e, err := etcd.Open(t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Commit(t.Context(), put("a", "1", 0)); err != nil {
		t.Error(err)
	}
	for what, change := range map[string]func(c *etcd.Config){
		"no certificate":                    func(c *etcd.Config) { c.Cert, c.Key = "", "" },
		"one of another authority":          func(c *etcd.Config) { c.Cert, c.Key = other.file("ns1.pem"), other.file("ns1.key") },
		"a server of an unknown authority":  func(c *etcd.Config) { c.CA = other.file("ca.pem") },
		"no TLS":                            func(c *etcd.Config) { c.CA, c.Cert, c.Key = "", "", "" },
		"a file that is not there":          func(c *etcd.Config) { c.CA = a.file("none.pem") },
		"an authority without certificates": func(c *etcd.Config) { c.CA = a.file("ca.key") },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			bad := node
			change(&bad)
			if e, err := etcd.Open(t.Context(), bad); err == nil {
				e.Close()
				t.Error("opened")
			}
		})
	}
}

// startTLSMember starts an etcd that wants certificates of clients.
func startTLSMember(t *testing.T, a *authority) *Cluster {
	t.Helper()
	endpoint, peer := "https://"+free(t), "http://"+free(t)
	dir := t.TempDir()
	m := &Member{t: t, Endpoint: endpoint, log: filepath.Join(dir, "log"), args: []string{"--name", "m", "--data-dir", filepath.Join(dir, "m"),
		"--listen-client-urls", endpoint, "--advertise-client-urls", endpoint, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "m=" + peer, "--logger", "zap", "--cert-file", a.file("etcd.pem"), "--key-file", a.file("etcd.key"),
		"--trusted-ca-file", a.file("ca.pem"), "--client-cert-auth"}}
	m.Run()
	t.Cleanup(m.Kill)
	return &Cluster{t: t, Members: []*Member{m}}
}
