package rehearse

import (
	"net"
	"os"
	"strconv"
	"strings"
)

// stateListen is a socket's state in /proc/net/tcp.
const stateListen = "0A"

// listens reports whether a process listens on the endpoint's port, or
// whether that can't be known.
func listens(pid int, e endpoint) bool {
	_, port, err := net.SplitHostPort(e.address)
	if e.network != "tcp" || err != nil {
		return true
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return true
	}
	proc := "/proc/" + strconv.Itoa(pid) + "/"
	inodes := map[string]bool{}
	known := false
	for _, file := range []string{"net/tcp", "net/tcp6"} {
		b, err := os.ReadFile(proc + file)
		if err != nil {
			continue
		}
		known = true
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != stateListen {
				continue
			}
			_, hex, _ := strings.Cut(f[1], ":")
			if p, err := strconv.ParseUint(hex, 16, 16); err == nil && p == number {
				inodes["socket:["+f[9]+"]"] = true
			}
		}
	}
	entries, err := os.ReadDir(proc + "fd")
	if err != nil || !known {
		return true
	}
	for _, entry := range entries {
		if to, err := os.Readlink(proc + "fd/" + entry.Name()); err == nil && inodes[to] {
			return true
		}
	}
	return false
}
