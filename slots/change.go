package slots

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

func dirOf(name string) string { return filepath.Dir(name) }

// change runs f while no other process changes slots.
func (d *Dir) change(what string, f func() error) error {
	unlock, err := d.files.Lock(d.at("slots/.change"))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer unlock()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// update changes a slot's slot.json, unless f says that there is nothing to do.
func (d *Dir) update(id, what string, f func(*Slot) (changed bool, err error)) error {
	if !isID(id) {
		return fmt.Errorf("%s: %w: %.80q is no id of one", what, ErrNoSlot, id)
	}
	return d.change(fmt.Sprintf("%s %.12s", what, id), func() error {
		s, rest, err := d.read(id)
		if err != nil {
			return err
		}
		state := s.State
		if changed, err := f(&s); err != nil || !changed {
			return err
		}
		if s.State != state {
			s.Changed = d.now().UTC()
		}
		return d.save(s, rest)
	})
}

func (d *Dir) save(s Slot, rest unknown) error {
	b, err := format(s, rest)
	if err != nil {
		return err
	}
	return d.write(filepath.Join(d.slot(s.ID), "slot.json"), 0o644, b)
}

// ready makes the folders, durably.
func (d *Dir) ready() error {
	if err := d.files.MkdirAll(d.at("slots")); err != nil {
		return err
	}
	return errors.Join(d.files.Sync(d.path), d.files.Sync(dirOf(d.path)))
}

// Make makes the slot of an executable that is not there yet. Of s, all but
// State, Sealed, Tries, Made and Changed count. file is where the executable
// belongs; it must not have permission to be executed before Seal. A slot of
// that ID that there is already becomes a candidate again, and keeps its file,
// unless it is the active one: that is ErrActive.
func (d *Dir) Make(s Slot) (file string, err error) {
	s.State, s.Sealed, s.Tries, s.Why = Candidate, false, 0, clip(s.Why)
	s.Made = d.now().UTC()
	s.Changed = s.Made
	b, err := format(s, nil)
	if err != nil {
		return "", fmt.Errorf("making a slot: %w", err)
	}
	if err := d.ready(); err != nil {
		return "", fmt.Errorf("making the folder of slots: %w", err)
	}
	err = d.change(fmt.Sprintf("making slot %.12s", s.ID), func() error {
		active, err := d.ActiveID()
		if err == nil && active == s.ID {
			return ErrActive
		}
		if _, err := d.files.ReadDir(d.slot(s.ID)); err == nil {
			if err := d.files.Chmod(d.Executable(s.ID), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			return d.save(s, nil)
		}
		temp := d.slot(".new")
		if err := d.files.RemoveAll(temp); err != nil {
			return err
		}
		if err := d.files.MkdirAll(temp); err != nil {
			return err
		}
		if err := d.fill(filepath.Join(temp, "slot.json"), 0o644, b); err != nil {
			return err
		}
		if err := d.files.Sync(temp); err != nil {
			return err
		}
		if err := d.files.Rename(temp, d.slot(s.ID)); err != nil {
			return err
		}
		return d.files.Sync(d.at("slots"))
	})
	if err != nil {
		return "", err
	}
	return d.Executable(s.ID), nil
}

// Seal is called when the executable was proven by the metadata, and makes both
// durable. Root metadata of the slot that it was made from is kept with it: the
// executable that runs may trust a newer version than the installed one, which
// has to follow the chain from its own. It checks the SHA-256 once more (ErrHash), and gives the permission to
// execute last of all.
func (d *Dir) Seal(id string, metadata map[string][]byte) error {
	size := 0
	for name, b := range metadata {
		if size += len(b); !isFileName(name) {
			return fmt.Errorf("sealing slot %.12s: %.80q is no name of a metadata file", id, name)
		}
	}
	if size > maxMetadata || len(metadata) > maxFiles {
		return fmt.Errorf("sealing slot %.12s: its metadata has %d bytes in %d files, more than %d in %d", id, size, len(metadata), maxMetadata, maxFiles)
	}
	return d.update(id, "sealing slot", func(s *Slot) (bool, error) {
		exe := d.Executable(id)
		if err := d.hash(exe, id); err != nil {
			return false, err
		}
		if err := d.saveMetadata(id, d.withRoots(s.From, metadata)); err != nil {
			return false, err
		}
		if err := d.files.Chmod(exe, 0o755); err != nil {
			return false, err
		}
		if err := d.files.Sync(exe); err != nil {
			return false, err
		}
		s.Sealed = true
		return true, d.files.Sync(d.slot(id))
	})
}

func (d *Dir) hash(exe, id string) error {
	f, err := d.files.Open(exe)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != id {
		return fmt.Errorf("%w: it is %.12s…", ErrHash, got)
	}
	return nil
}

// withRoots adds the root metadata of a slot. Where that can't be read there is
// less to prove the new slot with, which whoever verifies it finds out.
func (d *Dir) withRoots(from string, metadata map[string][]byte) map[string][]byte {
	before, err := d.Metadata(from)
	if err != nil {
		return metadata
	}
	all := maps.Clone(metadata)
	for name, b := range before {
		if _, ok := all[name]; !ok && isRootName(name) {
			if all == nil {
				all = map[string][]byte{}
			}
			all[name] = b
		}
	}
	return all
}

// saveMetadata replaces the folder of metadata. Until Sealed is written nobody
// relies on it, so it need not appear at once.
func (d *Dir) saveMetadata(id string, metadata map[string][]byte) error {
	dir := filepath.Join(d.slot(id), "metadata")
	if err := d.files.RemoveAll(dir); err != nil {
		return err
	}
	if err := d.files.MkdirAll(dir); err != nil {
		return err
	}
	names := make([]string, 0, len(metadata))
	for n := range metadata {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		if err := d.fill(filepath.Join(dir, n), 0o644, metadata[n]); err != nil {
			return err
		}
	}
	return d.files.Sync(dir)
}

// Activate makes a sealed slot the one to start with, from the next start of
// the process on, and gives it tries; "" goes back to the installed executable.
// A bad one is refused with ErrBad.
func (d *Dir) Activate(id string, tries int) error {
	if id == "" {
		if _, err := d.files.Readlink(d.at("active")); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return d.change("activating the installed executable", func() error {
			if err := d.files.RemoveAll(d.at("active")); err != nil {
				return err
			}
			return d.files.Sync(d.path)
		})
	}
	if err := d.update(id, "activating slot", func(s *Slot) (bool, error) {
		switch {
		case s.State == Bad:
			return false, fmt.Errorf("%w: %s", ErrBad, s.Why)
		case !s.Sealed:
			return false, errors.New("its executable was not proven: the update has to be tried again")
		}
		s.Tries, s.Most = tries, tries
		return true, nil
	}); err != nil {
		return err
	}
	return d.change(fmt.Sprintf("activating slot %.12s", id), func() error {
		temp := d.at(".active.new")
		if err := d.files.RemoveAll(temp); err != nil {
			return err
		}
		if err := d.files.Symlink(filepath.Join("slots", id), temp); err != nil {
			return err
		}
		if err := d.files.Rename(temp, d.at("active")); err != nil {
			return errors.Join(err, d.files.RemoveAll(temp))
		}
		return d.files.Sync(d.path)
	})
}

// TakeTry takes one of a slot's tries, durably, and returns how many are left.
// With none left it is ErrNoTries, of a bad slot ErrBad.
func (d *Dir) TakeTry(id string) (left int, err error) {
	err = d.update(id, "taking a try of slot", func(s *Slot) (bool, error) {
		switch {
		case s.State == Bad:
			return false, fmt.Errorf("%w: %s", ErrBad, s.Why)
		case s.Tries == 0:
			return false, ErrNoTries
		}
		s.Tries--
		left = s.Tries
		return true, nil
	})
	return left, err
}

// GiveBack sets a slot's tries back, after a good start.
func (d *Dir) GiveBack(id string) error {
	return d.update(id, "giving back the tries of slot", func(s *Slot) (bool, error) {
		changed := s.Tries != s.Most && s.State != Bad
		s.Tries = s.Most
		return changed, nil
	})
}

// Mark sets a slot's state, and why; good sets its tries back.
func (d *Dir) Mark(id string, to State, why string) error {
	return d.update(id, "marking slot", func(s *Slot) (bool, error) {
		s.State, s.Why = to, clip(why)
		if to == Good {
			s.Tries = s.Most
		}
		return true, nil
	})
}

// clip keeps a text to what slot.json takes.
func clip(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ToValidUTF8(s, "")
}

// Prune removes all slots but the active one, the two that became good last,
// and those that are named, such as the one that runs; and what crashes left.
func (d *Dir) Prune(keep ...string) error {
	names, err := d.files.ReadDir(d.at("slots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("removing old slots: %w", err)
	}
	return d.change("removing old slots", func() error {
		active, err := d.ActiveID()
		if err != nil && !errors.Is(err, ErrBroken) {
			return err
		}
		all, err := d.List()
		if err != nil {
			return err
		}
		keep = append(slices.Clone(keep), active)
		slices.SortStableFunc(all, func(a, b Slot) int { return b.Changed.Compare(a.Changed) })
		for good := 0; len(all) > 0 && good < 2; all = all[1:] {
			if s := all[0]; s.State == Good && s.Sealed {
				keep = append(keep, s.ID)
				good++
			}
		}
		var errs []error
		for _, n := range names {
			if n == ".change" || slices.Contains(keep, n) {
				continue
			}
			errs = append(errs, d.remove(n))
		}
		return errors.Join(append(errs, d.files.Sync(d.at("slots")))...)
	})
}

// remove takes a slot's name away first, so that a crash leaves no half of one.
func (d *Dir) remove(name string) error {
	if strings.HasPrefix(name, ".") {
		return d.files.RemoveAll(d.slot(name))
	}
	gone := d.slot(".old")
	if err := d.files.RemoveAll(gone); err != nil {
		return err
	}
	if err := d.files.Rename(d.slot(name), gone); err != nil {
		return err
	}
	if err := d.files.Sync(d.at("slots")); err != nil {
		return err
	}
	return d.files.RemoveAll(gone)
}
