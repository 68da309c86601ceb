package aggregate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/caddy-evergreen/evergreen/server/ingestlog"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A cut is the range of a batch that may have been handed to the store.
type cut struct {
	Log      string
	From, To store.Position
}

// place finds out where to go on.
func (a *Aggregator) place(ctx context.Context) error {
	p, err := a.c.Store.Position(ctx, a.c.LogName)
	if err != nil {
		return fmt.Errorf("asking the store for the log's position: %w", err)
	}
	if durable := a.c.Log.Durable(); ingestlog.Position(p) > durable {
		return fmt.Errorf("the store has come to %s of the log %q, which ends at %s: this is another log, or an older copy of it; give it back, or start with a new data folder",
			ingestlog.Position(p), a.c.LogName, durable)
	}
	a.committed, a.cursor = p, ingestlog.Position(p)
	a.pending, a.bytes, a.cut = nil, 0, nil
	a.words = newVocabulary(a.c.Store)
	c, err := a.readCut()
	if err != nil {
		return err
	}
	if c != nil && c.Log == a.c.LogName && c.From == p && c.To > p && ingestlog.Position(c.To) <= a.c.Log.Durable() {
		a.cut = c
	}
	a.placed = true
	return nil
}

func (a *Aggregator) readCut() (*cut, error) {
	if a.c.CutFile == "" {
		return nil, nil
	}
	b, err := os.ReadFile(a.c.CutFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading where the last batch was cut: %w", err)
	}
	c := new(cut)
	if err := json.Unmarshal(b, c); err != nil {
		// It is replaced as a whole, so this is no crash of ours.
		a.log.Error("the file that says where the last batch was cut is damaged and ignored: if the store is replicated, a batch may count twice", "file", filepath.Base(a.c.CutFile), "cause", err)
		return nil, nil
	}
	return c, nil
}

func (a *Aggregator) writeCut(c cut) error {
	if a.c.CutFile == "" {
		return nil
	}
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	tmp := a.c.CutFile + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, a.c.CutFile); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(a.c.CutFile))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// read takes in what there is, up to a full batch or the cut.
func (a *Aggregator) read(ctx context.Context) (more bool, err error) {
	for !a.full() {
		if a.cut != nil && a.cursor >= ingestlog.Position(a.cut.To) {
			return true, nil
		}
		entries, next, err := a.c.Log.Read(ctx, a.cursor, min(a.c.MaxBatchBytes, 1<<20))
		if err != nil {
			return false, fmt.Errorf("reading the ingest log: %w", err)
		}
		if len(a.pending) == 0 && len(entries) > 0 {
			a.since = a.c.Now()
		}
		for _, e := range entries {
			a.bytes += len(e.Record.Body)
		}
		a.pending = append(a.pending, entries...)
		if next == a.cursor {
			return false, nil
		}
		a.cursor = next
	}
	return true, nil
}

func (a *Aggregator) full() bool {
	return a.cut == nil && (len(a.pending) >= a.c.MaxBatchRecords || a.bytes >= a.c.MaxBatchBytes)
}

func (a *Aggregator) due() bool {
	if a.cut != nil {
		return a.cursor >= ingestlog.Position(a.cut.To)
	}
	return a.full() || len(a.pending) > 0 && a.c.Now().Sub(a.since) >= a.c.FlushEvery
}

// flush folds pending records into a batch and commits it. After an error all
// begins anew at the store's position.
func (a *Aggregator) flush(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			a.placed = false
		}
	}()
	b, n, stats, err := a.fold(ctx)
	if err != nil {
		return err
	}
	if err := a.writeCut(cut{b.Log, b.From, b.To}); err != nil {
		return fmt.Errorf("writing down where a batch is cut: %w", err)
	}
	if err := a.commit(ctx, b); err != nil {
		return err
	}
	a.metrics.committed(stats, len(b.Rows))
	if n > 0 {
		a.metrics.lag.Set(a.c.Now().Sub(a.pending[n-1].Record.Received).Seconds())
	}
	rest := append([]ingestlog.Entry(nil), a.pending[n:]...) // lets go of the bodies
	a.pending, a.bytes, a.cut, a.committed = rest, 0, nil, b.To
	for _, e := range rest {
		a.bytes += len(e.Record.Body)
	}
	a.words.trim()
	if a.c.Committed != nil {
		a.c.Committed()
	}
	return nil
}

// commit tries until the batch is stored or ctx is done.
func (a *Aggregator) commit(ctx context.Context, b store.Batch) error {
	for pause := newPause(); ; pause.sleep(ctx) {
		err := a.c.Store.Commit(ctx, b)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p, positionErr := a.c.Store.Position(ctx, b.Log)
		switch {
		case positionErr == nil && p == b.To:
			return nil // it was stored before something went wrong
		case positionErr == nil && p != b.From:
			return fmt.Errorf("the store's position went from %s to %s: does another server fold the same log? %w", ingestlog.Position(b.From), ingestlog.Position(p), err)
		}
		a.metrics.errors.Inc()
		a.log.Error("a batch can't be stored and is tried again", "cause", err, "again_in", pause.next)
	}
}

// stats are what became of a batch's records.
type stats struct{ records, duplicates, poison int }

// fold makes a batch of the first n of pending.
func (a *Aggregator) fold(ctx context.Context) (b store.Batch, n int, st stats, err error) {
	limit := len(a.pending)
	if a.cut != nil {
		for limit > 0 && a.pending[limit-1].Position >= ingestlog.Position(a.cut.To) {
			limit--
		}
	}
	states, err := a.instances(ctx, a.pending[:limit])
	if err != nil {
		return b, 0, st, err
	}
	t := newTable(a.c.Timing, a.words)
	touched := map[wire.InstanceID]bool{}
	in := incidents{}
	bytes := 0
	room := func() bool {
		return n == 0 || n < a.c.MaxBatchRecords && bytes < a.c.MaxBatchBytes && t.cells < a.c.MaxBatchRows
	}
	for n < limit && (a.cut != nil || room()) {
		r := &a.pending[n].Record
		bytes += len(r.Body)
		n++
		report, err := clean(r)
		if err != nil {
			st.poison++
			if !a.poisoned {
				a.poisoned = true
				a.log.Error("a record can't be decoded and is skipped; further ones are only counted", "position", a.pending[n-1].Position.String(), "cause", err)
			}
			continue
		}
		state := states[r.Instance]
		if !accept(state, r.Number) {
			st.duplicates++
			continue
		}
		st.records++
		touched[r.Instance] = true
		at := r.Received.Unix()
		if state.First == 0 {
			state.First = at
		}
		state.Last = max(state.Last, at)
		if err := t.fold(ctx, r, report, state); err != nil {
			return b, 0, st, err
		}
		in.add(r.Instance, report)
	}
	b = store.Batch{Log: a.c.LogName, From: a.committed, Rows: t.rows(), Instances: sortedStates(states, touched), Incidents: in.sorted()}
	switch {
	case a.cut != nil:
		b.To = a.cut.To
	case n < len(a.pending):
		b.To = store.Position(a.pending[n].Position)
	default:
		b.To = store.Position(a.cursor)
	}
	return b, n, st, nil
}

func clean(r *ingestlog.Record) (*wire.Report, error) {
	report, err := r.Report()
	if err != nil {
		return nil, err
	}
	_, err = report.Clean()
	return report, err
}

// instances reads the states of all instances that reported.
func (a *Aggregator) instances(ctx context.Context, entries []ingestlog.Entry) (map[wire.InstanceID]*store.Instance, error) {
	states := make(map[wire.InstanceID]*store.Instance)
	var ids []wire.InstanceID
	for i := range entries {
		id := entries[i].Record.Instance
		if states[id] == nil {
			states[id] = &store.Instance{ID: id}
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return states, nil
	}
	known, err := a.c.Store.Instances(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("reading the states of %d instances: %w", len(ids), err)
	}
	for _, s := range known {
		if state := states[s.ID]; state != nil {
			*state = s
		}
	}
	return states, nil
}
