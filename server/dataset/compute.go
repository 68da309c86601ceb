package dataset

import (
	"context"
	"math"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A computed day: the rows of its hours and, if it is over, of the day, by
// metric, and what is lost.
type computed struct {
	hours, days map[string][]Row
	loss        Loss
}

// compute releases a day from frozen rows: the same rows give the same release.
func (p *Publisher) compute(ctx context.Context, day time.Time, hours []time.Time, over bool) (*computed, error) {
	out := &computed{map[string][]Row{}, map[string][]Row{}, Loss{Day: day.Format(time.DateOnly)}}
	var frozen []map[wire.MetricID][]store.Row
	for _, at := range hours {
		rows, err := thaw(p.hourFile(at))
		if err != nil {
			return nil, err
		}
		frozen = append(frozen, rows)
	}
	var whole map[wire.MetricID][]store.Row
	if over {
		var err error
		if whole, err = thaw(p.dayFile(day)); err != nil {
			return nil, err
		}
	}
	windows := uint64(time.Hour / p.c.Window)
	var inHours, inDays, inValues share
	for _, m := range wire.Metrics() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m.Kind == wire.KindDistinct {
			for i, at := range hours {
				out.hours[m.Name] = append(out.hours[m.Name], p.c.Rule.distinct(m, at, frozen[i][m.ID])...)
			}
			out.days[m.Name] = p.c.Rule.distinct(m, day, whole[m.ID])
			continue
		}
		var each []cells
		var was []released
		for i, at := range hours {
			c := gather(m, frozen[i][m.ID], windows)
			r := p.c.Rule.hour(m, c, windows)
			out.hours[m.Name] = append(out.hours[m.Name], r.rows(m, at, c.names)...)
			each, was = append(each, c), append(was, r)
			inHours.count(m, c.all, r.all)
		}
		switch {
		case !over:
		case m.Kind == wire.KindInstances:
			// A day's instances are not the sum of its hours'.
			c := gather(m, whole[m.ID], windows)
			out.days[m.Name] = p.c.Rule.hour(m, c, windows).rows(m, day, c.names)
		default:
			r, names := p.c.Rule.days(m, each, was, windows)
			out.days[m.Name] = r.rows(m, day, names)
			all := groups{}
			for _, c := range each {
				for name, s := range c.all {
					if all[name] == nil {
						all[name] = newSum(windows)
					}
					all[name].later(s)
				}
			}
			inDays.count(m, all, r.all)
			for _, byGroup := range r.facets {
				for name, part := range byGroup {
					inValues.part(r.all.shown[name], part)
				}
			}
		}
	}
	out.loss.Hours, out.loss.Days, out.loss.Values = inHours.lost(), inDays.lost(), inValues.lost()
	if !over {
		return out, nil
	}
	late, err := p.late(ctx, day, frozen)
	out.loss.Late = late
	return out, err
}

// late is the share of a day's events that is in the store by now, and was not
// when its hours were published.
func (p *Publisher) late(ctx context.Context, day time.Time, frozen []map[wire.MetricID][]store.Row) (float64, error) {
	var s share
	for _, hour := range frozen {
		for _, row := range hour[wire.HTTPRequests] {
			if row.Facet == wire.All {
				s.told += row.Count
			}
		}
	}
	for row, err := range p.c.Store.Export(ctx, store.Hour, day, day.AddDate(0, 0, 1)) {
		if err != nil {
			return 0, err
		}
		if row.Metric == wire.HTTPRequests && row.Facet == wire.All {
			s.all += row.Count
		}
	}
	return s.lost(), nil
}

// A share is how much of some events is told apart.
type share struct{ told, all uint64 }

func (s *share) count(m *wire.Metric, all groups, r release) {
	if m.Kind == wire.KindInstances {
		return
	}
	for _, g := range all {
		s.all += g.count
	}
	for _, g := range r.shown {
		s.told += g.count
	}
}

func (s *share) part(whole *sum, r release) {
	s.all += whole.count
	for _, g := range r.shown {
		s.told += g.count
	}
}

// lost has two digits.
func (s share) lost() float64 {
	if s.all == 0 || s.told >= s.all {
		return 0
	}
	return math.Ceil(100*(1-float64(s.told)/float64(s.all))) / 100
}
