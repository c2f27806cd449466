package e2e

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// readYAML reads all documents of a file.
func readYAML(t testing.TB, file string) (all []map[string]any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for in := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var one map[string]any
		if err := in.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, one)
	}
}

// at follows keys and indexes into what was read; nil if there is nothing.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

// secretsOf makes the secrets of deploy/compose.yaml.
func secretsOf(t testing.TB) (dir string) {
	t.Helper()
	program(t, "openssl")
	dir = filepath.Join(t.TempDir(), "secrets")
	prepare := []string{fmt.Sprintf("OWNER=%d:%d", os.Getuid(), os.Getgid()), "../deploy/compose/prepare", dir}
	output(t, "env", prepare...)
	if out, err := run(t, "env", prepare...); err == nil || !strings.Contains(out, "nothing was changed") {
		t.Errorf("prepare once more: %v %s", err, out)
	}
	return dir
}

// expectConfig has mxseal check a configuration, in an environment, in which some names of directories are others.
func expectConfig(t testing.TB, config string, env map[string]string, dirs ...string) {
	t.Helper()
	file := write(t, t.TempDir(), "mxseal.yaml", strings.NewReplacer(dirs...).Replace(config))
	args := []string{}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		args = append(args, name+"="+env[name])
	}
	output(t, "env", append(args, binary, "check-config", "--config", file)...)
}

// The nodes of deploy/compose.yaml have configurations that are valid, names and addresses of their own, and certificates that etcd and
// they accept from each other.
func TestCompose(t *testing.T) {
	t.Parallel()
	secrets := secretsOf(t)
	compose := readYAML(t, "../deploy/compose.yaml")[0]
	config, err := os.ReadFile("../deploy/compose/mxseal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	once := func(what string) {
		t.Helper()
		if seen[what] {
			t.Errorf("%s is there twice", what)
		}
		seen[what] = true
	}
	for _, name := range []string{"ns1", "ns2", "ns3", "init"} {
		service := at(compose, "services", name)
		env := map[string]string{}
		for key, value := range at(service, "environment").(map[string]any) {
			env[key] = fmt.Sprint(value)
			once(env[key])
		}
		expectConfig(t, string(config), env, "/run/secrets", secrets)
		if name == "init" {
			continue
		}
		address := fmt.Sprint(at(service, "networks", "inside", "ipv4_address"))
		for variable, port := range map[string]string{"DNS": "53", "API": "8053", "METRICS": "9153"} {
			if got := env["MXSEAL_"+variable+"_LISTEN"]; got != address+":"+port {
				t.Errorf("%s: %s listens on %s", name, variable, got)
			}
		}
		for _, port := range at(service, "ports").([]any) {
			parts := strings.FieldsFunc(fmt.Sprint(port), func(r rune) bool { return r == ':' || r == '/' })
			if len(parts) != 4 || parts[0] != "127.0.0.1" {
				t.Errorf("%s: port %s is not on loopback", name, port)
				continue
			}
			once(parts[1] + "/" + parts[3])
		}
		if at(service, "read_only") != true || at(service, "healthcheck", "test", 2) != "ready" {
			t.Errorf("%s: %v", name, service)
		}
		output(t, binary, "ready", "--help")
	}
	for name := range at(compose, "secrets").(map[string]any) {
		if _, err := os.Stat(filepath.Join(secrets, name)); err != nil {
			t.Error(err)
		}
	}

	ca, err := os.ReadFile(filepath.Join(secrets, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for name, hosts := range map[string][]string{"etcd": {"etcd1", "etcd2", "etcd3", "localhost"}, "node": {"ns1", "ns2", "ns3", "localhost", "127.0.0.1"}} {
		pair, err := tls.LoadX509KeyPair(filepath.Join(secrets, name+".pem"), filepath.Join(secrets, name+".key"))
		if err != nil {
			t.Fatal(err)
		}
		for _, host := range hosts {
			for _, use := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
				if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
					t.Errorf("%s for %s: %v", name, host, err)
				}
			}
		}
	}
}

// The manifests for Kubernetes fit together, their configuration is valid, and the key that stands in for one is refused.
func TestKubernetes(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../deploy/kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	kinds := map[string]map[string]any{}
	for _, file := range files {
		for _, one := range readYAML(t, file) {
			kinds[fmt.Sprintf("%v %v", one["kind"], at(one, "metadata", "name"))] = one
			if one["apiVersion"] == nil {
				t.Errorf("%s: no apiVersion", file)
			}
		}
	}
	set := at(kinds["StatefulSet mxseal"], "spec")
	labels := fmt.Sprint(at(set, "template", "metadata", "labels"))
	for what, selector := range map[string]any{
		"StatefulSet": at(set, "selector", "matchLabels"), "Service": at(kinds["Service mxseal"], "spec", "selector"),
		"nodes": at(kinds["Service mxseal-nodes"], "spec", "selector"), "budget": at(kinds["PodDisruptionBudget mxseal"], "spec", "selector", "matchLabels"),
		"affinity": at(set, "template", "spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution", 0, "labelSelector", "matchLabels"),
	} {
		if fmt.Sprint(selector) != labels {
			t.Errorf("%s selects %v, the pods are %s", what, selector, labels)
		}
	}
	if at(set, "replicas") != 3 || kinds["Service "+fmt.Sprint(at(set, "serviceName"))] == nil {
		t.Errorf("%v replicas, service %v", at(set, "replicas"), at(set, "serviceName"))
	}
	container := at(set, "template", "spec", "containers", 0)
	ports := map[any]bool{}
	for _, p := range at(container, "ports").([]any) {
		ports[at(p, "name")] = true
	}
	for _, p := range at(kinds["Service mxseal"], "spec", "ports").([]any) {
		if !ports[at(p, "targetPort")] {
			t.Errorf("the service leads to port %v, which is not there", at(p, "targetPort"))
		}
	}
	for probe, path := range map[string]string{"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"} {
		if at(container, probe, "httpGet", "path") != path || !ports[at(container, probe, "httpGet", "port")] {
			t.Errorf("%s: %v", probe, at(container, probe))
		}
	}

	secrets := secretsOf(t)
	kek, err := os.ReadFile(filepath.Join(secrets, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprint(at(kinds["ConfigMap mxseal"], "data", "mxseal.yaml"))
	dirs := []string{"/etc/mxseal/etcd/tls", filepath.Join(secrets, "node"), "/etc/mxseal/etcd", secrets}
	for _, spec := range []any{at(set, "template", "spec"), at(kinds["Job mxseal-init"], "spec", "template", "spec")} {
		if at(spec, "securityContext", "runAsNonRoot") != true || at(spec, "containers", 0, "securityContext", "readOnlyRootFilesystem") != true {
			t.Errorf("it may be root, or write: %v", spec)
		}
		env := map[string]string{}
		for _, v := range at(spec, "containers", 0, "env").([]any) {
			value, given := at(v, "value").(string)
			if !given { // from elsewhere
				value = map[string]string{"KEK": strings.TrimSpace(string(kek)), "POD_IP": "10.1.2.3", "MXSEAL_STORE_ETCD_NODE": "mxseal-0"}[fmt.Sprint(at(v, "name"))]
			}
			env[fmt.Sprint(at(v, "name"))] = strings.ReplaceAll(value, "$(POD_IP)", "10.1.2.3")
		}
		expectConfig(t, config, env, dirs...)
	}
	standIn := fmt.Sprint(at(kinds["Secret mxseal-kek"], "stringData", "kek"))
	file := write(t, t.TempDir(), "mxseal.yaml", strings.NewReplacer(dirs...).Replace(config))
	if out, err := run(t, "env", "KEK="+standIn, "MXSEAL_STORE_ETCD_NODE=n", "MXSEAL_DNS_LISTEN=10.1.2.3:53", binary, "check-config", "--config", file); err == nil {
		t.Errorf("the key that stands in for one is accepted: %s", out)
	}
}
