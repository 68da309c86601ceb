package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
)

// server is a running program.
type server struct {
	t    *testing.T
	spec spec
	cmd  *exec.Cmd
	exit chan error
	pid  int // as it sees it
}

func startServer(t *testing.T, change func(*spec)) *server { return startServerBy(t, change, nil) }

// startServerBy lets prepare change how the process is started.
func startServerBy(t *testing.T, change func(*spec), prepare func(*exec.Cmd)) *server {
	t.Helper()
	if err := Supported(); err != nil {
		t.Fatalf("these tests need a Linux that lets connections be steered: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ports, err := freeport.Pick(2)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "bridge") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &server{t: t, exit: make(chan error, 1), spec: spec{
		Plain: fmt.Sprint("127.0.0.1:", ports[0]), Secure: fmt.Sprint("127.0.0.1:", ports[1]),
		Control: filepath.Join(dir, "control"), Log: filepath.Join(dir, "log"), Image: "first", Self: self,
	}}
	if change != nil {
		change(&s.spec)
	}
	b, err := json.Marshal(s.spec)
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(self, "program", dir)
	s.cmd.Env = append(os.Environ(), programVariable+"="+string(b))
	if prepare != nil {
		prepare(s.cmd)
	}
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.exit <- s.cmd.Wait() }()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		s.until("everything has ended", func() bool { return s.listeners() == 0 })
		if t.Failed() {
			l, _ := os.ReadFile(s.spec.Log)
			t.Logf("log of all images:\n%s", l)
		}
	})
	s.pid = s.cmd.Process.Pid
	s.until("it serves", func() bool { return s.who() != "" })
	return s
}

// until waits for a condition, within what is never needed.
func (s *server) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			l, _ := os.ReadFile(s.spec.Log)
			s.t.Fatalf("waited in vain until %s; log of all images:\n%s", what, l)
		}
	}
}

// who asks, on a new connection, which image serves and in which process.
func (s *server) who() string { return s.whoAt(s.spec.Plain) }

func (s *server) whoAt(address string) string {
	h := headers(address)
	if h == nil {
		return ""
	}
	return fmt.Sprintf("%s in %s", h.Get("Image"), h.Get("Pid"))
}

func (s *server) header(name string) string { return headers(s.spec.Plain).Get(name) }

func headers(address string) http.Header {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	r, err := c.Get("http://" + address + "/")
	if err != nil {
		return nil
	}
	defer r.Body.Close()
	return r.Header
}

func (s *server) is(image string) string { return fmt.Sprintf("%s in %d", image, s.pid) }

// listeners counts the sockets at the server's addresses, whosever they are.
func (s *server) listeners() int {
	counts, err := census()
	if err != nil {
		s.t.Fatal(err)
	}
	n := 0
	for g, c := range counts {
		for _, a := range []string{s.spec.Plain, s.spec.Secure} {
			if strings.HasSuffix(a, fmt.Sprint(":", g.Addr.Port())) {
				n += c
			}
		}
	}
	return n
}

// alone: one image listens, and no helper is left.
func (s *server) alone() bool { return s.listeners() == 3 && len(s.children()) == 0 }

// children of the server, by process id.
func (s *server) children() []string {
	var kids []string
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		kids = append(kids, strings.Fields(string(b))...)
	}
	return kids
}

// order gives an order, and returns what the switch says if it fails.
func (s *server) order(o order) string {
	s.t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		s.t.Fatal(err)
	}
	var control net.Conn
	s.until("it takes orders", func() bool {
		control, err = net.Dial("unix", s.spec.Control)
		return err == nil
	})
	c := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return control, nil }}}
	defer c.CloseIdleConnections()
	r, err := c.Post("http://control/switch", "application/json", bytes.NewReader(b))
	if err != nil {
		if o.Wait {
			return err.Error()
		}
		s.t.Fatalf("giving the order: %v", err)
	}
	defer r.Body.Close()
	answer, _ := io.ReadAll(r.Body)
	return string(answer)
}

func (s *server) become(image string) {
	s.t.Helper()
	s.order(order{Next: image})
	s.until("it is "+image, func() bool { return s.who() == s.is(image) && s.alone() })
}

// TestSwitch: the process becomes another executable, twice.
func TestSwitch(t *testing.T) {
	for _, tt := range []struct {
		name    string
		mptcp   bool
		address string // instead of loopback's
	}{
		{"plain listeners", false, ""},
		{"Multipath TCP listeners", true, ""},
		{"plain listeners, all addresses", false, "[::]"},
		{"Multipath TCP listeners, all addresses", true, "[::]"},
		{"Multipath TCP listeners, all IPv4 addresses", true, "0.0.0.0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, func(s *spec) {
				s.MPTCP, s.Settle = tt.mptcp, settleLocal
				if tt.address != "" {
					s.Plain = strings.Replace(s.Plain, "127.0.0.1", tt.address, 1)
					s.Secure = strings.Replace(s.Secure, "127.0.0.1", tt.address, 1)
				}
			})
			s.become("second")
			s.become("third")
		})
	}
}

// failure is what goes wrong in a switch, without harm to any request.
type failure struct {
	name  string
	order order
	error string // part of what the switch says
}

func failures(t *testing.T) []failure {
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busy, err := os.OpenFile(file("busy", "\x7fELF", 0o755), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { busy.Close() })
	return []failure{
		{"helper exits at its start", order{HelperFault: "exit"}, "exited with status 1"},
		{"helper knows no bridge", order{HelperFault: "mute", Patience: 3 * time.Second}, "does not say hello"},
		{"helper hangs before it serves", order{HelperFault: "hang", Patience: 6 * time.Second}, "it does not"},
		{"helper can't serve", order{HelperFault: "fail"}, "as it was told to"},
		{"helper answers wrongly", order{Unhealthy: true}, "answers wrongly"},
		{"helper is not there", order{Helper: filepath.Join(dir, "none")}, "no such file"},
		{"helper dies before it has connections", order{At: StepCheck, Do: "kill-helper"}, "signal 9"},
		{"reload before anything is committed", order{At: StepCheck, Do: "reload"}, "being changed"},
		{"reload while requests arrive", order{At: StepTake, Do: "reload"}, "being changed"},
		{"reload when QUIC is handed over", order{At: StepStop, Do: "reload"}, "being changed"},
		{"reload after draining", order{At: StepDrain, Do: "reload"}, "being changed"},
		{"reload that serves again after draining", order{At: StepDrain, Do: "reload and serve"}, "being changed"},
		{"reload that serves again before the end", order{At: StepBefore, Do: "reload and serve"}, "being changed"},
		{"reload before the end", order{At: StepBefore, Do: "reload"}, "being changed"},
		{"next executable is gone", order{Path: filepath.Join(dir, "none")}, "no such file"},
		{"next executable is none", order{Path: file("text", "hello", 0o755)}, "exec format"},
		{"next executable may not be executed", order{Path: file("mode", "\x7fELF", 0o644)}, "permission denied"},
		{"next executable is being written", order{Path: busy.Name()}, "text file busy"},
	}
}

// TestFailures makes each failure for real, and looks whether the old image
// serves on, or is back, with no helper left.
func TestFailures(t *testing.T) {
	for _, tt := range failures(t) {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			s.fail(tt)
			s.become("second") // it still can
		})
	}
}

// fail orders a switch that is to fail.
func (s *server) fail(f failure) {
	s.t.Helper()
	o := f.order
	o.Next, o.Wait = "failed", true
	before := s.who()
	if got := s.order(o); !strings.Contains(got, f.error) {
		s.t.Errorf("the switch says %q, want %q in it", got, f.error)
	}
	s.until("it is what it was", func() bool { return s.who() == before && s.alone() })
}

// TestHelperDies: what the helper was serving is lost, but nothing else.
func TestHelperDies(t *testing.T) {
	for _, tt := range []failure{
		{"while requests arrive", order{At: StepTake, Do: "kill-helper"}, "signal 9"},
		{"when the old one stops", order{At: StepStop, Do: "kill-helper"}, "signal 9"},
		{"after draining", order{At: StepDrain, Do: "kill-helper"}, "signal 9"},
		{"before the end", order{At: StepBefore, Do: "kill-helper"}, "signal 9"},
		{"hangs after draining", order{At: StepDrain, Do: "stop-helper", Patience: 20 * time.Second}, "no answer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			s.fail(tt)
			s.become("second") // it still can
		})
	}
}

// TestNextDoesNotComeUp: the process becomes what it was, the helper serving.
func TestNextDoesNotComeUp(t *testing.T) {
	for _, fault := range []string{"hang", "spin", "fail"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			// Not much less, as what does come up may be slow on a busy machine.
			s.order(order{Next: "second", NextFault: fault, Patience: 10 * time.Second})
			s.until("it is what it was", func() bool { return s.who() == s.is("first again") && s.alone() })
			s.become("second") // it still can
		})
	}
}

// TestHelperFailsNext: the new image serves, whatever becomes of the helper.
func TestHelperFailsNext(t *testing.T) {
	for _, fault := range []string{"kill-helper", "stop-helper"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			s.order(order{Next: "second", NextFault: fault, Patience: 20 * time.Second})
			s.until("it is the second", func() bool { return s.who() == s.is("second") && s.alone() })
		})
	}
}

// TestProcessDies: whoever helped a process that is gone leaves, and what is
// started in its place gets all connections.
func TestProcessDies(t *testing.T) {
	for _, at := range []Step{StepPin, StepStart, StepCheck, StepTake, StepDrain, StepBefore} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			s.order(order{Next: "second", At: at, Do: "kill-self"})
			<-s.exit
			s.until("nothing is left", func() bool { return s.listeners() == 0 })
		})
	}
	t.Run("after execve", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, nil)
		s.order(order{Next: "second", NextFault: "exit"})
		<-s.exit
		s.until("nothing is left", func() bool { return s.listeners() == 0 })
	})
}

// TestExit: told to exit while it drains, the process does, and so does the
// helper, and what both had begun is finished.
func TestExit(t *testing.T) {
	for _, at := range []Step{StepCheck, StepTake, StepStop, StepBefore} {
		t.Run(string(at), func(t *testing.T) {
			t.Parallel()
			s := startServer(t, nil)
			var slow []byte
			for i := range 12 {
				slow = fmt.Appendf(slow, "%1000d", i)
			}
			result, begun := make(chan error, 1), make(chan struct{})
			go func() {
				r, err := http.Get("http://" + s.spec.Plain + "/slow")
				close(begun)
				if err == nil {
					var b []byte
					b, err = io.ReadAll(r.Body)
					if !bytes.Equal(b, slow) {
						err = fmt.Errorf("%d bytes that aren't the %d expected: %w", len(b), len(slow), err)
					}
				}
				result <- err
			}()
			<-begun
			s.order(order{Next: "second", At: at, Do: "exit"})
			if err := <-s.exit; err != nil {
				t.Errorf("it ends with %v", err)
			}
			if err := <-result; err != nil {
				t.Errorf("a download that had begun: %v", err)
			}
			s.until("nothing is left", func() bool { return s.listeners() == 0 })
		})
	}
}

// TestGrace: a connection that never ends is cut off when its time is over.
func TestGrace(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	r, err := http.Get("http://" + s.spec.Plain + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	s.order(order{Next: "second", Grace: 500 * time.Millisecond})
	if _, err := io.Copy(io.Discard, r.Body); err == nil {
		t.Error("the endless answer ended as if it were complete")
	}
	s.until("it is the second", func() bool { return s.who() == s.is("second") && s.alone() })
}

// TestHelperLingers: a helper that is still busy with what it began is in
// nobody's way, not in that of another switch either.
func TestHelperLingers(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	s.order(order{Next: "second"})
	s.until("the helper serves", func() bool { return strings.HasPrefix(s.who(), "helper of second in") })
	r, err := http.Get("http://" + s.spec.Plain + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	helper := r.Header.Get("Image")
	if !strings.HasPrefix(helper, "helper of second") {
		t.Fatalf("the endless answer is given by %s", helper)
	}
	for _, image := range []string{"second", "third"} {
		if image == "third" {
			s.order(order{Next: image})
		}
		s.until("it is the "+image, func() bool { return s.who() == s.is(image) && s.listeners() == 3 })
		if _, err := io.ReadFull(r.Body, make([]byte, 1000)); err != nil {
			t.Errorf("the helper's answer, when the %s serves: %v", image, err)
		}
	}
}

// TestForeign: a switch would take the connections of another server that
// shares the port, so there is none.
func TestForeign(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	other, err := lc.Listen(context.Background(), "tcp", s.spec.Plain)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.order(order{Next: "second", Wait: true}); !strings.Contains(got, "another process listens") {
		t.Errorf("the switch says %q", got)
	}
	other.Close()
	s.become("second")
}

func TestInPlace(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	got := s.order(order{Next: "second", InPlace: true, Path: "/nowhere", Wait: true})
	if !strings.Contains(got, "no such file") {
		t.Errorf("the switch says %q", got)
	}
	s.until("it is the first again", func() bool { return s.who() == s.is("first") && s.alone() })
	s.order(order{Next: "second", InPlace: true})
	s.until("it is the second", func() bool { return s.who() == s.is("second") && s.alone() })
}
