//go:build e2e

package bridge

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestE2ECapabilities: what an executable with file capabilities may ("setcap
// cap_net_bind_service=+ep"), the next one may as well, which has none. It needs
// root, to set them.
func TestE2ECapabilities(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "bridge") // where nobody may execute
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	capable, plain := filepath.Join(dir, "capable"), filepath.Join(dir, "plain")
	for _, path := range []string{capable, plain} {
		if err := os.WriteFile(path, image, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// struct vfs_cap_data of linux/capability.h: revision 2, effective; permitted
	// and inheritable, low and high halves.
	var data [20]byte
	binary.LittleEndian.PutUint32(data[0:], 0x02000001)
	binary.LittleEndian.PutUint32(data[4:], 1<<unix.CAP_NET_BIND_SERVICE)
	if err := unix.Setxattr(capable, "security.capability", data[:], 0); err != nil {
		t.Fatalf("setting file capabilities (as root): %v", err)
	}
	s := startServerBy(t, func(s *spec) { s.Self = plain }, func(cmd *exec.Cmd) {
		cmd.Path = capable
		if err := os.Chown(cmd.Args[2], nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	})
	want := fmt.Sprintf("%x", 1<<unix.CAP_NET_BIND_SERVICE)
	for _, image := range []string{"second", "third", "fourth"} {
		if d := cmp.Diff(want, s.header("Capabilities")); d != "" {
			t.Errorf("capabilities before it becomes the %s (-want +got):\n%s", image, d)
		}
		s.become(image)
	}
}
