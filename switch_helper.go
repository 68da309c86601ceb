package evergreen

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/bridge"
)

func init() {
	caddy.RegisterModule(HelperListener{})
}

// helperWrapper is the name of the listener wrapper in the helper's
// configuration. Executables of different versions meet at it: what it is given
// may grow, not change.
const helperWrapper = "evergreen_helper"

// asHelper tells whether this process serves only while another one becomes
// what it is.
func asHelper() bool { return started.helper != nil }

// help is this process's whole life as a helper: it serves, does as it is told,
// and exits.
func help(h *bridge.Helper) {
	log := liveLogger()
	h.Log = logTo(log)
	code := caddy.ExitCodeSuccess
	err := guard("help in a switch", func() error {
		return h.Run(context.Background(), newSwitchServer(nil), loaded())
	})
	if caddy.Exiting() {
		return // as fast as Caddy does it by itself
	}
	if err != nil {
		log.Warn("the helper of a switch leaves before its time; the server is not affected", zap.Error(err))
		code = caddy.ExitCodeFailedQuit
	}
	_ = guard("stop the helper", caddy.Stop)
	_ = guard("release storage", func() error {
		certmagic.CleanUpOwnLocks(context.Background(), caddy.Log())
		return nil
	})
	os.Exit(code)
}

// loaded delivers nil when the first configuration runs.
func loaded() <-chan error {
	up := make(chan error, 1)
	go func() {
		for running() == 0 {
			time.Sleep(2 * time.Millisecond)
		}
		_ = guard("wait for certificates", func() error { waitForCertificates(certificatesWithin); return nil })
		up <- nil
	}()
	return up
}

// HelperListener lets the helper of a switch be asked real requests before it is
// given any port: what comes in through its Unix sockets goes the way of all
// connections from TLS on. In a process that is no helper it does nothing.
type HelperListener struct {
	// Socket begins the paths of the Unix sockets, one for each listener.
	Socket string `json:"socket,omitempty"`

	made *atomic.Int32
}

// CaddyModule returns the Caddy module information.
func (HelperListener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners." + helperWrapper, New: func() caddy.Module { return new(HelperListener) }}
}

// Provision prepares to number the sockets.
func (l *HelperListener) Provision(caddy.Context) error {
	l.made = new(atomic.Int32)
	return nil
}

// Cleanup removes the sockets' folder once they are gone: the process that made
// it may have been killed.
func (l *HelperListener) Cleanup() error {
	if dir := filepath.Dir(l.Socket); asHelper() && strings.HasPrefix(filepath.Base(dir), socketsFolder) {
		_ = os.Remove(dir) // not empty as long as another server's are there
	}
	return nil
}

// WrapListener adds a Unix socket to the listener.
func (l *HelperListener) WrapListener(ln net.Listener) net.Listener {
	if !asHelper() || l.Socket == "" || l.made == nil {
		return ln
	}
	path := socketName(l.Socket, int(l.made.Add(1)), ln.Addr())
	private, err := net.Listen("unix", path)
	if err != nil {
		// Who asks finds that it can't.
		liveLogger().Warn("the helper of a switch can't be asked", zap.Error(err))
		return ln
	}
	return mergeListeners(ln, private)
}

// socketName tells who asks what the socket stands for: the server's number, the
// listener's, and the port, 0 if it has none.
func socketName(prefix string, n int, addr net.Addr) string {
	port := 0
	if a, ok := addr.(*net.TCPAddr); ok {
		port = a.Port
	}
	return fmt.Sprintf("%s-%d-%d", prefix, n, port)
}

// parseSocketName is socketName's inverse.
func parseSocketName(path string) (server, port int, ok bool) {
	var n int
	var rest string
	got, _ := fmt.Sscanf(filepath.Base(path), "%d-%d-%d%s", &server, &n, &port, &rest)
	return server, port, got == 3 && server >= 0 && port >= 0 && port <= 65535
}

// merged accepts from two listeners; its address is the first one's.
type merged struct {
	net.Listener
	private net.Listener
	conns   chan accepted
	closed  chan struct{}
	once    sync.Once
}

type accepted struct {
	conn net.Conn
	err  error
}

func mergeListeners(ln, private net.Listener) net.Listener {
	m := &merged{Listener: ln, private: private, conns: make(chan accepted), closed: make(chan struct{})}
	go m.accept(ln, func(c net.Conn) net.Conn { return c }, true)
	go m.accept(private, func(c net.Conn) net.Conn { return checkConn{c} }, false)
	return m
}

func (m *merged) accept(ln net.Listener, as func(net.Conn) net.Conn, tell bool) {
	for {
		c, err := ln.Accept()
		if err != nil && !tell {
			return
		}
		a := accepted{err: err}
		if err == nil {
			a.conn = as(c)
		}
		select {
		case m.conns <- a:
		case <-m.closed:
			if c != nil {
				c.Close()
			}
			return
		}
	}
}

func (m *merged) Accept() (net.Conn, error) {
	select {
	case a := <-m.conns:
		return a.conn, a.err
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

func (m *merged) Close() error {
	m.once.Do(func() { close(m.closed) })
	m.private.Close()
	return m.Listener.Close()
}

// checkConn is a connection of the health check's. Handlers and matchers expect an
// IP address.
type checkConn struct{ net.Conn }

func (checkConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// socketsFolder begins the name of that folder.
const socketsFolder = "evergreen-switch-"

// helperSockets makes the folder for the helper's sockets, where only this user
// can reach them and their paths are short enough for the kernel.
func helperSockets() (string, error) {
	const longest = 108 - len("/1000-1000-65535") - 1
	var errs error
	for _, parent := range []string{os.Getenv("XDG_RUNTIME_DIR"), os.TempDir(), filepath.Join(caddy.AppDataDir(), "evergreen")} {
		if parent == "" {
			continue
		}
		dir, err := os.MkdirTemp(parent, socketsFolder) // 0700
		if err == nil && len(dir) <= longest {
			return dir, nil
		}
		if err == nil {
			_ = os.Remove(dir)
			err = fmt.Errorf("%s is too long a path for a socket", dir)
		}
		errs = fmt.Errorf("making a folder for the helper's sockets: %w", err)
	}
	return "", errs
}

// logTo gives package bridge's steps to a log.
func logTo(log *zap.Logger) func(string, ...any) {
	return func(event string, args ...any) {
		fields := []zap.Field{zap.Int("pid", os.Getpid())}
		for i := 0; i+1 < len(args); i += 2 {
			name := fmt.Sprint(args[i])
			switch v := args[i+1].(type) {
			case error:
				fields = append(fields, zap.NamedError(name, v))
			case time.Duration:
				fields = append(fields, zap.Duration(name, v))
			case fmt.Stringer:
				fields = append(fields, zap.String(name, v.String()))
			default:
				fields = append(fields, zap.Any(name, v))
			}
		}
		log.Info("switch: "+event, fields...)
	}
}

var (
	_ caddy.Provisioner     = (*HelperListener)(nil)
	_ caddy.CleanerUpper    = (*HelperListener)(nil)
	_ caddy.ListenerWrapper = (*HelperListener)(nil)
)
