package updater

import "slices"

// Status is what is known and done.
func (u *Updater) Status() Status {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.status
}

// publish is for Run: it makes Status what is so now.
func (u *Updater) publish() {
	s := u.j.status()
	s.Waiting, s.Problem, s.Paused = u.waiting, u.problem, u.paused
	s.Off, s.Scope, s.Service, s.Window = u.p.off(), u.p.Scope, u.p.Service, u.p.Window.String()
	s.Notify, s.Running = u.notifies(), u.c.Running.Slot
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status = s
}

func (j journal) status() Status {
	s := Status{
		State: j.State, Since: j.Since, LastCheck: j.LastCheck, NextCheck: j.NextCheck, CheckError: j.CheckError,
		Notice: j.Notice, Quarantine: slices.Clone(j.Quarantine), Last: j.Last,
	}
	if j.Attempt != nil {
		c := j.Attempt.Candidate
		s.Candidate = &c
	}
	return s
}

// ReadStatus is what the journal of a folder says, for when no Caddy runs: State
// is Idle and the rest empty if there is none.
func ReadStatus(dir string) (Status, error) {
	j, err := readJournal(dir)
	if err != nil {
		return Status{}, err
	}
	s := j.status()
	s.Paused, err = ReadPaused(dir)
	return s, err
}
