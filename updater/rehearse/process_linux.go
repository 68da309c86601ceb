package rehearse

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// runningExecutable is this process's, also if its file was replaced.
func runningExecutable() (string, error) { return "/proc/self/exe", nil }

func ofOwnGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// resident is a process's memory that is in use, in bytes; 0 if that can't be known.
func resident(pid int) uint64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(f[1], 10, 40)
	return pages * uint64(os.Getpagesize())
}

// group is what all processes of a group take: bytes of resident memory, and
// processes and threads together.
func group(pgid int) (rss uint64, tasks int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, 0
	}
	for _, e := range entries {
		if c := e.Name()[0]; c < '1' || c > '9' {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// Its name, in parentheses, may hold anything.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) < 22 || f[2] != strconv.Itoa(pgid) {
			continue
		}
		threads, _ := strconv.Atoi(f[17])
		pages, _ := strconv.ParseUint(f[21], 10, 40)
		tasks += threads
		rss += pages * uint64(os.Getpagesize())
	}
	return rss, tasks
}

// freeMemory is how many bytes the machine, and this process's control group,
// have left; 0 if that can't be known.
func freeMemory() uint64 {
	free := uint64(0)
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemAvailable:" {
				kb, _ := strconv.ParseUint(f[1], 10, 50)
				free = kb << 10
			}
		}
	}
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return free
	}
	for line := range strings.Lines(string(b)) {
		group, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		number := func(file string) (uint64, bool) {
			b, err := os.ReadFile("/sys/fs/cgroup" + group + "/" + file)
			if err != nil {
				return 0, false
			}
			n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
			return n, err == nil
		}
		limit, ok1 := number("memory.max")
		used, ok2 := number("memory.current")
		if ok1 && ok2 && limit > used && (free == 0 || limit-used < free) {
			free = limit - used
		}
	}
	return free
}
