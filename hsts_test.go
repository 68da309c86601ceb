package evergreen

import (
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A client that was given HSTS over any protocol and comes back over plain HTTP
// is counted; one that wasn't, or is another, or comes through a proxy, isn't.
func TestHSTS(t *testing.T) {
	s, c := newSite(t, "", `
	header /forever Strict-Transport-Security "max-age=63072000; includeSubDomains; preload"
	header /never Strict-Transport-Security "max-age=0"
	header /wrong Strict-Transport-Security "forever"
	respond "fine"
	`)
	mustLoad(t, c)
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	do := func(protocol, path, agent string, header http.Header) {
		t.Helper()
		cl, end := client(t, protocol)
		defer end()
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url(protocol, path), nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range header {
			req.Header[k] = v
		}
		req.Header.Set("User-Agent", agent)
		resp, err := cl.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	total := func(name string) float64 {
		n := 0.0
		for _, v := range counts(t, name) {
			n += v
		}
		return n
	}
	// What a request tells is counted just after its client has seen the answer.
	wait := func(name string, n float64) {
		t.Helper()
		eventually(t, name, func() bool { return total(name) == n })
	}

	do("plain", "/forever", firefox, nil) // over plain HTTP the header means nothing
	wait("http_requests", 1)
	do("http/1.1", "/forever", firefox, http.Header{"X-Forwarded-For": {"192.0.2.1"}})
	wait("http_requests", 2)
	do("plain", "/", firefox, nil)
	wait("http_requests", 3)
	for i, protocol := range []string{"http/1.1", "http/2", "http/3"} {
		do(protocol, "/forever", firefox, nil)
		wait("hsts_given", float64(i+1))
	}
	do("http/2", "/", firefox, nil)
	wait("hsts_tls_after", 3)
	do("plain", "/", "curl/8.5.0", nil)
	do("plain", "/", firefox, http.Header{"Via": {"1.1 proxy"}})
	do("plain", "/", firefox, nil)
	do("plain", "/forever", firefox, nil)
	wait("hsts_plain_after", 2)
	do("http/2", "/wrong", firefox, nil)
	wait("hsts_tls_after", 4)
	do("http/2", "/never", firefox, nil)
	wait("hsts_given", 4)
	do("plain", "/", firefox, nil)
	wait("http_requests", 14)

	family := currentProcess().rec.Family(firefox)
	name := "client_family=" + wire.ClientFamily.ValueName(family)
	wantCounts(t, map[string]float64{
		"hsts_policies{max_age=2y+,preload=preload,subdomains=included}":      4,
		"hsts_policies{max_age=0,preload=no-preload,subdomains=not-included}": 1,
		"hsts_policies{max_age=none,preload=other,subdomains=other}":          1,
		"hsts_policies{max_age=invalid,preload=other,subdomains=other}":       1,
		"hsts_given{" + name + ",occasion=first}":                             1,
		"hsts_given{" + name + ",occasion=again}":                             2,
		"hsts_given{" + name + ",occasion=removed}":                           1,
		"hsts_tls_after{" + name + "}":                                        5,
		"hsts_plain_after{" + name + ",occasion=first}":                       1,
		"hsts_plain_after{" + name + ",occasion=again}":                       1,
	}, "hsts_policies", "hsts_given", "hsts_tls_after", "hsts_plain_after", "hsts_evictions")
}

func TestMaxAgeClasses(t *testing.T) {
	got := map[uint64]string{}
	for _, n := range []uint64{0, 1, 86399, 86400, 2591999, 2592000, 15552000, 31535999, 31536000, 63071999, 63072000, 1<<64 - 1} {
		got[n] = wire.HSTSMaxAge.ValueName(maxAgeOf(n))
	}
	want := map[uint64]string{0: "0", 1: "<1d", 86399: "<1d", 86400: "1d-30d", 2591999: "1d-30d", 2592000: "30d-180d", 15552000: "180d-1y",
		31535999: "180d-1y", 31536000: "1y-2y", 63071999: "1y-2y", 63072000: "2y+", 1<<64 - 1: "2y+"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Whoever turns the metrics off has no memory of clients either.
func TestHSTSOff(t *testing.T) {
	s, c := newSite(t, "evergreen {\n metrics_off hsts\n}", `header Strict-Transport-Security "max-age=63072000"`)
	mustLoad(t, c)
	cl, end := client(t, "http/2")
	get(t, cl, "GET", s.url("http/2", "/"), nil)
	end()
	eventually(t, "counted", func() bool { return len(counts(t, "connections")) == 1 })
	if !currentProcess().hsts.Empty() {
		t.Error("a client is remembered")
	}
}
