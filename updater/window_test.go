package updater

import (
	"testing"
	"time"
	_ "time/tzdata"
)

func TestParseWindow(t *testing.T) {
	for _, s := range []string{
		"Sat,Sun 02:00-05:00 Europe/Berlin", "02:00-05:00 UTC", "Mon-Fri 22:00-04:00 America/New_York", "Sat-Mon 00:00-24:00 Local", "Sun 23:59-00:00 UTC",
	} {
		w, err := ParseWindow(s)
		if err != nil {
			t.Errorf("%q: %v", s, err)
		} else if w.String() != s {
			t.Errorf("%q became %q", s, w)
		}
	}
	for _, s := range []string{
		"", "always", "02:00-05:00", "02:00-05:00 ", "Sat 02:00-05:00", "Sat  02:00-05:00 UTC", "sat 02:00-05:00 UTC", "Saturday 02:00-05:00 UTC",
		"Sat,Sat 02:00-05:00 UTC", "Mon-Fri,Tue 02:00-05:00 UTC", "Sat, 02:00-05:00 UTC", "2:00-5:00 UTC", "02:00-02:00 UTC", "24:00-02:00 UTC",
		"02:60-05:00 UTC", "02:00-24:01 UTC", "02:00-25:00 UTC", "0200-0500 UTC", "02:00–05:00 UTC", "02:00-05:00 Europe/Atlantis", "02:00-05:00 ../../etc/passwd",
		"02:00-05:00 UTC extra", "-1:00-05:00 UTC", "02:00-05:00-06:00 UTC",
	} {
		if w, err := ParseWindow(s); err == nil {
			t.Errorf("%q is taken for %+v", s, w)
		}
	}
}

func TestWindow(t *testing.T) {
	type times = map[string]bool
	for text, at := range map[string]times{
		"Sat,Sun 02:00-05:00 Europe/Berlin": {
			"2026-11-21T00:59:00Z": false, "2026-11-21T01:00:00Z": true, "2026-11-21T03:59:59Z": true, "2026-11-21T04:00:00Z": false,
			"2026-11-20T02:00:00Z": false, "2026-07-18T00:00:00Z": true, "2026-07-18T03:00:00Z": false,
			// Clocks go from 02:00 to 03:00 on 29 March: it opens at 03:00 summer time.
			"2026-03-29T00:59:00Z": false, "2026-03-29T01:00:00Z": true, "2026-03-29T02:59:00Z": true, "2026-03-29T03:00:00Z": false,
			// And from 03:00 to 02:00 on 25 October: it is an hour longer.
			"2026-10-25T00:00:00Z": true, "2026-10-25T01:30:00Z": true, "2026-10-25T03:59:00Z": true, "2026-10-25T04:00:00Z": false,
		},
		"Fri 22:00-04:00 UTC": {
			"2026-11-20T21:59:00Z": false, "2026-11-20T22:00:00Z": true, "2026-11-21T03:59:00Z": true, "2026-11-21T04:00:00Z": false,
			"2026-11-20T03:00:00Z": false, "2026-11-21T22:00:00Z": false,
		},
		"00:00-24:00 UTC": {"2026-11-20T00:00:00Z": true, "2026-11-20T23:59:59Z": true},
	} {
		w, err := ParseWindow(text)
		if err != nil {
			t.Fatal(err)
		}
		for s, want := range at {
			if got := w.Open(parseTime(t, s)); got != want {
				t.Errorf("%s at %s: open is %v", text, s, got)
			}
		}
	}
	var none *Window
	if !none.Open(time.Now()) || (&Window{}).Open(time.Now()) || !(&Window{}).Next(time.Now()).IsZero() {
		t.Error("no window is always open, and an empty one never")
	}
}

func TestWindowNext(t *testing.T) {
	for _, c := range [][3]string{
		{"Sat,Sun 02:00-05:00 Europe/Berlin", "2026-11-21T02:30:00Z", "2026-11-21T02:30:00Z"},
		{"Sat,Sun 02:00-05:00 Europe/Berlin", "2026-11-22T04:00:00Z", "2026-11-28T01:00:00Z"},
		{"Sat,Sun 02:00-05:00 Europe/Berlin", "2026-11-20T12:34:56Z", "2026-11-21T01:00:00Z"},
		// The hour is skipped on that Sunday: it is open a week later.
		{"Sun 02:00-03:00 Europe/Berlin", "2026-03-28T00:00:00Z", "2026-04-05T00:00:00Z"},
	} {
		w, err := ParseWindow(c[0])
		if err != nil {
			t.Fatal(err)
		}
		if got, want := w.Next(parseTime(t, c[1])), parseTime(t, c[2]); !got.Equal(want) {
			t.Errorf("%s after %s is %s, not %s", c[0], c[1], got, want)
		}
	}
}

func parseTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func FuzzWindow(f *testing.F) {
	f.Add("Sat,Sun 02:00-05:00 Europe/Berlin", int64(0))
	f.Add("02:00-05:00 UTC", int64(1795222800))
	f.Add("Mon-Fri 22:00-04:00 America/New_York", int64(1774746000))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		w, err := ParseWindow(s)
		if err != nil {
			return
		}
		b, err := w.MarshalText()
		var again Window
		if err != nil || again.UnmarshalText(b) != nil || again.String() != s {
			t.Fatalf("%q is not read again", s)
		}
		at := time.Unix(unix%(1<<33), 0)
		if next := w.Next(at); !next.IsZero() && (next.Before(at) || !w.Open(next)) {
			t.Errorf("%q: the next after %v is %v", s, at, next)
		}
	})
}
