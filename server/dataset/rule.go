package dataset

import (
	"errors"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Rule is what a number needs in order to be published.
type Rule struct {
	MinInstances uint64  `json:"min_instances"` // at least as many contributed to it
	MinEvents    uint64  `json:"min_events"`    // it counts at least as much
	MaxShare     float64 `json:"max_share"`     // of it at most, from 0 to 1, is of a single instance
}

// Public is the rule of a data set that anyone may read.
var Public = Rule{MinInstances: 50, MinEvents: 5000, MaxShare: 0.25}

// Check refuses a rule that can't be kept.
func (r Rule) Check() error {
	if r.MinInstances < 2 {
		return errors.New("a published number is of at least two instances")
	}
	if !(r.MaxShare > 0 && r.MaxShare <= 1) {
		return errors.New("the greatest share of one instance is a number above 0 and up to 1, such as 0.25")
	}
	return nil
}

// passes tells whether a sum may be known.
func (r Rule) passes(kind wire.Kind, s *sum) bool {
	if s.instances() < r.MinInstances {
		return false
	}
	if kind == wire.KindInstances {
		return true // each gives one
	}
	return s.count >= r.MinEvents && float64(s.most()) <= r.MaxShare*float64(s.count)
}

// A sum is what rows of some groups add up to, with what bounds who is in it.
type sum struct {
	count   uint64
	buckets []uint64
	// reports counts windows of instances in the hours so far; most of them
	// were in the hour that had the most.
	reports map[int64]uint64
	// The two greatest counts of single instances: one that changes its group,
	// by an update, is in two.
	top, second uint64
	windows     uint64 // in an hour
}

// newSum is an empty sum over rows whose periods have so many windows.
func newSum(windows uint64) *sum {
	return &sum{reports: map[int64]uint64{}, windows: max(windows, 1)}
}

func (s *sum) row(r store.Row) {
	s.count += r.Count
	s.reports[r.Start] += uint64(r.Reports)
	s.single(r.Top)
	s.addBuckets(r.Buckets)
}

func (s *sum) single(n uint64) {
	if n > s.top {
		s.top, s.second = n, s.top
	} else if n > s.second {
		s.second = n
	}
}

func (s *sum) addBuckets(b []uint64) {
	if b == nil {
		return
	}
	if s.buckets == nil {
		s.buckets = make([]uint64, wire.Buckets)
	}
	for i, n := range b {
		s.buckets[i] += n
	}
}

// A membership is whether an instance can be in several of the groups that are
// added up.
type membership bool

const (
	disjoint    membership = false // in one, or in two if it changed meanwhile
	overlapping membership = true
)

// add merges groups of one period.
func (s *sum) add(o *sum, of membership) {
	s.count += o.count
	s.addBuckets(o.buckets)
	if of == overlapping {
		// The same instances, at worst.
		for at, n := range o.reports {
			s.reports[at] = max(s.reports[at], n)
		}
		s.top, s.second = s.top+o.top, s.second+o.second
		return
	}
	for at, n := range o.reports {
		s.reports[at] += n
	}
	s.single(o.top)
	s.single(o.second)
}

// later adds a group's next period: a single instance may be the greatest in
// both.
func (s *sum) later(o *sum) {
	top, second := s.top+o.top, s.second+o.second
	s.add(o, disjoint)
	s.top, s.second = top, second
}

// instances is a bound from below: an instance gives one report in a window.
func (s *sum) instances() uint64 {
	var most uint64
	for _, n := range s.reports {
		most = max(most, n)
	}
	return most / s.windows
}

// most is a bound from above on what one instance gave.
func (s *sum) most() uint64 { return s.top + s.second }
