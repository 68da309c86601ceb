//go:build e2e

package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// TestE2EForget deletes an instance from the service as its operator would,
// and finds nothing of it but its share of the sums.
func TestE2EForget(t *testing.T) {
	exe := caddyWith(t, caddyVersions[len(caddyVersions)-1])
	srv := startServer(t)
	caddy, _ := startCaddy(t, exe, func(p testbed.Ports) string { return testbed.Site(p) }, "EVERGREEN_ENDPOINT="+srv.URL())
	client := clientOf(t, caddy, "http/2")
	request(t, client, "GET", fmt.Sprintf("https://localhost:%d/", caddy.Ports.HTTPS), firefox)
	eventually(t, 30*time.Second, func() error {
		a, err := srv.query(t.Context(), "http.requests")
		if err == nil && a.Total != 1 {
			err = fmt.Errorf("%d requests are in the store", a.Total)
		}
		return err
	})
	instance := identityOf(t, caddy)
	link, err := caddy.Evergreen(t.Context(), "link")
	if err != nil {
		t.Fatal(err)
	}
	link = strings.TrimSpace(link)
	if page, err := srv.Get(t.Context(), link); err != nil || !bytes.Contains(page, []byte(caddyVersions[len(caddyVersions)-1])) {
		t.Fatalf("the instance's own page does not show its version (%v)", err)
	}

	if _, err := caddy.Evergreen(t.Context(), "forget", "--yes"); err != nil {
		t.Fatal(err)
	}
	if now := identityOf(t, caddy); now == instance {
		t.Errorf("the instance is still %s", now)
	}
	// What a page was made of is kept for some seconds.
	eventually(t, 40*time.Second, func() error {
		page, err := srv.Get(t.Context(), link)
		if err == nil && bytes.Contains(page, []byte(caddyVersions[len(caddyVersions)-1])) {
			err = errors.New("the deleted instance's page still shows its version")
		}
		return err
	})
	if a, err := srv.query(t.Context(), "http.requests"); err != nil || a.Total != 1 {
		t.Errorf("its share of the sums is %d (%v), want 1", a.Total, err)
	}
	if err := caddy.Stop(); err != nil {
		t.Error(err)
	}
	srv.stop(t)
	id, err := hex.DecodeString(instance)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(srv.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(b, id) || bytes.Contains(b, []byte(instance)) {
			t.Errorf("%s still has the id of the deleted instance", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func identityOf(t *testing.T, caddy *testbed.Caddy) string {
	t.Helper()
	out, err := caddy.Evergreen(t.Context(), "status", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var status struct{ Instance string }
	if err := json.Unmarshal([]byte(out), &status); err != nil {
		t.Fatal(err)
	}
	return status.Instance
}
