package boot

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/boot/early"
	"github.com/caddy-evergreen/evergreen/slots"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/wire"
)

// start becomes the active slot's executable. It returns why not; nil if there
// is no active slot, or this process is one.
func start(data string, root [32]byte) error {
	dir := slots.Open(Updates(data))
	s, ok, err := dir.Active()
	if err != nil {
		return fmt.Errorf("%w; the installed executable runs: try the update again with 'caddy evergreen apply'", err)
	}
	if !ok {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the path of this executable: %w", err)
	}
	if _, ok := slotOf(dir, self); ok {
		return nil // a person executed it: Current finds out which
	}
	path := dir.Executable(s.ID)
	switch err := usable(dir, s, self, path, root); {
	case errors.Is(err, errPromoted):
		return nil
	case err != nil:
		return fmt.Errorf("slot %.12s (Caddy %s) is not started, and the installed executable runs: %w", s.ID, s.Caddy, err)
	}
	if s.Tries < s.Most {
		// The last start did not come up, or was ended by force.
		if err := probe(path, s.ID, self); err != nil {
			// Nothing is gained by starting it: its tries are used up.
			for left := s.Tries; left > 0; {
				var taken error
				if left, taken = dir.TakeTry(s.ID); taken != nil {
					break
				}
			}
			return fmt.Errorf("slot %.12s (Caddy %s) is not started, and the installed executable runs: %w", s.ID, s.Caddy, err)
		}
	}
	if _, err := dir.TakeTry(s.ID); err != nil {
		hint := "try the update again with 'caddy evergreen apply', or report what went wrong with it"
		if !errors.Is(err, slots.ErrNoTries) {
			hint = "can its folder be written?"
		}
		return fmt.Errorf("slot %.12s (Caddy %s) is not started, and the installed executable runs: %w: %s", s.ID, s.Caddy, err, hint)
	}
	env := append(os.Environ(), early.Start{Slot: s.ID, Installed: self, Within: within(), Back: self}.Env())
	if err := become(path, os.Args, env); err != nil {
		return fmt.Errorf("slot %.12s (Caddy %s) can't be executed, and the installed executable runs: %w", s.ID, s.Caddy, err)
	}
	return nil
}

// probeTime is long for printing a version, and short for a start of Caddy.
const probeTime = 10 * time.Second

// probe tells why an executable can't so much as print its version: it needs a
// newer kernel, say, or crashes when it is initialised. To start it would leave
// no Caddy at all, until somebody starts the next.
func probe(path, id, self string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "version")
	cmd.Env = append(os.Environ(), Env(id, self))
	cmd.WaitDelay = time.Second
	var said head
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it takes longer than %v", probeTime)
	}
	if err != nil {
		return fmt.Errorf("it did not come up, and 'version' fails: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}

// A head keeps the first bytes of what is written, which tell most of a crash.
type head []byte

func (h *head) Write(b []byte) (int, error) {
	*h = append(*h, b[:min(len(b), max(0, 300-len(*h)))]...)
	return len(b), nil
}

// errPromoted says that the slot was written over the installed executable.
var errPromoted = errors.New("the installed executable is the same build")

func within() time.Duration {
	if d, err := time.ParseDuration(os.Getenv(Within)); err == nil && d > 0 {
		return d
	}
	return DefaultWithin
}

// slotOf is the slot that a path is the executable of.
func slotOf(dir *slots.Dir, path string) (id string, ok bool) {
	real, err := filepath.EvalSymlinks(dir.Path())
	if err != nil {
		return "", false
	}
	id = filepath.Base(filepath.Dir(path))
	return id, path == slots.Open(real).Executable(id)
}

// usable tells why a slot must not be executed.
func usable(dir *slots.Dir, s slots.Slot, self, path string, root [32]byte) error {
	switch {
	case s.State == slots.Bad:
		return fmt.Errorf("%w: %s", slots.ErrBad, s.Why)
	case !s.Sealed:
		return errors.New("it was never proven to be right: try the update again with 'caddy evergreen apply'")
	case s.Tries == 0:
		return fmt.Errorf("%w, because it did not come up: try the update again with 'caddy evergreen apply', or report what went wrong", slots.ErrNoTries)
	}
	target, err := Prove(dir, s, root, path)
	if err != nil {
		return err
	}
	if err := newer(target, s, self, path); err != nil {
		return err
	}
	if err := executable(path); err != nil {
		return fmt.Errorf("it can't be executed: %w: is its file system mounted noexec?", err)
	}
	return nil
}

// Prove proves by a slot's saved metadata that a file, such as a copy of the
// slot's executable, is what the slot says, signed under a root of trust, and for
// this system. What an error has no kind for, is of the file system.
func Prove(dir *slots.Dir, s slots.Slot, root [32]byte, file string) (trust.Target, error) {
	saved, err := dir.Metadata(s.ID)
	if err != nil {
		return trust.Target{}, err
	}
	target, err := trust.VerifySaved(root, saved, s.Target, file)
	if err == nil {
		err = fits(target, s.ID)
	}
	return target, err
}

// fits tells why a signed file is not an executable for this system.
func fits(t trust.Target, id string) error {
	c := t.Custom
	switch {
	case hex.EncodeToString(t.SHA256[:]) != id:
		return fmt.Errorf("%w: the metadata is of another executable, %x", trust.ErrMismatch, t.SHA256)
	case c.Kind != wire.TargetExecutable:
		return fmt.Errorf("%w: it is a %.20q, and no executable", trust.ErrMismatch, c.Kind)
	case c.System == nil || c.System.OS != runtime.GOOS || c.System.Arch != runtime.GOARCH:
		return fmt.Errorf("%w: it is for another system than %s/%s", trust.ErrMismatch, runtime.GOOS, runtime.GOARCH)
	}
	return nil
}

// newer tells why a slot is not newer than the installed executable. What the
// slot's Caddy version is says the signed metadata: slot.json might be forged to
// have an old executable run, whose flaws are known.
func newer(t trust.Target, s slots.Slot, self, path string) error {
	var signed embeddedSpec
	if err := json.Unmarshal(t.Custom.Spec, &signed); err != nil || !semver.IsValid(signed.Caddy) {
		return fmt.Errorf("%w: it does not say which Caddy it is", trust.ErrMalformed)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the installed executable does not know its own version: it was built without modules")
	}
	installed := slots.IdentityOf(self, info)
	older := semver.IsValid(installed.Caddy) && semver.Compare(signed.Caddy, installed.Caddy) < 0
	if older {
		return fmt.Errorf("it is older than the installed Caddy %s", installed.Caddy)
	}
	if installed.Same(s.Installed) {
		return nil
	}
	if !semver.IsValid(installed.Caddy) || semver.Compare(signed.Caddy, installed.Caddy) == 0 {
		if promoted, err := slots.Identify(path); err == nil && promoted.Same(installed) {
			return errPromoted
		}
		return fmt.Errorf("another build of Caddy %s was installed since, and that goes first", installed.Caddy)
	}
	if missing := missingPlugins(info, signed, s); len(missing) > 0 {
		return fmt.Errorf("another build of Caddy %s was installed since, with modules that the slot has not: %s", installed.Caddy, strings.Join(missing, ", "))
	}
	return nil
}

// missingPlugins are the installed executable's that a slot has not. An
// executable of the build service knows its plugins. Others don't, this early:
// there every module counts.
func missingPlugins(info *debug.BuildInfo, signed embeddedSpec, s slots.Slot) (missing []string) {
	has := map[string]bool{}
	for _, m := range signed.Plugins {
		has[m.Path] = true
	}
	if own := embedded(); own.Caddy != "" {
		for _, m := range own.Plugins {
			if !has[m.Path] {
				missing = append(missing, m.Path)
			}
		}
		return missing
	}
	for _, m := range s.Build.Modules {
		has[m.Path] = true
	}
	for _, m := range info.Deps {
		if !has[m.Path] {
			missing = append(missing, m.Path)
		}
	}
	return missing
}
