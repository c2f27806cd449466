package parent

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/miekg/dns"

	"github.com/mxseal/mxseal/zone"
)

// TSIG is a key that signs updates (RFC 8945). Whatever prints or encodes it writes [redacted] for the secret; the fmt
// package does not ask a field that is not exported, so keep it in one that is.
type TSIG struct {
	Name      string // of the key, a domain name that both sides use
	Algorithm string // hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512 or hmac-sha1; in lower or upper case
	Secret    string // base64
}

// String shows the key without the secret.
func (k TSIG) String() string {
	return fmt.Sprintf("TSIG key %q (%q) [redacted]", k.Name, k.Algorithm)
}

// GoString is String.
func (k TSIG) GoString() string { return k.String() }

// Format writes String for every verb.
func (k TSIG) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // fmt.State writes to memory; there is nobody to tell
}

// LogValue is String.
func (k TSIG) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText is String.
func (k TSIG) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalJSON is String, as a JSON string.
func (k TSIG) MarshalJSON() ([]byte, error) { return json.Marshal(k.String()) }

// tsigKey is a TSIG that was checked, with names in the form of miekg/dns.
type tsigKey struct {
	TSIG
	name, algorithm string
}

// parse checks a key. Its errors do not show the secret.
func (k TSIG) parse() (tsigKey, error) {
	name, err := zone.ParseName(k.Name)
	if err != nil {
		return tsigKey{}, fmt.Errorf("name %q of the TSIG key: %w", k.Name, err)
	}
	algorithm := dns.CanonicalName(k.Algorithm)
	switch algorithm {
	case dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512:
	default:
		return tsigKey{}, fmt.Errorf("TSIG key %s: unknown algorithm %q", name, k.Algorithm)
	}
	if secret, err := base64.StdEncoding.DecodeString(k.Secret); err != nil || len(secret) == 0 {
		return tsigKey{}, fmt.Errorf("TSIG key %s: the secret is not base64 or empty", name)
	}
	return tsigKey{k, name.String(), algorithm}, nil
}

// sign completes a message with its signature, and returns the MAC, to which that of the answer refers.
func (k tsigKey) sign(m *dns.Msg) (r request, mac string, err error) {
	m.SetTsig(k.name, k.algorithm, fudge, 0) // the time 0 stands for now
	wire, mac, err := dns.TsigGenerate(m, k.Secret, "", false)
	if err != nil {
		return request{}, "", fmt.Errorf("sign with the TSIG key %s: %w", k.name, err)
	}
	if len(wire) > dns.MaxMsgSize {
		return request{}, "", fmt.Errorf("message with %d octets", len(wire))
	}
	return request{m, wire}, mac, nil
}

// verify checks the signature of an answer (RFC 8945 §5.4.1). raw is changed.
func (k tsigKey) verify(answer *dns.Msg, raw []byte, mac string) error {
	t := answer.IsTsig()
	switch {
	case t == nil:
		return errors.New("the answer is not signed")
	case !sameName(t.Hdr.Name, k.name) || !strings.EqualFold(t.Algorithm, k.algorithm):
		return fmt.Errorf("the answer is signed with the TSIG key %s (%s), not with %s (%s)", t.Hdr.Name, t.Algorithm, k.name, k.algorithm)
	}
	if err := dns.TsigVerify(raw, k.Secret, mac, false); err != nil {
		return fmt.Errorf("signature of the answer with the TSIG key %s: %w", k.name, err)
	}
	if t.Error != dns.RcodeSuccess {
		return fmt.Errorf("the answer has the TSIG error %s", rcodeName(int(t.Error)))
	}
	return nil
}

// ReadTSIG reads the TSIG keys of a file, by their names: a line for each, with algorithm, name and secret in base64. Empty
// lines, and those that begin with #, do not count. The file must be a regular one that only its owner may use. Without a
// path there are no keys. The errors do not show a secret.
func ReadTSIG(path string) (map[zone.Name]TSIG, error) {
	if path == "" {
		return nil, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("TSIG keys: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("TSIG keys: %s must be a regular file with mode 0600 or stricter, not %s", path, info.Mode())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("TSIG keys: %w", err)
	}
	keys := map[zone.Name]TSIG{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 3 {
			return nil, fmt.Errorf("TSIG keys: %s, line %d: must have algorithm, name and secret", path, number)
		}
		k, err := (TSIG{Algorithm: fields[0], Name: fields[1], Secret: fields[2]}).parse()
		if err != nil {
			return nil, fmt.Errorf("TSIG keys: %s, line %d: %w", path, number, err)
		}
		name, err := zone.ParseName(k.name)
		if err != nil || keys[name] != (TSIG{}) {
			return nil, fmt.Errorf("TSIG keys: %s, line %d: the name %s is there twice", path, number, k.name)
		}
		keys[name] = k.TSIG
	}
	return keys, nil
}
