package inventory

import (
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/caddy-evergreen/evergreen/wire"
)

// machine makes a Collector of a Linux machine that has only these files.
// A name that ends in @ is a symbolic link.
func machine(t *testing.T, files, env map[string]string) *Collector {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		link, isLink := strings.CutSuffix(name, "@")
		p := filepath.Join(root, filepath.FromSlash(link))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if isLink {
			err = os.Symlink(content, p)
		} else {
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	c := New(root, func(name string) string { return env[name] })
	c.goos = "linux"
	c.args = nil
	c.executable = func() (string, error) { return "/usr/bin/caddy", nil }
	return c
}

type files = map[string]string

func TestKernel(t *testing.T) {
	for release, want := range map[string]string{
		"6.12.48+deb13-amd64\n": "linux-6", "5.15.167.4-microsoft-standard-WSL2\n": "linux-5",
		"99.1\n": "other", "": "", "secret-build\n": "",
	} {
		if got := machine(t, files{"/proc/sys/kernel/osrelease": release}, nil).kernel(); got != want {
			t.Errorf("%q: got %q, want %q", release, got, want)
		}
	}
	c := machine(t, nil, nil)
	c.goos = "freebsd"
	if got := c.kernel(); got != "freebsd" {
		t.Errorf("freebsd: got %q", got)
	}
	c.goos = "plan9"
	if got := c.kernel(); got != "other" {
		t.Errorf("plan9: got %q", got)
	}
}

func TestMemory(t *testing.T) {
	const meminfo = "MemTotal:       16316416 kB\nMemFree:  1 kB\n"
	for name, test := range map[string]struct {
		files files
		want  string
	}{
		"nothing known": {nil, ""},
		"machine":       {files{"/proc/meminfo": meminfo}, "16G-32G"},
		"v2, own group's limit": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "0::/system.slice/caddy.service\n",
			"/sys/fs/cgroup/system.slice/caddy.service/memory.max": "536870912\n"}, "512M-1G"},
		"v2, parent's limit is lower": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "0::/a/b\n",
			"/sys/fs/cgroup/a/b/memory.max": "max\n", "/sys/fs/cgroup/a/memory.max": "100000000\n"}, "<256M"},
		"v2, group is the host's, limit at the mount's top": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "0::/../../docker/abc\n",
			"/sys/fs/cgroup/memory.max": "1073741824\n"}, "1G-2G"},
		"v1": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n",
			"/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "268435456\n"}, "256M-512M"},
		"v1 without a limit": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "5:memory:/\n",
			"/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, "16G-32G"},
		"limit above what there is": {files{"/proc/meminfo": meminfo, "/proc/self/cgroup": "0::/\n",
			"/sys/fs/cgroup/memory.max": "1099511627776\n"}, "16G-32G"},
		"nonsense": {files{"/proc/meminfo": "MemTotal: much\n\n:\n", "/proc/self/cgroup": "::\n\n0\n0::\n", "/sys/fs/cgroup/memory.max": "-5\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := memoryClass(machine(t, test.files, nil).memory()); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	for n, want := range map[uint64]string{
		1: "<256M", 256 << 20: "256M-512M", 1 << 30: "1G-2G", 4<<30 - 100<<20: "4G-8G", 127 << 30: "128G+", 1 << 50: "128G+",
	} {
		if got := memoryClass(n); got != want {
			t.Errorf("memoryClass(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestContainer(t *testing.T) {
	for name, test := range map[string]struct {
		files files
		env   map[string]string
		want  string
	}{
		"none":                {files{"/proc/self/cgroup": "0::/system.slice/caddy.service\n"}, nil, "none"},
		"docker":              {files{"/.dockerenv": ""}, nil, "docker"},
		"docker on WSL":       {files{"/.dockerenv": "", "/proc/sys/kernel/osrelease": "5.15-microsoft-standard-WSL2"}, nil, "docker"},
		"podman":              {files{"/run/.containerenv": ""}, map[string]string{"container": "podman"}, "podman"},
		"kubernetes":          {files{"/.dockerenv": ""}, map[string]string{"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"},
		"nspawn":              {nil, map[string]string{"container": "systemd-nspawn"}, "systemd-nspawn"},
		"lxc, from PID 1":     {files{"/proc/1/environ": "PATH=/bin\x00container=lxc\x00"}, nil, "lxc"},
		"lxc, systemd's file": {files{"/run/systemd/container": "lxc\n"}, nil, "lxc"},
		"unheard of":          {nil, map[string]string{"container": "acme-secret"}, "other"},
		"cgroup v1 docker":    {files{"/proc/1/cgroup": "5:memory:/docker/0123\n"}, nil, "docker"},
		"cgroup kubepods":     {files{"/proc/self/cgroup": "0::/kubepods.slice/x\n"}, nil, "kubernetes"},
		"wsl":                 {files{"/proc/sys/kernel/osrelease": "4.4.0-19041-Microsoft"}, nil, "wsl"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := machine(t, test.files, test.env).container(); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestStarter(t *testing.T) {
	process := func(pid, ppid, parent string) files {
		return files{
			"/proc/self/status":           "Name:\tcaddy\nPid:\t" + pid + "\nPPid:\t" + ppid + "\n",
			"/proc/" + ppid + "/status":   "Name:\t" + parent + "\n",
			"/proc/self/fd/1@":            "pipe:[123]",
			"/proc/self/fd/unrelated":     "",
			"/proc/" + ppid + "/unneeded": "",
		}
	}
	with := func(f files, more ...string) files {
		for i := 0; i < len(more); i += 2 {
			f[more[i]] = more[i+1]
		}
		return f
	}
	for name, test := range map[string]struct {
		files     files
		env       map[string]string
		container string
		want      string
	}{
		"systemd, Type=notify":         {process("50", "1", "systemd"), map[string]string{"NOTIFY_SOCKET": "/run/x"}, "none", "systemd"},
		"systemd, Type=simple":         {process("50", "1", "systemd"), map[string]string{"INVOCATION_ID": "abc"}, "none", "systemd"},
		"systemd, by id":               {process("50", "1", "weird"), map[string]string{"SYSTEMD_EXEC_PID": "50"}, "none", "systemd"},
		"in a shell under a service":   {process("50", "40", "bash"), map[string]string{"INVOCATION_ID": "abc", "SYSTEMD_EXEC_PID": "40"}, "none", "other"},
		"orphan adopted by systemd":    {process("50", "1", "systemd"), nil, "none", ""},
		"runit":                        {process("50", "40", "runsv"), nil, "none", "runit"},
		"s6 in a container":            {process("50", "40", "s6-supervise"), nil, "docker", "s6"},
		"supervisor":                   {process("50", "40", "supervisord"), nil, "docker", "supervisor"},
		"openrc, supervise-daemon":     {process("50", "40", "supervise-daemo"), nil, "none", "openrc"},
		"openrc, start-stop-daemon":    {with(process("50", "1", "init"), "/run/openrc/softlevel", "default"), nil, "none", "openrc"},
		"container, PID 1":             {process("1", "0", ""), nil, "docker", "container-entrypoint"},
		"container, tini":              {process("7", "1", "tini"), nil, "docker", "container-entrypoint"},
		"container, script":            {process("7", "1", "entrypoint.sh"), nil, "kubernetes", "container-entrypoint"},
		"container, exec from outside": {process("7", "0", ""), nil, "podman", "container-entrypoint"},
		"terminal":                     {with(process("50", "40", "bash"), "/proc/self/fd/0@", "/dev/pts/3"), nil, "none", "terminal"},
		"script":                       {process("50", "40", "deploy.sh"), nil, "none", "other"},
		"nothing known":                {nil, nil, "none", ""},
		"hostile parent id":            {files{"/proc/self/status": "PPid:\t../../etc\n"}, nil, "none", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := machine(t, test.files, test.env).starter(test.container); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestInstallation(t *testing.T) {
	const list = "/.\n/usr\n/usr/bin\n/usr/bin/caddy\n/lib/systemd/system/caddy.service\n"
	for name, test := range map[string]struct {
		exe, container string
		files          files
		want           string
	}{
		"dpkg":              {"/usr/bin/caddy", "none", files{"/var/lib/dpkg/info/caddy.list": list}, "dpkg"},
		"dpkg, merged /usr": {"/usr/bin/caddy", "none", files{"/var/lib/dpkg/info/caddy:amd64.list": "/bin/caddy\n"}, "dpkg"},
		"dpkg, replaced while it ran": {"/usr/bin/caddy (deleted)", "none",
			files{"/var/lib/dpkg/info/caddy.list": list}, "dpkg"},
		"dpkg, another's file": {"/usr/local/bin/caddy", "none", files{"/var/lib/dpkg/info/caddy.list": list}, "unpackaged"},
		"dpkg, alternatives, diverted original": {"/usr/bin/caddy", "none", files{
			"/usr/bin/caddy@": "/etc/alternatives/caddy", "/etc/alternatives/caddy@": "/usr/bin/caddy.default", "/usr/bin/caddy.default": "",
			"/var/lib/dpkg/diversions":      "/usr/bin/caddy\n/usr/bin/caddy.default\n:\n",
			"/var/lib/dpkg/info/caddy.list": list}, "dpkg"},
		"dpkg, alternatives, custom build": {"/usr/bin/caddy", "none", files{
			"/usr/bin/caddy@": "/etc/alternatives/caddy", "/etc/alternatives/caddy@": "/usr/bin/caddy.custom", "/usr/bin/caddy.custom": "",
			"/var/lib/dpkg/diversions":      "/usr/bin/caddy\n/usr/bin/caddy.default\n:\n",
			"/var/lib/dpkg/info/caddy.list": list}, "unpackaged"},
		"dpkg, custom build at the diverted path": {"/usr/bin/caddy", "none", files{
			"/var/lib/dpkg/diversions":      "/usr/bin/caddy\n/usr/bin/caddy.default\n:\n",
			"/var/lib/dpkg/info/caddy.list": list}, "unpackaged"},
		"apk":       {"/usr/sbin/caddy", "docker", files{"/lib/apk/db/installed": "P:caddy\nF:usr\nF:usr/sbin\nR:caddy\nZ:Q1\n\n"}, "apk"},
		"apk, not":  {"/usr/bin/caddy", "docker", files{"/lib/apk/db/installed": "P:busybox\nF:usr/bin\nR:wget\nF:etc\nR:caddy\n"}, "image"},
		"pacman":    {"/usr/bin/caddy", "none", files{"/var/lib/pacman/local/caddy-2.11.9-1/files": "%FILES%\nusr/\nusr/bin/\nusr/bin/caddy\n"}, "pacman"},
		"portage":   {"/usr/bin/caddy", "none", files{"/var/db/pkg/www-servers/caddy-2.11.9/CONTENTS": "dir /usr/bin\nobj /usr/bin/caddy 0123 1700000000\n"}, "portage"},
		"rpm":       {"/usr/bin/caddy", "none", files{"/usr/lib/sysimage/rpm/rpmdb.sqlite": ""}, "rpm"},
		"rpm, not":  {"/usr/local/bin/caddy", "none", files{"/var/lib/rpm/rpmdb.sqlite": ""}, "unpackaged"},
		"homebrew":  {"/opt/homebrew/Cellar/caddy/2.11.9/bin/caddy", "none", nil, "homebrew"},
		"nix":       {"/nix/store/abc-caddy-2.11.9/bin/caddy", "none", nil, "nix"},
		"snap":      {"/snap/caddy/1/bin/caddy", "none", nil, "snap"},
		"image":     {"/usr/bin/caddy", "kubernetes", nil, "image"},
		"home":      {"/home/someone/caddy", "none", nil, "unpackaged"},
		"link loop": {"/usr/bin/caddy", "none", files{"/usr/bin/caddy@": "/usr/bin/caddy"}, "unpackaged"},
	} {
		t.Run(name, func(t *testing.T) {
			c := machine(t, test.files, nil)
			c.executable = func() (string, error) { return test.exe, nil }
			if got := c.installation(test.container); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
	c := machine(t, nil, nil)
	c.executable = func() (string, error) { return "", errors.New("no /proc") }
	if got := c.installation("none"); got != "" {
		t.Errorf("unknown executable: got %q", got)
	}
}

func TestAdapter(t *testing.T) {
	for line, want := range map[string]string{
		"caddy run --config /etc/caddy/Caddyfile --envfile x": "caddyfile",
		"caddy run --environ --config=/srv/site.caddyfile":    "caddyfile",
		"caddy run -c Caddyfile.json":                         "json",
		"caddy start -c x.yaml -a yaml":                       "yaml",
		"caddy run --config x --adapter=acme-private":         "other",
		"caddy run --config x.conf":                           "json",
		"caddy run --config":                                  "caddyfile-less",
		"caddy run --resume --config Caddyfile":               "",
		"caddy run":                                           "",
		"caddy file-server --root --config":                   "",
		"caddy":                                               "",
		"":                                                    "",
	} {
		c := machine(t, nil, nil)
		c.args = strings.Fields(line)
		if want == "caddyfile-less" { // Caddy itself refuses this line
			want = ""
		}
		if got := c.adapter(""); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
	if got := machine(t, nil, nil).adapter("CaddyFile"); got != "caddyfile" {
		t.Errorf("known to the caller: got %q", got)
	}
}

func TestBuildList(t *testing.T) {
	c := machine(t, nil, map[string]string{"GOPRIVATE": "github.com/acme-corp, *.example.org/x"})
	c.build = func() (*debug.BuildInfo, bool) {
		return &debug.BuildInfo{
			Main: debug.Module{Path: "caddy", Version: "(devel)"},
			Deps: []*debug.Module{
				{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"},
				{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0"},
				{Path: "github.com/mholt/caddy-ratelimit/deep", Version: "v0.0.0-20260102030405-abcdefabcdef"},
				{Path: "golang.org/x/net", Version: "v0.53.0"},
				{Path: "github.com/old/thing", Version: "v3.0.0+incompatible"},
				{Path: "git.secret-company.example/team/plugin", Version: "v1.2.3"},
				{Path: "github.com/acme-corp/hidden", Version: "v1.0.0"},
				{Path: "github.com/someone/local", Version: "v1.0.0", Replace: &debug.Module{Path: "/home/someone/work/local"}},
				{Path: "github.com/someone/forked", Version: "v1.0.0", Replace: &debug.Module{Path: "github.com/else/forked", Version: "v1.0.1"}},
				{Path: "github.com/caddy-evergreen/evergreen", Version: "v0.1.0", Replace: &debug.Module{Path: "../checkout"}},
				{Path: "github.com/odd/version", Version: "(devel)"},
			},
		}, true
	}
	c.modules = func() []registration {
		return []registration{
			{"http.handlers.file_server", "github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"},
			{"http.handlers.rate_limit", "github.com/mholt/caddy-ratelimit"},
			{"http.handlers.deep", "github.com/mholt/caddy-ratelimit/deep/pkg"},
			{"http.handlers.secret", "git.secret-company.example/team/plugin/x"},
			{"http.handlers.forked", "github.com/someone/forked"},
			{"evergreen", "github.com/caddy-evergreen/evergreen"},
			{"http.handlers.main", "main"},
		}
	}
	var f wire.Facts
	c.buildList(&f)
	want := &wire.Facts{
		EvergreenVersion: "devel",
		Modules: []*wire.Module{
			{Path: "github.com/caddy-evergreen/evergreen", Version: "devel", Plugin: true},
			{Path: "github.com/caddyserver/caddy/v2", Version: "v2.11.9"},
			{Path: "github.com/else/forked", Version: "v1.0.1", Plugin: true},
			{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0", Plugin: true},
			{Path: "github.com/mholt/caddy-ratelimit/deep", Version: "v0.0.0-20260102030405-abcdefabcdef", Plugin: true},
			{Path: "github.com/old/thing", Version: "v3.0.0+incompatible"},
			{Path: "golang.org/x/net", Version: "v0.53.0"},
			{Path: "other", Plugin: true},
			{Path: "other"},
		},
	}
	if d := cmp.Diff(want, &f, protocmp.Transform()); d != "" {
		t.Errorf("-want +got\n%s", d)
	}

	t.Run("a thousand too many", func(t *testing.T) {
		c.build = func() (*debug.BuildInfo, bool) {
			b := &debug.BuildInfo{}
			for i := range wire.MaxModules + 1000 {
				b.Deps = append(b.Deps, &debug.Module{Path: "github.com/a/m" + strings.Repeat("x", i%100) + string(rune('a'+i/100)), Version: "v1.0.0"})
			}
			b.Deps = append(b.Deps, &debug.Module{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0"})
			return b, true
		}
		var f wire.Facts
		c.buildList(&f)
		if len(f.Modules) != wire.MaxModules || !f.Modules[0].Plugin {
			t.Errorf("got %d modules, the first %v", len(f.Modules), f.Modules[0])
		}
	})
}

func TestVersions(t *testing.T) {
	for in, want := range map[string]string{
		"v2.11.9": "v2.11.9", "2.6.2": "v2.6.2", "v2.11.0-beta.1": "v2.11.0-beta.1", "v2.10.0-rc3": "v2.10.0-rc3",
		"unknown": "devel", "(devel)": "devel", "": "devel", "v2.11.9_custom": "devel", "v2.11.9-acme-secret": "devel",
		"v2.11.10-0.20261101000000-abcdefabcdef": "devel",
	} {
		if got := caddyVersion(in, ""); got != want {
			t.Errorf("caddyVersion(%q) is %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"go1.26.8": "go1.26.8", "go1.27rc1": "go1.27rc1", "go1.25.3 X:jsonv2": "go1.25.3", "go1.21.5-acme": "go1.21.5",
		"devel go1.27-abcdef Mon": "devel", "": "devel",
	} {
		if got := goVersion(in); got != want {
			t.Errorf("goVersion(%q) is %q, want %q", in, got, want)
		}
	}
}
