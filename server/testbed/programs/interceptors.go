package programs

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/freeport"
)

// A Route is how a browser reaches the server.
type Route struct {
	Proxy string // host:port of an HTTP proxy; "" if there is none
	Addr  string // host:port to open
}

// An Interceptor is a program or library that ends a client's TLS and begins it
// anew to the server.
type Interceptor struct {
	Name string
	// Start runs it in dir until ctx ends, between clients and the server at addr.
	Start func(ctx context.Context, dir string, ca *Authority, addr string) (Route, error)
}

// Interceptors are those that Debian and Go's modules have. Direct, the first,
// is none.
func Interceptors() []Interceptor {
	return []Interceptor{
		{"direct", func(_ context.Context, _ string, _ *Authority, addr string) (Route, error) {
			return Route{Addr: addr}, nil
		}},
		{"mitmproxy", mitmproxy},
		{"squid", squid},
		{"haproxy", haproxy},
		{"sslsplit", sslsplit},
		{"goproxy", startGoproxy},
		{"martian", startMartian},
	}
}

func mitmproxy(ctx context.Context, dir string, ca *Authority, addr string) (Route, error) {
	both, err := os.ReadFile(ca.BothFile)
	if err != nil {
		return Route{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "mitmproxy-ca.pem"), both, 0o600); err != nil {
		return Route{}, err
	}
	port, err := freePort()
	if err != nil {
		return Route{}, err
	}
	return Route{Proxy: port, Addr: addr}, run(ctx, dir, port, "mitmdump", "--quiet", "--ssl-insecure",
		"--listen-host", "127.0.0.1", "--listen-port", portOf(port), "--set", "confdir="+dir)
}

const certgen = "/usr/lib/squid/security_file_certgen"

// squid refuses to be root: it becomes Debian's user for it, for whom all it
// needs lies in a folder that it can reach.
func squid(ctx context.Context, _ string, ca *Authority, addr string) (Route, error) {
	port, err := freePort()
	if err != nil {
		return Route{}, err
	}
	dir, err := os.MkdirTemp("", "squid-")
	if err != nil {
		return Route{}, err
	}
	context.AfterFunc(ctx, func() { _ = os.RemoveAll(dir) })
	db, both := filepath.Join(dir, "certificates"), filepath.Join(dir, "ca.pem")
	pem, err := os.ReadFile(ca.BothFile)
	if err != nil {
		return Route{}, err
	}
	if err := os.WriteFile(both, pem, 0o644); err != nil {
		return Route{}, err
	}
	if out, err := exec.CommandContext(ctx, certgen, "-c", "-s", db, "-M", "4MB").CombinedOutput(); err != nil {
		return Route{}, fmt.Errorf("making squid's certificate store (Debian's squid-openssl has the program): %w\n%s", err, out)
	}
	if os.Getuid() == 0 {
		if out, err := exec.CommandContext(ctx, "chown", "-R", "proxy", dir).CombinedOutput(); err != nil {
			return Route{}, fmt.Errorf("giving squid its folder: %w\n%s", err, out)
		}
	}
	config := filepath.Join(dir, "squid.conf")
	err = os.WriteFile(config, []byte(strings.Join([]string{
		"http_port " + port + " ssl-bump tls-cert=" + both + " tls-key=" + both + " generate-host-certificates=on",
		"sslcrtd_program " + certgen + " -s " + db + " -M 4MB",
		"sslcrtd_children 1 startup=1 idle=1",
		"ssl_bump bump all",
		"sslproxy_cert_error allow all",
		"tls_outgoing_options flags=DONT_VERIFY_PEER",
		"http_access allow all",
		"cache deny all",
		"access_log none",
		"cache_log " + filepath.Join(dir, "cache.log"),
		"pid_filename none",
		"shutdown_lifetime 0",
		"max_filedescriptors 1024",
		"",
	}, "\n")), 0o644)
	if err != nil {
		return Route{}, err
	}
	return Route{Proxy: port, Addr: addr}, run(ctx, dir, port, "/usr/sbin/squid",
		"-N", "-n", "tests"+portOf(port), "-d", "1", "-f", config) // its shared memory has that name
}

func haproxy(ctx context.Context, dir string, ca *Authority, addr string) (Route, error) {
	port, err := freePort()
	if err != nil {
		return Route{}, err
	}
	_, leaf, err := ca.Leaf(dir)
	if err != nil {
		return Route{}, err
	}
	config := filepath.Join(dir, "haproxy.cfg")
	err = os.WriteFile(config, []byte(`defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend browsers
    bind `+port+` ssl crt `+leaf+` alpn h2,http/1.1
    default_backend server
backend server
    server server `+addr+` ssl verify none sni str(localhost) alpn h2,http/1.1
`), 0o644)
	if err != nil {
		return Route{}, err
	}
	return Route{Addr: port}, run(ctx, dir, port, "/usr/sbin/haproxy", "-db", "-f", config)
}

func sslsplit(ctx context.Context, dir string, ca *Authority, addr string) (Route, error) {
	port, err := freePort()
	if err != nil {
		return Route{}, err
	}
	host, p, err := net.SplitHostPort(addr)
	if err != nil {
		return Route{}, err
	}
	return Route{Addr: port}, run(ctx, dir, port, "sslsplit", "-D", "-k", ca.KeyFile, "-c", ca.CertFile,
		"https", "127.0.0.1", portOf(port), host, p)
}

// run starts a program that is to listen on addr, and waits until it does.
func run(ctx context.Context, dir, addr, name string, args ...string) error {
	log, err := os.Create(filepath.Join(dir, "output.log"))
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // it has things to remove
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = environment(dir)
	if err := cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("starting %s (a Debian package has it): %w", name, err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		log.Close()
	}()
	deadline := time.Now().Add(60 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("%s ended: %w\n%s", name, err, tail(log.Name()))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen on %s after a minute\n%s", name, addr, tail(log.Name()))
		}
	}
}

func tail(file string) []byte {
	b, _ := os.ReadFile(file)
	return b[max(0, len(b)-2000):]
}

func freePort() (string, error) {
	ports, err := freeport.Pick(1)
	if err != nil {
		return "", err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), nil
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

// pair is the authority for libraries that sign in this process.
func (a *Authority) pair() (tls.Certificate, error) {
	return tls.LoadX509KeyPair(a.CertFile, a.KeyFile)
}
