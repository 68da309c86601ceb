package updater

import (
	"errors"
	"fmt"
	"slices"
)

// A State is where an update of this data directory is.
type State string

const (
	Idle        State = "idle"        // nothing is known that is to be done
	Checked     State = "checked"     // an update is known; it is not, or not yet, being installed
	Downloading State = "downloading" // its executable is on its way into a slot
	Verified    State = "verified"    // its slot is sealed; it waits for its window, or to be tried again
	Rehearsing  State = "rehearsing"  // it runs beside the server and is compared with it
	Switching   State = "switching"   // the process is about to become it, or, with Attempt.Back, what was before
	Watching    State = "watching"    // the process is it; whether it does harm is being seen
	Healthy     State = "healthy"     // it does none
	RolledBack  State = "rolled-back" // it did, and the process is again what was before
	Failed      State = "failed"      // it did not get to serve
)

// States are all of them, in the order of an update that goes well.
var States = []State{Idle, Checked, Downloading, Verified, Rehearsing, Switching, Watching, Healthy, RolledBack, Failed}

// transitions is the one table of what may follow what. A pair that is not here
// is refused, before anything is written.
var transitions = map[State][]State{
	// To Switching: a person's rollback, from here and from each end.
	Idle: {Checked, Switching},
	// Another update, or the same one with other reasons; nothing any more.
	Checked: {Checked, Idle, Downloading, Failed, Switching},
	// Given up without a failure: what is wanted changed.
	Downloading: {Verified, Failed, Checked, Idle},
	Verified:    {Rehearsing, Failed, Checked, Idle},
	// Back to waiting: the window closed meanwhile, or the configuration changed.
	Rehearsing: {Switching, Verified, Failed, Checked, Idle},
	// To itself: the way back begins while the way there is not yet over.
	Switching: {Watching, Switching, RolledBack, Failed},
	// Watching ends without a verdict if what is watched no longer runs.
	Watching: {Healthy, Switching, RolledBack, Failed},
	// An attempt's end is kept until something new is known. What was good may
	// come up no more.
	Healthy:    {Idle, Checked, Switching, RolledBack},
	RolledBack: {Idle, Checked, Switching},
	Failed:     {Idle, Checked, Switching},
}

// ErrTransition is a step that the table of states does not have.
var ErrTransition = errors.New("no such step of an update")

func (s State) to(next State) error {
	if !slices.Contains(transitions[s], next) {
		return fmt.Errorf("%w: from %s to %s", ErrTransition, s, next)
	}
	return nil
}

// Ended tells whether s is the end of an attempt.
func (s State) Ended() bool { return s == Healthy || s == RolledBack || s == Failed }

// A Cause is the class of why an attempt ended as it did: what telemetry counts.
type Cause string

const (
	CauseNone       Cause = ""           // it ended well
	CauseNetwork    Cause = "network"    // the service or a mirror could not be reached, or broke off
	CauseService    Cause = "service"    // the service could not build it, or answered what makes no sense
	CauseSpace      Cause = "space"      // the disk is too full
	CauseStorage    Cause = "storage"    // the data directory can't be written
	CauseExecute    Cause = "execute"    // nothing can be executed from the data directory
	CauseKernel     Cause = "kernel"     // it needs a newer kernel
	CauseSignature  Cause = "signature"  // it is not, or not in time, vouched for by those who may
	CauseMismatch   Cause = "mismatch"   // it is not what was signed or announced
	CauseOlder      Cause = "older"      // it is older than what runs
	CauseModules    Cause = "modules"    // it lacks a module of what runs
	CauseRehearsal  Cause = "rehearsal"  // it answers otherwise
	CauseSwitch     Cause = "switch"     // the switch was given up, and the old one served on
	CauseStart      Cause = "start"      // it did not come up
	CauseCrash      Cause = "crash"      // it ended while it was watched
	CauseHarm       Cause = "harm"       // it did worse than the one before
	CausePerson     Cause = "person"     // a person wanted it so
	CauseSuperseded Cause = "superseded" // something else was installed meanwhile
	CauseOther      Cause = "other"
)

// Causes are all of them.
var Causes = []Cause{
	CauseNone, CauseNetwork, CauseService, CauseSpace, CauseStorage, CauseExecute, CauseKernel, CauseSignature, CauseMismatch, CauseOlder,
	CauseModules, CauseRehearsal, CauseSwitch, CauseStart, CauseCrash, CauseHarm, CausePerson, CauseSuperseded, CauseOther,
}

// An Error is why a step failed, with its class. An action may return one; of
// any other error the class follows from the step, and the step is tried again.
type Error struct {
	Cause Cause
	// Lasting: trying this very executable again would end as this time. It is
	// then not tried again until a person says so.
	Lasting bool
	Err     error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Passing is an error that another try may not have.
func Passing(c Cause, err error) error { return &Error{Cause: c, Err: err} }

// Lasting is an error that every try with the same executable would have.
func Lasting(c Cause, err error) error { return &Error{Cause: c, Lasting: true, Err: err} }
