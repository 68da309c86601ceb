//go:build e2e

package e2e

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EProxy reports through the proxy that the environment names, to an
// endpoint that only the proxy knows.
func TestE2EProxy(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	srv := startServer(t)
	target, err := url.Parse(srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	var passed atomic.Int64
	forward := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Host == "telemetry.test" {
			passed.Add(1)
			forward.ServeHTTP(w, r)
		}
	}))
	defer proxy.Close()
	startCaddy(t, exe, func(p testbed.Ports) string { return testbed.Site(p) },
		"EVERGREEN_ENDPOINT=http://telemetry.test", "HTTP_PROXY="+proxy.URL)
	eventually(t, 30*time.Second, func() error {
		a, err := srv.query(t.Context(), "instances.active")
		if err == nil && (a.Total == 0 || passed.Load() == 0) {
			err = errors.New("no report came through the proxy")
		}
		return err
	})
}
