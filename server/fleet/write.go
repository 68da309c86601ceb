package fleet

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Store is written to. What a fleet needs of it is what package aggregate does.
type Store interface {
	Position(ctx context.Context, log string) (store.Position, error)
	Commit(ctx context.Context, b store.Batch) error
}

// A Loader is a Store that takes rows in the order in which they are kept, with
// keys that are nowhere else and never will be.
type Loader interface {
	Load(ctx context.Context, b store.Batch) error
}

// Log is the name of the ingest log that a fleet's rows pretend to come from.
const Log = "simulated"

// Written is what Write wrote.
type Written struct {
	Rows                 [len(store.Grains)]int
	Instances, Incidents int
}

func (w Written) String() string {
	return fmt.Sprintf("%d rows by window, %d by hour, %d by day; %d instances, %d incidents",
		w.Rows[store.Window], w.Rows[store.Hour], w.Rows[store.Day], w.Instances, w.Incidents)
}

// Write puts the history of [from, to) into s, with its instances and
// incidents. A whole history is loaded if s is a Loader, and is then to be
// written once. One that ends early is in s up to some batch: begin with an
// empty store again.
func (f *Fleet) Write(ctx context.Context, s Store, from, to time.Time) (Written, error) {
	var w Written
	at, err := s.Position(ctx, Log)
	if err != nil {
		return w, err
	}
	load := s.Commit
	if l, ok := s.(Loader); ok && from.Truncate(24*time.Hour).Equal(from) && to.Sub(from) >= 24*time.Hour {
		load = l.Load
	}
	// Rows are made beside being stored.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan store.Batch, 1)
	go func() {
		defer close(batches)
		defer func() {
			if r := recover(); r != nil {
				cancel(fmt.Errorf("making up a fleet's rows: %v", r))
			}
		}()
		err := f.History(ctx, from, to, func(g store.Grain, rows []store.Row) error {
			select {
			case batches <- store.Batch{Rows: rows}:
				w.Rows[g] += len(rows)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			cancel(err)
			return
		}
		b := store.Batch{Instances: f.States(to), Incidents: f.Incidents(from, to)}
		w.Instances, w.Incidents = len(b.Instances), len(b.Incidents)
		select {
		case batches <- b:
		case <-ctx.Done():
		}
	}()
	for b := range batches {
		b.Log, b.From, b.To = Log, at, at+1
		if err = load(ctx, b); err != nil {
			cancel(err)
			break
		}
		at++
	}
	for range batches { // lets the other end
	}
	return w, context.Cause(ctx)
}

// States are the instances that there were until a time, as the store keeps
// them.
func (f *Fleet) States(until time.Time) []store.Instance {
	last := until.Add(-f.cfg.Timing.Window)
	var all []store.Instance
	for i := range f.pop {
		in := &f.pop[i]
		if in.born*3600 >= until.Unix() {
			continue
		}
		at := last
		if in.died < math.MaxInt64 && in.died*3600 < at.Unix() {
			at = time.Unix(in.died*3600-1, 0)
		}
		s := store.Instance{ID: in.id, High: uint64(max(at.Unix()-in.born*3600, 0)/3600) + 1, Seen: math.MaxUint64, First: in.born * 3600, Last: at.Unix()}
		s.Counted[store.Window] = f.cfg.Timing.WindowStart(at).Unix()
		for _, g := range []store.Grain{store.Hour, store.Day} {
			s.Counted[g] = g.Start(at).Unix()
		}
		all = append(all, s)
	}
	return all
}

// Incidents are those that instances reported in [from, to): a few everywhere,
// and a botnet's at many of them, with one fingerprint and from the same
// networks.
func (f *Fleet) Incidents(from, to time.Time) []store.Incident {
	scan := wire.IncidentKind.Value("scan")
	var all []store.Incident
	numbers := map[int]uint64{}
	add := func(i int, rng *rand.Rand, in store.Incident) {
		numbers[i]++
		// Numbers of different spans differ: instances use none twice.
		in.Instance, in.Number = f.pop[i].id, uint64(from.Unix())<<12|numbers[i]
		in.Known = f.cfg.Timing.WindowStart(time.Unix(in.End, 0)).Add(f.cfg.Timing.Window).Unix()
		all = append(all, in)
	}
	hours := to.Sub(from).Hours()
	for i := range f.pop {
		in := &f.pop[i]
		rng := rand.New(rand.NewPCG(in.seed, uint64(from.Unix())))
		for range poisson(rng, hours/24*0.008) {
			start := from.Unix() + rng.Int64N(max(int64(hours*3600)-3600, 1))
			if !in.alive(start / 3600) {
				continue
			}
			inc := store.Incident{Start: start, End: start + 60 + rng.Int64N(2400), Kind: wire.Value(1 + rng.IntN(len(wire.IncidentKind.Values)-1)), Events: 100 + uint64(rng.ExpFloat64()*4000)}
			if inc.Kind == scan {
				inc.Scan = wire.Value(1 + rng.IntN(len(wire.ScanClass.Values)-1))
			}
			for _, n := range rng.Perm(len(countries))[:rng.IntN(4)] {
				inc.Networks = append(inc.Networks, store.IncidentNetwork{Network: uint32(65551 + rng.IntN(400)), Country: countries[n].name, Percent: uint32(5 + rng.IntN(20))})
			}
			add(i, rng, inc)
		}
	}
	for n, e := range f.events {
		if e.Kind != Botnet || !e.From.Before(to) || !e.To.After(from) {
			continue
		}
		rng := rand.New(rand.NewPCG(f.cfg.Seed+7, uint64(n)))
		var networks []store.IncidentNetwork
		for k := range 3 {
			networks = append(networks, store.IncidentNetwork{Network: uint32(64496 + rng.IntN(15)), Country: countries[rng.IntN(len(countries))].name, Percent: uint32(40 - 12*k)})
		}
		slices.SortFunc(networks, func(a, b store.IncidentNetwork) int { return int(a.Network) - int(b.Network) })
		networks = slices.CompactFunc(networks, func(a, b store.IncidentNetwork) bool { return a.Network == b.Network })
		fingerprint := wire.Value(1 + rng.IntN(len(wire.JA4.Values)-1))
		for i := range f.pop {
			// Each bot net has its own victims, and visits them more than once.
			r := rand.New(rand.NewPCG(f.pop[i].seed, uint64(n)+0x626f74))
			if r.Float64() > 0.06 {
				continue
			}
			for range 1 + r.IntN(3) {
				start := e.From.Unix() + r.Int64N(int64(e.To.Sub(e.From).Seconds())-1800)
				if start < from.Unix() || start >= to.Unix()-1800 || !f.pop[i].alive(start/3600) {
					continue
				}
				add(i, r, store.Incident{
					Start: start, End: start + 120 + r.Int64N(1500), Kind: scan, Scan: wire.ScanClass.Value(e.Of),
					Fingerprint: fingerprint, Events: 200 + uint64(r.ExpFloat64()*3000), Networks: networks,
				})
			}
		}
	}
	slices.SortFunc(all, func(a, b store.Incident) int {
		if c := strings.Compare(string(a.Instance[:]), string(b.Instance[:])); c != 0 {
			return c
		}
		return int(a.Number) - int(b.Number)
	})
	return all
}
