package testbed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/quic-go/quic-go/http3"
)

// A loadedServer serves what LoadSite does, from Go's own server.
type loadedServer struct {
	ports   Ports
	cert    tls.Certificate
	handler http.Handler
	close   func()
}

func newLoadedServer(t *testing.T, large int64) (*loadedServer, *x509.CertPool) {
	t.Helper()
	folder := t.TempDir()
	if err := WriteLarge(folder, large); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", BackendHandler())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(loadAnswer)) })
	mux.Handle("GET /large", http.FileServer(http.Dir(folder)))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	ports, err := PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	s := &loadedServer{ports: ports, cert: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, handler: mux}
	s.start(t)
	t.Cleanup(func() { s.close() })
	return s, roots
}

func (s *loadedServer) start(t *testing.T) {
	t.Helper()
	listen := func(port int) net.Listener {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain, secure := &http.Server{Handler: s.handler}, &http.Server{Handler: s.handler, TLSConfig: &tls.Config{Certificates: []tls.Certificate{s.cert}}}
	lp, ls := listen(s.ports.HTTP), listen(s.ports.HTTPS)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.ports.HTTPS})
	if err != nil {
		t.Fatal(err)
	}
	quic := &http3.Server{Handler: s.handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{s.cert}})}
	go func() { _ = plain.Serve(lp) }()
	go func() { _ = secure.ServeTLS(ls, "", "") }()
	go func() { _ = quic.Serve(udp) }()
	s.close = func() {
		_ = plain.Close()
		_ = secure.Close()
		_, _ = lp.Close(), ls.Close() // for a server that hasn't begun to serve
		_ = quic.Close()
		_ = udp.Close()
	}
}

// eachKind waits until every kind of a load's results is as want says.
func eachKind(t *testing.T, l *Load, want func(LoadResult) bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		var not Results
		for _, r := range l.Results() {
			if !want(r) {
				not = append(not, r)
			}
		}
		if len(not) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still:\n%s", not)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestLoad sends every kind of load to a server that serves, ends, and serves
// again: nothing fails before it ends, everything does then.
func TestLoad(t *testing.T) {
	s, roots := newLoadedServer(t, 3<<20)
	l, err := StartLoad(LoadConfig{Ports: s.ports, Roots: roots, Stream: 300 * time.Millisecond, Large: 3 << 20, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	eachKind(t, l, func(r LoadResult) bool { return r.Requests >= 3 })
	if before := l.Results(); before.Failed() != 0 {
		t.Fatalf("requests failed while the server served:\n%s", before)
	}
	s.close()
	ended := time.Now()
	eachKind(t, l, func(r LoadResult) bool { return r.Failed > 0 })
	s.start(t)
	down := time.Since(ended)
	answers := map[string]int{}
	for _, r := range l.Results() {
		answers[r.Kind] = r.Requests - r.Failed
	}
	eachKind(t, l, func(r LoadResult) bool { return r.Requests-r.Failed > answers[r.Kind]+2 })
	all := l.Stop()
	t.Logf("down for %s\n%s", down, all)
	for _, r := range all {
		if r.Kind != LoadH3 && r.Stall < down/2 {
			t.Errorf("%s: it was down for %s, but the longest stall is %s", r.Kind, down, r.Stall)
		}
		if len(r.Failures) == 0 || r.Failures[0].At.IsZero() || r.Quantile(0.5, time.Time{}, time.Time{}) <= 0 {
			t.Errorf("%s: %+v", r.Kind, r.Failures)
		}
	}
	if d := cmp.Diff(LoadKinds, kindsOf(all)); d != "" {
		t.Error(d)
	}
}

func kindsOf(all Results) (kinds []string) {
	for _, r := range all {
		kinds = append(kinds, r.Kind)
	}
	return kinds
}

// TestLoadWrongAnswer counts an answer that isn't the site's as a failure.
func TestLoadWrongAnswer(t *testing.T) {
	s, roots := newLoadedServer(t, 1<<20)
	s.close()
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte("something else")) })
	s.start(t)
	l, err := StartLoad(LoadConfig{Ports: s.ports, Roots: roots, Stream: 100 * time.Millisecond, Large: 1 << 20, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	eachKind(t, l, func(r LoadResult) bool { return r.Failed > 0 })
	for _, r := range l.Stop() {
		if r.Failed != r.Requests {
			t.Errorf("%s", r)
		}
	}
}

func TestQuantile(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	r := LoadResult{}
	for i := range 100 {
		r.answers = append(r.answers, answer{at.Add(time.Duration(i) * time.Second), time.Duration(i+1) * time.Millisecond})
	}
	got := []time.Duration{
		r.Quantile(0.99, time.Time{}, time.Time{}), r.Quantile(0.5, at, at.Add(10*time.Second)), r.Quantile(1, time.Time{}, at.Add(5*time.Second)), r.Quantile(0.5, at.Add(time.Hour), time.Time{}),
	}
	if d := cmp.Diff([]time.Duration{100 * time.Millisecond, 6 * time.Millisecond, 5 * time.Millisecond, 0}, got); d != "" {
		t.Error(d)
	}
}

func TestStartLoadUnknown(t *testing.T) {
	if _, err := StartLoad(LoadConfig{Kinds: []string{"carrier pigeons"}}); err == nil {
		t.Error("an unknown kind of load was begun")
	}
}
