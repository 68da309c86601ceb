// Package slots keeps the executables that Caddy updated itself to, beside the
// one that is installed, which is never overwritten.
//
// In come an executable, what is known of it and the signed metadata that proves
// it; out come, after any crash or power cut, the slots as they were before a
// change or after it, and which of them is active. A slot is made (Make), filled
// by whoever has the executable, and sealed (Seal) once it is proven: only then
// can it be executed. It becomes the one to start with by being activated.
//
// Below the folder that Open is given:
//
//	lock                     at most one updater per folder: Lock
//	active                   symbolic link to slots/<id>; none: the installed executable
//	slots/<id>/caddy         the executable; id is its SHA-256 in hexadecimal
//	slots/<id>/slot.json     a Slot
//	slots/<id>/metadata/     what proves it without a network
//	slots/.change            held while something is changed, for milliseconds
//
// Names that begin with a dot are no slots: they are changes that a crash cut
// short, and Prune removes them. slot.json is written by newer versions of this
// package than those that read it, so fields that are not known are kept.
//
// Every change is durable when its function returns: files are synced before
// they are renamed to their names, and folders after. Nothing is made before the
// first change.
package slots

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A State is how far a slot has come.
type State string

const (
	Candidate State = "candidate" // not yet known to serve well
	Good      State = "good"      // it served well
	Bad       State = "bad"       // it did harm, or never came up: never started again
)

// A Slot is what is known of an executable.
type Slot struct {
	ID     string         `json:"id"`     // SHA-256 of the executable, hexadecimal
	Target string         `json:"target"` // its name in the signed metadata
	Caddy  string         `json:"caddy"`  // version: "v2.11.9"
	Build  wire.BuildList `json:"build"`  // of the executable
	// From is the slot that ran when this one was made; "" is the installed
	// executable, and Installed is what that was then.
	From      string   `json:"from,omitempty"`
	Installed Identity `json:"installed"`
	State     State    `json:"state"`
	// Sealed tells that the executable was proven to be whole and signed.
	Sealed bool `json:"sealed,omitempty"`
	// Tries are the starts that are left to come up in; Most is what they are
	// set back to by a good start.
	Tries int `json:"tries"`
	Most  int `json:"most"`
	// Why tells what made the state what it is, for people.
	Why     string    `json:"why,omitempty"`
	Made    time.Time `json:"made"`
	Changed time.Time `json:"changed"` // of the state
}

// Errors that callers tell apart. All others are of the file system.
var (
	ErrLocked  = errors.New("another Caddy updates itself in this folder")
	ErrNoSlot  = errors.New("there is no such slot")
	ErrBroken  = errors.New("the slot can't be read")
	ErrActive  = errors.New("the slot is the active one")
	ErrBad     = errors.New("the slot is bad")
	ErrNoTries = errors.New("the slot has no tries left")
	ErrHash    = errors.New("the executable has not the SHA-256 that its slot is named after")
)

// A Dir is a folder of slots. Its methods can be called at the same time, by
// several processes too.
type Dir struct {
	path  string
	files files
	now   func() time.Time
}

// Open names a folder, and touches nothing.
func Open(path string) *Dir { return &Dir{path: path, files: disk{}, now: time.Now} }

// Path is the folder.
func (d *Dir) Path() string { return d.path }

// Executable is the path of a slot's executable.
func (d *Dir) Executable(id string) string {
	name := "caddy"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	return filepath.Join(d.slot(id), name)
}

func (d *Dir) at(name string) string { return filepath.Join(d.path, name) }
func (d *Dir) slot(id string) string { return filepath.Join(d.path, "slots", id) }

// isID tells whether a name is one of a slot. Regular expressions would take
// longer to compile, at every start of Caddy, than boot takes for all it does.
func isID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Get reads a slot. The error is ErrNoSlot or ErrBroken where it is about that.
func (d *Dir) Get(id string) (Slot, error) {
	s, _, err := d.read(id)
	return s, err
}

// List reads all slots, the oldest first. Those that can't be read are left out:
// Prune removes them.
func (d *Dir) List() ([]Slot, error) {
	names, err := d.files.ReadDir(d.at("slots"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing slots: %w", err)
	}
	var all []Slot
	for _, n := range names {
		if !isID(n) {
			continue
		}
		switch s, err := d.Get(n); {
		case err == nil:
			all = append(all, s)
		case !errors.Is(err, ErrBroken) && !errors.Is(err, ErrNoSlot):
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b Slot) int { return a.Made.Compare(b.Made) })
	return all, nil
}

// ActiveID is the active slot's id, or "" for the installed executable.
func (d *Dir) ActiveID() (string, error) {
	link, err := d.files.Readlink(d.at("active"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading which slot is active: %w", err)
	}
	dir, id := filepath.Split(link)
	if filepath.Clean(dir) != "slots" || !isID(id) {
		return "", fmt.Errorf("%w: %s points to %.200q, and not to a slot: remove it", ErrBroken, d.at("active"), link)
	}
	return id, nil
}

// Active is the slot to start with; false: the installed executable.
func (d *Dir) Active() (Slot, bool, error) {
	id, err := d.ActiveID()
	if err != nil || id == "" {
		return Slot{}, false, err
	}
	s, err := d.Get(id)
	if err != nil {
		return Slot{}, false, err
	}
	return s, true, nil
}

// Previous is what to go back to from the active slot: the slot that ran when
// it was made, else the newest other that was good. False: the installed
// executable, from which the active slot was made, or nothing else is left.
func (d *Dir) Previous() (Slot, bool, error) {
	active, ok, err := d.Active()
	if err != nil || !ok || active.From == "" {
		return Slot{}, false, err
	}
	all, err := d.List()
	if err != nil {
		return Slot{}, false, err
	}
	var found *Slot
	for i := range all {
		s := &all[i]
		if s.ID == active.ID || !s.Sealed || s.State != Good {
			continue
		}
		if s.ID == active.From {
			return *s, true, nil
		}
		if found == nil || s.Changed.After(found.Changed) {
			found = s
		}
	}
	if found == nil {
		return Slot{}, false, nil
	}
	return *found, true, nil
}
