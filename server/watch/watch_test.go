package watch_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/caddy-evergreen/evergreen/server/watch"
)

var now = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

// seasonal are readings of hours before now with a daily and weekly rhythm.
func seasonal(hours int, rnd *rand.Rand) (rs []watch.Reading) {
	for i := 1; i <= hours; i++ {
		at := now.Add(-time.Duration(i) * time.Hour)
		rs = append(rs, watch.Reading{Time: at, Value: rhythm(at) * (1 + 0.05*rnd.NormFloat64()), Of: 10_000})
	}
	return rs
}

func rhythm(at time.Time) float64 {
	v := 1000 + 600*math.Sin(float64(at.Hour())*math.Pi/12)
	if at.Weekday() == time.Saturday {
		v /= 2
	}
	return v
}

func complete(t *testing.T, w watch.Watch) watch.Watch {
	t.Helper()
	if err := w.Complete(); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestJudge(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	month := seasonal(28*24, rnd)
	usual := rhythm(now)
	poisoned := append([]watch.Reading{}, month...)
	for i := range 5 { // a long incident an hour ago does not become usual
		poisoned[i].Value *= 50
	}
	flat := func(v float64, of uint64) (rs []watch.Reading) {
		for i := range 200 {
			rs = append(rs, watch.Reading{Time: now.Add(-time.Duration(i+1) * time.Hour), Value: v, Of: of})
		}
		return rs
	}
	for name, c := range map[string]struct {
		watch  watch.Watch
		now    float64
		of     uint64
		before []watch.Reading
		known  bool
		side   watch.Side
		calm   bool
	}{
		"usual":                        {watch.Watch{Query: "x"}, usual * 1.05, 0, month, true, watch.Within, true},
		"above":                        {watch.Watch{Query: "x"}, usual * 3, 0, month, true, watch.Over, false},
		"below":                        {watch.Watch{Query: "x"}, 0, 0, month, true, watch.Under, false},
		"above, but not asked for":     {watch.Watch{Query: "x", Direction: watch.Below}, usual * 3, 0, month, true, watch.Within, true},
		"below, but not asked for":     {watch.Watch{Query: "x", Direction: watch.Above}, 0, 0, month, true, watch.Within, true},
		"what Saturday's noon is not":  {watch.Watch{Query: "x"}, usual * 2, 0, month, true, watch.Over, false},
		"after an incident":            {watch.Watch{Query: "x"}, usual * 3, 0, poisoned, true, watch.Over, false},
		"nothing to compare with":      {watch.Watch{Query: "x"}, usual, 0, month[:5], false, watch.Within, false},
		"a day and a bit":              {watch.Watch{Query: "x"}, usual, 0, month[:26], true, watch.Within, true},
		"few events are chance":        {watch.Watch{Query: "x"}, 6, 0, flat(1, 0), true, watch.Within, false},
		"a share of few":               {watch.Watch{Query: "x", Measure: watch.Share}, 1, 99, flat(0.01, 1000), false, watch.Within, false},
		"a share of many":              {watch.Watch{Query: "x", Measure: watch.Share}, 0.2, 5000, flat(0.01, 1000), true, watch.Over, false},
		"a share that is tiny":         {watch.Watch{Query: "x", Measure: watch.Share}, 0.009, 1e9, flat(0.0001, 1e9), true, watch.Within, false},
		"a share of none":              {watch.Watch{Query: "x", Measure: watch.Share}, 0, 1e4, flat(0, 1e4), true, watch.Within, true},
		"a quantile":                   {watch.Watch{Query: "x", Measure: watch.Quantile}, 3000, 1000, flat(1000, 1000), true, watch.Over, false},
		"a quantile within its bucket": {watch.Watch{Query: "x", Measure: watch.Quantile}, 1150, 1000, flat(1000, 1000), true, watch.Within, true},
		"not a number":                 {watch.Watch{Query: "x"}, math.NaN(), 0, month, false, watch.Within, false},
		"silence":                      {watch.Watch{Measure: watch.Silence}, 100, 0, nil, true, watch.Over, false},
		"no silence":                   {watch.Watch{Measure: watch.Silence}, 10, 0, nil, true, watch.Within, true},
	} {
		j := watch.Judge(complete(t, c.watch), watch.Reading{Time: now, Value: c.now, Of: c.of}, c.before)
		if j.Known != c.known || j.Side != c.side || j.Calm != c.calm {
			t.Errorf("%s: %+v", name, j)
		}
		if j.Known && !(j.Lowest <= j.Usual && j.Usual <= j.Most) {
			t.Errorf("%s: the usual is not within its bounds: %+v", name, j)
		}
	}
}

// TestQuiet: a year of hours with nothing but noise raise next to no alarm.
func TestQuiet(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	w := complete(t, watch.Watch{Query: "x"})
	all := seasonal(13*28*24, rnd)
	var s watch.Standing
	told := 0
	for i := len(all) - 1 - 28*24; i >= 0; i-- {
		for range 2 { // the same reading may be looked at twice
			var turn watch.Turn
			if s, turn = s.Next(watch.Judge(w, all[i], all[i+1:min(len(all), i+1+28*24)]), all[i].Time); turn == watch.Departs {
				told++
			}
		}
	}
	if told > 1 {
		t.Errorf("%d departures in a year of noise", told)
	}
}

// TestNext walks every state by every kind of judgement.
func TestNext(t *testing.T) {
	unknown := watch.Judgement{}
	calm := watch.Judgement{Known: true, Calm: true}
	uneasy := watch.Judgement{Known: true}
	over, under := watch.Judgement{Known: true, Side: watch.Over}, watch.Judgement{Known: true, Side: watch.Under}
	for name, c := range map[string]struct {
		looks []watch.Judgement
		state watch.State
		turns []watch.Turn
	}{
		"new":                      {[]watch.Judgement{unknown}, watch.Learning, nil},
		"still learning":           {[]watch.Judgement{unknown, unknown, unknown}, watch.Learning, nil},
		"learnt":                   {[]watch.Judgement{unknown, calm}, watch.Usual, nil},
		"became unknown":           {[]watch.Judgement{calm, unknown}, watch.Unknown, nil},
		"known again":              {[]watch.Judgement{calm, unknown, uneasy}, watch.Usual, nil},
		"once is chance":           {[]watch.Judgement{calm, over, calm, over, calm}, watch.Usual, nil},
		"departs":                  {[]watch.Judgement{calm, over, over}, watch.Departed, []watch.Turn{watch.Departs}},
		"departs at first":         {[]watch.Judgement{over, over}, watch.Departed, []watch.Turn{watch.Departs}},
		"to and fro":               {[]watch.Judgement{calm, over, under, over}, watch.Usual, nil},
		"told once":                {[]watch.Judgement{calm, over, over, over, over}, watch.Departed, []watch.Turn{watch.Departs}},
		"not yet back":             {[]watch.Judgement{calm, over, over, calm, calm, uneasy, calm, calm}, watch.Departed, []watch.Turn{watch.Departs}},
		"back":                     {[]watch.Judgement{calm, over, over, calm, calm, calm}, watch.Usual, []watch.Turn{watch.Departs, watch.Returned}},
		"departed while unknown":   {[]watch.Judgement{calm, over, over, unknown, unknown}, watch.Departed, []watch.Turn{watch.Departs}},
		"unknown between two ends": {[]watch.Judgement{calm, over, unknown, over}, watch.Usual, nil},
	} {
		var s watch.Standing
		var turns []watch.Turn
		for _, j := range c.looks {
			var turn watch.Turn
			if s, turn = s.Next(j, now); turn != watch.None {
				turns = append(turns, turn)
			}
		}
		if s.State != c.state {
			t.Errorf("%s: it ends %s", name, s.State)
		}
		if d := cmp.Diff(c.turns, turns); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func TestComplete(t *testing.T) {
	for name, w := range map[string]watch.Watch{
		"measure": {Query: "x", Measure: "mean"}, "direction": {Query: "x", Direction: "up"}, "sensitivity": {Query: "x", Sensitivity: "very"},
		"no query": {}, "silence's query": {Measure: watch.Silence, Query: "x"}, "two lines": {Name: "a\nb", Query: "x"},
		"not text": {Name: "\xff", Query: "x"},
	} {
		if err := w.Complete(); err == nil {
			t.Errorf("%s is taken: %+v", name, w)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte{})
	f.Add(watch.Pack([]watch.Reading{{Time: now, Value: 1.5, Of: 3}, {Time: now.Add(-time.Hour), Value: math.Inf(1)}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		rs, err := watch.Unpack(b)
		if err != nil {
			return
		}
		w := watch.Watch{Query: "x", Measure: watch.Share}
		if err := w.Complete(); err != nil {
			t.Fatal(err)
		}
		watch.Judge(w, watch.Reading{Time: now, Value: 1, Of: 1000}, rs)
		again, err := watch.Unpack(watch.Pack(rs))
		if err != nil || len(again) != len(rs) {
			t.Fatalf("%d readings became %d (%v)", len(rs), len(again), err)
		}
	})
}
