package build

import "slices"

// A state is how far a build is. Those that wire.BuildProgress tells are the
// same words.
type state string

const (
	queued    state = "queued"
	resolving state = stepResolving
	compiling state = stepCompiling
	linking   state = stepLinking
	signing   state = "signing"
	done      state = "done"
	failed    state = "failed"
	cancelled state = "cancelled"
	evicted   state = "evicted" // was done; its executable had to make room
)

// working are the states in which a server works at a build. When that server
// ends, the build is queued again.
var working = []state{resolving, compiling, linking, signing}

// next is every change of state that there is.
var next = map[state][]state{
	queued:    {resolving, signing, cancelled},
	resolving: {compiling, queued, failed, cancelled},
	compiling: {linking, queued, failed, cancelled},
	linking:   {signing, done, queued, failed, cancelled},
	signing:   {done, queued, failed, cancelled},
	done:      {evicted, queued},
	failed:    {queued},
	cancelled: {queued},
	evicted:   {queued},
}

func (s state) may(to state) bool { return slices.Contains(next[s], to) }

func (s state) working() bool { return slices.Contains(working, s) }

// final tells whether nothing more happens by itself.
func (s state) final() bool { return s != queued && !s.working() }
