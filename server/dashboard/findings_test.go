package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/caddy-evergreen/evergreen/server/dashboard"
	"github.com/caddy-evergreen/evergreen/wire"
)

// said are the findings of a page.
func said(t *testing.T, h http.Handler, path string) (lines []string) {
	t.Helper()
	for _, ul := range find(parsed(t, h, path), func(n *html.Node) bool { return attr(n, "class") == "findings" }) {
		for _, li := range find(ul, func(n *html.Node) bool { return n.Data == "li" }) {
			lines = append(lines, strings.ReplaceAll(strings.Join(strings.Fields(strings.ReplaceAll(text(li), "\u202f", "_")), " "), "_", " "))
		}
	}
	return lines
}

func TestFindings(t *testing.T) {
	s := openStore(t)
	ro := rollup{}
	for day, n := range map[int]uint64{1: 25, 0: 30} {
		at := now.Add(-time.Duration(day) * 24 * time.Hour).Add(-2 * time.Hour)
		ro.count(at, wire.HTTPRequests, dims(wire.HTTPRequests, "http/3", "200", "site"), n, 1)
		ro.count(at, wire.HTTPRequests, dims(wire.HTTPRequests, "http/2", "200", "site"), 100-n, 1)
		ro.count(at, wire.TLSFailures, dims(wire.TLSFailures, "timeout", "openssl"), 10, 1)
		ro.count(at, wire.TLSConnections, dims(wire.TLSConnections, "TLS 1.3", "TLS_AES_128_GCM_SHA256", "full"), 90, 1)
		ro.count(at, wire.ClientBrowsers, dims(wire.ClientBrowsers, map[int]string{1: "firefox", 0: "chrome"}[day], "140"), 5, 1)
		ro.observe(at, wire.HTTPFirstByte, dims(wire.HTTPFirstByte, "http/2", "2xx"), 1000, float64(10*n))
	}
	ro.commit(t, s)
	h := serve(t, dashboard.Config{Store: s, Reports: openLog(t)})
	for path, want := range map[string][]string{
		"/clients?range=24h": {"Chrome is the browser with the most requests it was Firefox against the time before"},
		"/tls?range=24h": {
			"10.0 % of TLS connections end before their handshake is complete unchanged against the time before",
			"0.0 % of handshakes resume a session", "Timeout is the most frequent cause",
		},
		"/attacks?range=24h": nil, // what was not counted is not said to be none
	} {
		if diff := cmp.Diff(want, said(t, h, path)); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	adoption := strings.Join(said(t, h, "/adoption?range=24h"), "\n")
	if want := "30.0 % of requests come over HTTP/3 ▲up 5.0 points against the time before"; !strings.Contains(adoption, want) {
		t.Errorf("adoption: %s", adoption)
	}
	// The first page has what changed most first.
	first := said(t, h, "/?range=24h")
	if len(first) < 3 || !strings.Contains(first[0]+first[1], "HTTP/3") || !strings.Contains(first[0]+first[1], "first byte ▲up") {
		t.Errorf("the first page has %q", first)
	}
	// What a filter can't be applied to is not shown as if it had been.
	for _, line := range said(t, h, "/health?range=24h&filter=platform:linux/amd64") {
		t.Errorf("filtered: %q", line)
	}
}
