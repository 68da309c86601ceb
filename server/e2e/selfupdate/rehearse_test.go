//go:build e2e && linux

package selfupdate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater/rehearse"
)

// rehearsalSite is a server of many kinds of sites. It gets three ports, and a folder.
const rehearsalSite = `{
%s	local_certs
	updates none
	evergreen off
	log {
		output file %[3]s/caddy.log
	}
}
localhost, a.example.com {
	header Strict-Transport-Security "max-age=100"
	header -Server
	handle_path /api/* {
		respond /users/* "{http.request.uuid}" 203
		respond "api" 201
	}
	handle /login {
		basic_auth {
			bob $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG
		}
	}
	handle /moved {
		redir https://a.example.com:%[2]d/elsewhere
	}
	handle /up/* {
		reverse_proxy %[4]s
	}
	handle {
		encode gzip
		root * %[3]s
		file_server browse
	}
	log {
		output file %[3]s/access.log
	}
}
*.b.example.com, b.example.com {
	%[5]s
	respond "{host}"
}
demand.example.com {
	tls {
		on_demand
	}
	respond "on demand"
}
http://plain.example.com:%[6]d {
	respond "plain"
}
http://socket.example.com {
	bind unix/%[3]s/socket
	respond "socket"
}
`

// A rehearsing server is one with the sites above.
type rehearsing struct {
	*testbed.Caddy
	exe    string
	folder string
	data   string
}

func newRehearsing(t *testing.T, exe string, directive string) rehearsing {
	t.Helper()
	ports, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := testbed.PickPorts()
	if err != nil {
		t.Fatal(err)
	}
	// A socket's path has a limit.
	folder, err := os.MkdirTemp("", "r")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	backend, err := testbed.StartBackend()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(backend.Close)
	dir := filepath.Join(t.TempDir(), "caddy")
	site := fmt.Sprintf(rehearsalSite, ports.Globals(), ports.HTTPS, folder, backend.Addr, directive, plain.HTTP)
	c, err := testbed.StartCaddy(t.Context(), exe, dir, site, ports)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Kill()
		if t.Failed() {
			t.Logf("Caddy's log:\n%s", c.LogTail(30))
		}
	})
	if _, err := c.WaitForCertificate(t.Context(), rootsOf(t, c)); err != nil {
		t.Fatal(err)
	}
	return rehearsing{c, exe, folder, filepath.Join(dir, "data", "caddy")}
}

// config is a rehearsal of an executable beside the server.
func (r rehearsing) config(t *testing.T, candidate string, env ...string) rehearse.Config {
	t.Helper()
	resp, err := http.Get(r.AdminURL("/config/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	live, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(r.exe, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	var modules []string
	for line := range strings.Lines(string(out)) {
		if id := strings.TrimSpace(line); id != "" && line[0] != ' ' {
			modules = append(modules, id)
		}
	}
	return rehearse.Config{
		Executable: candidate, Launcher: r.exe, Version: newCaddy, Modules: modules, Live: live,
		DataDir: r.data, PID: r.PID(), Scratch: filepath.Join(r.folder, "scratch"), Env: env,
	}
}

// filesBelow are the sums of the files below folders.
func filesBelow(t *testing.T, dirs ...string) map[string]string {
	t.Helper()
	sums := map[string]string{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".log") || strings.Contains(path, "/locks/") {
				return err
			}
			b, err := os.ReadFile(path)
			sums[path] = fmt.Sprintf("%x", sha256.Sum256(b))
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return sums
}

// TestE2ERehearsal rehearses 2.11.9 beside a 2.11.3 with sites of many kinds:
// they agree, and nothing is left of it.
func TestE2ERehearsal(t *testing.T) {
	s := theUpdates(t)
	var with []string
	for _, p := range plugins {
		with = append(with, p.path+"@"+p.version)
	}
	r := newRehearsing(t, s.oldWithPlugins(t), "")
	candidate := s.order(t, newCaddy, with...).copied(t)
	config := r.config(t, candidate)
	before := filesBelow(t, r.data, r.folder)
	began := time.Now()
	report, err := rehearse.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests for %d sites, %d MB at most, %v: %q", report.Probes, report.Sites, report.Peak>>20, time.Since(began), report.Notes)
	// localhost and a.example.com: six paths; b, *.b: one; each over three versions.
	// Then plain.example.com, socket.example.com, and redirects of all but the last,
	// demand.example.com's among them.
	if d := cmp.Diff("", report.String()); d != "" || report.Probes < 40 || report.Sites != 7 {
		t.Errorf("%d requests for %d sites: %s", report.Probes, report.Sites, d)
	}
	if d := cmp.Diff(before, filesBelow(t, r.data, r.folder)); d != "" {
		t.Errorf("files: %s", d)
	}
	log, err := os.ReadFile(filepath.Join(r.folder, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	// The candidate asks the running server nothing, and logs nowhere.
	for line := range strings.Lines(string(log)) {
		if !strings.Contains(line, `"User-Agent":["evergreen-rehearsal"]`) && !strings.Contains(line, "testbed") && strings.Contains(line, `"host":"a.example.com`) {
			t.Errorf("in the access log: %s", line)
		}
	}
	if strings.Contains(r.Log(), "demand.example.com") && strings.Contains(r.Log(), `"msg":"certificate obtained successfully","identifier":"demand.example.com"`) {
		t.Error("a certificate was obtained for a host on demand")
	}

	// A candidate for a configuration that isn't the server's is found out.
	config.Live = []byte(strings.NewReplacer(`"status_code":201`, `"status_code":202`, `"h3"`, `"h1"`).Replace(string(config.Live)))
	report, err = rehearse.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"HTTP/1.1", "HTTP/2", "HTTP/3"} {
		want := fmt.Sprintf(`https://a.example.com:%d/api/ over %s: status is "202", was "201"`, r.Ports.HTTPS, v)
		if !strings.Contains(report.String(), want) {
			t.Errorf("the report lacks %s:\n%s", want, report)
		}
	}
}

// TestE2ERehearsalOfBadCandidates has executables that do harm.
func TestE2ERehearsalOfBadCandidates(t *testing.T) {
	s := theUpdates(t)
	before, after := s.before(t), s.after(t)
	for _, c := range []struct {
		does string
		kind rehearse.Kind // of the error; "" is a report
		want string
	}{
		{"exit", rehearse.Refuse, "it said: badplugin: giving up"},
		{"hang", rehearse.Limit, "`validate` did not end within"},
		{"lose", rehearse.Modules, "the candidate lacks modules that run now: badplugin.kept"},
		{"leak", rehearse.Limit, "of memory"},
		{"crash-after 0s", rehearse.Start, "panic: badplugin: in a goroutine of its own"},
		{"panic", "", "the answer is"},
		{"broken-site b.example.com", "", `b.example.com`},
		{"no-h3", "", `over HTTP/3: the answer is`},
		{"", "", ""},
	} {
		t.Run("does "+c.does, func(t *testing.T) {
			r := newRehearsing(t, before.copied(t), "badplugin")
			config := r.config(t, after.copied(t), "BADPLUGIN="+c.does)
			if c.does == "hang" {
				config.StepTime = 10 * time.Second
			}
			if c.does == "leak" {
				config.Settle = time.Minute
			}
			report, err := rehearse.Run(t.Context(), config)
			var failed *rehearse.Error
			switch {
			case c.kind != "":
				if !errors.As(err, &failed) || failed.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the error is %v, not of %s with %q", err, c.kind, c.want)
				}
			case err != nil:
				t.Error(err)
			case c.want == "" && !report.Agrees(), c.want != "" && !strings.Contains(report.String(), c.want):
				t.Errorf("the report is without %q: %s", c.want, report)
			}
			t.Logf("%v %s", err, report)
			// The server answers as before.
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Ports.HTTPS))
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
}
