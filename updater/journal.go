package updater

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/caddy-evergreen/evergreen/wire"
)

const (
	journalFile    = "journal.json"
	journalVersion = 1
	maxJournal     = 16 << 20 // bytes; a plan has a build list
	maxQuarantine  = 64
	maxRetries     = 16
)

// A journal is what an Updater knows over restarts. It is replaced as a whole,
// before what it says is acted on. The next one to read it may be an older or a
// newer version of this package: fields are only ever added, and those that are
// not known are passed over.
type journal struct {
	Version int       `json:"version"`
	State   State     `json:"state"`
	Since   time.Time `json:"since,omitzero"`
	// Boot is the run of the machine in which it was written: after another one
	// began, a process that was cut off did not crash.
	Boot string `json:"boot,omitempty"`
	// Clean: the process that watched ended in order.
	Clean   bool     `json:"clean,omitempty"`
	Attempt *attempt `json:"attempt,omitempty"`

	LastCheck  time.Time `json:"last_check,omitzero"`
	NextCheck  time.Time `json:"next_check,omitzero"`
	CheckError string    `json:"check_error,omitempty"`
	CheckFails int       `json:"check_fails,omitempty"`
	AskedAs    string    `json:"asked_as,omitempty"`
	// Wish is what a person asked to install while it was not there yet.
	Wish *wish `json:"wish,omitempty"`

	Notice  *Notice   `json:"notice,omitempty"`
	Told    time.Time `json:"told,omitzero"`
	ToldKey string    `json:"told_key,omitempty"`

	Quarantine []Quarantined `json:"quarantine,omitempty"` // the oldest first
	Retries    []retry       `json:"retries,omitempty"`    // the oldest first
	Last       *Outcome      `json:"last,omitempty"`
	// Reported: Last is in the list of attempts, and telemetry has it.
	Reported bool `json:"reported,omitempty"`
}

// An attempt is an update that is being installed, or could be.
type attempt struct {
	Candidate
	Try     int               `json:"try"`
	Person  bool              `json:"person,omitempty"`
	Began   time.Time         `json:"began"`
	Seconds map[State]float64 `json:"seconds,omitempty"`
	Bytes   int64             `json:"bytes,omitempty"`
	Method  string            `json:"method,omitempty"`
	// Committed: the old process said its last words before becoming the new one.
	Committed bool `json:"committed,omitempty"`
	// NextStart: the process can't become it, so that it waits for the next start.
	NextStart bool `json:"next_start,omitempty"`
	// Back is set as soon as it is to be undone.
	Back *back `json:"back,omitempty"`
}

type back struct {
	Step  State     `json:"step"` // in which it turned out
	Cause Cause     `json:"cause"`
	Why   string    `json:"why"`
	Tries int       `json:"tries"`
	Next  time.Time `json:"next,omitzero"`
}

type retry struct {
	Slot  string    `json:"slot"`
	Count int       `json:"count"` // failures that a limit is on
	Fails int       `json:"fails"` // all of them
	Next  time.Time `json:"next"`
}

type wish struct {
	Version string    `json:"version,omitempty"`
	Time    time.Time `json:"time"`
}

// clone copies what change changes in place.
func (j journal) clone() journal {
	if j.Attempt != nil {
		a := *j.Attempt
		a.Seconds = maps.Clone(a.Seconds)
		if a.Back != nil {
			b := *a.Back
			a.Back = &b
		}
		j.Attempt = &a
	}
	j.Quarantine, j.Retries = slices.Clone(j.Quarantine), slices.Clone(j.Retries)
	return j
}

var slotID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseJournal refuses what this package does not write in any version.
func parseJournal(b []byte) (journal, error) {
	var j journal
	if err := json.Unmarshal(b, &j); err != nil {
		return journal{}, err
	}
	if j.Version < 1 {
		return journal{}, fmt.Errorf("it has version %d", j.Version)
	}
	if !slices.Contains(States, j.State) {
		return journal{}, fmt.Errorf("it has the state %.40q", j.State)
	}
	if a := j.Attempt; a != nil {
		if !slotID.MatchString(a.Slot) || a.From != "" && !slotID.MatchString(a.From) {
			return journal{}, fmt.Errorf("its candidate %.80q, from %.80q, is no slot", a.Slot, a.From)
		}
		if a.Slot == a.From {
			return journal{}, errors.New("its candidate replaces itself")
		}
	}
	switch j.State {
	case Downloading, Verified, Rehearsing, Switching, Watching:
		if j.Attempt == nil {
			return journal{}, fmt.Errorf("it is %s without a candidate", j.State)
		}
	}
	if n := len(j.Quarantine); n > maxQuarantine {
		j.Quarantine = j.Quarantine[n-maxQuarantine:]
	}
	if n := len(j.Retries); n > maxRetries {
		j.Retries = j.Retries[n-maxRetries:]
	}
	return j, nil
}

// errJournal is a journal that was read and is none.
var errJournal = errors.New("not understood")

// readJournal reads a folder's journal; without one it is idle.
func readJournal(dir string) (journal, error) {
	name := filepath.Join(dir, journalFile)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return journal{Version: journalVersion, State: Idle}, nil
	}
	if err != nil {
		return journal{}, fmt.Errorf("reading the journal of updates: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil {
		return journal{}, fmt.Errorf("reading the journal of updates: %w", err)
	}
	if len(b) > maxJournal {
		return journal{}, fmt.Errorf("the journal of updates, %s, is %w: it has over %d bytes", name, errJournal, maxJournal)
	}
	j, err := parseJournal(b)
	if err != nil {
		return journal{}, fmt.Errorf("the journal of updates, %s, is %w: %w", name, errJournal, err)
	}
	return j, nil
}

func (u *Updater) writeJournal(j journal) error {
	j.Version, j.Boot = journalVersion, u.boot
	b, err := json.MarshalIndent(j, "", "\t")
	if err != nil {
		return fmt.Errorf("writing the journal of updates: %w", err)
	}
	if err := replace(u.disk, filepath.Join(u.c.Dir, journalFile), append(b, '\n')); err != nil {
		return fmt.Errorf("writing the journal of updates: %w", err)
	}
	if u.written != nil {
		u.written(j)
	}
	return nil
}

// change makes the journal another one, on disk first. Without the lock there is
// only the one in memory. If it can't be written, nothing changed, and the error
// has CauseStorage.
func (u *Updater) change(f func(*journal)) error {
	n := u.j.clone()
	f(&n)
	if u.unlock != nil {
		if err := u.writeJournal(n); err != nil {
			return Passing(CauseStorage, err)
		}
		u.dirty = false
	}
	u.j = n
	u.publish()
	return nil
}

// note is change for what is true already, such as that the process runs
// something: it is so whether it can be written or not, and is written later.
func (u *Updater) note(f func(*journal)) {
	if err := u.change(f); err != nil {
		n := u.j.clone()
		f(&n)
		u.j, u.dirty = n, true
		u.warn("journal", "what updates are at can't be written down; if this Caddy ends now, the next start may undo the update", err)
		u.publish()
	}
}

// to is change to another state, which the table of states must have.
func (u *Updater) to(next State, f func(*journal)) error {
	if err := u.j.State.to(next); err != nil {
		return err
	}
	return u.change(u.entering(next, f))
}

// is is note of another state.
func (u *Updater) is(next State, f func(*journal)) {
	if err := u.j.State.to(next); err != nil {
		panic(err) // of ours; Run recovers and says it
	}
	u.note(u.entering(next, f))
}

func (u *Updater) entering(next State, f func(*journal)) func(*journal) {
	return func(j *journal) {
		now := u.now()
		if j.Attempt != nil && !j.State.Ended() && j.State != Idle && j.State != Checked {
			if j.Attempt.Seconds == nil {
				j.Attempt.Seconds = map[State]float64{}
			}
			// A clock that was set in between tells nothing.
			if d := now.Sub(j.Since); d > 0 && d < 90*24*time.Hour {
				j.Attempt.Seconds[j.State] += d.Seconds()
			}
		}
		j.State, j.Since = next, now
		u.settled = false
		if f != nil {
			f(j)
		}
	}
}

// load reads the journal. One that is not understood is set aside: what it knew
// is lost, and the executables' own states are not.
func (u *Updater) load() error {
	j, err := readJournal(u.c.Dir)
	if errors.Is(err, errJournal) {
		name := filepath.Join(u.c.Dir, journalFile)
		if rerr := os.Rename(name, name+".bad"); rerr != nil {
			return errors.Join(err, rerr)
		}
		u.c.Log.Error("what was known of updates is lost, and begins anew; the old journal is kept beside it", zap.Error(err), zap.String("kept", name+".bad"))
		j, err = journal{Version: journalVersion, State: Idle}, nil
	}
	if err != nil {
		return err
	}
	if j.Attempt != nil { // the folder may have moved
		j.Attempt.Path = u.slots.Executable(j.Attempt.Slot)
	}
	u.j = j
	return nil
}

func (j *journal) quarantined(slot string) *Quarantined {
	for i := range j.Quarantine {
		if j.Quarantine[i].Slot == slot {
			return &j.Quarantine[i]
		}
	}
	return nil
}

func (j *journal) quarantine(q Quarantined) {
	j.forgive(q.Slot)
	if j.Quarantine = append(j.Quarantine, q); len(j.Quarantine) > maxQuarantine {
		j.Quarantine = j.Quarantine[1:]
	}
}

// forgive forgets that a slot failed here.
func (j *journal) forgive(slot string) {
	j.Quarantine = slices.DeleteFunc(j.Quarantine, func(q Quarantined) bool { return q.Slot == slot })
	j.Retries = slices.DeleteFunc(j.Retries, func(r retry) bool { return r.Slot == slot })
}

func (j *journal) retry(slot string) retry {
	for _, r := range j.Retries {
		if r.Slot == slot {
			return r
		}
	}
	return retry{Slot: slot}
}

func (j *journal) setRetry(r retry) {
	j.Retries = slices.DeleteFunc(j.Retries, func(x retry) bool { return x.Slot == r.Slot })
	if j.Retries = append(j.Retries, r); len(j.Retries) > maxRetries {
		j.Retries = j.Retries[1:]
	}
}

// versionOf is what a plan makes of Caddy.
func versionOf(p *wire.Plan, running string) string {
	for _, c := range p.Changes {
		if c.Path == wire.CaddyPath {
			return c.To
		}
	}
	return running
}
