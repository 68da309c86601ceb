package slots

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestInstallKeeps has root replace another user's file that has capabilities.
// Others can't make one, and then the rest of it is tested.
func TestInstallKeeps(t *testing.T) {
	dir := t.TempDir()
	to := filepath.Join(dir, "caddy")
	d := Open(filepath.Join(dir, "updates"))
	id := idOf("new")
	file, err := d.Make(Slot{ID: id, Target: "caddy"})
	if err := errors.Join(err, os.WriteFile(file, []byte("new"), 0o644), os.WriteFile(to, []byte("old"), 0o600), os.Chmod(to, 0o2751)); err != nil {
		t.Fatal(err)
	}
	type kept struct {
		Mode       os.FileMode
		UID, GID   uint32
		Attributes string
	}
	of := func() kept {
		t.Helper()
		i, err := os.Stat(to)
		if err != nil {
			t.Fatal(err)
		}
		owner := i.Sys().(*syscall.Stat_t)
		value := make([]byte, 100)
		n, err := unix.Getxattr(to, "security.capability", value)
		if err != nil {
			n = 0
		}
		return kept{i.Mode(), owner.Uid, owner.Gid, string(value[:n])}
	}
	if os.Geteuid() == 0 {
		var attribute []byte
		for _, v := range []uint32{0x02000001, 1 << unix.CAP_NET_BIND_SERVICE, 0, 0, 0} {
			attribute = binary.LittleEndian.AppendUint32(attribute, v)
		}
		if err := errors.Join(os.Chown(to, 65534, 65533), os.Chmod(to, 0o2751|os.ModeSetgid), unix.Setxattr(to, "security.capability", attribute, 0)); err != nil {
			t.Fatal(err)
		}
		if of().Attributes == "" {
			t.Fatal("the file has no capabilities to lose")
		}
	}
	want := of()

	wrong := errors.New("not proven")
	if err := d.Install(id, to, func(string) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("what is not proven is installed: %v", err)
	}
	if err := d.Install(idOf("another"), to, func(string) error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a slot that is not there is installed: %v", err)
	}
	if err := d.Install("../x", to, func(string) error { return nil }); !errors.Is(err, ErrNoSlot) {
		t.Errorf("what is no slot is installed: %v", err)
	}
	for name, over := range map[string]string{"a folder": dir, "nothing": to + "2"} {
		if err := d.Install(id, over, func(string) error { return nil }); err == nil {
			t.Errorf("it is installed over %s", name)
		}
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != "old" {
		t.Fatalf("%s, %v", b, err)
	}
	checked := ""
	if err := d.Install(id, to, func(file string) error {
		b, err := os.ReadFile(file)
		checked = string(b)
		// Whoever owns the slot changes it after it was proven.
		return errors.Join(err, os.WriteFile(d.Executable(id), []byte("evil"), 0o644))
	}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(to); err != nil || string(b) != "new" || checked != "new" {
		t.Errorf("%s, checked %s, %v", b, checked, err)
	}
	if diff := cmp.Diff(want, of()); diff != "" {
		t.Error(diff)
	}
	es, err := os.ReadDir(dir)
	if err != nil || len(es) != 2 {
		t.Errorf("%v is left, %v", es, err)
	}
}
