package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Again publishes all days anew from the rows as they were frozen, after the
// rule or the method has changed, and notes in the manifest why. It returns how
// many files it wrote. It is for a Publisher from OpenAgain.
func (p *Publisher) Again(ctx context.Context, why string) (files int, err error) {
	if why == "" {
		return 0, errors.New("say why the data set is published again: whoever has the former files wants to know")
	}
	days, err := p.frozenDays()
	if err != nil || len(days) == 0 {
		return 0, err
	}
	until := p.c.Now().Add(-p.c.Delay).UTC()
	for _, day := range days {
		var hours []time.Time
		for at := day; at.Before(day.AddDate(0, 0, 1)) && exists(p.hourFile(at)); at = at.Add(time.Hour) {
			hours = append(hours, at)
		}
		if len(hours) == 0 {
			continue
		}
		over := len(hours) == 24 && exists(p.dayFile(day)) && !day.AddDate(0, 0, 1).After(until)
		n, err := p.release(ctx, day, hours, over)
		files += n
		if err != nil {
			return files, fmt.Errorf("publishing %s again: %w", day.Format(time.DateOnly), err)
		}
	}
	p.manifest.Reprocessed = append(p.manifest.Reprocessed, Reprocessing{
		At: p.c.Now().UTC().Truncate(time.Second), From: days[0].Format(time.DateOnly), To: days[len(days)-1].Format(time.DateOnly), Why: why,
	})
	return files, p.sign()
}

// frozenDays are the days of which there are frozen hours, in order.
func (p *Publisher) frozenDays() ([]time.Time, error) {
	entries, err := os.ReadDir(filepath.Join(p.c.State, "hours"))
	if err != nil {
		return nil, fmt.Errorf("finding what was published: %w", err)
	}
	var days []time.Time
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".rows")
		if !ok {
			continue
		}
		at, err := time.Parse("2006-01-02T15", name)
		if err != nil {
			continue
		}
		days = append(days, at.Truncate(24*time.Hour))
	}
	slices.SortFunc(days, time.Time.Compare)
	return slices.Compact(days), nil
}
