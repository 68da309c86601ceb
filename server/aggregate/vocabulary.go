package aggregate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// How many different values a day may have.
const (
	maxVersions = 512  // of Caddy and Go, and any other facet
	maxModules  = 4096 // modules or plugins, with their versions
	maxNetworks = 4096
	// keptDays are remembered between batches; reports are at most a week old.
	keptDays = 10
)

const (
	other   = "other"
	unknown = "unknown"
)

// A wordList is one open vocabulary: a metric's labels if metric is not 0,
// otherwise a facet's values.
type wordList struct {
	metric wire.MetricID
	facet  wire.Facet
}

func (w wordList) limit() int {
	switch {
	case w.metric == wire.InstancesModules || w.metric == wire.InstancesPlugins:
		return maxModules
	case w.metric == 0 && w.facet == wire.Network:
		return maxNetworks
	}
	return maxVersions
}

// A vocabulary knows the words that the days' open vocabularies have.
type vocabulary struct {
	store store.Store
	days  map[int64]map[wordList]map[string]bool
}

func newVocabulary(s store.Store) *vocabulary {
	return &vocabulary{s, map[int64]map[wordList]map[string]bool{}}
}

// day makes the words of a day known.
func (v *vocabulary) day(ctx context.Context, day int64) error {
	if v.days[day] != nil {
		return nil
	}
	lists := map[wordList]map[string]bool{}
	from := time.Unix(day, 0).UTC()
	query := func(list wordList, q store.Query) error {
		// Every word has a row of grain window, but not always one of the hour
		// or day: an instance counts there with its first facts only.
		q.Grain, q.From, q.To = store.Window, from, from.Add(24*time.Hour)
		rows, err := v.store.Query(ctx, q)
		if err != nil {
			return fmt.Errorf("reading which values %s has: %w", from.Format(time.DateOnly), err)
		}
		words := map[string]bool{}
		for _, r := range rows {
			words[r.Label+r.Value] = true // one of them is empty
		}
		delete(words, other)
		lists[list] = words
		return nil
	}
	for _, m := range wire.Metrics() {
		if m.Label != "" {
			if err := query(wordList{metric: m.ID}, store.Query{Metric: m.ID, Facet: wire.All, ByLabel: true}); err != nil {
				return err
			}
		}
	}
	for _, f := range wire.Facets()[1:] {
		// Each window of an instance is counted by this metric, under each of its facets.
		active := wire.MetricByID(wire.InstancesActive)
		if !slices.Contains(active.Facets, f) {
			lists[wordList{facet: f}] = map[string]bool{}
			continue
		}
		if err := query(wordList{facet: f}, store.Query{Metric: active.ID, Facet: f, ByValue: true}); err != nil {
			return err
		}
	}
	v.days[day] = lists
	return nil
}

// word is w if the day has it or has room for it, else "other". The day is known.
func (v *vocabulary) word(day int64, list wordList, w string) string {
	words := v.days[day][list]
	switch {
	case words[w]:
		return w
	case w == other || len(words) >= list.limit():
		return other
	}
	words[w] = true
	return w
}

// trim forgets the oldest days. It is called between batches only: what a
// batch added is in the store then.
func (v *vocabulary) trim() {
	if len(v.days) <= keptDays {
		return
	}
	var days []int64
	for d := range v.days {
		days = append(days, d)
	}
	slices.Sort(days)
	for _, d := range days[:len(days)-keptDays] {
		delete(v.days, d)
	}
}
