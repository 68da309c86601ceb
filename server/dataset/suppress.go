package dataset

import (
	"cmp"
	"maps"
	"slices"

	"github.com/caddy-evergreen/evergreen/wire"
)

// A groups are a period's sums by what tells them apart.
type groups map[string]*sum

// A release is what is published of one period: some groups, and the sum of
// the others, which is nil if there is none or it may not be known either.
type release struct {
	shown groups
	rest  *sum
	count int // of groups in rest
}

// dropped says that nothing of the period may be published, because all of it
// together does not pass.
func (r release) dropped() bool { return len(r.shown) == 0 && r.rest == nil }

// partition releases the groups that pass. The sum of the others follows from
// the total: if it does not pass, the smallest group that could be shown is
// hidden as well, and so on (complementary suppression).
func (r Rule) partition(kind wire.Kind, all groups, windows uint64, of membership) release {
	out := release{shown: groups{}}
	rest := newSum(windows)
	hide := func(s *sum) {
		rest.add(s, of)
		out.count++
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if s := all[name]; r.passes(kind, s) {
			out.shown[name] = s
		} else {
			hide(s)
		}
	}
	smallest := slices.SortedFunc(maps.Keys(out.shown), func(a, b string) int {
		return cmp.Or(cmp.Compare(all[a].count, all[b].count), cmp.Compare(a, b))
	})
	for out.count > 0 && !r.passes(kind, rest) && len(smallest) > 0 {
		hide(all[smallest[0]])
		delete(out.shown, smallest[0])
		smallest = smallest[1:]
	}
	if out.count > 0 && r.passes(kind, rest) {
		out.rest = rest
	}
	return out
}

// day releases a day's groups, which are the sums of its hours', after the
// hours were released. What follows from both together must pass, too. An
// attacker knows, of the hidden parts (a group in an hour), the sum of each hour
// of which something is published, the sum of each group that the day shows, and
// the day's total. So
//
//   - a group that was shown in some hours and hidden in others is hidden in the
//     day: else the day less the shown hours would be the hidden ones;
//   - a group that was shown in no hour is shown in the day only if it has a part
//     in each hour that hides something. Then no choice of hours holds a shown
//     group whole, and what follows are only the sums that are checked here.
//
// Groups are hidden, the smallest first, until all these sums pass.
//
// totals tells that the hours' totals and the day's are published elsewhere,
// also of hours whose groups are all hidden.
func (r Rule) day(kind wire.Kind, hours []groups, released []release, windows uint64, totals bool, of membership) release {
	d := newDay(hours, released, windows, totals, of)
	if len(d.silent) > 0 && !r.passes(kind, d.over(d.silent, nil)) {
		// The total would tell of the hours that nothing is published of.
		return release{shown: d.known}
	}
	fine := func(shown map[string]bool) bool {
		var left []int // hours with hidden parts of groups that the day does not show
		for h := range hours {
			if d.parts(h, shown) > 0 {
				left = append(left, h)
			}
		}
		if len(left) == 0 {
			return true
		}
		hidden := newSum(windows)
		for _, h := range left {
			hidden.later(d.hour(h, func(name string) bool { return !shown[name] }))
		}
		if !r.passes(kind, hidden) {
			return false
		}
		with := slices.Compact(slices.Sorted(slices.Values(slices.Concat(left, d.silent))))
		return len(shown) == 0 || len(with) == len(d.hiding) || r.passes(kind, d.over(with, shown))
	}
	shown := map[string]bool{}
	var order []string
	for name, s := range d.all {
		if d.whole(name) && r.passes(kind, s) {
			shown[name] = true
			order = append(order, name)
		}
	}
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(cmp.Compare(d.all[a].count, d.all[b].count), cmp.Compare(a, b))
	})
	for _, name := range order {
		if fine(shown) {
			break
		}
		delete(shown, name)
	}
	out := release{shown: d.known}
	rest := newSum(windows)
	for name, s := range d.all {
		switch {
		case shown[name]:
			out.shown[name] = s
		case out.shown[name] == nil:
			rest.add(s, of)
			out.count++
		}
	}
	if out.count > 0 && fine(shown) && r.passes(kind, rest) {
		out.rest = rest
	}
	return out
}

// A day is what its hours tell.
type day struct {
	hours   []groups
	windows uint64
	of      membership
	all     groups            // over the day
	known   groups            // those of all that follow from the hours already
	hidden  []map[string]bool // by hour
	seen    map[string]bool   // shown in some hour
	hiding  []int             // hours with hidden parts
	silent  []int             // hours of which nothing is published
}

func newDay(hours []groups, released []release, windows uint64, totals bool, of membership) *day {
	d := &day{hours: hours, windows: windows, of: of, all: groups{}, known: groups{}, seen: map[string]bool{}}
	some := map[string]bool{} // hidden in some hour
	for h, g := range hours {
		d.hidden = append(d.hidden, map[string]bool{})
		for name, s := range g {
			if d.all[name] == nil {
				d.all[name] = newSum(windows)
			}
			d.all[name].later(s)
			if _, ok := released[h].shown[name]; ok {
				d.seen[name] = true
			} else {
				d.hidden[h][name], some[name] = true, true
			}
		}
		if len(d.hidden[h]) > 0 {
			d.hiding = append(d.hiding, h)
			if released[h].dropped() && !totals {
				d.silent = append(d.silent, h)
			}
		}
	}
	for name, s := range d.all {
		if !some[name] {
			d.known[name] = s
		}
	}
	return d
}

// whole tells whether a group may be shown in the day, were it not for its size.
func (d *day) whole(name string) bool {
	if d.seen[name] {
		return false
	}
	if len(d.silent) == len(d.hours) {
		return true // no hour tells anything
	}
	return !slices.ContainsFunc(d.hiding, func(h int) bool { return !d.hidden[h][name] })
}

// parts is how many groups are hidden in an hour, and not in but.
func (d *day) parts(h int, but map[string]bool) (n int) {
	for name := range d.hidden[h] {
		if !but[name] {
			n++
		}
	}
	return n
}

// hour sums an hour's hidden parts up.
func (d *day) hour(h int, in func(name string) bool) *sum {
	s := newSum(d.windows)
	for name := range d.hidden[h] {
		if in(name) {
			s.add(d.hours[h][name], d.of)
		}
	}
	return s
}

// over sums the hidden parts of hours up, of all groups or of some.
func (d *day) over(hours []int, of map[string]bool) *sum {
	s := newSum(d.windows)
	for _, h := range hours {
		s.later(d.hour(h, func(name string) bool { return of == nil || of[name] }))
	}
	return s
}
