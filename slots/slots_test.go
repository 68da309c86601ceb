package slots_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

func newSlot(content string) slots.Slot {
	return slots.Slot{
		ID: fmt.Sprintf("%x", sha256.Sum256([]byte(content))), Target: "caddy/linux-amd64/x/caddy", Caddy: "v2.11.9",
		Build:     wire.BuildList{Go: "go1.26.3", Modules: []wire.ModuleVersion{{Path: wire.CaddyPath, Version: "v2.11.9"}}},
		Installed: slots.Identity{Path: "/usr/bin/caddy", Caddy: "v2.11.3", BuildID: "0a"},
	}
}

var proof = map[string][]byte{"1.root.json": []byte("root"), "targets.json": []byte("targets")}

// put makes, fills and seals a slot.
func put(t *testing.T, d *slots.Dir, s slots.Slot, content string) {
	t.Helper()
	file, err := d.Make(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(s.ID, proof); err != nil {
		t.Fatal(err)
	}
}

func TestLife(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evergreen", "updates")
	d := slots.Open(path)
	if all, err := d.List(); err != nil || len(all) != 0 {
		t.Fatal(all, err)
	}
	if _, ok, err := d.Active(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("reading makes the folder")
	}

	s := newSlot("one")
	put(t, d, s, "one")
	want := s
	want.State, want.Sealed = slots.Candidate, true
	got, err := d.Get(s.ID)
	times := cmpopts.IgnoreFields(slots.Slot{}, "Made", "Changed")
	if diff := cmp.Diff(want, got, times); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	if i, err := os.Stat(d.Executable(s.ID)); err != nil || i.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	if m, err := d.Metadata(s.ID); err != nil || !cmp.Equal(proof, m) {
		t.Errorf("%v, %v", m, err)
	}

	if err := d.Activate(s.ID, 2); err != nil {
		t.Fatal(err)
	}
	want.Tries, want.Most = 2, 2
	got, ok, err := d.Active()
	if diff := cmp.Diff(want, got, times); err != nil || !ok || diff != "" {
		t.Fatal(ok, err, diff)
	}
	for _, left := range []int{1, 0} {
		if got, err := d.TakeTry(s.ID); err != nil || got != left {
			t.Errorf("%d tries left, %v", got, err)
		}
	}
	if _, err := d.TakeTry(s.ID); !errors.Is(err, slots.ErrNoTries) {
		t.Errorf("the third of two tries: %v", err)
	}
	if err := d.GiveBack(s.ID); err != nil {
		t.Fatal(err)
	}
	if left, err := d.TakeTry(s.ID); err != nil || left != 1 {
		t.Errorf("after giving back: %d, %v", left, err)
	}
	if err := d.Mark(s.ID, slots.Good, "ten quiet minutes"); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Get(s.ID); err != nil || got.State != slots.Good || got.Tries != 2 || got.Why != "ten quiet minutes" {
		t.Errorf("%+v, %v", got, err)
	}
	if err := d.Mark(s.ID, slots.Bad, "it panics"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.TakeTry(s.ID); !errors.Is(err, slots.ErrBad) {
		t.Errorf("a try of a bad slot: %v", err)
	}
	if err := d.Activate(s.ID, 1); !errors.Is(err, slots.ErrBad) {
		t.Errorf("activating a bad slot: %v", err)
	}
	if _, err := d.Make(s); !errors.Is(err, slots.ErrActive) {
		t.Errorf("making the active slot again: %v", err)
	}
	for range 2 {
		if err := d.Activate("", 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := d.Active(); ok || err != nil {
		t.Error(ok, err)
	}
	if _, err := d.Make(s); err != nil {
		t.Fatal(err)
	}
	if i, err := os.Stat(d.Executable(s.ID)); err != nil || i.Mode().Perm() != 0o644 {
		t.Errorf("a slot that is made again can be executed before it is sealed: %v, %v", i.Mode(), err)
	}
}

func TestSealRefuses(t *testing.T) {
	d := slots.Open(t.TempDir())
	s := newSlot("one")
	file, err := d.Make(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(s.ID, proof); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without an executable: %v", err)
	}
	if err := os.WriteFile(file, []byte("on"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(s.ID, proof); !errors.Is(err, slots.ErrHash) {
		t.Errorf("a truncated executable: %v", err)
	}
	for _, name := range []string{"../x", "", ".", "a/b", ".hidden", `a\b`} {
		if err := d.Seal(s.ID, map[string][]byte{name: nil}); err == nil {
			t.Errorf("metadata called %q is taken", name)
		}
	}
	if i, err := os.Stat(file); err != nil || i.Mode().Perm()&0o111 != 0 {
		t.Errorf("%v, %v", i.Mode(), err)
	}
	if err := d.Activate(s.ID, 3); err == nil {
		t.Error("a slot that is not sealed is activated")
	}
	for _, id := range []string{"", "..", "../../etc", "0a"} {
		if _, err := d.Get(id); !errors.Is(err, slots.ErrNoSlot) {
			t.Errorf("slot %q: %v", id, err)
		}
		if _, err := d.Metadata(id); !errors.Is(err, slots.ErrNoSlot) {
			t.Errorf("metadata of slot %q: %v", id, err)
		}
		if _, err := d.Make(slots.Slot{ID: id, Target: "x"}); err == nil {
			t.Errorf("slot %q is made", id)
		}
	}
}

// TestPrune keeps the active slot, two good ones, and those that are named.
func TestPrune(t *testing.T) {
	d := slots.Open(t.TempDir())
	if err := d.Prune(); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	slots.SetClock(d, func() time.Time { at = at.Add(time.Hour); return at })
	var all []slots.Slot
	for i := range 7 {
		c := fmt.Sprint(i)
		s := newSlot(c)
		if i > 0 {
			s.From = all[i-1].ID
		}
		put(t, d, s, c)
		if i < 4 {
			if err := d.Mark(s.ID, slots.Good, ""); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, s)
	}
	if err := d.Activate(all[4].ID, 3); err != nil {
		t.Fatal(err)
	}
	if p, ok, err := d.Previous(); err != nil || !ok || p.ID != all[3].ID {
		t.Errorf("previous: %v %v %v", p.ID, ok, err)
	}
	// Something that a crash left, and a slot that can't be read.
	for _, n := range []string{".new", ".old"} {
		if err := os.MkdirAll(filepath.Join(d.Path(), "slots", n, "metadata"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	broken := newSlot("broken").ID
	if err := os.MkdirAll(filepath.Join(d.Path(), "slots", broken), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.Path(), "slots", broken, "slot.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Prune(all[5].ID); err != nil {
		t.Fatal(err)
	}
	var got []string
	es, err := os.ReadDir(filepath.Join(d.Path(), "slots"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		got = append(got, e.Name())
	}
	want := []string{".change", all[2].ID, all[3].ID, all[4].ID, all[5].ID}
	if diff := cmp.Diff(want, got, cmpopts.SortSlices(func(a, b string) bool { return a < b })); diff != "" {
		t.Error(diff)
	}
}

// TestPrevious goes back to what is there and was good.
func TestPrevious(t *testing.T) {
	d := slots.Open(t.TempDir())
	a, b, c := newSlot("a"), newSlot("b"), newSlot("c")
	b.From, c.From = a.ID, b.ID
	for s, content := range map[*slots.Slot]string{&a: "a", &b: "b", &c: "c"} {
		put(t, d, *s, content)
	}
	previous := func() string {
		t.Helper()
		p, ok, err := d.Previous()
		if err != nil || ok != (p.ID != "") {
			t.Fatal(ok, err)
		}
		return p.ID
	}
	if got := previous(); got != "" {
		t.Errorf("of the installed executable: %s", got)
	}
	if err := d.Activate(a.ID, 3); err != nil {
		t.Fatal(err)
	}
	if got := previous(); got != "" {
		t.Errorf("of the first slot: %s", got)
	}
	if err := d.Activate(c.ID, 3); err != nil {
		t.Fatal(err)
	}
	if got := previous(); got != "" {
		t.Errorf("where none was good: %s", got)
	}
	for _, s := range []string{b.ID, a.ID} {
		if err := d.Mark(s, slots.Good, ""); err != nil {
			t.Fatal(err)
		}
	}
	if got := previous(); got != b.ID {
		t.Errorf("not the one that ran before: %s", got)
	}
	if err := d.Mark(b.ID, slots.Bad, ""); err != nil {
		t.Fatal(err)
	}
	if got := previous(); got != a.ID {
		t.Errorf("not the other good one: %s", got)
	}
}

// TestNewerFields keeps what a newer version of the package wrote.
func TestNewerFields(t *testing.T) {
	d := slots.Open(t.TempDir())
	s := newSlot("one")
	put(t, d, s, "one")
	name := filepath.Join(d.Path(), "slots", s.ID, "slot.json")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b = append([]byte(`{"mood":{"is":[1,2]},`), b[1:]...)
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Activate(s.ID, 3); err != nil {
		t.Fatal(err)
	}
	b, err = os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := slots.Field(t, b, "mood"); got != `{"is":[1,2]}` {
		t.Errorf("the field is %s", got)
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "updates")
	unlock, err := slots.Open(path).Lock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = slots.Open(path).Lock()
	if !errors.Is(err, slots.ErrLocked) {
		t.Fatalf("a second lock: %v", err)
	}
	if want := fmt.Sprintf("process %d ", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("%v does not say %q", err, want)
	}
	unlock()
	unlock, err = slots.Open(path).Lock()
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}

// TestRootsAreCarried keeps the whole chain of roots, whatever ran in between.
func TestRootsAreCarried(t *testing.T) {
	d := slots.Open(t.TempDir())
	a, b := newSlot("a"), newSlot("b")
	b.From = a.ID
	put(t, d, a, "a")
	file, err := d.Make(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := d.Seal(b.ID, map[string][]byte{"2.root.json": []byte("second"), "targets.json": []byte("newer")}); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"1.root.json": []byte("root"), "2.root.json": []byte("second"), "targets.json": []byte("newer")}
	got, err := d.Metadata(b.ID)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// TestIdentity is the same of a running process and of its file.
func TestIdentity(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ofFile, err := slots.Identify(self)
	if err != nil {
		t.Fatal(err)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("the test has no build info")
	}
	if diff := cmp.Diff(slots.IdentityOf(self, info), ofFile); diff != "" || !ofFile.Same(ofFile) {
		t.Error(diff)
	}
	other := *info
	other.GoVersion = "go1.0"
	if ofFile.Same(slots.IdentityOf(self, &other)) {
		t.Error("another build is the same")
	}
	if _, err := slots.Identify("slots_test.go"); err == nil {
		t.Error("a text is an executable")
	}
}
