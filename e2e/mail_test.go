package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"net/smtp"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/api"
)

// TestMail delivers mail to a tenant of mxseal as a DANE sender does: Postfix asks a validating resolver for MX,
// addresses and TLSA records, and compares the key that the receiving Postfix shows.
func TestMail(t *testing.T) {
	t.Parallel()
	const domain, tenant = "contoso.com", "acme"
	ctx := t.Context()
	s := startServer(t)
	host := strings.TrimSuffix(hostOf(domain, apex), ".") // as Postfix writes it
	inbound := s.site.addr(25)
	id, other := newIdentity(t), newIdentity(t)
	in := receiver(t, inbound, domain, id)
	out := sender(t, s.site.addr(26))

	publish := func(digest string) {
		t.Helper()
		must[*api.Pool](t)(s.PutPool(ctx, pool, api.PoolSpec{
			Hosts: []api.MailServer{{Name: "in1", Addresses: []string{inbound.String()}}},
			TLSA:  []api.TLSA{{Usage: 3, Selector: 1, MatchingType: 1, Data: digest}},
		}))
	}
	publish(id.digest)
	made := must[*api.Tenant](t)(s.PutTenant(ctx, tenant, api.TenantSpec{Pool: pool, Domains: []string{domain}}))
	a := startAuthority(t, s.site.addr(10), []delegation{{apex, []netip.Addr{s.addr}, s.ds(t, apex)}},
		map[string]string{domain + ".": made.Domains[0].MXRecord})
	r := startUnbound(t, a, netip.MustParseAddr(systemResolver), unboundOptions{aggressive: true})

	// finger looks at the server again, without anything in the resolver's cache.
	finger := func(level, destination, words string) {
		t.Helper()
		r.flush(t)
		if got := out.finger(t, level, destination); !strings.Contains(got, words) {
			t.Fatalf("posttls-finger -l %s %s: want %q:\n%s", level, destination, words, got)
		}
	}
	send := func(subject string) {
		t.Helper()
		r.flush(t)
		deliver(t, out, domain, subject)
	}
	arrives := func(subject string) {
		t.Helper()
		r.flush(t)
		await(t, "the message arrives", func() error {
			err := arrived(t, in, subject)
			if err != nil {
				out.retry(t)
			}
			return err
		})
	}
	verified := "Verified TLS connection established to " + host

	t.Run("verified", func(t *testing.T) {
		finger("dane-only", "["+host+"]", verified)
		finger("dane-only", domain, verified)
		starttls(t, r.addr, host+".")
		send("first")
		arrives("first")
		await(t, "the sender has verified", out.logged(verified))
	})
	t.Run("wrong TLSA", func(t *testing.T) {
		publish(other.digest)
		finger("dane", domain, "no matching DANE TLSA records")
		send("second")
		await(t, "the sender defers", out.logged("status=deferred (Server certificate not verified)"))
		if arrived(t, in, "second") == nil {
			t.Fatal("was delivered to a server whose key is not the published one")
		}
		publish(id.digest)
		arrives("second")
	})
	t.Run("DANE off", func(t *testing.T) {
		must[*api.Tenant](t)(s.PatchTenant(ctx, tenant, api.TenantPatch{DANE: new(false)}))
		finger("dane", domain, "Untrusted TLS connection established to "+host)
		finger("dane-only", domain, "no TLSA records found")
		send("third")
		await(t, "the sender defers, for it insists on DANE", out.logged("status=deferred (no TLSA records found)"))
		must[*api.Tenant](t)(s.PatchTenant(ctx, tenant, api.TenantPatch{DANE: new(true)}))
		finger("dane", domain, verified)
		arrives("third")
	})
	t.Run("revoked", func(t *testing.T) {
		must[*api.Tenant](t)(s.RevokeTenant(ctx, tenant))
		send("fourth")
		await(t, "the sender bounces", out.logged("status=bounced (Host or domain name not found"))
	})
}

// starttls connects with openssl, which is given the TLSA records that the resolver has validated.
func starttls(t *testing.T, resolver netip.Addr, host string) {
	t.Helper()
	m, err := ask(resolver, "_25._tcp."+host, dns.TypeTLSA, true)
	if err != nil {
		t.Fatal(err)
	}
	address, err := ask(resolver, host, dns.TypeA, true)
	if err != nil {
		t.Fatal(err)
	}
	if !m.AuthenticatedData || !address.AuthenticatedData {
		t.Fatalf("not secure:\n%s\n%s", m, address)
	}
	// Names are not compared: with usage 3 the TLSA record is all that counts (RFC 7672 §3.1.1).
	args := []string{"s_client", "-starttls", "smtp", "-brief", "-verify_return_error", "-dane_ee_no_namechecks",
		"-dane_tlsa_domain", host}
	for _, rr := range m.Answer {
		if tlsa, ok := rr.(*dns.TLSA); ok {
			rdata := fmt.Sprintf("%d %d %d %s", tlsa.Usage, tlsa.Selector, tlsa.MatchingType, tlsa.Certificate)
			args = append(args, "-dane_tlsa_rrdata", rdata)
		}
	}
	for _, rr := range address.Answer {
		if a, ok := rr.(*dns.A); ok {
			args = append(args, "-connect", a.A.String()+":25")
		}
	}
	got := output(t, "openssl", args...)
	if !strings.Contains(got, "Verification: OK") || !strings.Contains(got, "DANE TLSA 3 1 1") {
		t.Fatalf("openssl %s:\n%s", strings.Join(args, " "), got)
	}
}

// deliver hands a message to a sender.
func deliver(t *testing.T, out *postfix, domain, subject string) {
	t.Helper()
	message := fmt.Sprintf("From: <a@sender.example>\r\nTo: <b@%s>\r\nSubject: %s\r\n\r\nHello\r\n", domain, subject)
	// The envelope has no sender, so that nothing has to be returned.
	if err := smtp.SendMail(out.addr.String()+":25", nil, "", []string{"b@" + domain}, []byte(message)); err != nil {
		t.Fatal(err)
	}
}

// arrived returns nil if a receiver has got the message with the subject.
func arrived(t *testing.T, in *postfix, subject string) error {
	for _, message := range in.inbox(t) {
		if strings.Contains(message, "Subject: "+subject+"\n") {
			return nil
		}
	}
	return errors.New("it has not")
}
