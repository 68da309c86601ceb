//go:build linux || darwin || freebsd

package confine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
)

// The test's executable is the launcher, and the program as well.
func TestMain(m *testing.M) {
	if what := os.Getenv("CONFINED_PROGRAM"); what != "" {
		program(what, os.Args[1:])
		return
	}
	os.Exit(m.Run())
}

// program tries what its arguments say, and prints how that ended.
func program(what string, args []string) {
	try := func(err error) {
		switch {
		case err == nil:
			fmt.Print("ok")
		case errors.Is(err, os.ErrPermission):
			fmt.Print("denied")
		case errors.Is(err, syscall.EFBIG):
			fmt.Print("too large")
		default:
			fmt.Print(err)
		}
	}
	switch what {
	case "write":
		try(os.WriteFile(args[0], []byte("x"), 0o600))
	case "append":
		f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			f.Close()
		}
		try(err)
	case "read":
		_, err := os.ReadFile(args[0])
		try(err)
	case "remove":
		try(os.Remove(args[0]))
	case "mkdir":
		try(os.Mkdir(args[0], 0o700))
	case "fill":
		try(os.WriteFile(args[0], make([]byte, 3<<20), 0o600))
	case "listen":
		l, err := net.Listen("tcp", args[0])
		if err == nil {
			l.Close()
		}
		try(err)
	case "signal":
		pid, _ := strconv.Atoi(args[0])
		try(syscall.Kill(pid, 0))
	case "environ":
		fmt.Print(os.Getenv(Variable) + os.Getenv("ADDED") + os.Getenv("KEPT"))
	case "capabilities":
		b, err := os.ReadFile("/proc/self/status")
		if err != nil {
			try(err)
			return
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); f[0] == "CapEff:" || f[0] == "NoNewPrivs:" {
				fmt.Print(f[0], f[1], " ")
			}
		}
	}
}

// confined runs the program in a box, and returns what it printed.
func confined(t *testing.T, b Box, what string, args ...string) (string, Result, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if b.Path == "" {
		b.Path = exe
	}
	b.Args, b.Env = args, append(b.Env, "CONFINED_PROGRAM="+what)
	cmd, started, err := b.Command(exe, append(os.Environ(), "GODEBUG=multipathtcp=0", "KEPT=kept", "GORACE=atexit_sleep_ms=0"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	res, err := started()
	_ = cmd.Wait()
	return out.String(), res, err
}

func TestConfined(t *testing.T) {
	inside, outside := t.TempDir(), t.TempDir()
	file := filepath.Join(outside, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	ports, err := freeport.Pick(2)
	if err != nil {
		t.Fatal(err)
	}
	box := Box{Write: []string{inside}, Bind: ports[:1], MaxFile: 1 << 20, MaxCPU: 60}
	loopback := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	for _, c := range []struct {
		what, arg, want string
		landlock        int // version that is needed; 0: none
	}{
		{"write", filepath.Join(inside, "new"), "ok", 0},
		{"mkdir", filepath.Join(inside, "dir"), "ok", 0},
		{"write", "/dev/null", "ok", 0},
		{"read", file, "ok", 0},
		{"write", filepath.Join(outside, "new"), "denied", 1},
		{"write", file, "denied", 1},
		{"append", file, "denied", 1},
		{"mkdir", filepath.Join(outside, "dir"), "denied", 1},
		{"remove", file, "denied", 1},
		{"fill", filepath.Join(inside, "large"), "too large", 0},
		{"listen", loopback(ports[0]), "ok", 0},
		{"listen", loopback(ports[1]), "denied", 4},
		{"signal", strconv.Itoa(os.Getpid()), "denied", 6},
		{"environ", "", "addedkept", 0},
	} {
		t.Run(c.what+" "+filepath.Base(c.arg), func(t *testing.T) {
			b := box
			b.Env = []string{"ADDED=added"}
			got, res, err := confined(t, b, c.what, c.arg)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if has := landlockVersion(); c.landlock > has {
				t.Logf("this system has Landlock %d, not %d: %s (%q)", has, c.landlock, got, res.Missing)
				return
			}
			if c.landlock == 1 && len(res.Missing) > 0 {
				want = "ok" // and it says so
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "x" {
		t.Errorf("the file outside has %q (%v)", b, err)
	}
}

func TestCapabilities(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // there are none
	}
	got, res, err := confined(t, Box{Write: []string{t.TempDir()}}, "capabilities")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 && len(res.Missing) == 0 {
		if d := cmp.Diff("CapEff:0000000000000006 NoNewPrivs:1 ", got); d != "" {
			t.Error(d)
		}
	} else if !strings.Contains(got, "NoNewPrivs:1") {
		t.Errorf("it says %q", got)
	}
}

func TestCantBeExecuted(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, path := range map[string]string{
		"missing":        filepath.Join(dir, "none"),
		"mode":           write("plain", "#!/bin/sh\n", 0o644),
		"format":         write("format", "\x00\x01\x02\x03 no executable", 0o755),
		"folder":         dir,
		"no interpreter": write("script", "#!/nowhere/sh\n", 0o755),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := confined(t, Box{Path: path, Write: []string{dir}}, "write", "/dev/null")
			if !errors.Is(err, ErrExec) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// TestNoLauncher has a program for launcher that knows nothing of boxes.
func TestNoLauncher(t *testing.T) {
	sh, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	cmd, started, err := Box{Path: sh}.Command(sh, os.Environ())
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := started(); err == nil || errors.Is(err, ErrExec) {
		t.Errorf("the error is %v", err)
	}
	_ = cmd.Wait()
}
