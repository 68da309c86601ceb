//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestE2ESenderAddress sends reports, good and bad, from an address that can't
// be mistaken, and searches every file that the server wrote for it.
func TestE2ESenderAddress(t *testing.T) {
	srv := startServer(t)
	sender := "198.51.100.213"
	needles := [][]byte{[]byte(sender), {198, 51, 100, 213}, {213, 100, 51, 198}}
	post := func(body []byte, path string) int {
		status, answer := postFrom(t, srv, sender, body, path)
		if bytes.Contains(answer, []byte(sender)) {
			t.Errorf("the answer holds the sender's address: %s", answer)
		}
		return status
	}
	good := handMade(t)
	if status := post(good, wire.PathReports); status != http.StatusOK {
		t.Fatalf("a good report got %d", status)
	}
	for _, bad := range []string{"", "{}", `{"number": 1}`, "\x00\x01"} {
		if status := post([]byte(bad), wire.PathReports); status/100 != 4 {
			t.Errorf("the bad report %q got %d", bad, status)
		}
	}
	post(good, "/nowhere")
	eventually(t, 30*time.Second, func() error {
		_, err := srv.query(t.Context(), "instances.active")
		return err
	})
	srv.stop(t)
	searched := 0
	err := filepath.WalkDir(srv.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		searched++
		for _, n := range needles {
			if bytes.Contains(b, n) {
				t.Errorf("%s holds the sender's address as %q", path, n)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if searched < 3 {
		t.Errorf("only %d files were searched", searched)
	}
}

// TestE2ECountry installs the database that the operator's guide names, and
// finds a report under its sender's country.
func TestE2ECountry(t *testing.T) {
	file, err := testbed.CountryPackage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	srv := startServer(t)
	srv.stop(t)
	if out, err := exec.Command(evergreen, "geo", "--data", filepath.Join(srv.Dir, "data"), "install", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	if status, answer := postFrom(t, srv, "193.0.6.139", handMade(t), wire.PathReports); status != http.StatusOK {
		t.Fatalf("the report got %d: %s", status, answer)
	}
	eventually(t, 30*time.Second, func() error {
		b, err := srv.Get(t.Context(), "/api/v1/query?metric=instances.active&facet=country&by=value&range=24h&grain=hour")
		if err == nil && !bytes.Contains(b, []byte(`"NL"`)) {
			err = fmt.Errorf("no instance in the Netherlands: %s", b)
		}
		return err
	})
}

// handMade is a report in JSON, as somebody without protobuf would write it.
func handMade(t *testing.T) []byte {
	t.Helper()
	now := time.Now().Truncate(2 * time.Second)
	b, err := wire.EncodeJSON(&wire.Report{
		Dictionary: wire.DictionaryVersion, Number: 1, Created: now.Unix(),
		Facts:   &wire.Facts{CaddyVersion: "v2.11.9"},
		Windows: []*wire.Window{{Start: now.Unix() - 2, Seconds: 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// postFrom signs a body as a new instance and sends it through a trusted proxy,
// on behalf of sender.
func postFrom(t *testing.T, srv *server, sender string, body []byte, path string) (status int, answer []byte) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, srv.URL()+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", wire.TypeJSON)
	req.Header.Set("X-Forwarded-For", sender)
	req.Header.Set(wire.HeaderKey, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	req.Header.Set(wire.HeaderSignature, hex.EncodeToString(wire.Sign(key, wire.PurposeReport, body)))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer, err = io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}
