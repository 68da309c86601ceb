package reporter

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

// epoch is a start of a window in all tests.
const epoch = 1_800_000_000

func testClock() time.Time { return time.Unix(epoch+3600, 0) }

// drops are what a spool said that it dropped: reports and windows by reason.
type drops map[string][2]int

func (d drops) add(reason wire.Value, reports, windows int) {
	n := d[wire.DropReason.ValueName(reason)]
	d[wire.DropReason.ValueName(reason)] = [2]int{n[0] + reports, n[1] + windows}
}

func testSpool(dir folder) (*spool, drops) {
	d := drops{}
	return &spool{dir: dir, maxBytes: maxDiskBytes, now: testClock, log: zap.NewNop(), dropped: d.add}, d
}

// both runs a test on a folder on disk and on one in memory.
func both(t *testing.T, test func(t *testing.T, dir folder)) {
	t.Run("disk", func(t *testing.T) { test(t, &disk{root: filepath.Join(t.TempDir(), "evergreen")}) })
	t.Run("memory", func(t *testing.T) { test(t, memory{}) })
}

func mustAppend(t *testing.T, s *spool, windows ...*wire.Window) {
	t.Helper()
	if n, err := s.append(windows, &wire.Facts{Os: "linux"}); err != nil || n != len(windows) {
		t.Fatalf("append: %d of %d, %v", n, len(windows), err)
	}
}

func mustHead(t *testing.T, s *spool, number uint64, starts ...int64) *outgoing {
	t.Helper()
	out, err := s.head()
	if err != nil || out == nil {
		t.Fatalf("head: %v, %v", out, err)
	}
	if out.report.Number != number {
		t.Fatalf("head is report %d, want %d", out.report.Number, number)
	}
	if diff := cmp.Diff(starts, startsOf(out.report)); diff != "" {
		t.Fatalf("windows of report %d: -want +got\n%s", number, diff)
	}
	return out
}

func startsOf(rep *wire.Report) []int64 {
	var starts []int64
	for _, w := range rep.Windows {
		starts = append(starts, w.Start-epoch)
	}
	return starts
}

func mustStore(t *testing.T, s *spool, out *outgoing, through uint64) {
	t.Helper()
	if _, err := s.stored(out.instance, through); err != nil {
		t.Fatal(err)
	}
}

func mustBeEmpty(t *testing.T, s *spool) {
	t.Helper()
	if out, err := s.head(); out != nil || err != nil {
		t.Fatalf("head: %v, %v", out, err)
	}
}

func TestWindowsCollectUntilAReportIsSealed(t *testing.T) {
	both(t, func(t *testing.T, dir folder) {
		s, dropped := testSpool(dir)
		mustBeEmpty(t, s)
		mustAppend(t, s, testWindow(epoch), testWindow(epoch+300))
		mustAppend(t, s, testWindow(epoch+600))
		first := mustHead(t, s, 1, 0, 300, 600)
		mustAppend(t, s, testWindow(epoch+900))
		again := mustHead(t, s, 1, 0, 300, 600)
		if !bytes.Equal(first.body, again.body) {
			t.Error("a sealed report has changed")
		}
		if diff := cmp.Diff("linux", first.report.Facts.Os); diff != "" {
			t.Error(diff)
		}
		mustStore(t, s, first, 1)
		second := mustHead(t, s, 2, 900)
		mustStore(t, s, second, 2)
		mustBeEmpty(t, s)
		mustAppend(t, s, testWindow(epoch+1200))
		mustHead(t, s, 3, 1200)

		reopened, _ := testSpool(dir)
		if out := mustHead(t, reopened, 3, 1200); out.instance != first.instance {
			t.Error("the identity has changed")
		}
		if len(dropped) > 0 {
			t.Errorf("dropped %v", dropped)
		}
	})
}

func TestStoredThroughRemovesWhatItCoversAndNoMore(t *testing.T) {
	for through, want := range map[uint64]uint64{0: 1, 1: 2, 2: 3} {
		both(t, func(t *testing.T, dir folder) {
			s, dropped := testSpool(dir)
			var first *outgoing
			for i := range int64(3) { // each more than a report may span after the other
				mustAppend(t, s, testWindow(epoch-80_000+i*30_000))
				if i == 0 {
					first = mustHead(t, s, 1, -80_000)
				}
			}
			more, err := s.stored(first.instance, through)
			if err != nil || !more {
				t.Fatal(more, err)
			}
			mustHead(t, s, want, -80_000+int64(want-1)*30_000)
			if st := s.stats(); st.storedThrough != through || st.reports != 3-int(through) {
				t.Errorf("stats are %+v", st)
			}
			if len(dropped) > 0 {
				t.Errorf("dropped %v", dropped)
			}
		})
	}
}

func TestAnswerToAFormerIdentityChangesNothing(t *testing.T) {
	both(t, func(t *testing.T, dir folder) {
		s, dropped := testSpool(dir)
		mustAppend(t, s, testWindow(epoch))
		former := mustHead(t, s, 1, 0)
		mustAppend(t, s, testWindow(epoch+300))
		if err := s.reset(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(drops{"other": {2, 2}}, dropped); diff != "" {
			t.Error(diff)
		}
		mustBeEmpty(t, s)
		mustAppend(t, s, testWindow(epoch+600))
		now := mustHead(t, s, 1, 600)
		if now.instance == former.instance {
			t.Error("the identity is the same")
		}
		mustStore(t, s, former, 1)
		if _, err := s.reject(former.instance, 1); err != nil {
			t.Fatal(err)
		}
		mustHead(t, s, 1, 600)
	})
}

func TestRejectedReportMakesRoomForTheNext(t *testing.T) {
	both(t, func(t *testing.T, dir folder) {
		s, dropped := testSpool(dir)
		mustAppend(t, s, testWindow(epoch), testWindow(epoch+300))
		out := mustHead(t, s, 1, 0, 300)
		if more, err := s.reject(out.instance, 1); more || err != nil {
			t.Fatal(more, err)
		}
		mustBeEmpty(t, s)
		mustAppend(t, s, testWindow(epoch+600))
		mustHead(t, s, 2, 600)
		if diff := cmp.Diff(drops{"rejected": {1, 2}}, dropped); diff != "" {
			t.Error(diff)
		}
	})
}

func TestReportsKeepTheirLimits(t *testing.T) {
	both(t, func(t *testing.T, dir folder) {
		s, dropped := testSpool(dir)
		minutes := func(from, n int) (ws []*wire.Window) {
			for i := range n {
				ws = append(ws, testWindow(epoch+int64(from+i)*60))
			}
			return ws
		}
		mustAppend(t, s, minutes(0, 90)...)
		mustAppend(t, s, minutes(90, 10)...) // more than 96
		if out := mustHead(t, s, 1, startsOf(&wire.Report{Windows: minutes(0, 96)})...); len(out.report.Windows) != wire.MaxWindows {
			t.Errorf("%d windows", len(out.report.Windows))
		}
		mustAppend(t, s, noisyWindow(epoch+6000, 200_000), noisyWindow(epoch+6300, 200_000)) // more than 256 KiB
		mustAppend(t, s, noisyWindow(epoch+6600, wire.MaxBody+1000))                         // in no report
		mustAppend(t, s, testWindow(epoch+6900))
		mustAppend(t, s, testWindow(epoch+6900+8*3600)) // too long after
		var got [][]int64
		for {
			out, err := s.head()
			if err != nil {
				t.Fatal(err)
			}
			if out == nil {
				break
			}
			if len(out.body) > wire.MaxBody {
				t.Errorf("report %d has %d bytes", out.report.Number, len(out.body))
			}
			if out.report.Number > 1 {
				got = append(got, startsOf(out.report))
			}
			mustStore(t, s, out, out.report.Number)
		}
		want := [][]int64{{5760, 5820, 5880, 5940, 6000}, {6300}, {6900}, {6900 + 8*3600}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff(drops{"size": {0, 1}}, dropped); diff != "" {
			t.Error(diff)
		}
	})
}

func TestSpoolIsBoundedInSizeAndDropsTheOldest(t *testing.T) {
	both(t, func(t *testing.T, dir folder) {
		s, dropped := testSpool(dir)
		s.maxBytes = 1 << 20
		for i := range int64(20) {
			mustAppend(t, s, noisyWindow(epoch+i*300, 200_000))
			if st := s.stats(); st.bytes > s.maxBytes {
				t.Fatalf("%d bytes", st.bytes)
			}
		}
		out, err := s.head()
		if err != nil {
			t.Fatal(err)
		}
		kept := s.stats().reports
		if kept < 4 {
			t.Errorf("%d reports kept", kept)
		}
		if diff := cmp.Diff(drops{"size": {20 - kept, 20 - kept}}, dropped); diff != "" {
			t.Error(diff)
		}
		if want := uint64(20 - kept + 1); out.report.Number != want {
			t.Errorf("oldest is report %d, want %d", out.report.Number, want)
		}
	})
}

func TestSpoolForgetsAfterSevenDays(t *testing.T) {
	for _, test := range []struct {
		name string
		act  func(s *spool) error
	}{
		{"when asked for it", func(s *spool) error { _, err := s.head(); return err }},
		{"while nothing is sent", func(s *spool) error {
			_, err := s.append([]*wire.Window{testWindow(epoch + 7*86400)}, nil)
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, dropped := testSpool(memory{})
			mustAppend(t, s, testWindow(epoch), testWindow(epoch+300))
			mustHead(t, s, 1, 0, 300)
			s.now = func() time.Time { return time.Unix(epoch+600, 0).Add(maxAge) }
			if err := test.act(s); err != nil || len(dropped) > 0 {
				t.Fatalf("at seven days: %v, dropped %v", err, dropped)
			}
			s.now = func() time.Time { return time.Unix(epoch+601, 0).Add(maxAge) }
			if err := test.act(s); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(drops{"age": {1, 2}}, dropped); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnreadableFilesAreDroppedAndCounted(t *testing.T) {
	damage := map[string]func(t *testing.T, path string){
		"cut": func(t *testing.T, path string) {
			if err := os.Truncate(path, 20); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, path string) {
			if err := os.Truncate(path, 0); err != nil {
				t.Fatal(err)
			}
		},
		"huge": func(t *testing.T, path string) {
			if err := os.Truncate(path, maxFile+1); err != nil {
				t.Fatal(err)
			}
		},
		"another's number": func(t *testing.T, path string) {
			body, err := encode(&wire.Report{Number: 99, Windows: []*wire.Window{testWindow(0)}})
			if err == nil {
				err = os.WriteFile(path, body, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range damage {
		for _, sealed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/sealed=%t", name, sealed), func(t *testing.T) {
				d := &disk{root: t.TempDir()}
				s, dropped := testSpool(d)
				mustAppend(t, s, testWindow(epoch))
				e := entry{number: 1, sealed: sealed}
				if sealed {
					mustHead(t, s, 1, 0)
				}
				key, err := s.signer()
				if err != nil {
					t.Fatal(err)
				}
				damage(t, d.path(spoolDir+"/"+idOf(key).String()+"/"+e.name()))
				mustAppend(t, s, testWindow(epoch+300))
				out, err := s.head()
				if err != nil || len(out.report.Windows) != 1 || out.report.Windows[0].Start != epoch+300 {
					t.Errorf("head: %+v, %v", out, err)
				}
				// A number that may have been sent is not used again.
				if sealed && out.report.Number != 2 {
					t.Errorf("number %d is used again", out.report.Number)
				}
				if diff := cmp.Diff(drops{"unreadable": {1, 0}}, dropped); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestStrangeFilesAreLeftAlone(t *testing.T) {
	d := &disk{root: t.TempDir()}
	s, dropped := testSpool(d)
	mustAppend(t, s, testWindow(epoch))
	key, err := s.signer()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(d.root, spoolDir, idOf(key).String())
	for _, name := range []string{"7.report", "00000000000000000000.report", "18446744073709551615.report", "notes.txt", "0000000000000000000x.open"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "00000000000000000002.report"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustHead(t, s, 1, 0)
	if len(dropped) > 0 {
		t.Errorf("dropped %v", dropped)
	}
}

func TestIdentityIsReplacedWhenItCantBeTrusted(t *testing.T) {
	for name, test := range map[string]struct {
		harm func(root, id string) error
		same bool
	}{
		"nothing":         {func(string, string) error { return nil }, true},
		"key is gone":     {func(root, _ string) error { return os.Remove(filepath.Join(root, keyFile)) }, false},
		"key is damaged":  {func(root, _ string) error { return os.WriteFile(filepath.Join(root, keyFile), []byte("x"), 0o600) }, false},
		"key is empty":    {func(root, _ string) error { return os.Truncate(filepath.Join(root, keyFile), 0) }, false},
		"ledger is gone":  {func(root, id string) error { return os.Remove(filepath.Join(root, spoolDir, id, ledgerFile)) }, false},
		"ledger damaged":  {func(root, id string) error { return os.Truncate(filepath.Join(root, spoolDir, id, ledgerFile), 3) }, false},
		"folder is gone":  {func(root, _ string) error { return os.RemoveAll(root) }, false},
		"reports are all": {func(root, id string) error { return removeReports(filepath.Join(root, spoolDir, id)) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "evergreen")
			s, _ := testSpool(&disk{root: root})
			mustAppend(t, s, testWindow(epoch))
			before := mustHead(t, s, 1, 0)
			if err := test.harm(root, before.instance.String()); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, s, testWindow(epoch+300))
			after, err := s.head()
			if err != nil {
				t.Fatal(err)
			}
			if same := after.instance == before.instance; same != test.same {
				t.Errorf("the identity is the same: %t, want %t", same, test.same)
			}
			if after.instance == before.instance && after.report.Number == before.report.Number && !bytes.Equal(after.body, before.body) {
				t.Error("a number is used for two contents")
			}
		})
	}
}

func removeReports(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.report"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

func TestDamagedKeyIsSetAside(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, keyFile), []byte("not a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ := testSpool(&disk{root: root})
	if _, err := s.signer(); err != nil {
		t.Fatal(err)
	}
	aside, err := filepath.Glob(filepath.Join(root, keyFile+".damaged-*"))
	if err != nil || len(aside) != 1 {
		t.Fatal(aside, err)
	}
	if b, err := os.ReadFile(aside[0]); err != nil || string(b) != "not a key" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestFilesAreForTheirOwnerOnly(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data", "evergreen")
	s, _ := testSpool(&disk{root: root})
	mustAppend(t, s, testWindow(epoch))
	if _, err := s.notice(func() {}); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyFile(t *testing.T) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decodeKey(b); err != nil || !got.Equal(key) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzDecodeKey(f *testing.F) {
	b, err := encodeKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if key, err := decodeKey(b); err == nil && len(key) != ed25519.PrivateKeySize {
			t.Errorf("a key of %d bytes", len(key))
		} else if err != nil && !errors.Is(err, errUnreadable) {
			t.Errorf("not errUnreadable: %v", err)
		}
	})
}

// Two spools on one folder behave as one: what an old and a new Caddy do that
// overlap.
func TestProcessesShareOneSequence(t *testing.T) {
	root := t.TempDir()
	a, droppedA := testSpool(&disk{root: root})
	b, droppedB := testSpool(&disk{root: root})
	const each = 40
	errs := make(chan error)
	for i, s := range []*spool{a, b} {
		go func() {
			for k := range int64(each) {
				if _, err := s.append([]*wire.Window{testWindow(epoch + k*600 + int64(i)*300)}, nil); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	sv := newModel(t)
	for done := 0; done < 2; {
		select {
		case err := <-errs:
			if err != nil {
				t.Fatal(err)
			}
			done++
		default:
			sv.receive(a)
			sv.receive(b)
		}
	}
	for sv.receive(a) {
	}
	if got := len(sv.windows); got != 2*each {
		t.Errorf("%d of %d windows arrived", got, 2*each)
	}
	if len(droppedA)+len(droppedB) > 0 {
		t.Errorf("dropped %v, %v", droppedA, droppedB)
	}

	release, err := a.dir.sender()
	if err != nil || release == nil {
		t.Fatal(release == nil, err)
	}
	if second, err := b.dir.sender(); second != nil || err != nil {
		t.Errorf("two have the right to send: %v", err)
	}
	release()
	if second, err := b.dir.sender(); second == nil || err != nil {
		t.Errorf("the right to send was not passed on: %v", err)
	} else {
		second()
	}
}

// A model is a server reduced to what it must never see: a number with two
// contents, or a window in two reports.
type model struct {
	t       *testing.T
	bodies  map[string][]byte // by instance and number
	windows map[int64]string
}

func newModel(t *testing.T) *model {
	return &model{t, map[string][]byte{}, map[int64]string{}}
}

func (m *model) take(out *outgoing) {
	m.t.Helper()
	name := fmt.Sprintf("%s/%d", out.instance, out.report.Number)
	if body, ok := m.bodies[name]; ok {
		if !bytes.Equal(body, out.body) {
			m.t.Errorf("%s came with two contents", name)
		}
		return
	}
	m.bodies[name] = out.body
	for _, w := range out.report.Windows {
		if before, ok := m.windows[w.Start]; ok {
			m.t.Errorf("window %d came in %s and in %s", w.Start-epoch, before, name)
		}
		m.windows[w.Start] = name
	}
}

// receive takes what s sends next, and answers false if that is nothing.
func (m *model) receive(s *spool) bool {
	m.t.Helper()
	out, err := s.head()
	if err != nil {
		m.t.Fatal(err)
	}
	if out == nil {
		return false
	}
	m.take(out)
	if _, err := s.stored(out.instance, out.report.Number); err != nil {
		m.t.Fatal(err)
	}
	return true
}
