package rollout

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

var steps = []string{
	`CREATE TABLE rollouts (
		id TEXT NOT NULL PRIMARY KEY, path TEXT NOT NULL, version TEXT NOT NULL,
		share BIGINT NOT NULL, state TEXT NOT NULL, created BIGINT NOT NULL, changed BIGINT NOT NULL);
	 CREATE TABLE rollout_events (
		rollout TEXT NOT NULL, number BIGINT NOT NULL, time BIGINT NOT NULL, who TEXT NOT NULL,
		what TEXT NOT NULL, share BIGINT NOT NULL, why TEXT NOT NULL,
		PRIMARY KEY (rollout, number))`,
}

// ErrUnknown says that there is no rollout with an id.
var ErrUnknown = errors.New("there is no rollout with this id: `evergreen rollout status` lists them")

// A Refused change is against the rules; its text says which.
type Refused struct{ reason string }

func (r *Refused) Error() string { return r.reason }

func refused(format string, args ...any) error { return &Refused{fmt.Sprintf(format, args...)} }

// Rollouts are all rollouts, in the control state. Several servers may share it.
type Rollouts struct {
	db  *control.DB
	now func() time.Time

	// What is held is asked at every check: answered from memory.
	active atomic.Pointer[[]Rollout]
}

// Open brings the tables up to date and reads the rollouts.
func Open(ctx context.Context, db *control.DB) (*Rollouts, error) {
	if err := db.Migrate(ctx, "rollout", steps); err != nil {
		return nil, err
	}
	r := &Rollouts{db: db, now: time.Now}
	return r, r.Refresh(ctx)
}

// refreshEvery is how long another server's change may take to be seen here.
const refreshEvery = 2 * time.Second

// Run takes over what other servers change, until ctx is done.
func (r *Rollouts) Run(ctx context.Context) error {
	t := time.NewTicker(refreshEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			// A state that can't be read keeps what is known: nobody is offered more.
			_ = r.Refresh(ctx)
		}
	}
}

// Refresh reads the rollouts anew.
func (r *Rollouts) Refresh(ctx context.Context) error {
	all, err := r.List(ctx)
	if err != nil {
		return err
	}
	// Of a release's rollouts the newest holds.
	var active []Rollout
	for _, o := range all {
		if !slices.ContainsFunc(active, func(a Rollout) bool { return a.Path == o.Path && a.Version == o.Version }) {
			active = append(active, o)
		}
	}
	r.active.Store(&active)
	return nil
}

// Held lists the releases that an instance is not offered, in an order that
// depends on the rollouts alone.
func (r *Rollouts) Held(id wire.InstanceID) []Held { return held(*r.active.Load(), id) }

// Create begins a rollout. A release has one at a time: one that is not stopped
// is to be ramped, or stopped first.
func (r *Rollouts) Create(ctx context.Context, path, version string, share float64, by, why string) (o Rollout, err error) {
	if err := checkShare(share); err != nil {
		return o, err
	}
	if path == "" || version == "" || len(path)+len(version) > 2*wire.MaxFactString {
		return o, refused("a rollout is of a module's version: write path and version")
	}
	var id [8]byte
	_, _ = rand.Read(id[:])
	now := r.now().UTC().Truncate(time.Microsecond)
	o = Rollout{ID: hex.EncodeToString(id[:]), Path: path, Version: version, Share: fraction(millionths(share)), State: Running, Created: now, Changed: now}
	err = r.db.Tx(ctx, func(tx *sql.Tx) error {
		var other string
		err := tx.QueryRowContext(ctx, `SELECT id FROM rollouts WHERE path = $1 AND version = $2 AND state <> $3`, path, version, string(Stopped)).Scan(&other)
		if err == nil {
			return refused("%s %s has the rollout %s: ramp it, or stop it first", path, version, other)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO rollouts (id, path, version, share, state, created, changed) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			o.ID, path, version, millionths(share), string(o.State), control.Micros(now), control.Micros(now)); err != nil {
			return err
		}
		return note(ctx, tx, o.ID, Event{now, by, "create", share, why})
	})
	return r.changed(ctx, o.ID, err)
}

// Ramp raises the share. It is never lowered: who was reached stays so.
func (r *Rollouts) Ramp(ctx context.Context, id string, share float64, by, why string) (Rollout, error) {
	if err := checkShare(share); err != nil {
		return Rollout{}, err
	}
	return r.change(ctx, id, "ramp", by, why, func(o *Rollout) error {
		if share < o.Share {
			return refused("the share is %g and can't be lowered to %g, since instances were reached: pause or stop the rollout", o.Share, share)
		}
		o.Share = fraction(millionths(share))
		return nil
	})
}

// Pause offers the release to nobody until Resume.
func (r *Rollouts) Pause(ctx context.Context, id, by, why string) (Rollout, error) {
	return r.change(ctx, id, "pause", by, why, become(Paused))
}

// Resume goes on where Pause was called.
func (r *Rollouts) Resume(ctx context.Context, id, by, why string) (Rollout, error) {
	return r.change(ctx, id, "resume", by, why, become(Running))
}

// Stop ends the rollout for good.
func (r *Rollouts) Stop(ctx context.Context, id, by, why string) (Rollout, error) {
	return r.change(ctx, id, "stop", by, why, become(Stopped))
}

func become(s State) func(*Rollout) error {
	return func(o *Rollout) error {
		o.State = s
		return nil
	}
}

func (r *Rollouts) change(ctx context.Context, id, what, by, why string, f func(*Rollout) error) (Rollout, error) {
	err := r.db.Tx(ctx, func(tx *sql.Tx) error {
		o, err := one(ctx, tx, id)
		if err != nil {
			return err
		}
		if o.State == Stopped {
			return refused("the rollout is stopped: create another")
		}
		if err := f(&o); err != nil {
			return err
		}
		now := r.now()
		if _, err := tx.ExecContext(ctx, `UPDATE rollouts SET share = $2, state = $3, changed = $4 WHERE id = $1`,
			id, millionths(o.Share), string(o.State), control.Micros(now)); err != nil {
			return err
		}
		return note(ctx, tx, id, Event{now, by, what, o.Share, why})
	})
	return r.changed(ctx, id, err)
}

// changed answers a rollout after a change, which holds on this server at once.
func (r *Rollouts) changed(ctx context.Context, id string, err error) (Rollout, error) {
	if err != nil {
		return Rollout{}, err
	}
	if err := r.Refresh(ctx); err != nil {
		return Rollout{}, err
	}
	return r.Get(ctx, id)
}

func note(ctx context.Context, tx *sql.Tx, id string, e Event) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO rollout_events (rollout, number, time, who, what, share, why)
		VALUES ($1, (SELECT COALESCE(MAX(number), 0) + 1 FROM rollout_events WHERE rollout = $1), $2, $3, $4, $5, $6)`,
		id, control.Micros(e.Time), clip(e.By), e.What, millionths(e.Share), clip(e.Why))
	return err
}

func clip(s string) string {
	const most = 1000
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

const columns = `SELECT id, path, version, share, state, created, changed FROM rollouts`

func one(ctx context.Context, tx *sql.Tx, id string) (Rollout, error) {
	o, err := scan(tx.QueryRowContext(ctx, columns+` WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return o, ErrUnknown
	}
	return o, err
}

func scan(row interface{ Scan(...any) error }) (o Rollout, err error) {
	var state string
	var share, created, changed int64
	err = row.Scan(&o.ID, &o.Path, &o.Version, &share, &state, &created, &changed)
	o.Share = fraction(share)
	o.State, o.Created, o.Changed = State(state), control.Time(created), control.Time(changed)
	return o, err
}

// Get is a rollout with its history, or ErrUnknown.
func (r *Rollouts) Get(ctx context.Context, id string) (o Rollout, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		if o, err = one(ctx, tx, id); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, `SELECT time, who, what, share, why FROM rollout_events WHERE rollout = $1 ORDER BY number`, id)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e Event
			var at, share int64
			if err := rows.Scan(&at, &e.By, &e.What, &share, &e.Why); err != nil {
				return err
			}
			e.Time, e.Share = control.Time(at), fraction(share)
			o.History = append(o.History, e)
		}
		return rows.Err()
	})
	return o, err
}

// List is all rollouts without their history, the newest first.
func (r *Rollouts) List(ctx context.Context) (all []Rollout, err error) {
	err = r.db.Read(ctx, func(tx *sql.Tx) error {
		all = nil
		rows, err := tx.QueryContext(ctx, columns)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			o, err := scan(rows)
			if err != nil {
				return err
			}
			all = append(all, o)
		}
		return rows.Err()
	})
	order(all)
	return all, err
}
