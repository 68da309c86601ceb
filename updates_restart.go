package evergreen

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// unitDirs are where systemd looks for units, the first found first.
var unitDirs = []string{"etc/systemd/system", "run/systemd/system", "usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system"}

// maxUnit bounds what is read of one file.
const maxUnit = 1 << 20

// notRestarted names the systemd unit that this process is of, if nobody starts
// it again after a crash; "" if it is of none, or that can't be told. root is the
// machine's file system.
func notRestarted(root fs.FS) string {
	unit := unitOf(readUnit(root, "proc/self/cgroup"))
	if unit == "" {
		return ""
	}
	restart, found := "", false
	for _, dir := range unitDirs {
		if text := readUnit(root, path.Join(dir, unit)); text != "" {
			restart, found = lastSetting(text, "Restart", restart), true
			break
		}
	}
	if !found {
		return ""
	}
	dropins := map[string]string{} // by name: an earlier folder's wins
	for _, dir := range unitDirs {
		for _, d := range []string{unit + ".d", "service.d"} {
			files, _ := fs.Glob(root, path.Join(dir, d, "*.conf"))
			for _, f := range files {
				if name := path.Base(f); dropins[name] == "" {
					dropins[name] = f
				}
			}
		}
	}
	var names []string
	for name := range dropins {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		restart = lastSetting(readUnit(root, dropins[name]), "Restart", restart)
	}
	switch restart {
	case "", "no", "on-success":
		return unit
	}
	return ""
}

// unitOf is the service in a control group's path.
func unitOf(cgroup string) string {
	for line := range strings.Lines(cgroup) {
		_, group, ok := strings.Cut(strings.TrimSpace(line), "::")
		if !ok {
			continue
		}
		for _, part := range slices.Backward(strings.Split(group, "/")) {
			if strings.HasSuffix(part, ".service") && !strings.HasPrefix(part, "user@") {
				return part
			}
		}
	}
	return ""
}

// lastSetting is a setting's last value in the section Service; was if it is not
// there.
func lastSetting(unit, name, was string) string {
	section := ""
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, ok := strings.Cut(line, "="); ok && section == "[Service]" && strings.TrimSpace(key) == name {
			was = strings.TrimSpace(value)
		}
	}
	return was
}

func readUnit(root fs.FS, name string) string {
	f, err := root.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxUnit)) // as far as it can be read
	return string(b)
}
