package slots

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// A view is all that a start of Caddy and an updater see.
type view struct {
	Active string
	Slots  map[string]Slot // without times
}

var contents = []string{"one", "two", "three", "four", "five"}

func idOf(content string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(content))) }

func memoryDir(m *memory) *Dir {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	return &Dir{path: "/data/updates", files: m, now: func() time.Time { at = at.Add(time.Second); return at }}
}

// look reads everything, and fails if anything is broken: a sealed slot is whole
// and provable, and the active one is there and sealed.
func look(m *memory) (view, error) {
	d := memoryDir(m)
	v := view{Slots: map[string]Slot{}}
	var err error
	if v.Active, err = d.ActiveID(); err != nil {
		return v, err
	}
	names, err := d.files.ReadDir(d.at("slots"))
	if err != nil {
		names = nil // not made yet
	}
	for _, n := range names {
		if !isID(n) {
			continue
		}
		s, err := d.Get(n)
		if err != nil {
			return v, fmt.Errorf("a slot: %w", err)
		}
		s.Made, s.Changed = time.Time{}, time.Time{}
		v.Slots[n] = s
		if !s.Sealed {
			continue
		}
		exe, err := m.find(d.Executable(n))
		if err != nil || idOf(string(exe.data)) != n || exe.mode != 0o755 {
			return v, fmt.Errorf("the executable of a sealed slot is not whole: %q %v, %v", exe.data, exe.mode, err)
		}
		if got, err := d.Metadata(n); err != nil || !cmp.Equal(got, proofOf(n)) {
			return v, fmt.Errorf("the metadata of a sealed slot is not whole: %q, %v", got, err)
		}
	}
	if v.Active != "" && !v.Slots[v.Active].Sealed {
		return v, fmt.Errorf("the active slot is %+v", v.Slots[v.Active])
	}
	return v, nil
}

func proofOf(id string) map[string][]byte {
	return map[string][]byte{"1.root.json": []byte("root"), "targets.json": []byte("targets of " + id)}
}

// lookBetween is that what is read after a fault is the old or the new state.
func lookBetween(m *memory, old, new view) error {
	got, err := look(m)
	if err != nil {
		return err
	}
	return between(old, new, got)
}

// between tells what is neither old nor new in a view.
func between(old, new, got view) error {
	if got.Active != old.Active && got.Active != new.Active {
		return fmt.Errorf("%.8s is active, neither %.8s nor %.8s", got.Active, old.Active, new.Active)
	}
	for id := range maps.Keys(old.Slots) {
		if _, ok := new.Slots[id]; ok && got.Slots[id].ID == "" {
			return fmt.Errorf("slot %.8s is gone", id)
		}
	}
	for id, s := range got.Slots {
		if !reflect.DeepEqual(s, old.Slots[id]) && !reflect.DeepEqual(s, new.Slots[id]) {
			return fmt.Errorf("slot %.8s is %+v, neither %+v nor %+v", id, s, old.Slots[id], new.Slots[id])
		}
	}
	if got.Active != old.Active && got.Active != "" && !reflect.DeepEqual(got.Slots[got.Active], new.Slots[got.Active]) {
		return fmt.Errorf("slot %.8s is active before it is ready: %+v", got.Active, got.Slots[got.Active])
	}
	return nil
}

type act struct {
	name string
	do   func(d *Dir) error
	redo func(d *Dir) error // after a failure; nil: doing it again changes more
}

// life is what a Caddy does in four updates, one of which is bad.
func life() []act {
	var acts []act
	add := func(name string, do func(d *Dir) error) { acts = append(acts, act{name, do, do}) }
	for i, c := range contents {
		id := idOf(c)
		add("make "+c, func(d *Dir) error {
			s := Slot{ID: id, Target: "caddy/" + c, Caddy: "v2.11.9"}
			if i > 0 {
				s.From = idOf(contents[i-1])
			}
			_, err := d.Make(s)
			return err
		})
		// As package trust writes it: whole, but its name is not synced.
		add("download "+c, func(d *Dir) error {
			temp := d.Executable(id) + ".part"
			if err := d.files.RemoveAll(temp); err != nil {
				return err
			}
			if err := d.fill(temp, 0o644, []byte(c)); err != nil {
				return err
			}
			return d.files.Rename(temp, d.Executable(id))
		})
		seal := func(d *Dir) error { return d.Seal(id, proofOf(id)) }
		download := acts[len(acts)-1].do
		acts = append(acts, act{"seal " + c, seal, func(d *Dir) error { return errors.Join(download(d), seal(d)) }})
		add("activate "+c, func(d *Dir) error { return d.Activate(id, 3) })
		acts = append(acts, act{"take a try of " + c, func(d *Dir) error { _, err := d.TakeTry(id); return err }, nil})
		add("give back the tries of "+c, func(d *Dir) error { return d.GiveBack(id) })
		if i == 3 {
			add("mark "+c+" bad", func(d *Dir) error { return d.Mark(id, Bad, "it panics") })
			add("go back to the installed executable", func(d *Dir) error { return d.Activate("", 0) })
			continue
		}
		add("mark "+c+" good", func(d *Dir) error { return d.Mark(id, Good, "ten quiet minutes") })
		add("prune after "+c, func(d *Dir) error { return d.Prune() })
	}
	return acts
}

func mustLook(t *testing.T, m *memory) view {
	t.Helper()
	v, err := look(m)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// durable is what a power cut right now leaves for certain.
func durable(m *memory) *memory { return m.afterCut()[0] }

func start(t *testing.T) *memory {
	t.Helper()
	m := newMemory()
	if err := errors.Join(m.MkdirAll("/data"), m.Sync("/")); err != nil {
		t.Fatal(err)
	}
	m.calls = 0
	return m
}

// TestPowerCut cuts the power before each call of every change that four updates
// make, in all ways that the file system may take it.
func TestPowerCut(t *testing.T) {
	m := start(t)
	cuts := 0
	for _, a := range life() {
		old := mustLook(t, m)
		after := m.copy()
		if err := a.do(memoryDir(after)); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		calls := after.calls
		want := mustLook(t, after)
		kept, err := look(durable(after))
		if diff := cmp.Diff(want, kept, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("%s is not durable: %v\n%s", a.name, err, diff)
		}
		for k := 1; k <= calls; k++ {
			cut := m.copy()
			cut.failAt, cut.err, cut.forever = k, errors.New("power cut"), true
			_ = a.do(memoryDir(cut)) // what it did before call k
			for _, left := range cut.afterCut() {
				cuts++
				if err := lookBetween(left, old, want); err != nil {
					t.Fatalf("%s, cut before call %d of %d: %v", a.name, k, calls, err)
				}
				goOn(t, a, left, want)
			}
		}
		m = after
		m.calls = 0
	}
	t.Logf("%d power cuts", cuts)
}

// goOn does the same again after a failure.
func goOn(t *testing.T, a act, m *memory, want view) {
	t.Helper()
	if a.redo == nil {
		return
	}
	m.calls, m.failAt, m.forever = 0, 0, false
	if err := a.redo(memoryDir(m)); err != nil {
		t.Fatalf("%s, again after a failure: %v", a.name, err)
	}
	got, err := look(m)
	if err != nil || !reflect.DeepEqual(want, got) {
		diff := cmp.Diff(want, got)
		t.Fatalf("%s, again after a failure: %v\n%s", a.name, err, diff)
	}
}

// TestFailures has each call of every change fail once, and all from it on.
func TestFailures(t *testing.T) {
	m := start(t)
	failures := 0
	for _, a := range life() {
		old := mustLook(t, m)
		after := m.copy()
		if err := a.do(memoryDir(after)); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		calls := after.calls
		want := mustLook(t, after)
		for k := 1; k <= calls; k++ {
			for _, e := range []error{syscall.ENOSPC, syscall.EROFS, syscall.EIO} {
				for _, forever := range []bool{false, true} {
					failures++
					bad := m.copy()
					bad.failAt, bad.err, bad.forever = k, e, forever
					err := a.do(memoryDir(bad))
					if err == nil {
						t.Fatalf("%s: call %d fails with %v, and nobody is told", a.name, k, e)
					}
					if !errors.Is(err, e) {
						t.Fatalf("%s: call %d fails with %v, which %v does not say", a.name, k, e, err)
					}
					for _, left := range []*memory{durable(bad), bad} {
						if err := lookBetween(left, old, want); err != nil {
							t.Fatalf("%s, whose call %d failed with %v: %v", a.name, k, e, err)
						}
					}
					goOn(t, a, bad, want)
				}
			}
		}
		m = after
		m.calls = 0
	}
	t.Logf("%d failures", failures)
}

// TestMemory holds the model to what it is to find: without any one of the
// syncs it would not be durable.
func TestMemory(t *testing.T) {
	m := start(t)
	d := memoryDir(m)
	if err := d.fill("/data/a", 0o644, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := durable(m).find("/data/a"); err == nil {
		t.Error("a name is durable without a sync of its folder")
	}
	if err := m.Sync("/data"); err != nil {
		t.Fatal(err)
	}
	f, err := m.Create("/data/b", 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := m.Sync("/data"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"/data/a": "x", "/data/b": ""} {
		if b, err := durable(m).ReadFile(name, 10); err != nil || string(b) != want {
			t.Errorf("%s is %q after a power cut, %v", name, b, err)
		}
	}
	if got := slices.Sorted(maps.Keys(m.root.names)); !cmp.Equal(got, []string{filepath.Base("/data")}) {
		t.Error(got)
	}
}
