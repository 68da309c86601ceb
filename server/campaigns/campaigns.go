// Package campaigns finds attacks that many instances saw at the same time.
//
// In come sightings from package store: how many instances had incidents with
// one trait (a fingerprint of a ClientHello, or a network that the attackers
// were in) in an hour. Out go campaigns, with how they grew.
//
// # What makes a campaign
//
// A trait begins one, for its kind of incident and class of scan, in the first
// hour in which so many instances x had it that
//
//   - x is at least Config.Least,
//   - x is at least 2e + 6√e + 4, where e is how many were to be expected:
//     as many as instances had incidents of the kind in that hour, times the
//     trait's share of them in the 168 hours before. So a large cloud, which is
//     in incidents everywhere all the time, has to exceed itself; and for what
//     instances report independently of each other (a Poisson distribution),
//     that is to happen by chance less than once in ten million traits and
//     hours,
//   - there are reports of the 24 hours before: with nothing to compare with,
//     a cloud and a botnet look the same.
//
// It goes on while x is at least half of Least and 1.5e + 2√e, with e of before
// it began, and has ended when it did not for three hours, with the last hour
// in which it did.
//
// Traits of one kind whose campaigns overlap in time are one campaign if at
// least half of the instances that have the rarer one have the other one as
// well, in the hour in which both are at most instances.
//
// # Guarantees
//
// The answer depends on the stored incidents and the time alone: it is the same
// after a restart, and an incident that was sent twice, or whose instance was
// deleted, counts as the store says. A campaign's id is made of its first trait
// and its first hour. It changes only if a late report, or a deletion, moves its beginning.
//
// # Limits
//
// Instances are as many as keys: whoever makes many may invent a campaign. A
// network that is given away by an instance's incident at all must be seen by
// the privacy thresholds' number of instances before it is published, which is
// up to whoever publishes; see package dashboard.
package campaigns

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Source is a store.Store.
type Source interface {
	Sightings(ctx context.Context, q store.Sighted) ([]store.Sighting, error)
	Spread(ctx context.Context, traits []store.Trait, from, to time.Time) ([]store.Sighting, error)
	Query(ctx context.Context, q store.Query) ([]store.Row, error)
}

// DefaultLeast is how many instances make a campaign where nothing else is said.
const DefaultLeast = 5

// Config is what New needs. Source is required.
type Config struct {
	Source Source
	Least  uint64           // instances; DefaultLeast if 0
	Keep   time.Duration    // campaigns that began so long ago are listed; 30 days if 0
	Fresh  time.Duration    // for how long an answer is given again; a minute if 0
	Now    func() time.Time // time.Now if nil
}

const (
	// Lookback is how much longer than Keep incidents must be kept.
	Lookback = baseline * time.Hour
	// late is how long after its time a report may come in.
	late = 9 * 24 * time.Hour
	// most campaigns are listed: those at most instances.
	most = 1000
)

// A Correlator answers which campaigns there are.
type Correlator struct {
	c    Config
	turn chan struct{} // held by who uses what follows

	at    time.Time // when found was made; zero if it has to be made anew
	found []store.Campaign
	grown map[string]grown // of campaigns that no report changes any more
}

type grown struct {
	episode group
	hours   []store.Sighting
}

// New makes a Correlator. It starts nothing: campaigns are found when they are asked for.
func New(c Config) *Correlator {
	if c.Least == 0 {
		c.Least = DefaultLeast
	}
	if c.Keep == 0 {
		c.Keep = 30 * 24 * time.Hour
	}
	if c.Fresh == 0 {
		c.Fresh = time.Minute
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Correlator{c: c, turn: make(chan struct{}, 1), grown: map[string]grown{}}
}

// Forget makes the next answer a new one, after an instance was deleted.
func (c *Correlator) Forget(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	c.at = time.Time{}
	clear(c.grown)
	return nil
}

// Campaigns lists those that are in [from, to) at least in part, latest first.
// What it answers is not to be changed.
func (c *Correlator) Campaigns(ctx context.Context, from, to time.Time) ([]store.Campaign, error) {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.turn }()
	now := c.c.Now()
	if age := now.Sub(c.at); age < 0 || age >= c.c.Fresh {
		found, err := c.find(ctx, now)
		if err != nil {
			return nil, err
		}
		c.at, c.found = now, found
	}
	var in []store.Campaign
	for _, f := range c.found {
		if f.Begin < to.Unix() && f.End > from.Unix() {
			in = append(in, f)
		}
	}
	return in, nil
}

func (c *Correlator) find(ctx context.Context, now time.Time) ([]store.Campaign, error) {
	to := now.Truncate(time.Hour).Add(time.Hour)
	listed := to.Add(-c.c.Keep)
	sightings, err := c.c.Source.Sightings(ctx, store.Sighted{From: listed.Add(-Lookback), To: to, Least: c.c.Least})
	if err != nil {
		return nil, err
	}
	if len(sightings) == 0 {
		return nil, nil
	}
	active, err := c.c.Source.Query(ctx, store.Query{
		Metric: wire.InstancesActive, Grain: store.Hour, From: listed.Add(-Lookback), To: to, ByTime: true,
	})
	if err != nil {
		return nil, err
	}
	first := sightings[0].Hour
	for _, s := range sightings {
		first = min(first, s.Hour)
	}
	if len(active) > 0 {
		first = min(first, active[0].Start)
	}
	groups := merge(detect(sightings, c.c.Least, first, to.Unix()))
	groups = slices.DeleteFunc(groups, func(g group) bool { return g.begin < listed.Unix() })
	slices.SortFunc(groups, func(a, b group) int { return cmp.Or(cmp.Compare(b.peak, a.peak), cmp.Compare(a.id, b.id)) })
	groups = groups[:min(len(groups), most)]

	kept := map[string]grown{}
	found := make([]store.Campaign, 0, len(groups))
	for _, g := range groups {
		old, ok := c.grown[g.id]
		if !ok || !old.episode.equal(g) {
			hours, err := c.c.Source.Spread(ctx, g.traits, time.Unix(g.begin, 0), time.Unix(g.end, 0))
			if err != nil {
				return nil, err
			}
			old = grown{g, hours}
		}
		if time.Unix(g.end, 0).Before(now.Add(-late)) {
			kept[g.id] = old
		}
		found = append(found, g.campaign(old.hours))
	}
	c.grown = kept
	slices.SortFunc(found, func(a, b store.Campaign) int {
		return cmp.Or(cmp.Compare(b.End, a.End), cmp.Compare(b.Begin, a.Begin), cmp.Compare(b.Instances, a.Instances), cmp.Compare(a.ID, b.ID))
	})
	return found, nil
}

func (g group) campaign(hours []store.Sighting) store.Campaign {
	f := store.Campaign{
		ID: g.id, Kind: g.traits[0].Kind, Scan: g.traits[0].Scan, Begin: g.begin, End: g.end, Ongoing: g.ongoing, Hours: hours,
	}
	for _, t := range g.traits {
		if t.Fingerprint != wire.Other {
			f.Fingerprints = append(f.Fingerprints, t.Fingerprint)
		} else {
			f.Networks = append(f.Networks, t.Network)
		}
	}
	slices.Sort(f.Fingerprints)
	slices.Sort(f.Networks)
	for _, h := range hours {
		f.Instances = max(f.Instances, h.Instances)
		f.Events += h.Events
	}
	return f
}
