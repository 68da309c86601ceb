package updater

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const noexecDir = "UPDATER_TEST_NOEXEC"

// beNoexec runs as root of a namespace of its own: a folder that nothing can be
// executed from, and one that is full.
func beNoexec(dir string) error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOEXEC, "size=1m"); err != nil {
		return err
	}
	return fits(dir, 0, freeSpace)
}

func TestFits(t *testing.T) {
	dir := t.TempDir()
	if err := fits(dir, 1, freeSpace); err != nil {
		t.Error(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	var e *Error
	if err := fits(dir, 1<<60, freeSpace); !errors.As(err, &e) || e.Cause != CauseSpace {
		t.Errorf("on a disk without an exbibyte: %v", err)
	}
	if err := fits(filepath.Join(dir, "missing"), 1, freeSpace); !errors.As(err, &e) || e.Cause != CauseStorage {
		t.Errorf("in a folder that is not there: %v", err)
	}
}

// A real file system that is mounted noexec.
func TestFitsNoexec(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), noexecDir+"="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "mount it without noexec") {
		t.Errorf("%v: %s", err, out)
	}
}

func init() {
	if dir := os.Getenv(noexecDir); dir != "" {
		if err := beNoexec(dir); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
}
