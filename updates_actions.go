package evergreen

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/inventory"
	"github.com/caddy-evergreen/evergreen/updater"
	"github.com/caddy-evergreen/evergreen/wire"
)

// actions are how the updater acts in a Caddy.
func (u *updates) actions() updater.Actions {
	return updater.Actions{
		Self:     u.self.check,
		Ask:      u.ask,
		Vouched:  u.vouched,
		Fetch:    u.fetch,
		Discard:  u.discard,
		Inspect:  inspect,
		Config:   u.loads.Load,
		Rehearse: u.rehearse,
		Switch:   u.switchTo,
		Up:       switchUp,
		Watch:    u.watch,
		Ending:   caddy.Exiting,
		Tell:     u.tell,
		Outcome:  u.outcome,
	}
}

// thisProcess is what this process is.
func thisProcess() updater.Running {
	now := boot.Current()
	return updater.Running{Slot: now.Slot, Installed: now.Installed, Refused: now.Refused}
}

// self knows the executable that this process is.
type self struct {
	once sync.Once
	sum  string // SHA-256, hexadecimal
	err  error
}

// openSelf opens the executable of this process. On Linux that is the very file,
// also when another one has taken its name.
func openSelf() (*os.File, error) {
	if runtime.GOOS == "linux" {
		if f, err := os.Open("/proc/self/exe"); err == nil {
			return f, nil
		}
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// hash is the executable's SHA-256, computed once.
func (s *self) hash() (string, error) {
	s.once.Do(func() {
		f, err := openSelf()
		if err != nil {
			s.err = fmt.Errorf("reading the running executable: %w", err)
			return
		}
		defer f.Close()
		h := sha256.New()
		if _, err := io.Copy(h, f); err != nil {
			s.err = fmt.Errorf("reading the running executable: %w", err)
			return
		}
		s.sum = hex.EncodeToString(h.Sum(nil))
	})
	return s.sum, s.err
}

// check is this build and system. Without the executable's hash, updates are
// downloaded whole, and that is all.
func (s *self) check() (wire.Check, error) {
	list, complete := inventory.BuildList(builtFrom(BuildSpec).plugins())
	sum, _ := s.hash()
	c := wire.Check{Build: list, System: inventory.System(), Incomplete: !complete, SHA256: sum}
	return c, c.Build.Check()
}

func (u *updates) ask(ctx context.Context, check wire.Check) (wire.Answer, time.Duration, error) {
	id, err := u.instance()
	if err != nil {
		u.once("instance", func() {
			u.log.Warn("the id for updates can't be kept; updates that are given to a few first come here last: " + err.Error())
		})
	}
	client := updater.Client{Service: u.policy.Load().Server, Instance: id}
	return client.Check(ctx, check)
}

// once calls say once in the process's life.
func (u *updates) once(what string, say func()) {
	u.mu.Lock()
	said := u.told[what]
	u.told[what] = true
	u.mu.Unlock()
	if !said {
		say()
	}
}

func (u *updates) vouched(ctx context.Context, t wire.Target) (wire.TargetCustom, error) {
	repository, err := u.repository(ctx, nil)
	if err != nil {
		return wire.TargetCustom{}, err
	}
	target, err := repository.Target(ctx, t.Name)
	return target.Custom, whyUntrusted(err)
}

// inspect reads from an executable what it was built from.
func inspect(file string) (wire.BuildList, error) {
	return inventory.BuildListOf(file, builtFrom(BuildSpec).plugins())
}
