//go:build unix

package updater

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/wire"
)

// What tells this program, started by itself, to be a server whose Updater is
// killed.
const (
	killDir  = "UPDATER_TEST_DIR"
	killMode = "UPDATER_TEST_MODE" // "good", "harm"
	killAt   = "UPDATER_TEST_KILL" // at which step of the journal's writes
	killSlot = "UPDATER_TEST_SLOT" // what this process is; set by who executes it
	killBoot = "UPDATER_TEST_BOOT" // the run of the machine
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(killDir); dir != "" {
		if err := beServer(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// beServer is a server that ends when its update has ended for good.
func beServer(dir string) error {
	d := slots.Open(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	slot, given := os.LookupEnv(killSlot)
	var refused error
	if !given {
		s, ok, err := d.Active()
		if err != nil {
			return err
		}
		if ok {
			if _, refused = d.TakeTry(s.ID); refused == nil {
				return become(d.Executable(s.ID), s.ID, os.Getenv(killAt))
			}
		}
	}
	left, err := strconv.Atoi(os.Getenv(killAt))
	if err != nil {
		return err
	}
	step := func() {
		if left--; left == 0 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	// The executable of the candidate is this program, by way of a script.
	script := []byte("#!" + self + "\n# the candidate\n")
	sum := sha256.Sum256(script)
	id := hex.EncodeToString(sum[:])
	version := "v2.11.3"
	if slot != "" {
		version = "v2.11.9"
	}
	u, err := New(Config{
		Dir: dir, Running: Running{Slot: slot, Installed: self, Refused: refused},
		Policy: Policy{Scope: wire.ScopeAll, Every: 20 * time.Millisecond},
		Actions: Actions{
			Self: func() (wire.Check, error) {
				return wire.Check{Build: build(version, "v1.0.0"), System: wire.System{OS: "linux", Arch: "amd64"}}, nil
			},
			Ask: func(context.Context, wire.Check) (wire.Answer, time.Duration, error) {
				if slot != "" {
					return wire.Answer{}, 0, nil
				}
				a := offer("v2.11.3", "v2.11.9", wire.SeverityCritical)
				a.Target.SHA256, a.Target.Size = id, int64(len(script))
				return a, 0, nil
			},
			Vouched: func(context.Context, wire.Target) (wire.TargetCustom, error) {
				return wire.TargetCustom{Kind: wire.TargetExecutable}, nil
			},
			Fetch: func(_ context.Context, _ wire.Target, file string) (Fetched, error) {
				return Fetched{Metadata: map[string][]byte{"root.json": []byte("{}")}}, os.WriteFile(file, script, 0o600)
			},
			Inspect:  func(string) (wire.BuildList, error) { return build("v2.11.9", "v1.0.0"), nil },
			Rehearse: func(context.Context, Candidate) (string, error) { return "", nil },
			Switch: func(_ context.Context, to Destination, commit func() error) error {
				if err := commit(); err != nil {
					return err
				}
				return become(to.Path, to.Slot, strconv.Itoa(left))
			},
			Watch: func(context.Context, Candidate) (string, error) {
				if os.Getenv(killMode) == "harm" {
					return "it answers 500", nil
				}
				return "", nil
			},
		},
	})
	if err != nil {
		return err
	}
	u.boot = os.Getenv(killBoot)
	u.disk = killDisk{osDisk{}, step}
	u.written = func(journal) { step() }
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); u.Run(ctx) }()
	for {
		s := u.Status()
		if s.Last != nil && s.State.Ended() && (s.State == Healthy || len(s.Quarantine) > 0) {
			break
		}
		select {
		case <-done:
			return fmt.Errorf("it came to no end: %+v", s)
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	<-done
	return json.NewEncoder(os.Stdout).Encode(result{u.Status().State, slot != ""})
}

// killDisk has a step before each write of the journal.
type killDisk struct {
	disk
	step func()
}

func (d killDisk) create(name string) (file, error) {
	if filepath.Base(name) == journalFile+".new" {
		d.step()
	}
	return d.disk.create(name)
}

func become(path, slot, left string) error {
	os.Setenv(killSlot, slot)
	os.Setenv(killAt, left)
	return syscall.Exec(path, []string{path}, os.Environ())
}

// A result is how a server ended.
type result struct {
	State     State
	Candidate bool // it runs the candidate
}

// kill -9 before and after each write of the journal, once and then again: what
// is started next goes on, and ends well or with the old executable.
func TestKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Up to the watching, harm is as good.
	for mode, first := range map[string]int{"good": 1, "harm": 19} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			ends := map[result]int{}
			var last int
			for n := first; ; n++ {
				dir := filepath.Join(t.TempDir(), "updates")
				killed, r := serve(t, self, dir, mode, n, "1")
				if !killed {
					last = n
					ends[r]++
					break
				}
				// Each start after that is killed as well, at the next writes.
				for range 1 + n%2 {
					killed, r = serve(t, self, dir, mode, 1+n%3, "1")
					if !killed {
						break
					}
				}
				if killed {
					if killed, r = serve(t, self, dir, mode, 0, "1"); killed {
						t.Fatalf("killed at %d: it is killed although nobody does", n)
					}
				}
				ends[r]++
				verify(t, dir, n, r)
			}
			if last < 20 {
				t.Errorf("there were only %d steps: are they counted?", last)
			}
			t.Logf("%d steps: %v", last, ends)
			for r := range ends {
				if mode == "harm" && r.Candidate {
					t.Errorf("a candidate that does harm serves: %+v", r)
				}
			}
			if mode == "good" && ends[result{Healthy, true}] == 0 {
				t.Error("no update went well")
			}
		})
	}
}

// A power cut in place of a kill is not held against the candidate.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		dir := filepath.Join(t.TempDir(), "updates")
		if killed, _ := serve(t, self, dir, "good", n, "1"); !killed {
			break
		}
		killed, r := serve(t, self, dir, "good", 0, "2")
		if killed {
			t.Fatal("it is killed although nobody does")
		}
		verify(t, dir, n, r)
		if d := cmp.Diff(result{Healthy, true}, r); d != "" {
			t.Errorf("power cut at %d: %s", n, d)
		}
	}
}

// serve runs a server until it is killed or ends.
func serve(t *testing.T, self, dir, mode string, at int, boot string) (killed bool, r result) {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killDir+"="+dir, killMode+"="+mode, killAt+"="+strconv.Itoa(at), killBoot+"="+boot)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var ee *exec.ExitError
	if errors.As(err, &ee) && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true, r
	}
	if err == nil {
		err = json.Unmarshal(stdout.Bytes(), &r)
	}
	if err != nil {
		t.Fatalf("%s, killed at %d: %v\n%s%s", mode, at, err, stdout.Bytes(), stderr.Bytes())
	}
	return false, r
}

// verify sees that all that is on disk says the same.
func verify(t *testing.T, dir string, n int, r result) {
	t.Helper()
	s, err := ReadStatus(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, active, err := slots.Open(dir).Active()
	if err != nil {
		t.Fatal(err)
	}
	if s.State != r.State || active != r.Candidate || r.Candidate != (r.State == Healthy) {
		t.Errorf("killed at %d: the journal says %s, a slot is active: %v, and it ended %+v", n, s.State, active, r)
	}
	attempts, err := Attempts(dir)
	if err != nil || len(attempts) == 0 {
		t.Errorf("killed at %d: attempts %v %v", n, attempts, err)
	}
	if s.Last == nil || cmp.Diff(attempts[len(attempts)-1], *s.Last) != "" {
		t.Errorf("killed at %d: the last attempt is %+v, and the list has %+v", n, s.Last, attempts)
	}
}
