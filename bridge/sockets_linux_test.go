package bridge

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func listenShared(t *testing.T, network, addr string) any {
	t.Helper()
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}}
	if strings.HasPrefix(network, "udp") {
		c, err := lc.ListenPacket(context.Background(), network, addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	l, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestScan: what is found without /proc is what /proc lists.
func TestScan(t *testing.T) {
	scanned, err := scanDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := procDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	// The listing had a descriptor of its own, and other tests open and close.
	missing := slices.DeleteFunc(listed, func(fd int) bool {
		_, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		return err != nil || slices.Contains(scanned, fd)
	})
	again, err := scanDescriptors()
	if err != nil {
		t.Fatal(err)
	}
	missing = slices.DeleteFunc(missing, func(fd int) bool { return slices.Contains(again, fd) })
	if len(missing) > 0 {
		t.Errorf("not found without /proc: %v", missing)
	}
}

// TestCensus: both ways to count sockets see those that we open.
func TestCensus(t *testing.T) {
	for _, tt := range []struct{ network, addr string }{{"tcp", "127.0.0.1:0"}, {"udp", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"udp", "[::]:0"}} {
		var addr netip.AddrPort
		switch l := listenShared(t, tt.network, tt.addr).(type) {
		case net.Listener:
			addr = l.Addr().(*net.TCPAddr).AddrPort()
		case net.PacketConn:
			addr = l.LocalAddr().(*net.UDPAddr).AddrPort()
		}
		listenShared(t, tt.network, addr.String())
		for name, census := range map[string]func() (map[group]int, error){"socket monitoring": diagCensus, "/proc/net": procCensus} {
			counts, err := census()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n := counts[group{UDP: tt.network == "udp", Addr: addr}]; n != 2 {
				t.Errorf("%s counts %d sockets at %s %v, want 2", name, n, tt.network, addr)
			}
		}
	}
}

func TestSurvey(t *testing.T) {
	find := func(network, addr string) Socket {
		t.Helper()
		all, err := Survey()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if s.Network == network && (s.Addr.String() == addr || s.Path == addr) {
				return s
			}
		}
		t.Fatalf("%s %s is not among %v", network, addr, all)
		return Socket{}
	}
	shared := listenShared(t, "tcp", "127.0.0.1:0").(net.Listener).Addr().String()
	if d := cmp.Diff("", find("tcp", shared).Why); d != "" {
		t.Errorf("a shared socket (-want +got):\n%s", d)
	}
	listenShared(t, "tcp", shared)
	alone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	path := filepath.Join(t.TempDir(), "s")
	local, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	for _, tt := range []struct{ network, addr, why string }{
		{"tcp", shared, "with 2 sockets"},
		{"tcp", alone.Addr().String(), "without SO_REUSEPORT"},
		{"unix", path, "no group"},
	} {
		s := find(tt.network, tt.addr)
		if !strings.Contains(s.Why, tt.why) || s.Passed {
			t.Errorf("%s %s: %+v, want the reason %q", tt.network, tt.addr, s, tt.why)
		}
	}
	// As systemd passes a socket: without close-on-exec.
	raw, err := alone.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETFD, 0) })
	if err != nil {
		t.Fatal(err)
	}
	if s := find("tcp", alone.Addr().String()); !s.Passed || s.Why != "" {
		t.Errorf("a passed socket: %+v", s)
	}
}

// TestFirstProcess: a switch in the first process of a PID namespace, which no
// supervisor would start again, and without /proc.
func TestFirstProcess(t *testing.T) {
	t.Parallel()
	flags := uintptr(unix.CLONE_NEWPID | unix.CLONE_NEWNS)
	if os.Geteuid() != 0 {
		flags |= unix.CLONE_NEWUSER
	}
	s := startServerBy(t, nil, func(cmd *exec.Cmd) {
		cmd.Args[0] = cmd.Path
		cmd.Env = append(cmd.Env, wrapVariable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	})
	s.pid = 1
	s.become("second")
	s.become("third")
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-s.exit; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// TestPassed: a socket that systemd passed is everybody's, one after another.
func TestPassed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	s := startServerBy(t, func(s *spec) { s.Passed = 4 }, func(cmd *exec.Cmd) {
		null, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		cmd.ExtraFiles = []*os.File{null, f}
	})
	f.Close()
	address := l.Addr().String()
	l.Close()
	for _, image := range []string{"second", "third"} {
		s.become(image)
		s.until("it also serves the passed socket", func() bool { return s.whoAt(address) == s.is(image) })
	}
}

func FuzzParseDiag(f *testing.F) {
	b := make([]byte, 72)
	b[0], b[1], b[5] = unix.AF_INET, stateListen, 80
	f.Add(b)
	f.Add([]byte{unix.AF_INET6})
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, ok := parseDiag(b); ok && (!g.Addr.IsValid() || g.Addr.Port() == 0) {
			t.Errorf("%x is read as %v", b, g)
		}
	})
}

func FuzzParseProcNet(f *testing.F) {
	f.Add("  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n")
	f.Add("\n   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A\n")
	f.Fuzz(func(t *testing.T, s string) {
		_ = parseProcNet(strings.NewReader(s), func(a netip.AddrPort, state int) bool {
			if !a.IsValid() || state > 255 {
				t.Errorf("%q is read as %v, %d", s, a, state)
			}
			return true
		})
	})
}

func TestParseProcAddr(t *testing.T) {
	for in, want := range map[string]string{
		"0100007F:1F90":                         "127.0.0.1:8080",
		"00000000:0050":                         "0.0.0.0:80",
		"00000000000000000000000001000000:01BB": "[::1]:443",
	} {
		got, err := parseProcAddr(in)
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("parseProcAddr(%s) = %v, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0100007F", "0100007F:", "01:1F90", "0100007G:1F90", "0100007F:1F90F"} {
		if got, err := parseProcAddr(in); err == nil {
			t.Errorf("parseProcAddr(%q) = %v", in, got)
		}
	}
}
