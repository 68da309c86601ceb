package dashboard

import (
	"context"
	"time"
)

// A HandoutDay is how many executables of Caddy were handed out in a day, with
// telemetry compiled in and without.
type HandoutDay struct {
	Day           time.Time // UTC
	With, Without int64
}

// An aboutView is what the page about this service says beside its charts.
type aboutView struct {
	// Builds says that this server hands executables out, and counts them.
	Builds        bool
	With, Without string
	Share         string // of those with, "" if none was handed out
	Weeks         []handoutWeek
	Privacy       Privacy
}

// A handoutWeek is a row of the table of what was handed out.
type handoutWeek struct {
	Begins, With, Without, Share string
}

// handoutWeeks is for how long what was handed out is told.
const handoutWeeks = 13

func (d *Dashboard) aboutPage(ctx context.Context) *aboutView {
	v := &aboutView{Builds: d.cfg.Handouts != nil, Privacy: d.cfg.Privacy}
	if d.cfg.Handouts == nil {
		return v
	}
	today := d.cfg.Now().UTC().Truncate(24 * time.Hour)
	since := today.AddDate(0, 0, -7*handoutWeeks+1)
	found, err := d.cfg.Handouts(ctx, since)
	if err != nil {
		// The rest of the page does not need them.
		d.cfg.Logger.Error("what was handed out is left out of the page about this service", "error", err)
		v.Builds = false
		return v
	}
	share := func(with, without int64) string {
		if with+without == 0 {
			return ""
		}
		return percent(float64(with) / float64(with+without))
	}
	var with, without [handoutWeeks]int64
	var w, wo int64
	for _, h := range found {
		i := int(h.Day.Sub(since) / (7 * 24 * time.Hour))
		if i < 0 || i >= handoutWeeks {
			continue
		}
		with[i] += h.With
		without[i] += h.Without
		w, wo = w+h.With, wo+h.Without
	}
	v.With, v.Without, v.Share = whole(uint64(w)), whole(uint64(wo)), share(w, wo)
	for i := handoutWeeks - 1; i >= 0; i-- {
		if with[i]+without[i] > 0 {
			v.Weeks = append(v.Weeks, handoutWeek{since.AddDate(0, 0, 7*i).Format(time.DateOnly), whole(uint64(with[i])), whole(uint64(without[i])), share(with[i], without[i])})
		}
	}
	return v
}
