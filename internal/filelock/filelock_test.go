package filelock_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
)

// The test's other process takes the lock of the file it is told, says so, and
// keeps it until it is killed.
func TestMain(m *testing.M) {
	name := os.Getenv("FILELOCK_TEST")
	if name == "" {
		os.Exit(m.Run())
	}
	if _, err := filelock.Take(name); err != nil {
		os.Stdout.WriteString(err.Error())
		os.Exit(1)
	}
	os.Stdout.WriteString("locked")
	io.Copy(io.Discard, os.Stdin)
}

func TestTake(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	l, err := filelock.Take(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.Take(name); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("taken twice: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(exe)
	other.Env = append(os.Environ(), "FILELOCK_TEST="+name)
	stdin, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, len("locked"))
	if _, err := io.ReadFull(stdout, said); err != nil || string(said) != "locked" {
		t.Fatalf("%q %v", said, err)
	}
	if _, err := filelock.Take(name); !errors.Is(err, filelock.ErrLocked) {
		t.Errorf("taken from another process: %v", err)
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait()
	if l, err = filelock.Take(name); err != nil {
		t.Fatalf("after the other process was killed: %v", err)
	}
	l.Close()

	if _, err := filelock.Take(filepath.Join(t.TempDir(), "missing", "lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("in no folder: %v", err)
	}
}
