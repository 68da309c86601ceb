//go:build e2e && linux

package selfupdate

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/caddy-evergreen/evergreen/server/testbed"
	"github.com/caddy-evergreen/evergreen/updater"
)

// TestE2EKilled kills Caddy with kill -9 after each write of an update's journal:
// after the first, the second, … Each time it is started again as a supervisor
// does, serves, and comes to the update in the end. How often a journal is
// written before the download depends on how long a build takes: a state that
// was missed by that is waited for.
func TestE2EKilled(t *testing.T) {
	t.Parallel()
	s := theUpdates(t)
	before := s.before(t)
	s.after(t)
	writes, _ := killedWhen(t, before, func(int, updater.State) bool { return false })
	if writes < 5 {
		t.Fatalf("the journal of a whole update is written %d times", writes)
	}
	states := make([]updater.State, writes)
	t.Run("after write", func(t *testing.T) {
		for n := range writes {
			t.Run(strconv.Itoa(n+1), func(t *testing.T) {
				t.Parallel()
				_, states[n] = killedWhen(t, before, func(written int, _ updater.State) bool { return written > n })
			})
		}
	})
	t.Logf("killed after each of %d writes of the journal, which said: %v", writes, states)
	for _, want := range []updater.State{updater.Downloading, updater.Verified, updater.Rehearsing, updater.Switching, updater.Watching} {
		if slices.Contains(states, want) {
			continue
		}
		t.Run(string(want), func(t *testing.T) {
			// Some take no time: what is read may be over when the kill arrives.
			var state updater.State
			for range 5 {
				if _, state = killedWhen(t, before, func(_ int, s updater.State) bool { return s == want }); state == want {
					return
				}
			}
			t.Errorf("it was never killed while it was %s, but %q", want, state)
		})
	}
}

// killedWhen kills an updating Caddy at that write of its journal that now says,
// which is told how many there were since a person asked for the update, and what
// the journal says. It returns how often the journal was written, and the state
// that it had; "" if the update was over before.
func killedWhen(t *testing.T, before *order, now func(written int, s updater.State) bool) (written int, state updater.State) {
	t.Helper()
	c := loadedWith(t, testbed.Launch{}, before.copied(t), gallerySite("10s"))
	eventually(t, "waiting for the updater", func() error {
		_, err := os.Stat(filepath.Join(updatesDir(c), "lock"))
		return err
	})
	writes, end, err := journalWrites(updatesDir(c))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	began := time.Now()
	do(t, c, "apply")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if st, err := status(t.Context(), c); err == nil && st.Last != nil && st.Last.Ended.After(began) {
				return
			}
			select {
			case <-t.Context().Done():
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	for !now(written, state) {
		select {
		case <-writes:
			written++
			if state, err = journalState(c); err != nil {
				t.Fatal(err)
			}
			continue
		case <-done:
		case <-time.After(within):
			t.Fatalf("after %d writes of the journal nothing happens", written)
		}
		return written, ""
	}
	c.Kill()
	if state, err = journalState(c); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatalf("killed after write %d, %s: it does not start: %v", written, state, err)
	}
	if _, err := c.WaitForCertificate(t.Context(), rootsOf(t, c)); err != nil {
		t.Fatalf("killed after write %d, %s: it does not serve: %v", written, state, err)
	}
	// What it goes on with by itself may end, or wait for its time: a person
	// asks until it is done.
	eventually(t, fmt.Sprintf("killed after write %d, %s", written, state), func() error {
		slot, err := runs(c)
		if err != nil {
			return err
		}
		st, err := status(t.Context(), c)
		if err != nil {
			return err
		}
		active, isActive, err := slotsOf(c).Active()
		if err != nil {
			return err
		}
		if slot != "" && isActive && active.ID == slot && active.State == "good" && (st.Last == nil || st.State.Ended() || st.State == updater.Idle || st.State == updater.Checked) {
			return nil
		}
		if slot == "" && (st.State == updater.Idle || st.State == updater.Checked || st.State == updater.Verified || st.State.Ended()) {
			_ = ask(t, c, "apply")
		}
		time.Sleep(300 * time.Millisecond)
		return fmt.Errorf("it is %s, %s; slot %.12q runs: %+v", st.State, st.Waiting, slot, st.Last)
	})
	// The helper of a switch that was cut short has gone.
	eventually(t, "waiting for helpers to go", func() error {
		exes, err := filepath.Glob("/proc/[0-9]*/exe")
		if err != nil {
			return err
		}
		for _, e := range exes {
			to, err := os.Readlink(e)
			if pid := filepath.Base(filepath.Dir(e)); err == nil && strings.HasPrefix(to, c.Dir+"/") && pid != strconv.Itoa(c.PID()) {
				return fmt.Errorf("process %s is %s", pid, to)
			}
		}
		return nil
	})
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	return written, state
}

func journalState(c *testbed.Caddy) (updater.State, error) {
	b, err := os.ReadFile(filepath.Join(updatesDir(c), "journal.json"))
	var j struct{ State updater.State }
	if err == nil {
		err = json.Unmarshal(b, &j)
	}
	return j.State, err
}

// journalWrites tells of each time that a journal in a folder is replaced.
func journalWrites(dir string) (writes <-chan struct{}, end func(), err error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_MOVED_TO); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("watching %s: %w", dir, err), unix.Close(fd))
	}
	// A file, so that closing it ends the reading.
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), "inotify")
	told := make(chan struct{}, 1000)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := f.Read(buf)
			if err != nil {
				return
			}
			for at := 0; at+unix.SizeofInotifyEvent <= n; {
				e := (*unix.InotifyEvent)(unsafe.Pointer(&buf[at]))
				at += unix.SizeofInotifyEvent
				name := strings.TrimRight(string(buf[at:at+int(e.Len)]), "\x00")
				at += int(e.Len)
				if name == "journal.json" {
					told <- struct{}{}
				}
			}
		}
	}()
	return told, func() { f.Close() }, nil
}
