// Package watch says what somebody watches, and when its value departs from
// what is usual for it.
//
// In come a Watch and Readings: values of whole hours, each with the number of
// events behind it. Out goes a Judgement: what was usual, and whether the value
// is beyond it. Nothing here keeps, asks or sends anything; package alerts does.
//
// # What is usual
//
// A reading is compared with readings of the same hour of the week, and the
// hours beside it, in the four weeks before. Where there are fewer than
// eight of those, with the same hour of each day of the two weeks before and
// the hours beside it; where there are fewer than eight of those, too, with all
// hours of the week before, at least 24. With fewer the watch is learning.
//
// The middle is the median, the spread 1.4826 times the median absolute
// deviation, which for a normal distribution is the standard deviation: neither
// is moved by a few hours that were unusual themselves. The spread is at least
// what chance alone makes of so many events (of counts, the root of the median;
// of shares, that of a binomial distribution; of quantiles, a twentieth: that is
// what a histogram's buckets can tell apart).
//
// A value has departed when it is more spreads from the median than the
// sensitivity allows (low 10, normal 6, high 4), at least a fifth of the median
// away, and, for a share, at least a percent point; and when it stayed so for two looks
// in a row, some minutes apart. It has returned when it stayed within half of
// that for three looks in a row. So a watch tells twice: once when a
// value departs and once when it returns.
package watch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Measure is which number of a question's answer is watched.
type Measure string

const (
	Count    Measure = "count"    // events in an hour, or instances
	Share    Measure = "share"    // of the events that the question's where.* choose, in those without where.*: 0 to 1
	Quantile Measure = "quantile" // the q of the question, of an hour's observations, in the metric's unit
	// Silence is how many minutes ago an instance's newest report ended. It has no
	// question and no baseline: it departs at an hour and a half.
	Silence Measure = "silence"
)

// Measures are all of them.
var Measures = []Measure{Count, Share, Quantile, Silence}

// A Direction is on which side of the usual a departure counts.
type Direction string

const (
	Either Direction = "either"
	Above  Direction = "above"
	Below  Direction = "below"
)

// Directions are all of them.
var Directions = []Direction{Either, Above, Below}

// A Sensitivity is how far from the usual a departure is.
type Sensitivity string

const (
	Low    Sensitivity = "low"
	Normal Sensitivity = "normal"
	High   Sensitivity = "high"
)

// Sensitivities are all of them.
var Sensitivities = []Sensitivity{Low, Normal, High}

// spreads is how many spreads from the median a departure is.
func (s Sensitivity) spreads() float64 {
	return map[Sensitivity]float64{Low: 10, Normal: 6, High: 4}[s]
}

// A Watch is one number that is watched.
type Watch struct {
	Name string `json:"name"` // for people: "Requests"
	// Query is the number's question as the API's /api/v1/query has it, in a
	// URL's encoding, with metric, facet and one value, where.*, label and, for a
	// quantile, q; without by, range, grain and limit. Empty for Silence.
	Query       string      `json:"query,omitempty"`
	Measure     Measure     `json:"measure"`
	Direction   Direction   `json:"direction"`
	Sensitivity Sensitivity `json:"sensitivity"`
}

// The bounds of a Watch, in bytes.
const (
	MaxName  = 80
	MaxQuery = 1000
)

// Complete fills in what was left out and refuses what is no Watch. Whether
// the question can be asked is for who answers it to say.
func (w *Watch) Complete() error {
	if w.Measure == "" {
		w.Measure = Count
	}
	if w.Direction == "" {
		w.Direction = Either
	}
	if w.Sensitivity == "" {
		w.Sensitivity = Normal
	}
	switch {
	case !slices.Contains(Measures, w.Measure):
		return fmt.Errorf("measure is %.40q: it is one of %v", w.Measure, Measures)
	case !slices.Contains(Directions, w.Direction):
		return fmt.Errorf("direction is %.40q: it is one of %v", w.Direction, Directions)
	case !slices.Contains(Sensitivities, w.Sensitivity):
		return fmt.Errorf("sensitivity is %.40q: it is one of %v", w.Sensitivity, Sensitivities)
	case !Printable(w.Name, MaxName):
		return fmt.Errorf("the name of a watch has at most %d bytes, all printable", MaxName)
	case len(w.Query) > MaxQuery:
		return fmt.Errorf("a query has at most %d bytes", MaxQuery)
	case (w.Measure == Silence) != (w.Query == ""):
		return errors.New("a watch has a query, and only silence has none")
	}
	if w.Measure == Silence {
		w.Direction = Above
		if w.Name == "" {
			w.Name = "No reports"
		}
	}
	return nil
}

// Printable tells whether s is text of at most so many bytes in one line.
func Printable(s string, most int) bool {
	if len(s) > most || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// A Reading is a watch's value in the hour that ends at Time.
type Reading struct {
	Time  time.Time `json:"time"`
	Value float64   `json:"value"`
	// Of is how many events the value is of: for a share all of them, for a
	// quantile the observations. Nothing is told from too few.
	Of uint64 `json:"of"`
}

// A State is where a watch is.
type State string

const (
	Learning State = "learning" // too little to compare with
	Usual    State = "usual"
	Departed State = "departed"
	Unknown  State = "unknown" // nothing could be read, or of too few events
)

// A Side is where a value is beside the usual.
type Side int

const (
	Under  Side = -1
	Within Side = 0
	Over   Side = 1
)

// A Judgement is what a reading is beside others.
type Judgement struct {
	Reading
	Known  bool    `json:"known"`  // false: learning, or too few events
	Usual  float64 `json:"usual"`  // the median
	Lowest float64 `json:"lowest"` // what is not yet a departure
	Most   float64 `json:"most"`
	Hours  int     `json:"hours"` // how many were compared with
	Side   Side    `json:"side"`
	Calm   bool    `json:"calm"` // within half of what is allowed
}

const (
	leastAlike   = 8  // hours that are alike
	leastAny     = 24 // hours of any kind
	leastEvents  = 100
	leastRise    = 0.2  // of the median
	leastPoints  = 0.01 // of a share
	maxSilence   = 90.0 // minutes
	Lookback     = 28 * 24 * time.Hour
	MaxReadings  = 28*24 + 1
	readingBytes = 20
)

// Judge compares a reading with those before, in any order.
func Judge(w Watch, now Reading, before []Reading) Judgement {
	j := Judgement{Reading: now}
	if w.Measure == Silence {
		j.Known, j.Most = true, maxSilence
		if now.Value > maxSilence {
			j.Side = Over
		}
		j.Calm = now.Value < maxSilence/2
		return j
	}
	enough := func(r Reading) bool {
		return !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) && (w.Measure == Count || r.Of >= leastEvents)
	}
	if !enough(now) {
		return j
	}
	values := alike(now.Time, before, enough)
	if j.Hours = len(values); j.Hours == 0 {
		return j
	}
	j.Known = true
	j.Usual = median(values)
	for i, v := range values {
		values[i] = math.Abs(v - j.Usual)
	}
	spread := max(1.4826*median(values), chance(w.Measure, j.Usual, now.Of))
	away := max(spread*w.Sensitivity.spreads(), leastRise*math.Abs(j.Usual))
	if w.Measure == Share {
		away = max(away, leastPoints)
	}
	j.Lowest, j.Most = max(0, j.Usual-away), j.Usual+away
	if w.Measure == Share {
		j.Most = min(1, j.Most)
	}
	switch off := now.Value - j.Usual; {
	case off > away && w.Direction != Below:
		j.Side = Over
	case off < -away && w.Direction != Above:
		j.Side = Under
	case off <= away/2 && off >= -away/2,
		off < 0 && w.Direction == Above, off > 0 && w.Direction == Below:
		j.Calm = true
	}
	return j
}

// alike are the values of those readings that one at a time is compared with.
func alike(at time.Time, before []Reading, enough func(Reading) bool) []float64 {
	const week, day = 7 * 24, 24
	pick := func(most, period int, near func(off int) bool) (values []float64) {
		for _, r := range before {
			ago := int(math.Round(at.Sub(r.Time).Hours()))
			if ago < 1 || ago > most+1 || !enough(r) {
				continue
			}
			off := ago % period
			if off > period/2 {
				off -= period
			}
			if near(off) && ago > 1 {
				values = append(values, r.Value)
			}
		}
		return values
	}
	beside := func(off int) bool { return off >= -1 && off <= 1 }
	if values := pick(4*week, week, beside); len(values) >= leastAlike {
		return values
	}
	if values := pick(2*week, day, beside); len(values) >= leastAlike {
		return values
	}
	if values := pick(week, 1, func(int) bool { return true }); len(values) >= leastAny {
		return values
	}
	return nil
}

// chance is the spread that a value has by chance alone.
func chance(m Measure, usual float64, of uint64) float64 {
	switch m {
	case Share:
		n := float64(max(of, 1))
		// As if two events more were in and two out (Agresti–Coull): a share of
		// none is not known to be none.
		p := (usual*n + 2) / (n + 4)
		return math.Sqrt(p * (1 - p) / n)
	case Quantile:
		return usual / 20
	}
	return math.Sqrt(max(usual, 1))
}

// median sorts values.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// A Standing is a watch's state between looks.
type Standing struct {
	State  State     `json:"state"`
	Since  time.Time `json:"since"` // of the state
	Side   Side      `json:"side"`  // of a departure
	Streak int       `json:"-"`     // looks in a row that say something else
}

const (
	looksToDepart = 2
	looksToReturn = 3
)

// A Turn is what a look changed that people are told of.
type Turn string

const (
	None     Turn = ""
	Departs  Turn = "departed"
	Returned Turn = "returned"
)

// Next is the standing after a look, and what to tell of it. Nothing is told
// when a value becomes unknown: it stays departed until it is known again.
func (s Standing) Next(j Judgement, now time.Time) (Standing, Turn) {
	to := func(state State, side Side) Standing { return Standing{State: state, Since: now, Side: side} }
	switch {
	case s.State == Departed && !j.Known:
		return s, None
	case s.State == Departed && j.Calm:
		if s.Streak+1 >= looksToReturn {
			return to(Usual, Within), Returned
		}
		s.Streak++
		return s, None
	case s.State == Departed:
		s.Streak = 0
		return s, None
	case !j.Known && s.State == Usual:
		return to(Unknown, Within), None
	case !j.Known:
		if s.State == "" {
			return to(Learning, Within), None
		}
		s.Streak = 0
		return s, None
	case j.Side == Within && s.State == Usual:
		s.Streak = 0
		return s, None
	case j.Side == Within:
		return to(Usual, Within), None
	case s.Streak+1 >= looksToDepart && s.Side == j.Side:
		return to(Departed, j.Side), Departs
	}
	if s.State != Usual {
		s = to(Usual, Within) // until it is sure
	}
	if s.Side != j.Side {
		s.Streak = 0
	}
	s.Side = j.Side
	s.Streak++
	return s, None
}

// Pack writes readings as bytes, the oldest first: at most MaxReadings, in 20
// bytes each (Unix seconds, value, events).
func Pack(rs []Reading) []byte {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b Reading) int { return a.Time.Compare(b.Time) })
	rs = rs[max(0, len(rs)-MaxReadings):]
	b := make([]byte, 0, len(rs)*readingBytes)
	for _, r := range rs {
		b = binary.BigEndian.AppendUint32(b, uint32(r.Time.Unix()))
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(r.Value))
		b = binary.BigEndian.AppendUint64(b, r.Of)
	}
	return b
}

// Unpack is the inverse of Pack.
func Unpack(b []byte) ([]Reading, error) {
	if len(b)%readingBytes != 0 || len(b) > MaxReadings*readingBytes {
		return nil, fmt.Errorf("%d bytes are no readings", len(b))
	}
	rs := make([]Reading, 0, len(b)/readingBytes)
	for ; len(b) > 0; b = b[readingBytes:] {
		rs = append(rs, Reading{
			Time:  time.Unix(int64(binary.BigEndian.Uint32(b)), 0).UTC(),
			Value: math.Float64frombits(binary.BigEndian.Uint64(b[4:])),
			Of:    binary.BigEndian.Uint64(b[12:]),
		})
	}
	return rs, nil
}
