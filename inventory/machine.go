package inventory

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/pbnjay/memory"

	"github.com/caddy-evergreen/evergreen/wire"
)

// read is a small file of the machine, empty if there is none. Files of /proc
// and /sys have no size of their own, hence the limit.
func (c *Collector) read(name string) string {
	f, err := os.Open(c.at(name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 1<<20))
	return string(b)
}

func (c *Collector) exists(name string) bool {
	_, err := os.Stat(c.at(name))
	return err == nil
}

func (c *Collector) at(name string) string { return filepath.Join(c.root, filepath.FromSlash(name)) }

var linuxMajor = regexp.MustCompile(`^[0-9]+`)

// kernel is the kernel's family, for Linux with its major version.
func (c *Collector) kernel() string {
	switch c.goos {
	case "linux", "android":
		major := linuxMajor.FindString(c.read("/proc/sys/kernel/osrelease"))
		if major == "" {
			return ""
		}
		return named(wire.Kernel, "linux-"+major)
	}
	return named(wire.Kernel, c.goos)
}

// cpuFeatures are those extensions that this machine has. The names are x86's;
// Arm's extensions for the same purpose count as the same.
func cpuFeatures() []string {
	has := map[string]bool{
		"aes":       cpuid.CPU.Supports(cpuid.AESNI) || cpuid.CPU.Supports(cpuid.AESARM),
		"pclmulqdq": cpuid.CPU.Supports(cpuid.CLMUL) || cpuid.CPU.Supports(cpuid.PMULL),
		"sha":       cpuid.CPU.Supports(cpuid.SHA) || cpuid.CPU.Supports(cpuid.SHA1),
		"avx":       cpuid.CPU.Supports(cpuid.AVX),
		"avx2":      cpuid.CPU.Supports(cpuid.AVX2),
		"avx512f":   cpuid.CPU.Supports(cpuid.AVX512F),
		"bmi2":      cpuid.CPU.Supports(cpuid.BMI2),
		"vaes":      cpuid.CPU.Supports(cpuid.VAES),
		"gfni":      cpuid.CPU.Supports(cpuid.GFNI),
		"sha2":      cpuid.CPU.Supports(cpuid.SHA2),
		"sha3":      cpuid.CPU.Supports(cpuid.SHA3),
		"sha512":    cpuid.CPU.Supports(cpuid.SHA512),
		"sve":       cpuid.CPU.Supports(cpuid.SVE),
	}
	var names []string
	for _, n := range wire.CPUFeature.Values[1:] {
		if has[n] {
			names = append(names, n)
		}
	}
	return names
}

// memory is how many bytes Caddy may use: the machine's memory, or less where a
// control group has a limit; 0 if unknown.
func (c *Collector) memory() uint64 {
	var total uint64
	for line := range strings.Lines(c.read("/proc/meminfo")) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == "MemTotal:" {
			kib, _ := strconv.ParseUint(f[1], 10, 54)
			total = kib << 10
		}
	}
	if total == 0 && c.real {
		total = memory.TotalMemory()
	}
	for _, limit := range c.memoryLimits() {
		// A limit above what there is, such as cgroup v1's 2⁶³ for "none", limits nothing.
		if total == 0 || limit < total {
			total = limit
		}
	}
	return total
}

// memoryLimits are the limits of every control group from Caddy's own to the
// root, of which the lowest holds.
func (c *Collector) memoryLimits() []uint64 {
	var limits []uint64
	climb := func(mount, group, file string) {
		// Inside a container without its own cgroup namespace, the group's
		// path is the host's and not there; the mount's top then is ours.
		for dir := path.Clean("/" + group); ; dir = path.Dir(dir) {
			if n, err := strconv.ParseUint(strings.TrimSpace(c.read(path.Join(mount, dir, file))), 10, 64); err == nil && n > 0 && n < 1<<62 {
				limits = append(limits, n)
			}
			if dir == "/" {
				return
			}
		}
	}
	for line := range strings.Lines(c.read("/proc/self/cgroup")) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, group, ok := strings.Cut(rest, ":")
		switch {
		case !ok || len(group) > 4096:
		case id == "0" && controllers == "":
			climb("/sys/fs/cgroup", group, "memory.max")
		case contains(controllers, "memory"):
			climb("/sys/fs/cgroup/memory", group, "memory.limit_in_bytes")
		}
	}
	return limits
}

func contains(list, word string) bool {
	for w := range strings.SplitSeq(list, ",") {
		if w == word {
			return true
		}
	}
	return false
}

// memoryClass has classes that double; a machine sold with 4 GiB has a little
// less, so that each class begins a sixteenth below its name.
func memoryClass(n uint64) string {
	if n == 0 {
		return ""
	}
	classes := wire.MemoryClass.Values[1:]
	bound := uint64(256 << 20)
	for _, name := range classes[:len(classes)-1] {
		if n < bound-bound/16 {
			return name
		}
		bound *= 2
	}
	return classes[len(classes)-1]
}

// container is the kind of container that Caddy runs in. A container may run
// inside another, or on WSL: the innermost counts.
func (c *Collector) container() string {
	if c.goos == "freebsd" {
		if jailed() {
			return "jail"
		}
		return "none"
	}
	if c.goos != "linux" {
		return "none"
	}
	if c.env("KUBERNETES_SERVICE_HOST") != "" || c.exists("/var/run/secrets/kubernetes.io") {
		return "kubernetes"
	}
	if c.exists("/run/.containerenv") {
		return "podman"
	}
	if c.exists("/.dockerenv") {
		return "docker"
	}
	// Each manager says its name in one of these; the last is readable to root only.
	for _, said := range []string{
		c.env("container"),
		c.read("/run/systemd/container"),
		c.read("/run/host/container-manager"),
		variable(c.read("/proc/1/environ"), "container"),
	} {
		switch said = strings.TrimSpace(said); said {
		case "":
		case "lxc", "lxc-libvirt", "incus":
			return "lxc"
		case "wsl":
			return "wsl"
		default:
			return named(wire.Container, said)
		}
	}
	groups := c.read("/proc/self/cgroup") + c.read("/proc/1/cgroup")
	for _, known := range []struct{ part, kind string }{
		{"/kubepods", "kubernetes"}, {"/docker/", "docker"}, {"/docker-", "docker"}, {"/libpod-", "podman"},
		{"/lxc/", "lxc"}, {"/lxc.payload", "lxc"}, {"/machine.slice/", "systemd-nspawn"},
	} {
		if strings.Contains(groups, known.part) {
			return known.kind
		}
	}
	if strings.Contains(strings.ToLower(c.read("/proc/sys/kernel/osrelease")), "microsoft") {
		return "wsl"
	}
	return "none"
}

// variable finds a name in an environment as /proc has it.
func variable(environ, name string) string {
	for v := range strings.SplitSeq(environ, "\x00") {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// ContainerKind is the kind of container that this process runs in, as the
// dictionary has it: "none" if it is in none.
func ContainerKind() string {
	kind := ""
	safely(func() { kind = New("/", os.Getenv).container() })
	return kind
}
