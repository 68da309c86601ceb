// Package testbed runs a real Caddy on loopback and sends it real traffic: for
// the demonstration, the end-to-end tests and the benchmarks.
//
// In go an executable and a Caddyfile; out come a running process, whose every
// file lies in one folder, and clients that trust its certificates and speak
// one HTTP version each.
package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
)

// Ports are free on loopback when they are picked.
type Ports struct{ HTTP, HTTPS, Admin int }

// PickPorts finds three ports that are free for TCP and UDP.
func PickPorts() (Ports, error) {
	p, err := freeport.Pick(3)
	if err != nil {
		return Ports{}, err
	}
	return Ports{HTTP: p[0], HTTPS: p[1], Admin: p[2]}, nil
}

// Globals are the lines for a Caddyfile's global options that put a Caddy on
// the ports and keep it from asking for root's password.
func (p Ports) Globals() string {
	return fmt.Sprintf("\thttp_port %d\n\thttps_port %d\n\tadmin localhost:%d\n\tskip_install_trust\n", p.HTTP, p.HTTPS, p.Admin)
}

// A Caddy is a running process. Its folder holds Caddyfile, data, config, home
// and caddy.log.
type Caddy struct {
	Dir    string
	Ports  Ports
	cmd    *exec.Cmd
	pid    int // of Caddy itself
	exe    string
	env    []string
	launch Launch
	done   chan struct{}
	err    error // of the process, once done is closed
}

// A Launch is another way to start a Caddy than as a child in a group of its own.
// The zero value is that one.
type Launch struct {
	// Prepare changes the command before it is started: what runs it, or what
	// it is given.
	Prepare func(cmd *exec.Cmd) error
	// PID finds the id of Caddy's process, as this one sees it, by that of the
	// command; nil: it is the same.
	PID func(command int) (int, error)
	// Args are further arguments of `caddy run`.
	Args []string
	// Clock is how wrong Caddy's clock is, which Prepare has seen to: clients
	// that look at its certificates go by the same.
	Clock time.Duration
}

func (l Launch) now() time.Time { return time.Now().Add(l.Clock) }

// StartCaddy writes the Caddyfile below dir, starts the executable with it and
// waits until it answers. env is added to a clean environment. The caller
// must Stop it.
func StartCaddy(ctx context.Context, exe, dir, caddyfile string, ports Ports, env ...string) (*Caddy, error) {
	return Launch{}.Start(ctx, exe, dir, caddyfile, ports, env...)
}

// Start is StartCaddy in another way.
func (l Launch) Start(ctx context.Context, exe, dir, caddyfile string, ports Ports, env ...string) (*Caddy, error) {
	for _, d := range []string{"data", "config", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, fmt.Errorf("making a folder for Caddy: %w", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "Caddyfile"), []byte(caddyfile), 0o600); err != nil {
		return nil, fmt.Errorf("writing the Caddyfile: %w", err)
	}
	c := &Caddy{Dir: dir, Ports: ports, exe: exe, env: env, launch: l}
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// StartAs is Start in another way than before.
func (c *Caddy) StartAs(ctx context.Context, l Launch) error {
	c.launch = l
	return c.Start(ctx)
}

// Start runs the process again after it has ended, with the files that it left.
func (c *Caddy) Start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(c.Dir, "caddy.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening Caddy's log: %w", err)
	}
	defer log.Close()
	c.cmd = exec.Command(c.exe, append([]string{"run", "--config", filepath.Join(c.Dir, "Caddyfile")}, c.launch.Args...)...)
	c.cmd.Dir = c.Dir
	c.cmd.Stdout, c.cmd.Stderr = log, log
	c.cmd.Env = c.environ()
	// Ctrl-C at a terminal goes to the whole group: Caddy is told by Stop instead.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.launch.Prepare != nil {
		if err := c.launch.Prepare(c.cmd); err != nil {
			return fmt.Errorf("starting Caddy: %w", err)
		}
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("starting Caddy: %w", err)
	}
	c.pid = c.cmd.Process.Pid
	cmd, done := c.cmd, make(chan struct{})
	c.done = done
	go func() {
		c.err = cmd.Wait()
		close(done)
	}()
	err = c.wait(ctx)
	if err == nil && c.launch.PID != nil {
		c.pid, err = c.launch.PID(c.pid)
	}
	if err != nil {
		c.Kill()
		return fmt.Errorf("starting Caddy: %w\n%s", err, c.LogTail(15))
	}
	return nil
}

func (c *Caddy) environ() []string {
	return append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + filepath.Join(c.Dir, "home"),
		"XDG_DATA_HOME=" + filepath.Join(c.Dir, "data"),
		"XDG_CONFIG_HOME=" + filepath.Join(c.Dir, "config"),
	}, c.env...)
}

// wait polls until the HTTPS port accepts connections and the certificate of
// the local authority is there, or the admin API answers where there is one.
func (c *Caddy) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		if c.answers(ctx) {
			return nil
		}
		select {
		case <-c.done:
			return fmt.Errorf("it ended: %v", c.err)
		case <-ctx.Done():
			return errors.New("it does not answer on its admin API")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Caddy) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.AdminURL("/config/"), nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return err == nil && resp.StatusCode == http.StatusOK && strings.TrimSpace(string(b)) != "null"
}

// AdminURL is the URL of a path of the admin API.
func (c *Caddy) AdminURL(path string) string {
	return fmt.Sprintf("http://localhost:%d%s", c.Ports.Admin, path)
}

// RootCert is the file of the local authority's certificate.
func (c *Caddy) RootCert() string {
	return filepath.Join(c.Dir, "data", "caddy", "pki", "authorities", "local", "root.crt")
}

// Command runs `caddy ARGS` beside the running process, in its environment,
// and returns what it printed.
func (c *Caddy) Command(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.exe, args...)
	cmd.Dir = c.Dir
	cmd.Env = c.environ()
	var out, errOut strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("caddy %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// Evergreen runs `caddy evergreen ARGS` against the process.
func (c *Caddy) Evergreen(ctx context.Context, args ...string) (string, error) {
	return c.Command(ctx, append([]string{"evergreen", args[0], "--address", fmt.Sprintf("localhost:%d", c.Ports.Admin)}, args[1:]...)...)
}

// PID is the process's id.
func (c *Caddy) PID() int { return c.pid }

// Signal sends a signal to the process.
func (c *Caddy) Signal(s syscall.Signal) error { return syscall.Kill(c.pid, s) }

// Done is closed when the process has ended.
func (c *Caddy) Done() <-chan struct{} { return c.done }

// Stop ends the process as a service manager does, and kills it if it hasn't
// ended after 20 seconds.
func (c *Caddy) Stop() error {
	_ = c.Signal(syscall.SIGTERM)
	select {
	case <-c.done:
		if c.err != nil {
			return fmt.Errorf("stopping Caddy: %w\n%s", c.err, c.LogTail(15))
		}
		return nil
	case <-time.After(20 * time.Second):
		// Go's runtime then writes what every goroutine does.
		_ = c.Signal(syscall.SIGABRT)
		select {
		case <-c.done:
		case <-time.After(5 * time.Second):
			c.Kill()
		}
		return fmt.Errorf("Caddy did not stop within 20 s and was killed\n%s", c.LogTail(300))
	}
}

// Kill ends the process at once, as a crash does, and waits until it writes nothing more.
func (c *Caddy) Kill() {
	_ = c.cmd.Process.Kill()
	<-c.done
	if c.pid == c.cmd.Process.Pid {
		return
	}
	// What the command ran ends with it, but a moment later, and is nobody's
	// child to wait for.
	_ = c.Signal(syscall.SIGKILL)
	for range 1000 {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", c.pid))
		if err != nil || len(threads) == 0 || len(threads) == 1 && isZombie(threads[0]) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// isZombie tells of a file /proc/…/stat whether the process has ended.
func isZombie(stat string) bool {
	b, err := os.ReadFile(stat)
	if err != nil {
		return true
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	return len(f) > 0 && f[0] == "Z"
}

// Log is all that the process wrote.
func (c *Caddy) Log() string {
	b, err := os.ReadFile(filepath.Join(c.Dir, "caddy.log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// LogTail is the last lines of Log.
func (c *Caddy) LogTail(lines int) string {
	all := strings.Split(strings.TrimSpace(c.Log()), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
