package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
)

// The test's own executable is the program that is run: its second argument
// tells what it does in there.
func TestMain(m *testing.M) {
	sandbox.Enter()
	if len(os.Args) > 2 && os.Args[1] == "inside" {
		if err := inside(os.Args[2], os.Args[3:]); err != nil {
			fmt.Println(err)
			os.Exit(3)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func inside(what string, args []string) error {
	switch what {
	case "write":
		return os.WriteFile(args[0], []byte("x"), 0o600)
	case "read":
		_, err := os.ReadFile(args[0])
		return err
	case "list":
		names, err := os.ReadDir(args[0])
		for _, n := range names {
			fmt.Println(n.Name())
		}
		return err
	case "dial":
		c, err := net.DialTimeout("tcp", args[0], 3*time.Second)
		if err == nil {
			c.Close()
		}
		return err
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "status":
		b, err := os.ReadFile("/proc/self/status")
		for _, l := range strings.Split(string(b), "\n") {
			if strings.HasPrefix(l, "CapEff:") || strings.HasPrefix(l, "CapBnd:") || strings.HasPrefix(l, "NoNewPrivs:") || strings.HasPrefix(l, "Uid:") || strings.HasPrefix(l, "Groups:") {
				fmt.Println(strings.Join(strings.Fields(l), " "))
			}
		}
		return err
	case "sleep":
		time.Sleep(time.Minute)
	case "print":
		for {
			fmt.Println(strings.Repeat("x", 1000))
		}
	case "grow":
		var keep [][]byte
		for {
			keep = append(keep, bytes.Repeat([]byte{1}, 16<<20))
			if len(keep) > 128 {
				return nil
			}
		}
	case "fill":
		f, err := os.Create(args[0])
		if err != nil {
			return err
		}
		for range 64 {
			if _, err := f.Write(make([]byte, 1<<20)); err != nil {
				return err
			}
		}
	case "child":
		return exec.Command("/proc/self/exe", "inside", "status").Run()
	}
	return nil
}

type run struct {
	box *sandbox.Sandbox
	exe string
	dir string // writable
	ro  string // readable
}

func prepare(t *testing.T) run {
	t.Helper()
	box, why := sandbox.New(t.Context())
	if runtime.GOOS == "linux" && why != nil {
		t.Logf("this machine has no namespaces to test: %v", why)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := run{box: box, exe: exe, dir: t.TempDir(), ro: t.TempDir()}
	if err := os.WriteFile(filepath.Join(r.ro, "given"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r run) do(ctx context.Context, change func(*sandbox.Command), args ...string) (string, error) {
	var out bytes.Buffer
	c := sandbox.Command{
		Path: r.exe, Args: append([]string{"inside"}, args...), Env: []string{"ONE=1"}, Dir: r.dir, Stdout: &out, Stderr: &out,
		Folders: []sandbox.Folder{{Path: r.exe}, {Path: r.ro}, {Path: r.dir, Write: true}},
	}
	if change != nil {
		change(&c)
	}
	err := r.box.Run(ctx, c)
	return out.String(), err
}

func TestNamespaces(t *testing.T) {
	r := prepare(t)
	if r.box.Isolation() != sandbox.Namespaces {
		t.Log("there are no namespaces on this machine: nothing to test")
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	hidden := filepath.Join(t.TempDir(), "hidden")
	if err := os.WriteFile(hidden, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		net  bool
		want string // in what it prints; "" succeeds
	}{
		{"writes where it may", []string{"write", filepath.Join(r.dir, "new")}, false, ""},
		{"reads what it is given", []string{"read", filepath.Join(r.ro, "given")}, false, ""},
		{"writes where it may not", []string{"write", filepath.Join(r.ro, "new")}, false, "read-only file system"},
		{"writes to the root", []string{"write", "/new"}, false, "read-only file system"},
		{"reads what it is not given", []string{"read", hidden}, false, "no such file"},
		{"reads the users", []string{"read", "/etc/passwd"}, false, "no such file"},
		{"dials without a network", []string{"dial", ln.Addr().String()}, false, "connect"},
		{"dials with a network", []string{"dial", ln.Addr().String()}, true, ""},
	} {
		out, err := r.do(t.Context(), func(cmd *sandbox.Command) { cmd.Network = c.net }, c.args...)
		var exit *exec.ExitError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v: %s", c.name, err, out)
		case c.want != "" && (!errors.As(err, &exit) || !strings.Contains(out, c.want)):
			t.Errorf("%s: %v: %q, want %q", c.name, err, out, c.want)
		}
	}

	out, err := r.do(t.Context(), nil, "env")
	if err != nil || strings.TrimSpace(out) != "ONE=1" {
		t.Errorf("environment %q (%v)", out, err)
	}
	out, err = r.do(t.Context(), nil, "list", "/proc")
	if err != nil {
		t.Fatal(err)
	}
	pids := 0
	for _, l := range strings.Fields(out) {
		if l[0] >= '0' && l[0] <= '9' {
			pids++
		}
	}
	if pids > 1 {
		t.Errorf("%d processes are seen", pids)
	}
}

func TestPrivileges(t *testing.T) {
	r := prepare(t)
	if r.box.Isolation() != sandbox.Namespaces {
		t.Log("there are no namespaces on this machine: nothing to test")
		return
	}
	want := map[string]string{"CapEff:": "0000000000000000", "CapBnd:": "0000000000000000", "NoNewPrivs:": "1"}
	change := func(c *sandbox.Command) {}
	if os.Geteuid() == 0 {
		const user = 65533
		want["Uid:"] = fmt.Sprintf("%d %d %d %d", user, user, user, user)
		want["Groups:"] = ""
		change = func(c *sandbox.Command) { c.User = user }
		if err := os.Chmod(r.dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	out, err := r.do(t.Context(), change, "status")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := map[string]string{}
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		name, value, _ := strings.Cut(l, " ")
		if _, ok := want[name]; ok {
			got[name] = value
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLimits(t *testing.T) {
	r := prepare(t)
	for _, c := range []struct {
		name   string
		args   []string
		bounds sandbox.Bounds
		limit  bool // the error is a limit's; else the program's own
		want   string
	}{
		{"time", []string{"sleep"}, sandbox.Bounds{Time: 200 * time.Millisecond}, true, "took longer than 200ms"},
		{"output", []string{"print"}, sandbox.Bounds{Output: 5000}, true, "printed more than 5000 bytes"},
		{"disk", []string{"sleep"}, sandbox.Bounds{Disk: func() error { return errors.New("the disk is full") }}, true, "the disk is full"},
		{"file", []string{"fill", filepath.Join(r.dir, "big")}, sandbox.Bounds{File: 3 << 20}, false, ""},
		{"memory", []string{"grow"}, sandbox.Bounds{Memory: 512 << 20}, false, "out of memory"},
	} {
		if runtime.GOOS != "linux" && !c.limit {
			continue
		}
		out, err := r.do(t.Context(), func(cmd *sandbox.Command) { cmd.Bounds = c.bounds }, c.args...)
		// The race detector has words of its own for memory that it does not get.
		said := strings.ReplaceAll(out, "ThreadSanitizer failed to allocate", "out of memory")
		if err == nil || errors.Is(err, sandbox.ErrLimit) != c.limit || !strings.Contains(err.Error()+said, c.want) {
			t.Errorf("%s: %v: %.200s", c.name, err, out)
		}
		if c.bounds.Output > 0 && int64(len(out)) > c.bounds.Output {
			t.Errorf("%s: %d bytes came out", c.name, len(out))
		}
	}
}

// A program that is told to end does, and says why it ended.
func TestCancel(t *testing.T) {
	r := prepare(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	because := errors.New("nobody wants it any more")
	time.AfterFunc(100*time.Millisecond, func() { cancel(because) })
	if _, err := r.do(ctx, nil, "sleep"); !errors.Is(err, because) {
		t.Error(err)
	}
}

func TestMissingProgram(t *testing.T) {
	r := prepare(t)
	_, err := r.do(t.Context(), func(c *sandbox.Command) { c.Path = filepath.Join(r.dir, "nothing") })
	if err == nil {
		t.Fatal("a program that is not there ran")
	}
	t.Log(err)
}

func TestTail(t *testing.T) {
	tail := &sandbox.Tail{Keep: 20}
	for i := range 100 {
		fmt.Fprintf(tail, "line %d\n", i)
	}
	if d := cmp.Diff("line 98\nline 99\n", tail.String()); d != "" {
		t.Error(d)
	}
	short := &sandbox.Tail{Keep: 20}
	io.WriteString(short, "all of it")
	if short.String() != "all of it" {
		t.Error(short.String())
	}
}
