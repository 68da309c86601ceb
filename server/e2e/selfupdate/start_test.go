//go:build e2e && linux

package selfupdate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/server/testbed"
)

// child finds the process that the n-th descendant of pid is.
func child(pid int, n int) (int, error) {
	for range n {
		all, err := filepath.Glob("/proc/[0-9]*/stat")
		if err != nil {
			return 0, err
		}
		found := 0
		for _, name := range all {
			b, err := os.ReadFile(name)
			if err != nil {
				continue // it has ended
			}
			// The second field is a name in parentheses, which may have anything in it.
			f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
			if len(f) > 1 && f[1] == strconv.Itoa(pid) {
				if found, err = strconv.Atoi(filepath.Base(filepath.Dir(name))); err != nil {
					return 0, err
				}
			}
		}
		if found == 0 {
			return 0, fmt.Errorf("process %d has no child", pid)
		}
		pid = found
	}
	return pid, nil
}

// through has another program run the command.
func through(cmd *exec.Cmd, program string, args ...string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return err
	}
	cmd.Args = append(append([]string{path}, args...), append([]string{cmd.Path}, cmd.Args[1:]...)...)
	cmd.Path = path
	return nil
}

// asInit starts Caddy as PID 1 of a namespace with its own /proc, as in a container.
func asInit() testbed.Launch {
	return testbed.Launch{
		Prepare: func(cmd *exec.Cmd) error {
			return through(cmd, "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
		},
		PID: func(command int) (int, error) { return child(command, 1) },
	}
}

// A terminal is the other side of one that a Caddy was started from.
type terminal struct{ master *os.File }

// launch starts Caddy in the foreground of a session of its own with a
// terminal, as a shell does.
func (term *terminal) launch(t *testing.T) testbed.Launch {
	return testbed.Launch{Prepare: func(cmd *exec.Cmd) error {
		master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { master.Close() })
		if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlocking a terminal: %w", err)
		}
		n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
		if err != nil {
			return fmt.Errorf("naming a terminal: %w", err)
		}
		slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(int(n)), os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { slave.Close() })
		term.master = master
		cmd.Stdin = slave
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
		return nil
	}}
}

// interrupt is Ctrl-C at the terminal.
func (term *terminal) interrupt() error {
	_, err := term.master.Write([]byte{3})
	return err
}

// foreground is the process group that has the terminal.
func (term *terminal) foreground() (int, error) {
	return unix.IoctlGetInt(int(term.master.Fd()), unix.TIOCGPGRP)
}

// bySystemd starts a real systemd as PID 1 of a container-like root, which
// starts Caddy by its package's unit, as the user caddy. What is needed: root,
// systemd, unshare, overlayfs and cgroup2; where that is missing the test fails.
func bySystemd() testbed.Launch {
	return testbed.Launch{
		Prepare: func(cmd *exec.Cmd) error {
			script, err := filepath.Abs("testdata/systemd.sh")
			if err != nil {
				return err
			}
			exe, dir := cmd.Path, cmd.Dir
			var env strings.Builder
			for _, kv := range cmd.Env {
				name, value, _ := strings.Cut(kv, "=")
				if strings.HasPrefix(value, dir) {
					value = "/var/lib/caddy" + strings.TrimPrefix(value, dir)
				}
				fmt.Fprintf(&env, "%s=%q\n", name, value)
			}
			file := filepath.Join(dir, "environment")
			if err := os.WriteFile(file, []byte(env.String()), 0o644); err != nil {
				return err
			}
			if err := largeWithin(dir); err != nil {
				return err
			}
			err = filepath.Walk(dir, func(name string, _ os.FileInfo, err error) error {
				return errors.Join(err, os.Chown(name, 977, 977))
			})
			if err != nil {
				return err
			}
			cmd.Args = []string{"unshare", "--mount", script, dir, exe, file}
			cmd.Path, err = exec.LookPath("unshare")
			cmd.Env = os.Environ()
			return err
		},
		PID: func(command int) (int, error) {
			// bash became unshare, which is the parent of systemd.
			init, err := child(command, 1)
			if err != nil {
				return 0, err
			}
			out, err := exec.Command("pgrep", "--parent", strconv.Itoa(init), "--exact", "caddy").Output()
			if err != nil {
				return 0, fmt.Errorf("finding Caddy below systemd: %w", err)
			}
			return strconv.Atoi(strings.TrimSpace(string(out)))
		},
	}
}

// largeWithin puts the file of large downloads where a Caddy whose folder is
// /var/lib/caddy sees it.
func largeWithin(dir string) error {
	folder, err := largeOnce()
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "Caddyfile")
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(b), strconv.Quote(folder), `"/var/lib/caddy/large"`)), 0o600); err != nil {
		return err
	}
	within := filepath.Join(dir, "large")
	if err := os.MkdirAll(within, 0o755); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(folder, "large"), filepath.Join(within, "large")); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// systemctl runs it against the systemd that a Caddy was started by.
func systemctl(t *testing.T, c *testbed.Caddy, args ...string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.PID()))
	if err != nil {
		t.Fatal(err)
	}
	init := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))[1]
	cmd := exec.CommandContext(t.Context(), "nsenter", append([]string{"--target", init, "--mount", "--pid", "--cgroup", "--root", "--", "systemctl"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestE2EStarted starts a Caddy in each way that the updates are proven with,
// and ends it as that way does.
func TestE2EStarted(t *testing.T) {
	s := theUpdates(t)
	options := []string{"\tupdates none"}
	t.Run("terminal", func(t *testing.T) {
		var term terminal
		c := loaded(t, term.launch(t), s.oldWithPlugins(t), options)
		if pgrp, err := term.foreground(); err != nil || pgrp != c.PID() {
			t.Errorf("the terminal's foreground is %d (%v), Caddy is %d", pgrp, err, c.PID())
		}
		if err := term.interrupt(); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
	})
	t.Run("PID 1", func(t *testing.T) {
		c := loaded(t, asInit(), s.oldWithPlugins(t), options)
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.PID()))
		if err != nil || !strings.Contains(string(b), "NSpid:\t"+strconv.Itoa(c.PID())+"\t1\n") {
			t.Errorf("it is not PID 1 (%v):\n%s", err, b)
		}
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Run("systemd", func(t *testing.T) {
		c := loaded(t, bySystemd(), s.oldWithPlugins(t), options)
		shown := systemctl(t, c, "show", "caddy", "--property", "ActiveState,SubState,User,Type")
		for _, want := range []string{"ActiveState=active", "SubState=running", "User=caddy", "Type=notify"} {
			if !strings.Contains(shown, want) {
				t.Errorf("systemctl show has no %s:\n%s", want, shown)
			}
		}
		systemctl(t, c, "reload", "caddy")
		systemctl(t, c, "stop", "caddy")
		if !strings.Contains(c.Log(), "shutdown complete") {
			t.Error("systemctl stop has ended it in a hurry")
		}
	})
}
