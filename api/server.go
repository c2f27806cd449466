package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

// Times and sizes of the HTTP server. Writing may take as long as the work and the transfer; a backup sets
// its own deadlines.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 20 * time.Second
	writeTimeout      = readTimeout + requestTimeout + 10*time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// ErrNeedsTLS is returned for a listener that others than this machine can reach and that has no TLS.
var ErrNeedsTLS = errors.New("a listener that is not on loopback needs TLS: tokens would be readable on the network")

// ServerConfig says where and how the API is served. The files are PEM.
type ServerConfig struct {
	Listen   string // host:port
	Cert     string // file with the certificate chain; empty means no TLS
	Key      string // file with the private key of Cert
	ClientCA string // file with the CAs of client certificates; if given, a client needs one as well as a token
}

// NewServer builds the HTTP server for h; the caller listens on Addr and calls Serve, or ServeTLS with empty
// file names if TLSConfig is set.
func NewServer(cfg ServerConfig, h http.Handler, log *slog.Logger) (*http.Server, error) {
	tlsConfig, err := cfg.tls()
	if err != nil {
		return nil, err
	}
	if tlsConfig == nil && !isLoopback(cfg.Listen) {
		return nil, fmt.Errorf("api listen %q: %w", cfg.Listen, ErrNeedsTLS)
	}
	return &http.Server{
		Addr: cfg.Listen, Handler: h, TLSConfig: tlsConfig,
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		// What clients do wrong before they have sent a request is noise to an operator.
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}, nil
}

// isLoopback reports whether only this machine can reach a listener. A name other than localhost could be
// anything.
func isLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

// tls loads the files; nil means no TLS.
func (cfg ServerConfig) tls() (*tls.Config, error) {
	if cfg.Cert == "" && cfg.Key == "" {
		if cfg.ClientCA != "" {
			return nil, errors.New("api tls client_ca: needs cert and key as well")
		}
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("api tls cert and key: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if cfg.ClientCA != "" {
		if out.ClientCAs, err = LoadCAs(cfg.ClientCA); err != nil {
			return nil, fmt.Errorf("api tls client_ca: %w", err)
		}
		out.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return out, nil
}

// LoadCAs reads a PEM file of certificates that are trusted to sign others.
func LoadCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: has no certificate in PEM form", file)
	}
	return pool, nil
}
