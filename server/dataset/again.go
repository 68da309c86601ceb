package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// An again is how far publishing anew has come. It is kept in the publisher's own
// folder from before the first file is written until after the last one, so that
// what is stopped goes on, and no data set stays half of one rule and half of
// another.
type again struct {
	At   time.Time `json:"at"`
	Why  string    `json:"why"`
	Rule Rule      `json:"rule"`
	Next string    `json:"next,omitempty"` // the first day that is not done; "" at the beginning
}

func (p *Publisher) againFile() string { return filepath.Join(p.c.State, "again.json") }

// unfinished is what an earlier run began and did not finish; nil if nothing.
func (p *Publisher) unfinished() (*again, error) {
	b, err := os.ReadFile(p.againFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var a again
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	if err != nil {
		return nil, fmt.Errorf("reading how far publishing again came: %w (remove %s to begin again)", err, p.againFile())
	}
	return &a, nil
}

func (p *Publisher) keepAgain(a *again) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return replace(p.againFile(), func(w io.Writer) error { _, err := w.Write(b); return err })
}

// Again publishes all days anew from the rows as they were frozen, after the
// rule or the method has changed, and notes in the manifest why. It returns how
// many files it wrote. One that was stopped goes on, by the next call or by the
// next Publish. It is for a Publisher from OpenAgain.
func (p *Publisher) Again(ctx context.Context, why string) (files int, err error) {
	a, err := p.unfinished()
	if err != nil {
		return 0, err
	}
	if a == nil || a.Rule != p.c.Rule {
		if why == "" {
			return 0, errors.New("say why the data set is published again: whoever has the former files wants to know")
		}
		a = &again{At: p.c.Now().UTC().Truncate(time.Second), Why: why, Rule: p.c.Rule}
	}
	return p.goOn(ctx, a)
}

// goOn publishes again what is left.
func (p *Publisher) goOn(ctx context.Context, a *again) (files int, err error) {
	days, err := p.frozenDays()
	if err != nil || len(days) == 0 {
		return 0, err
	}
	note := Reprocessing{At: a.At, From: days[0].Format(time.DateOnly), To: days[len(days)-1].Format(time.DateOnly), Why: a.Why}
	p.manifest.Reprocessing = &note
	if err := p.keepAgain(a); err != nil {
		return 0, err
	}
	until := p.c.Now().Add(-p.c.Delay).UTC()
	for _, day := range days {
		a.Next = max(a.Next, day.Format(time.DateOnly))
		if day.Format(time.DateOnly) < a.Next {
			continue
		}
		if err := p.keepAgain(a); err != nil {
			return files, err
		}
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
			return files, fmt.Errorf("publishing %s again: %w (what is done is kept: it goes on from there)", day.Format(time.DateOnly), err)
		}
	}
	p.manifest.Reprocessing = nil
	p.manifest.Reprocessed = append(p.manifest.Reprocessed, note)
	if err := p.sign(); err != nil {
		return files, err
	}
	if err := os.Remove(p.againFile()); err != nil {
		return files, fmt.Errorf("after publishing again: %w", err)
	}
	return files, nil
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
