package updater

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every pair of states: it is in the table, or it is refused and nothing changes.
func TestTransitions(t *testing.T) {
	reached := map[State]bool{Idle: true}
	for _, from := range States {
		for _, to := range States {
			u := Updater{j: journal{State: from, Attempt: &attempt{}}, c: Config{Now: fixed}}
			err := u.to(to, nil)
			if allowed := slices.Contains(transitions[from], to); allowed != (err == nil) {
				t.Errorf("from %s to %s: %v", from, to, err)
			}
			if err != nil {
				if !errors.Is(err, ErrTransition) || u.j.State != from {
					t.Errorf("from %s to %s: %v, and then it is %s", from, to, err, u.j.State)
				}
				continue
			}
			reached[to] = true
		}
	}
	if d := cmp.Diff(len(States), len(reached)); d != "" {
		t.Errorf("states that can't be reached: %s", d)
	}
	for from := range transitions {
		if !slices.Contains(States, from) {
			t.Errorf("the table has %s, which is no state", from)
		}
	}
}

// An update that serves is never left but by a verdict, and none serves that was
// not verified and rehearsed.
func TestTableIsSafe(t *testing.T) {
	for state, from := range map[State][]State{
		Verified:   {Downloading, Rehearsing},
		Rehearsing: {Verified},
		Watching:   {Switching},
		Healthy:    {Watching},
		RolledBack: {Switching, Watching, Healthy},
	} {
		var got []State
		for _, s := range States {
			if slices.Contains(transitions[s], state) {
				got = append(got, s)
			}
		}
		if d := cmp.Diff(from, slices.DeleteFunc(slices.Clone(States), func(s State) bool { return !slices.Contains(got, s) }), cmp.Transformer("set", set)); d != "" {
			t.Errorf("what leads to %s: %s", state, d)
		}
	}
}

func set(s []State) map[State]bool {
	m := map[State]bool{}
	for _, x := range s {
		m[x] = true
	}
	return m
}
