package dataset

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// The frozen rows of hours, and what was released of days, are files of the
// publisher's own: nobody else may read them. They are gob streams, compressed.

func (p *Publisher) hourFile(at time.Time) string {
	return filepath.Join(p.c.State, "hours", at.UTC().Format("2006-01-02T15")+".rows")
}

func (p *Publisher) dayFile(day time.Time) string {
	return filepath.Join(p.c.State, "days", day.UTC().Format(time.DateOnly)+".rows")
}

func (p *Publisher) releasedFile(day time.Time) string {
	return filepath.Join(p.c.State, "released", day.UTC().Format(time.DateOnly)+".rows")
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// freezeHour keeps an hour's rows of what is added up from hours.
func (p *Publisher) freezeHour(ctx context.Context, at time.Time) error {
	return p.freeze(ctx, p.hourFile(at), store.Hour, at, at.Add(time.Hour), func(*wire.Metric) bool { return true })
}

// freezeDay keeps a day's rows of what isn't: each instance counts once a day.
func (p *Publisher) freezeDay(ctx context.Context, day time.Time) error {
	return p.freeze(ctx, p.dayFile(day), store.Day, day, day.AddDate(0, 0, 1), func(m *wire.Metric) bool { return m.Kind.FromServer() })
}

func (p *Publisher) freeze(ctx context.Context, name string, g store.Grain, from, to time.Time, of func(*wire.Metric) bool) error {
	return replace(name, func(w io.Writer) error {
		z, err := zstd.NewWriter(w)
		if err != nil {
			return err
		}
		enc := gob.NewEncoder(z)
		for row, err := range p.c.Store.Export(ctx, g, from, to) {
			if err != nil {
				return err
			}
			if m := wire.MetricByID(row.Metric); m == nil || !of(m) {
				continue // of a newer dictionary
			}
			if err := enc.Encode(row); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

// thaw reads frozen rows, by metric.
func thaw(name string) (map[wire.MetricID][]store.Row, error) {
	rows := map[wire.MetricID][]store.Row{}
	err := read(name, func(d *gob.Decoder) error {
		var r store.Row
		if err := d.Decode(&r); err != nil {
			return err
		}
		rows[r.Metric] = append(rows[r.Metric], r)
		return nil
	})
	return rows, err
}

// A released part of a day, as it is kept.
type dayRows struct {
	Metric string
	Rows   []Row
}

func keepReleased(name string, rows map[string][]Row) error {
	return replace(name, func(w io.Writer) error {
		z, err := zstd.NewWriter(w)
		if err != nil {
			return err
		}
		enc := gob.NewEncoder(z)
		for metric, r := range rows {
			if err := enc.Encode(dayRows{metric, r}); err != nil {
				return err
			}
		}
		return z.Close()
	})
}

func readReleased(name string) (map[string][]Row, error) {
	rows := map[string][]Row{}
	err := read(name, func(d *gob.Decoder) error {
		var r dayRows
		if err := d.Decode(&r); err != nil {
			return err
		}
		rows[r.Metric] = r.Rows
		return nil
	})
	return rows, err
}

func read(name string, one func(*gob.Decoder) error) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading what was kept of a data set: %w", err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	defer z.Close()
	for d := gob.NewDecoder(z); ; {
		if err := one(d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("reading %s: %w: remove it, if that day need not be published again", name, err)
		}
	}
}

// replace writes a file as a whole: what is there is the old or the new one.
func replace(name string, write func(io.Writer) error) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("writing %s: %w", name, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	if err := write(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Sync(), f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
