package evergreen

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// request makes one with a User-Agent over a connection of its own.
func request(t *testing.T, config *tls.Config, protocol, url, userAgent string, times int) {
	t.Helper()
	cl, end := client(t, protocol)
	switch tr := cl.Transport.(type) {
	case *http.Transport:
		tr.TLSClientConfig = config
	case *http3.Transport:
		tr.TLSClientConfig = config
	}
	for range times {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("User-Agent", userAgent)
		resp, err := cl.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body) // else the connection is not used again
		resp.Body.Close()
	}
	end()
}

// sums adds up a metric's counts by one label.
func sums(t *testing.T, metric, label string) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for k, v := range counts(t, metric) {
		if strings.HasSuffix(k, " sum") {
			continue
		}
		_, rest, _ := strings.Cut(k, label+"=")
		got[strings.TrimRight(strings.SplitN(rest, ",", 2)[0], "}")] += v
	}
	return got
}

// What a hello says, what is negotiated, and what connections and requests have, over each protocol.
func TestHellos(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	for _, test := range []struct {
		protocol, over string
	}{{"http/1.1", "tcp"}, {"http/2", "tcp"}, {"http/3", "quic"}} {
		before := map[string]map[string]float64{}
		metrics := map[string]string{
			"tls_hello": "hello_transport", "tls_hello_suites": "offered_suite", "tls_hello_groups": "offered_group", "tls_hello_key_shares": "offered_group",
			"tls_hello_versions": "offered_version", "tls_hello_legacy_version": "offered_version", "tls_hello_extensions": "extension",
			"tls_hello_features": "hello_feature", "connections_features": "connection_feature", "http_features": "connection_feature",
			"tls_certificates_served": "key_type", "tls_retries": "presence", "tls_handshake_time_seconds": "tls_version", "tls_interception": "verdict",
		}
		for m, label := range metrics {
			before[m] = sums(t, m, label)
		}
		request(t, insecure.Clone(), test.protocol, s.url(test.protocol, "/"), "Go-http-client/1.1", 3)
		grown := func(m, value string) float64 { return sums(t, m, metrics[m])[value] - before[m][value] }
		want := map[[2]string]float64{
			{"tls_hello", test.over}: 1, {"tls_hello_suites", "TLS_AES_128_GCM_SHA256"}: 1, {"tls_hello_suites", "TLS_RSA_WITH_RC4_128_SHA"}: 0,
			{"tls_hello_groups", "X25519MLKEM768"}: 1, {"tls_hello_versions", "TLS 1.3"}: 1, {"tls_hello_versions", "TLS 1.0"}: 0,
			{"tls_hello_extensions", "server_name"}: 1, {"tls_hello_extensions", "key_share"}: 1, {"tls_hello_features", "grease"}: 0,
			{"tls_hello_features", "server_name"}: 1, {"tls_hello_features", "post_quantum_group"}: 1, {"tls_certificates_served", "ecdsa-p256"}: 1,
			{"connections_features", "all"}: 1, {"connections_features", "tls"}: 1, {"connections_features", "sni"}: 1, {"connections_features", "pq_negotiated"}: 1,
			{"connections_features", "pq_offered"}: 1, {"connections_features", "tls13"}: 1, {"connections_features", "ipv6"}: 0, {"connections_features", "ech_offered"}: 0,
			{"http_features", "all"}: 3, {"http_features", "pq_negotiated"}: 3, {"http_features", "ipv6"}: 0,
		}
		if test.over == "tcp" {
			want[[2]string{"tls_hello_key_shares", "X25519MLKEM768"}] = 1
			want[[2]string{"tls_hello_legacy_version", "TLS 1.2"}] = 1
			want[[2]string{"tls_retries", "absent"}] = 1
			want[[2]string{"tls_handshake_time_seconds", "TLS 1.3"}] = 1
			want[[2]string{"connections_features", "http3"}] = 0
		} else {
			want[[2]string{"connections_features", "http3"}] = 1
			want[[2]string{"http_features", "http3"}] = 3
			want[[2]string{"tls_retries", "absent"}] = 0
		}
		for k, v := range want {
			eventually(t, test.protocol+": "+k[0]+" of "+k[1], func() bool { return grown(k[0], k[1]) == v })
		}
	}
	if got := sums(t, "tls_failures", "failure"); len(got) > 0 {
		t.Errorf("failures: %v", got)
	}
}

func TestHelloRetry(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	for _, srv := range c["apps"].(map[string]any)["http"].(map[string]any)["servers"].(map[string]any) {
		if policies, ok := srv.(map[string]any)["tls_connection_policies"].([]any); ok && len(policies) > 0 {
			policies[0].(map[string]any)["curves"] = []any{"secp384r1"}
		} else {
			srv.(map[string]any)["tls_connection_policies"] = []any{map[string]any{"curves": []any{"secp384r1"}}}
		}
	}
	mustLoad(t, c)
	request(t, insecure.Clone(), "http/1.1", s.url("http/1.1", "/"), "", 1)
	wantCounts(t, map[string]float64{
		"tls_retries{presence=present,tls_version=TLS 1.3}": 1,
		"tls_groups{group=secp384r1,tls_version=TLS 1.3}":   1,
	}, "tls_retries", "tls_groups", "tls_failures")
	if got := sums(t, "tls_hello", "client_family"); len(got) != 1 {
		t.Errorf("hellos: %v", got)
	}
}

// Resumed handshakes, and TLS 1.2, end where they end.
func TestHandshakeEnds(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := insecure.Clone()
		config.MaxVersion, config.ClientSessionCache = version, tls.NewLRUClientSessionCache(4)
		for range 2 {
			request(t, config, "http/1.1", s.url("http/1.1", "/"), "", 2)
		}
	}
	want := map[string]float64{}
	for _, version := range []string{"TLS 1.2", "TLS 1.3"} {
		for _, how := range []string{"full", "resumed"} {
			want["tls_handshake_time_seconds{resumption="+how+",tls_version="+version+"}"] = 1
		}
	}
	for k, v := range want {
		eventually(t, k, func() bool { return counts(t, "tls_handshake_time_seconds")[k] == v })
	}
	if got := sums(t, "tls_handshake_size_bytes", "direction"); got["client"] != 4 || got["server"] != 4 {
		t.Errorf("sizes: %v", got)
	}
	if got := sums(t, "tls_certificates_served", "key_type")["ecdsa-p256"]; got != 3 {
		t.Errorf("%g certificates, want those of the full handshakes and the one that was resumed over TLS 1.2", got)
	}
}

// A QUIC client that rejects the certificate, and one whose protocol nobody speaks.
func TestQUICFailures(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	for _, test := range []struct {
		failure, alert, side string
		change               func(*tls.Config)
	}{
		{"client_bad_certificate", "bad_certificate", "client", func(c *tls.Config) { c.InsecureSkipVerify = false }},
		{"no_common_alpn", "no_application_protocol", "server", func(c *tls.Config) { c.NextProtos = []string{"smtp"} }},
	} {
		config := insecure.Clone()
		config.NextProtos = []string{"h3"}
		test.change(config)
		if conn, err := quic.DialAddr(t.Context(), "127.0.0.1:"+s.https, config, nil); err == nil {
			<-conn.Context().Done()
			t.Logf("%v", context.Cause(conn.Context()))
		}
		eventually(t, test.failure, func() bool {
			return sums(t, "tls_failures", "failure")[test.failure] == 1 && sums(t, "tls_alerts", "alert")[test.alert] == 1
		})
		if got := counts(t, "tls_alerts")["tls_alerts{alert="+test.alert+",side="+test.side+",tls_library=unknown}"]; got != 1 {
			t.Errorf("%s: %v", test.failure, counts(t, "tls_alerts"))
		}
	}
}

// A tap passes on what it does not understand, and never fails a connection.
func TestTapPasses(t *testing.T) {
	here, there := net.Pipe()
	c := &tap{Conn: here}
	go func() {
		for _, b := range []string{"\x16\x03", "\x01\x00", "\xff", "not a hello at all"} {
			_, _ = there.Write([]byte(b))
		}
		there.Close()
	}()
	var got strings.Builder
	b := make([]byte, 7)
	for {
		n, err := c.Read(b)
		got.Write(b[:n])
		if err != nil {
			break
		}
	}
	if got.String() != "\x16\x03\x01\x00\xffnot a hello at all" {
		t.Errorf("read %q", got.String())
	}
	if _, p := c.take(); p != nil {
		p.free()
	}
	if _, p := c.take(); p != nil {
		t.Error("the memory was taken twice")
	}
}

func FuzzTap(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), []byte("\x15\x03\x03\x00\x02\x02\x28"), uint8(3))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), []byte{}, uint8(1))
	f.Add([]byte("\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10"), []byte{}, uint8(200))
	f.Fuzz(func(t *testing.T, in, out []byte, size uint8) {
		c := &tap{}
		for len(in) > 0 || len(out) > 0 {
			n := min(int(size)+1, len(in))
			c.look(in[:n], true)
			in = in[n:]
			n = min(int(size)+1, len(out))
			c.look(out[:n], false)
			out = out[n:]
			if c.done.Load() {
				break
			}
		}
		s, p := c.take()
		if p != nil {
			p.free()
		}
		if !s.complete.IsZero() && s.complete.Before(s.first) {
			t.Error("it was complete before it began")
		}
	})
}
