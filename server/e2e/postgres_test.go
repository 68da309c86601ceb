//go:build e2e

package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control/controltest"
)

// TestE2EPostgres holds the control state to its promises in PostgreSQL.
func TestE2EPostgres(t *testing.T) {
	database := startPostgres(t)
	controltest.Run(t, database)
}

// startPostgres starts a PostgreSQL of the test's own, that listens on a socket
// in a folder only, and returns what makes an empty database in it.
func startPostgres(t *testing.T) func(t *testing.T) string {
	t.Helper()
	// Short: a socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// PostgreSQL refuses to run as root.
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command(postgresProgram(t, args[0]), args[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8")
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: nobody(t)}
		}
		return cmd
	}
	if os.Getuid() == 0 {
		n := nobody(t)
		if err := os.Chown(dir, int(n.Uid), int(n.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "evergreen", "-A", "trust", "--no-sync").CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := run("postgres", "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=200")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	server.Stdout, server.Stderr = log, log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Process.Signal(syscall.SIGINT) // fast shutdown
		server.Wait()
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("PostgreSQL's log:\n%s", b)
		}
	})
	eventually(t, time.Minute, func() error {
		if out, err := run("pg_isready", "-h", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
	var n atomic.Int64
	return func(t *testing.T) string {
		t.Helper()
		name := "db" + strconv.FormatInt(n.Add(1), 10)
		if out, err := run("createdb", "-h", dir, "-U", "evergreen", name).CombinedOutput(); err != nil {
			t.Fatalf("createdb: %v\n%s", err, out)
		}
		return "postgres:///" + name + "?" + url.Values{"host": {dir}, "user": {"evergreen"}}.Encode()
	}
}

// postgresProgram finds a program where Debian keeps it, or on PATH.
func postgresProgram(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		return slices.Max(found)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("PostgreSQL is not installed (Debian's package postgresql, see .ci/deps): %v", err)
	}
	return path
}

func nobody(t *testing.T) *syscall.Credential {
	t.Helper()
	u, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("nobody is %s:%s", u.Uid, u.Gid)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}
