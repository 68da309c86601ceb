package confine

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keptCapabilities are those of root's with which files of others can be read,
// such as certificates. Writing is Landlock's matter.
const keptCapabilities = 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH

// limit applies a Box's limits to this thread. It returns those that the system
// doesn't have; an error is of one that it has.
func limit(b Box) (missing []string, err error) {
	miss := func(what string, err error) { missing = append(missing, fmt.Sprintf("%s (%v)", what, err)) }

	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		miss("its end with its parent's", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up new privileges: %w", err)
	}
	// Ours: what it is to have, not whether it may.
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 5)
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)

	if err := limitResources(b); err != nil {
		return nil, err
	}
	switch err := landlock(b); {
	case err == unix.ENOSYS || err == unix.EOPNOTSUPP:
		miss("writes outside of its folder", fmt.Errorf("this kernel has no Landlock, or it is off: %w", err))
	case err == unix.EPERM || err == unix.EACCES:
		miss("writes outside of its folder", fmt.Errorf("Landlock is not allowed here: %w", err))
	case err != nil:
		return nil, fmt.Errorf("restricting it by Landlock: %w", err)
	}
	if err := dropCapabilities(); err != nil {
		miss("root's privileges", err)
	}
	return missing, nil
}

// dropCapabilities takes from this thread, and from what it executes, all
// capabilities but keptCapabilities.
func dropCapabilities() error {
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&hdr, &caps[0]); err != nil {
		return err
	}
	permitted := uint64(caps[0].Permitted) | uint64(caps[1].Permitted)<<32
	if permitted == 0 {
		return nil
	}
	// Root has after execve what its bounding set has.
	for c := uintptr(0); c < 64; c++ {
		if keptCapabilities>>c&1 == 1 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err == unix.EINVAL {
			break // there are no more
		} else if err != nil && os.Getuid() == 0 {
			return err
		}
	}
	permitted &= keptCapabilities
	for i := range caps {
		part := uint32(permitted >> (32 * i))
		caps[i] = unix.CapUserData{Permitted: part, Effective: part}
	}
	return unix.Capset(&hdr, &caps[0])
}

// The rights to change files, by the version of Landlock that has them.
const (
	writeRights1 = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG |
		unix.LANDLOCK_ACCESS_FS_MAKE_SOCK | unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	writeRights2 = writeRights1 | unix.LANDLOCK_ACCESS_FS_REFER
	writeRights3 = writeRights2 | unix.LANDLOCK_ACCESS_FS_TRUNCATE
)

// netPort is struct landlock_net_port_attr, which is packed in the kernel and
// has no holes in Go.
type netPort struct{ access, port uint64 }

// landlockRuleNetPort is LANDLOCK_RULE_NET_PORT.
const landlockRuleNetPort = 2

// landlock lets this thread, and what it executes, change files below b.Write
// only, listen on b.Bind only, and send no signals out of the box.
func landlock(b Box) error {
	version, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if e != 0 {
		return e
	}
	attr := unix.LandlockRulesetAttr{Access_fs: writeRights1}
	size := unsafe.Sizeof(attr.Access_fs)
	if version >= 2 {
		attr.Access_fs = writeRights2
	}
	if version >= 3 {
		attr.Access_fs = writeRights3
	}
	if version >= 4 {
		attr.Access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP
		size = unsafe.Offsetof(attr.Scoped)
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL
		size = unsafe.Sizeof(attr)
	}
	fd, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if e != 0 {
		return e
	}
	defer unix.Close(int(fd))
	allow := func(path string, access uint64, must bool) error {
		dir, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			if must {
				return fmt.Errorf("opening %s: %w", path, err)
			}
			return nil
		}
		defer unix.Close(dir)
		rule := unix.LandlockPathBeneathAttr{Allowed_access: access & attr.Access_fs, Parent_fd: int32(dir)}
		if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); e != 0 {
			return fmt.Errorf("a rule for %s: %w", path, e)
		}
		return nil
	}
	for _, dir := range b.Write {
		if err := allow(dir, attr.Access_fs, true); err != nil {
			return err
		}
	}
	for _, dev := range []string{"/dev/null", "/dev/zero", "/dev/full"} {
		if err := allow(dev, unix.LANDLOCK_ACCESS_FS_WRITE_FILE|unix.LANDLOCK_ACCESS_FS_TRUNCATE, false); err != nil {
			return err
		}
	}
	if attr.Access_net != 0 {
		for _, port := range b.Bind {
			rule := netPort{access: unix.LANDLOCK_ACCESS_NET_BIND_TCP, port: uint64(port)}
			if _, _, e := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, landlockRuleNetPort, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); e != 0 {
				return fmt.Errorf("a rule for port %d: %w", port, e)
			}
		}
	}
	if _, _, e := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return e
	}
	return nil
}
