package e2e

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// postfix is a Postfix with directories of its own.
type postfix struct {
	*daemon
	addr netip.Addr
	dir  string // configuration, and below it everything else
}

// services are what a Postfix needs that receives, queues and sends. Nothing is in a chroot.
const services = `smtp       inet  n - n - - smtpd
pickup     unix  n - n 60 1 pickup
cleanup    unix  n - n - 0 cleanup
qmgr       unix  n - n 300 1 qmgr
tlsmgr     unix  - - n 1000? 1 tlsmgr
rewrite    unix  - - n - - trivial-rewrite
bounce     unix  - - n - 0 bounce
defer      unix  - - n - 0 bounce
trace      unix  - - n - 0 bounce
flush      unix  n - n 1000? 0 flush
proxymap   unix  - - n - - proxymap
proxywrite unix  - - n - 1 proxymap
smtp       unix  - - n - - smtp
showq      unix  n - n - - showq
error      unix  - - n - - error
retry      unix  - - n - - error
discard    unix  - - n - - discard
virtual    unix  - n n - - virtual
anvil      unix  - - n - 1 anvil
scache     unix  - - n - 1 scache
postlog    unix-dgram n - n - 1 postlogd
`

// startPostfix starts an instance that listens on an address, with additional lines for main.cf. Its name must not
// be that of the other: Postfix would see a loop.
func startPostfix(t testing.TB, name string, addr netip.Addr, lines string) *postfix {
	t.Helper()
	assign(t, addr)
	dir := t.TempDir()
	// The accounts of Postfix have to get through.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"spool", "data", "mail"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	own(t, "postfix", filepath.Join(dir, "data"))
	own(t, mailOwner, filepath.Join(dir, "mail"))
	write(t, dir, "master.cf", services)
	write(t, dir, "main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = /dev/stdout
myhostname = %[4]s
mydestination =
alias_maps =
local_recipient_maps =
inet_interfaces = %[2]s
inet_protocols = ipv4
%[3]s
`, dir, addr, lines, name))
	p := &postfix{addr: addr, dir: dir, daemon: start(t, nil, program(t, "postfix"), "-c", dir, "start-fg")}
	t.Cleanup(func() { run(t, "postfix", "-c", dir, "abort") }) // it has left our process group
	p.await(t, "listens", p.logged("daemon started"))
	return p
}

// mailOwner is the account to which the messages in a Maildir belong. Postfix refuses to write as root.
const mailOwner = "nobody"

func account(t testing.TB, name string) *user.User {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// own gives a directory to an account.
func own(t testing.TB, name, dir string) {
	t.Helper()
	uid, err := strconv.Atoi(account(t, name).Uid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, -1); err != nil {
		t.Fatal(err)
	}
}

// identity is the key and the self-signed certificate of a server.
type identity struct {
	key, cert string // PEM files
	digest    string // SHA-256 of the public key: TLSA 3 1 1
}

// newIdentity makes one with a common name and addresses.
func newIdentity(t testing.TB, addresses ...netip.Addr) identity {
	t.Helper()
	dir := t.TempDir()
	names := []string{"DNS:mail.example"}
	for _, a := range addresses {
		names = append(names, "IP:"+a.String())
	}
	id := identity{key: filepath.Join(dir, "key.pem"), cert: filepath.Join(dir, "cert.pem")}
	output(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
		"-subj", "/CN=mail.example", "-addext", "subjectAltName="+strings.Join(names, ","), "-days", "2", "-keyout", id.key, "-out", id.cert)
	text, err := os.ReadFile(id.cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("no PEM in %s", id.cert)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	id.digest = hex.EncodeToString(digest[:])
	return id
}

// receiver starts a Postfix that takes mail for a domain into a Maildir, with STARTTLS.
func receiver(t testing.TB, addr netip.Addr, domain string, id identity) *postfix {
	t.Helper()
	return startPostfix(t, "in.example", addr, fmt.Sprintf(`smtpd_tls_security_level = may
smtpd_tls_cert_file = %[1]s
smtpd_tls_key_file = %[2]s
virtual_mailbox_domains = %[3]s
virtual_mailbox_maps = static:box/
virtual_mailbox_base = $config_directory/mail
virtual_uid_maps = static:%[4]s
virtual_gid_maps = static:%[4]s
smtpd_relay_restrictions = reject_unauth_destination`, id.cert, id.key, domain, account(t, mailOwner).Uid))
}

// inbox returns the messages that a receiver has got.
func (p *postfix) inbox(t testing.TB) (messages []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "mail", "box", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, string(text))
	}
	return messages
}

// sender starts a Postfix that delivers with DANE or not at all, and takes mail from the sandbox. Its processes
// remember TLSA records for as long as resolvers do, so that each may deliver once only.
func sender(t testing.TB, addr netip.Addr) *postfix {
	t.Helper()
	return startPostfix(t, "out.example", addr, `mynetworks = 10.53.0.0/16
smtp_dns_support_level = dnssec
smtp_tls_security_level = dane-only
smtp_tls_loglevel = 1
max_use = 1`)
}

// retry makes a sender try again what it has deferred. A message that it is busy with is passed over.
func (p *postfix) retry(t testing.TB) {
	t.Helper()
	output(t, "postqueue", "-c", p.dir, "-f")
}

// finger connects to the mail servers of a domain with posttls-finger, and returns its summary.
func (p *postfix) finger(t testing.TB, level, domain string) string {
	t.Helper()
	// It takes options from main.cf of an instance, ours if the environment says so. It fails if TLS does.
	out, _ := run(t, "env", "MAIL_CONFIG="+p.dir, program(t, "posttls-finger"),
		"-t30", "-c", "-l", level, "-L", "summary", domain)
	return strings.TrimSpace(out)
}
