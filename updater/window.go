package updater

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Window is when switches may begin: on some days of the week, from a time of
// day to another one in a time zone. The zero value is never.
//
// It goes by what the clock on a wall there shows: an hour that is skipped when
// clocks change is not there, one that comes twice is there twice.
type Window struct {
	text       string
	days       [7]bool // on which it begins; Sunday is 0
	start, end int     // minutes of the day; end ≤ start is on the next day
	zone       *time.Location
}

const maxWindow = 100 // bytes of a window's text

var dayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// ParseWindow reads "Sat,Sun 02:00-05:00 Europe/Berlin". Days are Mon, Tue, Wed,
// Thu, Fri, Sat and Sun, alone or as a range ("Mon-Fri"), with commas; without
// them it is each day. Times are from 00:00 to 24:00; an end that is not after
// its start is on the next day. The zone is a name of the IANA database, UTC, or
// Local; it must be there.
func ParseWindow(s string) (*Window, error) {
	const shape = `a window is such as "Sat,Sun 02:00-05:00 Europe/Berlin"`
	if len(s) > maxWindow {
		return nil, fmt.Errorf("the window has %d bytes, over %d: %s", len(s), maxWindow, shape)
	}
	w := &Window{text: s}
	fields := strings.Split(s, " ")
	switch len(fields) {
	case 2:
		w.days = [7]bool{true, true, true, true, true, true, true}
	case 3:
		for _, d := range strings.Split(fields[0], ",") {
			if err := w.addDays(d); err != nil {
				return nil, fmt.Errorf("window %q: %w", s, err)
			}
		}
		fields = fields[1:]
	default:
		return nil, fmt.Errorf("window %q: %s, with one space between the parts", s, shape)
	}
	from, to, ok := strings.Cut(fields[0], "-")
	var err error
	if !ok {
		return nil, fmt.Errorf("window %q: %q is no time to time: %s", s, fields[0], shape)
	}
	if w.start, err = minutes(from); err != nil {
		return nil, fmt.Errorf("window %q: %w", s, err)
	}
	if w.end, err = minutes(to); err != nil {
		return nil, fmt.Errorf("window %q: %w", s, err)
	}
	if w.start == w.end || w.start == day {
		return nil, fmt.Errorf("window %q: it is never open; the whole day is 00:00-24:00", s)
	}
	if fields[1] == "" {
		return nil, fmt.Errorf("window %q: the time zone is missing", s)
	}
	if w.zone, err = time.LoadLocation(fields[1]); err != nil {
		return nil, fmt.Errorf("window %q: %w: use a name such as Europe/Berlin or UTC, and see that the system has the time zone database (package tzdata)", s, err)
	}
	return w, nil
}

const day = 24 * 60 // minutes

func (w *Window) addDays(s string) error {
	first, last, isRange := strings.Cut(s, "-")
	if !isRange {
		last = first
	}
	a, b := weekday(first), weekday(last)
	if a < 0 || b < 0 {
		return fmt.Errorf("%q is no day: days are %s, or a range such as Mon-Fri", s, strings.Join(dayNames, ", "))
	}
	for i := a; ; i = (i + 1) % 7 {
		if w.days[i] {
			return fmt.Errorf("%s is there twice", dayNames[i])
		}
		w.days[i] = true
		if i == b {
			return nil
		}
	}
}

func weekday(s string) int {
	for i, n := range dayNames {
		if n == s {
			return i
		}
	}
	return -1
}

func minutes(s string) (int, error) {
	bad := fmt.Errorf("%q is no time of day: it has the form 02:00, from 00:00 to 24:00", s)
	if len(s) != 5 || s[2] != ':' {
		return 0, bad
	}
	n := 0
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, bad
		}
	}
	h, m := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	if n = h*60 + m; m > 59 || n > day {
		return 0, bad
	}
	return n, nil
}

// String is the window as it was written.
func (w *Window) String() string {
	if w == nil {
		return ""
	}
	return w.text
}

// MarshalText and UnmarshalText have the form of ParseWindow.
func (w *Window) MarshalText() ([]byte, error) {
	if w.zone == nil {
		return nil, errors.New("an empty window has no text")
	}
	return []byte(w.text), nil
}

func (w *Window) UnmarshalText(b []byte) error {
	p, err := ParseWindow(string(b))
	if err == nil {
		*w = *p
	}
	return err
}

// Open tells whether it is at t. A nil Window always is.
func (w *Window) Open(t time.Time) bool {
	if w == nil {
		return true
	}
	if w.zone == nil {
		return false
	}
	t = t.In(w.zone)
	now, today := t.Hour()*60+t.Minute(), int(t.Weekday())
	if w.start < w.end {
		return w.days[today] && w.start <= now && now < w.end
	}
	return w.days[today] && w.start <= now || w.days[(today+6)%7] && now < w.end
}

// Next is when it next is open: t if it is; the zero time if it never is within
// two weeks, as when its only hour is skipped.
func (w *Window) Next(t time.Time) time.Time {
	if w.Open(t) {
		return t
	}
	if w.zone == nil {
		return time.Time{}
	}
	for next := t.Truncate(time.Minute); next.Sub(t) < 14*24*time.Hour; {
		if next = next.Add(time.Minute); w.Open(next) {
			return next
		}
	}
	return time.Time{}
}
