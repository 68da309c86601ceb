package rehearse

import (
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
