package reporter

import (
	"errors"
	"slices"
	"testing"

	"github.com/caddy-evergreen/evergreen/wire"
)

// errCrash is what a step panics with when the process dies there.
var errCrash = errors.New("crash")

// A day is what an instance does: windows close, reports go out, some answers
// get lost, one report is refused.
type day struct {
	sv *model
	// certain are the windows whose append came back.
	certain, refused []int64
	done             int // actions
}

func (d *day) append(s *spool, starts ...int64) error {
	var windows []*wire.Window
	for _, at := range starts {
		windows = append(windows, testWindow(epoch+at))
	}
	n, err := s.append(windows, nil)
	d.certain = append(d.certain, starts[:n]...)
	return err
}

func (d *day) send(s *spool, answer func(out *outgoing) error) error {
	out, err := s.head()
	if err != nil || out == nil {
		return err
	}
	d.sv.take(out)
	return answer(out)
}

func (d *day) actions() []func(s *spool) error {
	stored := func(s *spool) func(*outgoing) error {
		return func(out *outgoing) error { _, err := s.stored(out.instance, out.report.Number); return err }
	}
	lost := func(*outgoing) error { return nil }
	return []func(s *spool) error{
		func(s *spool) error { return d.append(s, 0, 300) },
		func(s *spool) error { return d.append(s, 600) },
		func(s *spool) error { return d.send(s, lost) },
		func(s *spool) error { return d.append(s, 900) },
		func(s *spool) error { return d.send(s, stored(s)) },
		func(s *spool) error { return d.append(s, 1200) },
		func(s *spool) error { return d.send(s, stored(s)) },
		func(s *spool) error { return d.send(s, stored(s)) },
		func(s *spool) error { return d.append(s, 1500, 1500+30_000) }, // too long apart for one report
		func(s *spool) error {
			return d.send(s, func(out *outgoing) error {
				if !slices.Equal(startsOf(out.report), []int64{1500}) {
					return nil // a crash made another report of it
				}
				d.refused = append(d.refused, 1500)
				_, err := s.reject(out.instance, out.report.Number)
				return err
			})
		},
		func(s *spool) error { return d.send(s, stored(s)) },
		func(s *spool) error { return d.send(s, stored(s)) },
	}
}

// live goes on with the day until it is over or the process crashes. An action
// that fails is tried again if it sends; windows that were closed in a process
// that crashed are lost if they were not spooled.
func (d *day) live(dir folder) (crashed bool) {
	s, _ := testSpool(dir)
	defer func() {
		if p := recover(); p == errCrash {
			crashed = true
			d.done++ // what was closing is gone with the process; what was sent is sent again
		} else if p != nil {
			panic(p)
		}
	}()
	for actions := d.actions(); d.done < len(actions); d.done++ {
		if err := actions[d.done](s); err != nil {
			d.sv.t.Fatal(err)
		}
	}
	return false
}

func (d *day) check(dir folder) {
	d.sv.t.Helper()
	s, dropped := testSpool(dir)
	for d.sv.receive(s) {
	}
	for _, at := range d.certain {
		if _, ok := d.sv.windows[epoch+at]; !ok {
			d.sv.t.Errorf("window %d is lost", at)
		}
	}
	if len(dropped) > 0 {
		d.sv.t.Errorf("dropped %v", dropped)
	}
}

// TestCrashAtEachStep lets the process die before each change of the folder,
// and once more before each of the next ones after it was started again.
func TestCrashAtEachStep(t *testing.T) {
	for first := 1; ; first++ {
		reached := false
		for second := 1; second <= 2; second++ {
			root := t.TempDir()
			d := &day{sv: newModel(t)}
			if !d.live(crashing(root, first)) {
				d.check(&disk{root: root, noSync: true})
				break
			}
			reached = true
			if !d.live(crashing(root, second)) {
				d.check(&disk{root: root, noSync: true})
				break
			}
			if d.live(&disk{root: root, noSync: true}) {
				t.Fatal("crashed without a reason")
			}
			d.check(&disk{root: root, noSync: true})
			if t.Failed() {
				t.Fatalf("after crashes at step %d and, started again, at step %d", first, second)
			}
		}
		if !reached {
			if first < 40 {
				t.Errorf("the day had only %d steps", first)
			}
			return
		}
	}
}

func crashing(root string, at int) *disk {
	n := 0
	return &disk{root: root, noSync: true, step: func(string, string) error {
		if n++; n == at {
			panic(errCrash)
		}
		return nil
	}}
}

// TestFaultAtEachStep lets each change of the folder fail once, as a full disk
// does. Nothing at all may be lost, for the process lives.
func TestFaultAtEachStep(t *testing.T) {
	for at := 1; ; at++ {
		n := 0
		dir := &disk{root: t.TempDir(), noSync: true, step: func(string, string) error {
			if n++; n == at {
				return errors.New("no space left on device")
			}
			return nil
		}}
		s, dropped := testSpool(dir)
		sv := newModel(t)
		var pending []*wire.Window
		for i := range int64(6) {
			pending = append(pending, testWindow(epoch+i*300))
			done, _ := s.append(pending, nil)
			pending = pending[done:]
			if i%2 == 0 {
				continue
			}
			if out, err := s.head(); err == nil && out != nil {
				sv.take(out)
				_, _ = s.stored(out.instance, out.report.Number)
			}
		}
		if done, err := s.append(pending, nil); n > at && err != nil {
			t.Fatalf("%d of %d: %v", done, len(pending), err)
		}
		fixed, _ := testSpool(&disk{root: dir.root, noSync: true})
		for sv.receive(fixed) {
		}
		if len(sv.windows) != 6 || len(dropped) > 0 {
			t.Fatalf("a fault at step %d: %d of 6 windows came, dropped %v", at, len(sv.windows), dropped)
		}
		if n < at {
			return
		}
	}
}

// TestCrashInResetLeavesOneIdentity lets the process die before each step of a
// change of identity: afterwards it is the old one with all it had, or a new
// one with nothing.
func TestCrashInResetLeavesOneIdentity(t *testing.T) {
	for at := 1; ; at++ {
		root := t.TempDir()
		s, _ := testSpool(&disk{root: root, noSync: true})
		mustAppend(t, s, testWindow(epoch))
		old := mustHead(t, s, 1, 0)
		mustAppend(t, s, testWindow(epoch+300))

		crashed := func() (crashed bool) {
			defer func() { crashed = recover() != nil }()
			dying, _ := testSpool(crashing(root, at))
			if err := dying.reset(); err != nil {
				t.Fatal(err)
			}
			return false
		}()
		s, _ = testSpool(&disk{root: root, noSync: true})
		out, err := s.head()
		if err != nil {
			t.Fatal(err)
		}
		key, err := s.signer()
		if err != nil {
			t.Fatal(err)
		}
		switch now := idOf(key); {
		case now == old.instance && !crashed:
			t.Error("the identity is the same")
		case now == old.instance:
			mustHead(t, s, 1, 0)
			mustStore(t, s, old, 1)
			mustHead(t, s, 2, 300)
		case out != nil:
			t.Errorf("crash at step %d: the new identity sends %v", at, startsOf(out.report))
		default:
			mustAppend(t, s, testWindow(epoch+600))
			mustHead(t, s, 1, 600)
		}
		if !crashed {
			if at < 5 {
				t.Errorf("a reset has only %d steps", at)
			}
			return
		}
	}
}
