package inventory

import (
	"bufio"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// installation is how the executable came to its path.
func (c *Collector) installation(container string) string {
	exe, err := c.executable()
	if err != nil || exe == "" {
		return ""
	}
	// Linux says so of a file that was replaced under a running process.
	exe = strings.TrimSuffix(exe, " (deleted)")
	exe = c.resolve(exe)
	slashed := filepath.ToSlash(exe)

	for _, known := range []struct{ part, kind string }{
		{"/nix/store/", "nix"}, {"/gnu/store/", "other"}, {"/Cellar/", "homebrew"}, {"/linuxbrew/", "homebrew"},
		{"/opt/homebrew/", "homebrew"}, {"/scoop/apps/", "other"}, {"/chocolatey/", "other"},
	} {
		if strings.Contains(slashed, known.part) {
			return known.kind
		}
	}
	if strings.HasPrefix(slashed, "/snap/") {
		return "snap"
	}
	if c.goos == "windows" {
		return "unpackaged"
	}
	owned := aliases(slashed)
	switch {
	case c.dpkg(owned):
		return "dpkg"
	case c.apk(owned):
		return "apk"
	case c.listed("/var/lib/pacman/local/*/files", owned, func(line string) string { return "/" + line }):
		return "pacman"
	case c.listed("/var/db/pkg/*/*/CONTENTS", owned, func(line string) string {
		// obj /usr/bin/caddy MD5 MTIME
		f := strings.Fields(line)
		if len(f) < 4 || f[0] != "obj" {
			return ""
		}
		return strings.Join(f[1:len(f)-2], " ")
	}):
		return "portage"
	case strings.HasPrefix(slashed, "/usr/bin/") && !c.exists("/var/lib/dpkg/status") &&
		(c.exists("/usr/lib/sysimage/rpm") || c.exists("/var/lib/rpm")):
		return "rpm"
	case c.goos == "freebsd" && strings.HasPrefix(slashed, "/usr/local/bin/") && c.exists("/var/db/pkg/local.sqlite"):
		return "pkg"
	case container == "docker" || container == "podman" || container == "kubernetes":
		return "image"
	}
	return "unpackaged"
}

// resolve follows symbolic links inside root: Debian's alternatives, Homebrew's bin.
func (c *Collector) resolve(exe string) string {
	if c.real {
		if r, err := filepath.EvalSymlinks(exe); err == nil {
			return r
		}
		return exe
	}
	for range 16 {
		target, err := os.Readlink(c.at(exe))
		if err != nil {
			return exe
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(exe), target)
		}
		exe = target
	}
	return exe
}

// aliases are the paths under which a package may list a file at p, where /bin
// and /sbin are links into /usr.
func aliases(p string) map[string]bool {
	as := map[string]bool{p: true}
	for _, dir := range []string{"/bin/", "/sbin/"} {
		if strings.HasPrefix(p, "/usr"+dir) {
			as[strings.TrimPrefix(p, "/usr")] = true
		} else if strings.HasPrefix(p, dir) {
			as["/usr"+p] = true
		}
	}
	return as
}

// dpkg looks into the packages' lists of files, and into the diversions first:
// caddy's own instructions divert /usr/bin/caddy to make room for another build.
func (c *Collector) dpkg(owned map[string]bool) bool {
	diversions := strings.Split(c.read("/var/lib/dpkg/diversions"), "\n")
	for i := 0; i+2 < len(diversions); i += 3 { // from, to, package
		from, to := diversions[i], diversions[i+1]
		switch {
		case owned[to]:
			owned = aliases(from)
		case owned[from]: // the package's file is elsewhere, so this is not it
			return false
		}
	}
	return c.listed("/var/lib/dpkg/info/*.list", owned, func(line string) string { return line })
}

// listed reports whether a file of the pattern has a line that names one of the paths.
func (c *Collector) listed(pattern string, owned map[string]bool, name func(line string) string) bool {
	files, _ := filepath.Glob(c.at(pattern))
	for _, file := range files {
		if scan(file, func(line string) bool { return owned[name(line)] }) {
			return true
		}
	}
	return false
}

// apk's database has a folder (F:) before the files in it (R:), without leading slashes.
func (c *Collector) apk(owned map[string]bool) bool {
	for _, db := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed"} {
		folder := ""
		if scan(c.at(db), func(line string) bool {
			if dir, ok := strings.CutPrefix(line, "F:"); ok {
				folder = dir
			}
			file, ok := strings.CutPrefix(line, "R:")
			return ok && owned["/"+folder+"/"+file]
		}) {
			return true
		}
	}
	return false
}

// scan reads lines until found says so. Databases are larger than read allows.
func scan(file string, found func(line string) bool) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if found(s.Text()) {
			return true
		}
	}
	return false
}
