package build

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
)

// childOf is the variable that makes this executable a server of a folder,
// which builds until it is killed.
const childOf = "EVERGREEN_TEST_BUILD_SERVER"

// folderPublisher publishes by writing a file, in one step.
type folderPublisher string

func (p folderPublisher) Publish(_ context.Context, b artifact.Build, _ string) error {
	return writeFile(filepath.Join(string(p), b.Spec.ID()), []byte(b.SHA256))
}

func openKilled(ctx context.Context, dir, gocache string) (*control.DB, *Queue, error) {
	db, err := control.Open(ctx, "sqlite:"+filepath.Join(dir, "control.sqlite"))
	if err != nil {
		return nil, nil, err
	}
	log := slog.New(slog.DiscardHandler)
	m, err := NewMaker(ctx, MakerConfig{
		Folder: filepath.Join(dir, "maker"), GoCache: gocache, Proxy: "file://" + filepath.ToSlash(filepath.Join(dir, "proxy")), NoSumDB: "*", MinFree: 1 << 20, Logger: log,
	})
	if err != nil {
		return nil, nil, err
	}
	q, err := NewQueue(ctx, QueueConfig{
		Maker: m, DB: db, Folder: filepath.Join(dir, "executables"), Workers: 2, Logger: log, Publish: folderPublisher(filepath.Join(dir, "published")),
	})
	return db, q, err
}

func serveUntilKilled(dir string) {
	db, q, err := openKilled(context.Background(), dir, os.Getenv("GOCACHE"))
	if err == nil {
		fmt.Println("serving")
		err = q.Run(context.Background())
	}
	fmt.Println(err, db)
	os.Exit(1)
}

// However often the server is killed, what was asked for is built in the end,
// and nothing is ever published that is not whole.
func TestKilled(t *testing.T) {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	gocache := strings.TrimSpace(string(out))
	dir := t.TempDir()
	t.Cleanup(func() { unprotect(dir) })
	if err := os.Rename(offerModules(t), filepath.Join(dir, "proxy")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "published"), 0o755); err != nil {
		t.Fatal(err)
	}
	open := func() (*Queue, func()) {
		t.Helper()
		db, q, err := openKilled(t.Context(), dir, gocache)
		if err != nil {
			t.Fatal(err)
		}
		return q, func() {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	q, closeAll := open()
	var specs []artifact.Spec
	for i := range 6 {
		s := fakeSpec(q.cfg.Maker, "good")
		s.Service = fmt.Sprintf("https://%d.example", i)
		specs = append(specs, s)
		if _, err := q.Ask(t.Context(), s, PriorityUpdate); err != nil {
			t.Fatal(err)
		}
	}
	closeAll()

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// From the midst of opening the state to several builds later.
	for _, after := range []time.Duration{30, 80, 150, 250, 400, 600, 900, 1300} {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), childOf+"="+dir, "GOCACHE="+gocache)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait() // it was killed, and says so
		published, err := os.ReadDir(filepath.Join(dir, "published"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range published {
			if strings.HasPrefix(p.Name(), ".") {
				continue
			}
			want, err := os.ReadFile(filepath.Join(dir, "published", p.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := hashFile(filepath.Join(dir, "executables", p.Name(), "caddy")); err != nil || got != string(want) {
				t.Errorf("killed after %d ms: published with hash %s, but the file's is %s (%v)", after, want, got, err)
			}
		}
	}

	q, closeAll = open()
	defer closeAll()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for _, s := range specs {
		// What was at it when the server was killed for the third time is
		// taken for what killed it.
		if p, err := q.Progress(t.Context(), s.ID()); err == nil && p.State == string(failed) {
			if !strings.Contains(p.Error, "the server ended 3 times") {
				t.Errorf("it failed: %s", p.Error)
			}
			if err := q.Retry(t.Context(), s.ID()); err != nil {
				t.Error(err)
			}
		}
		b, err := q.Wait(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		got, err := hashFile(q.executable(s.ID()))
		if err != nil || got != b.SHA256 {
			t.Errorf("the file's hash is %s, want %s (%v)", got, b.SHA256, err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for folder, want := range map[string]int{"executables": len(specs), "published": len(specs), "maker/work": 0} {
		entries, err := os.ReadDir(filepath.Join(dir, folder))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, e := range entries {
			if folder != "executables" && !strings.HasPrefix(e.Name(), ".new-") || e.IsDir() {
				n++
			}
		}
		if d := cmp.Diff(want, n); d != "" {
			t.Errorf("%s: %s", folder, d)
		}
	}
}
