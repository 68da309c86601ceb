package inventory

import (
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/caddy-evergreen/evergreen/wire"
)

// supervisors are the commands that are a starter's own, as /proc names them
// (15 bytes at most).
var supervisors = map[string]string{
	"systemd": "systemd", "runsv": "runit", "runit": "runit",
	"s6-supervise": "s6", "s6-svscan": "s6", "s6-linux-init": "s6",
	"supervise-daemo": "openrc", "openrc-run": "openrc", "openrc-run.sh": "openrc", "start-stop-daem": "openrc",
	"supervisord": "supervisor", "launchd": "launchd",
}

// containerInits only pass signals on to what a container was made for.
var containerInits = map[string]bool{
	"tini": true, "tini-static": true, "docker-init": true, "dumb-init": true, "catatonit": true, "conmon": true, "podman-init": true, "pause": true,
}

// starter is what started Caddy. It is asked once and early, since a parent
// may be gone later.
func (c *Collector) starter(container string) string {
	switch c.goos {
	case "windows":
		if windowsService() {
			return "windows-service"
		}
		return ""
	case "darwin":
		if s := c.env("XPC_SERVICE_NAME"); (s != "" && s != "0") || (c.real && os.Getppid() == 1) {
			return "launchd"
		}
	}

	self := status(c.read("/proc/self/status"))
	pid, ppid := self["Pid"], self["PPid"]
	parent := status(c.read(path.Join("/proc", digits(ppid), "status")))["Name"]
	first := status(c.read("/proc/1/status"))["Name"]

	// INVOCATION_ID alone is inherited by what a service's shell starts.
	if c.env("NOTIFY_SOCKET") != "" || (pid != "" && c.env("SYSTEMD_EXEC_PID") == pid) {
		return "systemd"
	}
	if s := supervisors[parent]; s != "" {
		if s == "systemd" && c.env("INVOCATION_ID") == "" {
			// Not a unit: an orphan that systemd, or a session's, took in.
			return c.terminal("")
		}
		return s
	}
	inContainer := container != "none" && container != "wsl" && container != ""
	switch {
	case pid == "1", inContainer && containerInits[parent], inContainer && ppid == "0":
		return "container-entrypoint"
	case ppid == "1" && c.exists("/run/openrc") && (first == "init" || first == "openrc-init"):
		return "openrc"
	case ppid == "1" && inContainer:
		return "container-entrypoint" // PID 1 is a script or a supervisor that we don't know
	}
	fallback := ""
	if parent != "" && ppid != "1" {
		fallback = wire.Init.Values[wire.Other]
	}
	return c.terminal(fallback)
}

// terminal is "terminal" if one of the standard streams is one.
func (c *Collector) terminal(otherwise string) string {
	for _, fd := range []string{"0", "1", "2"} {
		target, err := os.Readlink(c.at("/proc/self/fd/" + fd))
		if err == nil && (strings.HasPrefix(target, "/dev/pts/") || strings.HasPrefix(target, "/dev/tty")) {
			return "terminal"
		}
	}
	return otherwise
}

// status reads the fields of /proc/PID/status.
func status(s string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(s) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			fields[k] = strings.TrimSpace(v)
		}
	}
	return fields
}

// digits keeps a number from being more than a number in a path.
func digits(s string) string {
	if _, err := strconv.ParseUint(s, 10, 32); err != nil {
		return "none"
	}
	return s
}
