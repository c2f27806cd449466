//go:build linux

package main

import (
	"context"
	"path/filepath"
)

// knotConf and knotZone are what both ways to run Knot DNS have in common: one thread of each kind. Sections must come
// before what refers to them.
const knotConf = `server:
  rundir: %[1]q
  user: root:root
  listen: %[2]s@%[3]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: warning
database:
  storage: %[1]q
policy:
  - id: bench
    algorithm: ecdsap256sha256
    single-type-signing: on
`

const knotZone = `zone:
  - domain: mx.test.
    file: %[4]q
`

// addKnot adds Knot DNS with the signed zone.
func (b *bench) addKnot(context.Context) error {
	s, dir, err := b.add("Knot, pre-signed", true)
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "knot.conf")
	s.args = []string{"knotd", "-c", conf}
	return write(conf, knotConf+knotZone, dir, address, s.port, b.signedFile())
}

// addOnlineSign adds Knot DNS with its module that signs every answer.
func (b *bench) addOnlineSign(context.Context) error {
	s, dir, err := b.add("Knot, onlinesign", false)
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "knot.conf")
	s.args = []string{"knotd", "-c", conf}
	return write(conf, knotConf+"mod-onlinesign:\n  - id: bench\n    policy: bench\n"+knotZone+"    module: mod-onlinesign/bench\n",
		dir, address, s.port, b.zoneFile())
}

// addNSD adds NSD with the signed zone. It answers with what was asked for and no more, and does not limit rates: all
// queries come from one address.
func (b *bench) addNSD(context.Context) error {
	s, dir, err := b.add("NSD, pre-signed", true)
	if err != nil {
		return err
	}
	conf := filepath.Join(dir, "nsd.conf")
	s.args = []string{"nsd", "-d", "-c", conf}
	return write(conf, `server:
  server-count: 1
  minimal-responses: yes
  rrl-ratelimit: 0
  ip-address: %[2]s@%[3]d
  username: ""
  chroot: ""
  database: ""
  zonesdir: %[1]q
  pidfile: "%[1]s/pid"
  zonelistfile: "%[1]s/zones"
  xfrdfile: "%[1]s/xfrd"
  xfrdir: %[1]q
remote-control:
  control-enable: no
zone:
  name: mx.test.
  zonefile: %[4]q
`, dir, address, s.port, b.signedFile())
}

// addPowerDNS adds PowerDNS, which signs when it is asked and keeps signatures and whole answers. Nothing that it keeps
// expires during a run. The zone is in the bind back end, the fastest by its manual.
func (b *bench) addPowerDNS(ctx context.Context) error {
	s, dir, err := b.add("PowerDNS, live signing", false)
	if err != nil {
		return err
	}
	s.args = []string{"pdns_server", "--config-dir=" + dir}
	if err := write(filepath.Join(dir, "named.conf"), "zone \"mx.test\" { type master; file %q; };\n", b.zoneFile()); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "pdns.conf"), `launch=bind
bind-config=%[1]s/named.conf
bind-dnssec-db=%[1]s/keys.db
socket-dir=%[1]s
local-address=%[2]s
local-port=%[3]d
receiver-threads=1
distributor-threads=1
signing-threads=1
cache-ttl=86400
query-cache-ttl=86400
negquery-cache-ttl=86400
default-ksk-algorithm=ecdsa256
daemon=no
guardian=no
write-pid=no
disable-syslog=yes
loglevel=3
security-poll-suffix=
`, dir, address, s.port); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"create-bind-db", filepath.Join(dir, "keys.db")}, {"secure-zone", "mx.test"}, {"set-nsec3", "mx.test", "1 0 0 -", "narrow"},
	} {
		if err := quiet(ctx, "pdnsutil", append([]string{"--config-dir=" + dir}, args...)...); err != nil {
			return err
		}
	}
	return nil
}
