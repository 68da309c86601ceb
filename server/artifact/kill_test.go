package artifact_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/server/artifact"
)

// TestSignerProcess is the server that TestKill kills: it publishes without end
// in a process of its own, and says what it has published.
func TestSignerProcess(t *testing.T) {
	dir := os.Getenv("EVERGREEN_TEST_SIGNER")
	if dir == "" {
		return // no one kills it
	}
	s, err := artifact.OpenStorage(t.Context(), filepath.Join(dir, "tuf"))
	if err != nil {
		t.Fatal(err)
	}
	// Every snapshot is old at once, so that signing goes on beside publishing.
	repo, err := artifact.Open(t.Context(), artifact.Options{Storage: s, Lives: artifact.Lives{Timestamp: time.Hour, Snapshot: time.Hour, Builds: time.Hour}, Keys: func() ([]*artifact.Key, error) {
		return artifact.LoadKeys(filepath.Join(dir, "keys"), []byte("a passphrase"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	go repo.Run(context.Background())
	for range 4 {
		go func() {
			before := ""
			for {
				b, file := build(t, rand.IntN(1<<40), nil)
				target, err := repo.Publish(context.Background(), b, file)
				if err != nil {
					fmt.Println("FAILED", err)
					os.Exit(1)
				}
				fmt.Println("PUBLISHED", target.Name, target.SHA256)
				repo.WantDelta(before, b.SHA256)
				before = b.SHA256
			}
		}()
	}
	select {}
}

// TestKill kills the server with SIGKILL in the midst of publishing and signing.
// After each, what clients see is whole: all that was said to be published is
// there, and nothing is listed whose file is not. EVERGREEN_CHAOS says how often.
func TestKill(t *testing.T) {
	times := 4
	if n, err := strconv.Atoi(os.Getenv("EVERGREEN_CHAOS")); err == nil {
		times = n
	}
	f := newFixture(t, 3)
	if err := f.repo.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Rename(f.dir, filepath.Join(dir, "tuf")); err != nil {
		t.Fatal(err)
	}
	f.dir = filepath.Join(dir, "tuf")
	f.url = f.serve(artifact.Files(f.storage()))
	for _, k := range f.online {
		if _, err := k.Save(filepath.Join(dir, "keys"), []byte("a passphrase")); err != nil {
			t.Fatal(err)
		}
	}
	c := f.client(t.TempDir())
	published := map[string]string{}
	for range times {
		cmd := exec.Command(os.Args[0], "-test.run=^TestSignerProcess$", "-test.v")
		cmd.Env = append(os.Environ(), "EVERGREEN_TEST_SIGNER="+dir, "TMPDIR="+t.TempDir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It lives for some time after it has published for the first time.
		timer := time.AfterFunc(5*time.Minute, func() { cmd.Process.Kill() })
		first := true
		for lines := bufio.NewScanner(out); lines.Scan(); {
			w := strings.Fields(lines.Text())
			switch {
			case len(w) == 3 && w[0] == "PUBLISHED":
				published[w[1]] = w[2]
				if first {
					first = false
					timer.Reset(time.Duration(rand.IntN(int(300 * time.Millisecond))))
				}
			case len(w) > 0 && w[0] == "FAILED":
				t.Error(lines.Text())
			}
		}
		timer.Stop()
		if err := cmd.Wait(); err == nil || first {
			t.Fatalf("the server was not killed while it published: %v", err)
		}
		f.whole(t)
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for name, sum := range published {
			target, err := c.Target(t.Context(), name)
			if err != nil || fmt.Sprintf("%x", target.SHA256) != sum {
				t.Fatalf("%s was published with %s, and is there with %x: %v", name, sum, target.SHA256, err)
			}
		}
	}
	t.Logf("%d executables were published over %d kills", len(published), times)
	// And the next server goes on.
	f.open()
	_, target := f.publish(7)
	fetch(t, c, target.Name)
}

// whole checks that each file of what is listed is there.
func (f *fixture) whole(t *testing.T) {
	t.Helper()
	name, _ := f.names(t, "")
	var sn struct {
		Signed metadata.SnapshotType `json:"signed"`
	}
	if err := json.Unmarshal(f.read(name), &sn); err != nil {
		t.Fatal(err)
	}
	n := 0
	for role, m := range sn.Signed.Meta {
		b := parse[metadata.TargetsType](t, f.read(fmt.Sprintf("%d.%s", m.Version, role)))
		for target, tf := range b.Signed.Targets {
			i := strings.LastIndexByte(target, '/') + 1
			content := f.read(fmt.Sprintf("targets/%s%s.%s", target[:i], tf.Hashes["sha256"].String(), target[i:]))
			if sum := sha256.Sum256(content); string(sum[:]) != string(tf.Hashes["sha256"]) {
				t.Errorf("%s is listed, and its file is another", target)
			}
			n++
		}
	}
	if n == 0 {
		t.Error("nothing is listed")
	}
}
