package watch

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ReadMemory reads what the process has, and what it may have: the least of the
// limits of its control groups and of what the machine has.
func ReadMemory() Memory { return readMemory("/") }

func readMemory(root string) (m Memory) {
	// statm: total and resident size in pages.
	if f := strings.Fields(readFile(root, "proc/self/statm")); len(f) > 1 {
		pages, _ := strconv.ParseUint(f[1], 10, 40)
		m.Resident = pages * uint64(os.Getpagesize())
	}
	for line := range strings.Lines(readFile(root, "proc/meminfo")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseUint(f[1], 10, 50)
			m.Limit = kib << 10
		}
	}
	for line := range strings.Lines(readFile(root, "proc/self/cgroup")) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) < 3 {
			continue
		}
		dir, file := "sys/fs/cgroup", "memory.max"
		switch parts[1] {
		case "":
		case "memory":
			dir, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		// A container's own group may be mounted as the root. The limits of groups
		// further up hold too.
		for at := filepath.Clean("/" + parts[2]); ; at = filepath.Dir(at) {
			n, err := strconv.ParseUint(strings.TrimSpace(readFile(root, filepath.Join(dir, at, file))), 10, 63)
			if err == nil && n > 0 && (m.Limit == 0 || n < m.Limit) {
				m.Limit = n
			}
			if at == "/" {
				break
			}
		}
	}
	return m
}

// readFile reads a small file; "" if it can't.
func readFile(root, name string) string {
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b := make([]byte, 64<<10)
	n := 0
	for n < len(b) {
		k, err := f.Read(b[n:])
		n += k
		if err != nil || k == 0 {
			break
		}
	}
	return string(b[:n])
}
