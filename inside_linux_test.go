package evergreen

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// A Caddy that has no file descriptor left counts it, and goes on when it has
// some again. It is a process of its own, with a limit of its own.
func TestDescriptorsExhausted(t *testing.T) {
	if os.Getenv("EVERGREEN_TEST_DESCRIPTORS") != "" {
		exhausted(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestDescriptorsExhausted$")
	cmd.Env = append(os.Environ(), "EVERGREEN_TEST_DESCRIPTORS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	next := func(prefix string) string {
		for lines.Scan() {
			if rest, ok := strings.CutPrefix(lines.Text(), prefix); ok {
				return rest
			}
		}
		t.Fatalf("the process did not say %q", prefix)
		return ""
	}
	s := testSite{http: next("port ")}
	var conns []net.Conn
	for range 40 {
		c, err := net.Dial("tcp", "127.0.0.1:"+s.http)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	if got, want := next("counted "), "accept errors of kind descriptors, and that they were exhausted by accept"; got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
	for _, c := range conns {
		c.Close()
	}
	cl, end := client(t, "plain")
	if status, answer := get(t, cl, "GET", s.url("plain", "/"), nil); status != 200 || answer != "fine" {
		t.Errorf("afterwards, it answers %d %q", status, answer)
	}
	end()
	in.Close()
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the process: %v", err)
	}
}

// exhausted is the process that has no descriptors left.
func exhausted(t *testing.T) {
	s, c := newSite(t, "", `respond "fine"`)
	mustLoad(t, c)
	open, _, ok := descriptors()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || !ok {
		t.Fatal(err, ok)
	}
	limit.Cur = open + 10
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fmt.Println("port " + s.http)
	metrics := []string{"caddy_accept_errors", "caddy_descriptors_exhausted"}
	eventually(t, "it is counted", func() bool { return len(counts(t, metrics...)) == 2 })
	all := counts(t, metrics...)
	if all["caddy_accept_errors{error=descriptors}"] > 0 && all["caddy_descriptors_exhausted{use=accept}"] > 0 {
		fmt.Println("counted accept errors of kind descriptors, and that they were exhausted by accept")
	} else {
		fmt.Println("counted", all)
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}
