package sandbox

import (
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Sandbox runs programs.
type Sandbox struct{ isolation Isolation }

// New finds out what the system has. Its second result tells why there is less
// than Namespaces; nil if there is not.
func New(ctx context.Context) (*Sandbox, error) {
	dir, err := os.MkdirTemp("", "evergreen-sandbox-")
	if err != nil {
		return &Sandbox{Limits}, fmt.Errorf("trying namespaces: %w", err)
	}
	defer os.RemoveAll(dir)
	s := &Sandbox{Namespaces}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c := Command{Path: "/proc/self/exe", Dir: dir, Folders: []Folder{{Path: dir, Write: true}}}
	if err := s.start(ctx, c, true); err != nil {
		return &Sandbox{Limits}, fmt.Errorf("no namespaces: %w", err)
	}
	return s, nil
}

// Isolation is how much the programs are kept apart.
func (s *Sandbox) Isolation() Isolation { return s.isolation }

// inner is what the process that enters the sandbox is told.
type inner struct {
	Path         string
	Args, Env    []string
	Dir          string
	Folders      []Folder
	Network      bool
	Memory, File int64
	User         int
	Isolation    Isolation
	Root         string // an empty folder to mount on
	AsRoot       bool   // not in a user namespace
	Probe        bool   // enter and end
}

// libraries are where a program's loader and its libraries are.
var libraries = []string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}

// dynamic tells whether a program needs a loader. That of Go's own releases
// does not; that of a distribution may.
func dynamic(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// helperName is argument 0 of the process that enters the sandbox.
const helperName = "evergreen-sandbox"

func (s *Sandbox) run(ctx context.Context, c Command) error { return s.start(ctx, c, false) }

func (s *Sandbox) start(ctx context.Context, c Command, probe bool) error {
	root, err := os.MkdirTemp("", "evergreen-root-")
	if err != nil {
		return fmt.Errorf("making a folder for the sandbox: %w", err)
	}
	defer os.Remove(root)
	in := inner{
		Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, Folders: c.Folders, Network: c.Network,
		Memory: c.Bounds.Memory, File: c.Bounds.File, User: c.User,
		Isolation: s.isolation, Root: root, AsRoot: os.Geteuid() == 0, Probe: probe,
	}
	if s.isolation == Namespaces && dynamic(c.Path) {
		for _, lib := range libraries {
			if _, err := os.Stat(lib); err == nil {
				in.Folders = append(in.Folders, Folder{Path: lib})
			}
		}
	}
	arg, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("describing the sandbox: %w", err)
	}
	failure, inherited, err := os.Pipe()
	if err != nil {
		return err
	}
	defer failure.Close()

	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName, string(arg)}
	cmd.Env = []string{} // the program's own comes with exec
	cmd.Stdout, cmd.Stderr = c.Stdout, c.Stderr
	cmd.ExtraFiles = []*os.File{inherited}
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if s.isolation == Namespaces {
		flags := unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		if !c.Network {
			flags |= unix.CLONE_NEWNET
		}
		if !in.AsRoot {
			flags |= unix.CLONE_NEWUSER
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
		}
		cmd.SysProcAttr.Cloneflags = uintptr(flags)
	}
	// The death signal, which the child asks for, is that of the thread that
	// started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err = cmd.Start()
	inherited.Close()
	if err != nil {
		return errSetup{err.Error()}
	}
	// The pipe ends without a word when the program begins.
	words, readErr := io.ReadAll(io.LimitReader(failure, 64<<10))
	err = cmd.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if text := strings.TrimSpace(string(words)); text != "" || readErr != nil {
		return errors.Join(errSetup{text}, readErr)
	}
	return err
}

// Enter does nothing, unless this process was started by a Sandbox: then it
// enters that, becomes the program, and does not return.
func Enter() {
	if len(os.Args) != 2 || os.Args[0] != helperName {
		return
	}
	runtime.LockOSThread()
	failure := os.NewFile(3, "failure")
	unix.CloseOnExec(3)
	var in inner
	err := json.Unmarshal([]byte(os.Args[1]), &in)
	if err == nil {
		err = in.enter()
	}
	if err == nil && !in.Probe {
		err = unix.Exec(in.Path, append([]string{in.Path}, in.Args...), in.Env)
		err = fmt.Errorf("starting %s: %w", in.Path, err)
	}
	if err != nil {
		fmt.Fprintln(failure, err)
		os.Exit(125)
	}
	os.Exit(0)
}

func (in *inner) enter() error {
	if in.Isolation == Namespaces {
		if err := in.mounts(); err != nil {
			return err
		}
		if err := boundCapabilities(); err != nil {
			return err
		}
	}
	for _, l := range []struct {
		resource int
		at       int64
	}{
		{unix.RLIMIT_DATA, in.Memory}, {unix.RLIMIT_FSIZE, in.File}, {unix.RLIMIT_NOFILE, 4096}, {unix.RLIMIT_CORE, -1},
	} {
		if l.at == 0 {
			continue
		}
		at := uint64(max(l.at, 0))
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: at, Max: at}); err != nil {
			return fmt.Errorf("setting a limit: %w", err)
		}
	}
	if in.AsRoot && in.User != 0 {
		// The C library is not asked: its name services are not in here.
		if err := syscall.Setgroups(nil); err != nil {
			return fmt.Errorf("leaving the groups: %w", err)
		}
		if err := syscall.Setresgid(in.User, in.User, in.User); err != nil {
			return fmt.Errorf("becoming group %d: %w", in.User, err)
		}
		if err := syscall.Setresuid(in.User, in.User, in.User); err != nil {
			return fmt.Errorf("becoming user %d: %w", in.User, err)
		}
	}
	if in.Isolation == Namespaces {
		if err := dropCapabilities(); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("forgoing privileges: %w", err)
	}
	// Changing users cleared it: so it is last.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("asking to end with the parent: %w", err)
	}
	return os.Chdir(in.Dir)
}

// boundCapabilities takes away what could be gained. It is of this thread,
// which becomes the program.
func boundCapabilities() error {
	for c := uintptr(0); ; c++ {
		// Past the last capability the kernel says EINVAL.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); errors.Is(err, unix.EINVAL) {
			return nil
		} else if err != nil {
			return fmt.Errorf("bounding capabilities: %w", err)
		}
	}
}

// dropCapabilities takes away what this thread has.
func dropCapabilities() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("dropping ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("dropping capabilities: %w", err)
	}
	return nil
}

// devices are what a Go program may open without being told.
var devices = []string{"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"}

// forNetwork is what resolving names and checking certificates reads.
var forNetwork = []string{
	"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl", "/etc/pki", "/etc/ca-certificates",
	"/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
}

// mounts makes a file system of nothing but what the program may see.
func (in *inner) mounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("leaving the mounts of others: %w", err)
	}
	if err := unix.Mount("tmpfs", in.Root, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,mode=755"); err != nil {
		return fmt.Errorf("mounting an empty root: %w", err)
	}
	for _, d := range devices {
		if err := in.bind(d, true); err != nil {
			return err
		}
	}
	if in.Network {
		for _, f := range forNetwork {
			// A link, such as resolv.conf often is, is followed: what it
			// leads to is mounted in its place.
			if real, err := filepath.EvalSymlinks(f); err == nil {
				if err := in.bindAt(real, f, false); err != nil {
					return err
				}
			}
		}
	}
	for _, f := range in.Folders {
		if err := in.bind(f.Path, f.Write); err != nil {
			return err
		}
	}
	// Not all systems let one have it, and `go` does without.
	if proc := filepath.Join(in.Root, "proc"); os.Mkdir(proc, 0o555) == nil {
		_ = unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	old := filepath.Join(in.Root, ".old")
	if err := os.Mkdir(old, 0o700); err != nil {
		return err
	}
	if err := unix.PivotRoot(in.Root, old); err != nil {
		return fmt.Errorf("entering the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("closing the root: %w", err)
	}
	return nil
}

func (in *inner) bind(path string, write bool) error { return in.bindAt(path, path, write) }

func (in *inner) bindAt(from, to string, write bool) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	target := filepath.Join(in.Root, to)
	if info.IsDir() {
		err = os.MkdirAll(target, 0o755)
	} else if err = os.MkdirAll(filepath.Dir(target), 0o755); err == nil {
		var f *os.File
		if f, err = os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o644); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return fmt.Errorf("making a place for %s: %w", from, err)
	}
	if err := unix.Mount(from, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("showing %s: %w", from, err)
	}
	// What the mount below it has locked has to be asked for again.
	var st unix.Statfs_t
	if err := unix.Statfs(target, &st); err != nil {
		return fmt.Errorf("reading the flags of %s: %w", from, err)
	}
	flags := uintptr(st.Flags)&(unix.ST_NOEXEC|unix.ST_NOATIME|unix.ST_NODIRATIME|unix.ST_RELATIME) | unix.MS_NOSUID
	if info.Mode()&os.ModeDevice == 0 {
		flags |= unix.MS_NODEV
	}
	if !write || st.Flags&unix.ST_RDONLY != 0 {
		flags |= unix.MS_RDONLY
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""); err != nil {
		return fmt.Errorf("protecting %s: %w", from, err)
	}
	return nil
}
