package dataset

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestAttack publishes hours and their day, and then does what an attacker
// can: any sums and differences of published numbers. No group's hour, no
// group's day and no two of either that fail the rule together may follow.
func TestAttack(t *testing.T) {
	rule := Rule{MinInstances: 5, MinEvents: 100, MaxShare: 0.4}
	shown, hidden := 0, 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 1))
		totals := seed%2 == 0 // are known from elsewhere
		of := membership(seed%4 < 2)
		hours := make([]groups, 2+r.IntN(4))
		names := 2 + r.IntN(6)
		for h := range hours {
			hours[h] = groups{}
			for g := range names {
				if r.IntN(5) == 0 {
					continue
				}
				s := newSum(1)
				instances := 1 + r.IntN(9)
				events := uint64(r.IntN(400))
				s.row(store.Row{Key: store.Key{Start: int64(h)}, Count: events, Reports: uint32(instances), Top: max(events/uint64(instances), uint64(r.IntN(int(events)+1))/2)})
				hours[h][fmt.Sprint(g)] = s
			}
		}
		if totals && slices.ContainsFunc(hours, func(g groups) bool { return !rule.passes(wire.KindCounter, total(g, of)) }) {
			continue // such an hour's total is not published
		}
		released := make([]release, len(hours))
		for h := range hours {
			released[h] = rule.partition(wire.KindCounter, hours[h], 1, of)
		}
		day := rule.day(wire.KindCounter, hours, released, 1, totals, of)
		a := newAttack(hours)
		for h, rel := range released {
			for name := range rel.shown {
				a.knows(a.hour(h, name))
				shown++
			}
			if !rel.dropped() || totals {
				a.knows(a.hourBut(h, rel.shown))
			}
		}
		for name := range day.shown {
			a.knows(a.day(name))
		}
		if day.rest != nil || totals {
			a.knows(a.dayBut(day.shown))
		}
		for _, set := range a.candidates() {
			if !rule.passes(wire.KindCounter, a.sum(set, of)) {
				hidden++
				if a.follows(set) {
					t.Fatalf("seed %d: %v follows from what is published:\nhours %v\nday %v", seed, set, released, day)
				}
			}
		}
	}
	if shown < 1000 || hidden < 1000 {
		t.Errorf("only %d numbers were published and %d had to be hidden: nothing is tested", shown, hidden)
	}
}

func total(g groups, of membership) *sum {
	s := newSum(1)
	for _, o := range g {
		s.add(o, of)
	}
	return s
}

// An attack is what is known, as linear combinations of atoms: a group in an
// hour. The vectors are kept in echelon form, over the integers modulo a prime.
type attack struct {
	hours []groups
	atoms []atom
	rows  map[int][]uint64 // by the column of the leading one
}

type atom struct {
	hour int
	name string
}

const prime = 1<<31 - 1

func newAttack(hours []groups) *attack {
	a := &attack{hours: hours, rows: map[int][]uint64{}}
	for h, g := range hours {
		for name := range g {
			a.atoms = append(a.atoms, atom{h, name})
		}
	}
	return a
}

func (a *attack) set(in func(atom) bool) []atom {
	var s []atom
	for _, x := range a.atoms {
		if in(x) {
			s = append(s, x)
		}
	}
	return s
}

func (a *attack) hour(h int, name string) []atom {
	return a.set(func(x atom) bool { return x.hour == h && x.name == name })
}

func (a *attack) hourBut(h int, shown groups) []atom {
	return a.set(func(x atom) bool { return x.hour == h && shown[x.name] == nil })
}

func (a *attack) day(name string) []atom {
	return a.set(func(x atom) bool { return x.name == name })
}

func (a *attack) dayBut(shown groups) []atom {
	return a.set(func(x atom) bool { return shown[x.name] == nil })
}

// candidates are what must not follow unless it passes: single groups in an
// hour or over the day, and pairs of them, within an hour, or a group's in two.
func (a *attack) candidates() [][]atom {
	var sets [][]atom
	for i, x := range a.atoms {
		sets = append(sets, []atom{x}, a.day(x.name))
		for _, y := range a.atoms[:i] {
			if x.hour == y.hour || x.name == y.name {
				sets = append(sets, []atom{x, y})
			}
		}
	}
	return sets
}

func (a *attack) sum(set []atom, of membership) *sum {
	hours := map[int]*sum{}
	for _, x := range set {
		if hours[x.hour] == nil {
			hours[x.hour] = newSum(1)
		}
		hours[x.hour].add(a.hours[x.hour][x.name], of)
	}
	s := newSum(1)
	for h := range a.hours {
		if hours[h] != nil {
			s.later(hours[h])
		}
	}
	return s
}

func (a *attack) vector(set []atom) []uint64 {
	v := make([]uint64, len(a.atoms))
	for i, x := range a.atoms {
		for _, y := range set {
			if x == y {
				v[i] = 1
			}
		}
	}
	return v
}

// reduce takes off what is known, and returns the column of what is left, or -1.
func (a *attack) reduce(v []uint64) int {
	for col := range v {
		if v[col] == 0 {
			continue
		}
		row := a.rows[col]
		if row == nil {
			return col
		}
		f := v[col]
		for i := range v {
			v[i] = (v[i] + (prime-f)*row[i]) % prime
		}
	}
	return -1
}

func (a *attack) knows(set []atom) {
	v := a.vector(set)
	col := a.reduce(v)
	if col < 0 {
		return
	}
	inv := power(v[col], prime-2)
	for i := range v {
		v[i] = v[i] * inv % prime
	}
	a.rows[col] = v
}

func (a *attack) follows(set []atom) bool { return a.reduce(a.vector(set)) < 0 }

func power(x, n uint64) uint64 {
	y := uint64(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			y = y * x % prime
		}
		x = x * x % prime
	}
	return y
}
