package programs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A Browser opens a page over a route and ends.
type Browser struct {
	Name string
	Open func(ctx context.Context, dir string, ca *Authority, r Route, path string) error
}

// Browsers are the ones that Debian has.
func Browsers() []Browser {
	return []Browser{{"chromium", chromium}, {"firefox", firefox}}
}

func chromium(ctx context.Context, dir string, _ *Authority, r Route, path string) error {
	args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir=" + dir, "--ignore-certificate-errors", "--dump-dom", "--timeout=20000"}
	if r.Proxy != "" {
		args = append(args, "--proxy-server="+r.Proxy, "--proxy-bypass-list=<-loopback>")
	} else {
		args = append(args, "--no-proxy-server")
	}
	return open(ctx, dir, "chromium", append(args, pageOf(r, path))...)
}

func firefox(ctx context.Context, dir string, ca *Authority, r Route, path string) error {
	prefs := []string{
		`"browser.shell.checkDefaultBrowser", false`, `"datareporting.policy.dataSubmissionEnabled", false`,
		`"browser.aboutwelcome.enabled", false`, `"app.update.enabled", false`, `"network.captive-portal-service.enabled", false`,
		`"network.connectivity-service.enabled", false`, `"browser.safebrowsing.downloads.enabled", false`,
		`"security.OCSP.enabled", 0`, `"network.proxy.type", 0`,
	}
	if r.Proxy != "" {
		host, port, _ := strings.Cut(r.Proxy, ":")
		prefs = append(prefs, `"network.proxy.type", 1`, `"network.proxy.allow_hijacking_localhost", true`, `"network.proxy.no_proxies_on", ""`,
			fmt.Sprintf(`"network.proxy.ssl", %q`, host), `"network.proxy.ssl_port", `+port)
	}
	var js strings.Builder
	for _, p := range prefs {
		fmt.Fprintf(&js, "user_pref(%s);\n", p)
	}
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(js.String()), 0o600); err != nil {
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
	return open(ctx, dir, "firefox-esr", "--headless", "--no-remote", "--profile", dir, "--screenshot", filepath.Join(dir, "page.png"), pageOf(r, path))
}

// pageOf is always for localhost: that is the name in the certificates.
func pageOf(r Route, path string) string { return "https://localhost:" + portOf(r.Addr) + path }

func open(ctx context.Context, dir, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(environment(dir), "MOZ_DISABLE_CONTENT_SANDBOX=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out[max(0, len(out)-2000):])
	}
	return nil
}
