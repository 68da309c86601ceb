package programs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Page is what a Browser opens. It is always of localhost: that is the name in
// the certificates.
type Page struct {
	Route
	Path  string
	Plain bool // http instead of https
	TLS12 bool // TLS 1.3 may not be spoken
	QUIC  bool // HTTP/3, without having been told that there is one; else none
}

func (p Page) url() string {
	scheme := "https"
	if p.Plain {
		scheme = "http"
	}
	return scheme + "://localhost:" + portOf(p.Addr) + p.Path
}

// A Browser opens a page and ends. It trusts the authority; what it shows instead of a
// page whose certificate it refuses is no error.
type Browser struct {
	Name string
	Open func(ctx context.Context, dir string, ca *Authority, p Page) error
}

// Browsers are the ones that Debian has.
func Browsers() []Browser {
	return []Browser{{"chromium", chromium}, {"firefox", firefox}}
}

func chromium(ctx context.Context, dir string, ca *Authority, p Page) error {
	args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir=" + filepath.Join(dir, "profile"), "--dump-dom", "--timeout=20000"}
	if p.Proxy != "" {
		args = append(args, "--proxy-server="+p.Proxy, "--proxy-bypass-list=<-loopback>")
	} else {
		args = append(args, "--no-proxy-server")
	}
	if p.TLS12 {
		args = append(args, "--ssl-version-max=tls1.2")
	}
	if p.QUIC {
		args = append(args, "--enable-quic", "--origin-to-force-quic-on=localhost:"+portOf(p.Addr), "--host-resolver-rules=MAP localhost 127.0.0.1")
	} else {
		// It would follow Alt-Svc, and refuse there an authority that is not one of its own.
		args = append(args, "--disable-quic")
	}
	// Its authorities are in the home folder.
	if err := trust(ctx, filepath.Join(dir, ".pki", "nssdb"), ca); err != nil {
		return err
	}
	return open(ctx, dir, "chromium", append(args, p.url())...)
}

// trust makes a certificate store, as NSS has them, that trusts the authority only.
func trust(ctx context.Context, dir string, ca *Authority) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"-N", "-d", "sql:" + dir, "--empty-password"},
		{"-A", "-d", "sql:" + dir, "-n", "tests", "-t", "C,,", "-i", ca.CertFile},
	} {
		if out, err := exec.CommandContext(ctx, "certutil", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("trusting the authority (certutil is in Debian's libnss3-tools): %w\n%s", err, out)
		}
	}
	return nil
}

func firefox(ctx context.Context, dir string, ca *Authority, p Page) error {
	prefs := []string{
		`"browser.shell.checkDefaultBrowser", false`, `"datareporting.policy.dataSubmissionEnabled", false`,
		`"browser.aboutwelcome.enabled", false`, `"app.update.enabled", false`, `"network.captive-portal-service.enabled", false`,
		`"network.connectivity-service.enabled", false`, `"browser.safebrowsing.downloads.enabled", false`,
		`"security.OCSP.enabled", 0`, `"network.proxy.type", 0`,
	}
	if p.Proxy != "" {
		host, port, _ := strings.Cut(p.Proxy, ":")
		prefs = append(prefs, `"network.proxy.type", 1`, `"network.proxy.allow_hijacking_localhost", true`, `"network.proxy.no_proxies_on", ""`,
			fmt.Sprintf(`"network.proxy.ssl", %q`, host), `"network.proxy.ssl_port", `+port)
	}
	if p.QUIC {
		prefs = append(prefs, `"network.http.http3.enable", true`, `"network.http.http3.disable_when_third_party_roots_found", false`,
			`"network.dns.disableIPv6", true`, fmt.Sprintf(`"network.http.http3.alt-svc-mapping-for-testing", "localhost;h3=:%s"`, portOf(p.Addr)))
	} else {
		prefs = append(prefs, `"network.http.http3.enable", false`)
	}
	if p.TLS12 {
		prefs = append(prefs, `"security.tls.version.max", 3`)
	}
	var js strings.Builder
	for _, pref := range prefs {
		fmt.Fprintf(&js, "user_pref(%s);\n", pref)
	}
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(js.String()), 0o600); err != nil {
		return err
	}
	if err := trust(ctx, dir, ca); err != nil {
		return err
	}
	return open(ctx, dir, "firefox-esr", "--headless", "--no-remote", "--profile", dir, "--screenshot", filepath.Join(dir, "page.png"), p.url())
}

// open runs a browser until it ends. It starts processes of its own, which may
// outlive it, or hang: they are ended with it, and not waited for.
func open(ctx context.Context, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(environment(dir), "MOZ_DISABLE_CONTENT_SANDBOX=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}
