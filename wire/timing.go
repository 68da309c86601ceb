package wire

import (
	"fmt"
	"time"
)

// Timing is when things happen. Tests and demonstrations shorten it by
// environment variables, on the instance and on the server alike.
type Timing struct {
	Window      time.Duration // length of a window; EVERGREEN_WINDOW
	Notice      time.Duration // from the first start's notice to the first send; EVERGREEN_NOTICE
	ReportEvery time.Duration // how often to report until the server says otherwise; EVERGREEN_REPORT_EVERY
}

// The bounds of what a server may ask for, outside tests.
const (
	MinReportEvery = 5 * time.Minute
	MaxReportEvery = 6 * time.Hour
)

// DefaultTiming is what holds where no variable is set.
var DefaultTiming = Timing{Window: 5 * time.Minute, Notice: 10 * time.Minute, ReportEvery: 5 * time.Minute}

// TimingFromEnv reads the variables through getenv. A window is 1 s to 1 h and
// divides an hour; the other two are at most 24 h.
func TimingFromEnv(getenv func(string) string) (Timing, error) {
	t := DefaultTiming
	for _, v := range []struct {
		name     string
		d        *time.Duration
		min, max time.Duration
	}{
		{"EVERGREEN_WINDOW", &t.Window, time.Second, time.Hour},
		{"EVERGREEN_NOTICE", &t.Notice, 0, 24 * time.Hour},
		{"EVERGREEN_REPORT_EVERY", &t.ReportEvery, time.Second, 24 * time.Hour},
	} {
		s := getenv(v.name)
		if s == "" {
			continue
		}
		d, err := time.ParseDuration(s)
		if err != nil || d < v.min || d > v.max {
			return DefaultTiming, fmt.Errorf("%s is %.40q: set a duration from %s to %s, such as 10s", v.name, s, v.min, v.max)
		}
		*v.d = d
	}
	if t.Window%time.Second != 0 || time.Hour%t.Window != 0 {
		return DefaultTiming, fmt.Errorf("EVERGREEN_WINDOW is %s: an hour must be a whole number of windows, and a window whole seconds", t.Window)
	}
	return t, nil
}

// WindowStart is the start of the window that t lies in.
func (t Timing) WindowStart(at time.Time) time.Time { return at.UTC().Truncate(t.Window) }
