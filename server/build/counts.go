package build

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
)

// Whoever publishes figures about Caddy in general must know how many
// instances can't be in them: so builds are counted with telemetry and without.

const (
	countBuilt  = "built"
	countHanded = "handed out"
)

func telemetry(s artifact.Spec) string {
	if s.Evergreen == "" {
		return "out"
	}
	return "in"
}

func count(ctx context.Context, tx *sql.Tx, now time.Time, kind string, s artifact.Spec) error {
	day := control.Micros(now.UTC().Truncate(24 * time.Hour))
	_, err := tx.ExecContext(ctx, `INSERT INTO build_counts (day, kind, telemetry, n) VALUES ($1, $2, $3, 1)
		ON CONFLICT (day, kind, telemetry) DO UPDATE SET n = build_counts.n + 1`, day, kind, telemetry(s))
	return err
}

// Handed counts an executable that was handed out.
func (q *Queue) Handed(ctx context.Context, s artifact.Spec) error {
	q.metrics.handed.WithLabelValues(telemetry(s)).Inc()
	err := q.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE builds SET handed = handed + 1 WHERE id = $1", s.ID()); err != nil {
			return err
		}
		return count(ctx, tx, q.cfg.Now(), countHanded, s)
	})
	if err != nil {
		return fmt.Errorf("counting what is handed out: %w", err)
	}
	return nil
}

// Counts are executables with telemetry compiled in, and without it.
type Counts struct {
	BuiltIn   int64 `json:"built_with_telemetry"`
	BuiltOut  int64 `json:"built_without"`
	HandedIn  int64 `json:"handed_out_with_telemetry"`
	HandedOut int64 `json:"handed_out_without"`
}

// Counts sums up what was built and handed out since a day.
func (q *Queue) Counts(ctx context.Context, since time.Time) (c Counts, err error) {
	err = q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		c = Counts{}
		rows, err := tx.QueryContext(ctx, "SELECT kind, telemetry, n FROM build_counts WHERE day >= $1", control.Micros(since.UTC().Truncate(24*time.Hour)))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, with string
			var n int64
			if err := rows.Scan(&kind, &with, &n); err != nil {
				return err
			}
			switch {
			case kind == countBuilt && with == "in":
				c.BuiltIn += n
			case kind == countBuilt:
				c.BuiltOut += n
			case with == "in":
				c.HandedIn += n
			default:
				c.HandedOut += n
			}
		}
		return rows.Err()
	})
	if err != nil {
		return c, fmt.Errorf("counting builds: %w", err)
	}
	return c, nil
}

// A HandedDay is how many executables were handed out on a day.
type HandedDay struct {
	Day     time.Time // UTC
	In, Out int64     // with telemetry compiled in, and without
}

// HandedByDay lists the days since one on which executables were handed out, in
// order.
func (q *Queue) HandedByDay(ctx context.Context, since time.Time) (days []HandedDay, err error) {
	err = q.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		days = nil
		rows, err := tx.QueryContext(ctx, "SELECT day, telemetry, n FROM build_counts WHERE kind = $1 AND day >= $2 ORDER BY day",
			countHanded, control.Micros(since.UTC().Truncate(24*time.Hour)))
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var at, n int64
			var with string
			if err := rows.Scan(&at, &with, &n); err != nil {
				return err
			}
			day := time.UnixMicro(at).UTC()
			if len(days) == 0 || !days[len(days)-1].Day.Equal(day) {
				days = append(days, HandedDay{Day: day})
			}
			if last := &days[len(days)-1]; with == "in" {
				last.In += n
			} else {
				last.Out += n
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("counting builds by day: %w", err)
	}
	return days, nil
}

type queueMetrics struct {
	asked   *prometheus.CounterVec
	builds  *prometheus.CounterVec
	seconds prometheus.Histogram
	handed  *prometheus.CounterVec
	evicted prometheus.Counter
}

func newQueueMetrics(r prometheus.Registerer, q *Queue) (*queueMetrics, error) {
	m := &queueMetrics{
		asked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_build_asked_total",
			Help: "Requests for builds by outcome: cached, joined (another asked before), known to fail, queued."}, []string{"outcome"}),
		builds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_builds_total",
			Help: "Builds that ended, by outcome and by whether telemetry is compiled in."}, []string{"outcome", "telemetry"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evergreen_build_seconds", Buckets: prometheus.ExponentialBuckets(1, 2, 12),
			Help: "Time from a build's beginning to its end, without its time in the queue."}),
		handed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evergreen_build_handed_out_total",
			Help: "Executables handed out, by whether telemetry is compiled in."}, []string{"telemetry"}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evergreen_build_evicted_total",
			Help: "Executables removed to make room."}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.asked, m.builds, m.seconds, m.handed, m.evicted,
		q.gauge("evergreen_build_queued", "Builds that wait.", "SELECT count(*) FROM builds WHERE state = 'queued'"),
		q.gauge("evergreen_build_running", "Builds that are being made, by all servers.", "SELECT count(*) FROM builds WHERE state IN "+quoted(working...)),
		q.gauge("evergreen_build_kept_bytes", "Size of the executables that are kept.", "SELECT coalesce(sum(size), 0) FROM builds WHERE state = 'done'"),
	} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("registering the metrics of builds: %w", err)
		}
	}
	return m, nil
}

// gauge is a figure that the control state has.
func (q *Queue) gauge(name, help, query string) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		var n int64
		if err := q.cfg.DB.Read(ctx, func(tx *sql.Tx) error { return tx.QueryRowContext(ctx, query).Scan(&n) }); err != nil {
			return -1
		}
		return float64(n)
	})
}

func (m *queueMetrics) ended(outcome string, s artifact.Spec, took time.Duration) {
	m.builds.WithLabelValues(outcome, telemetry(s)).Inc()
	if outcome == "done" {
		m.seconds.Observe(took.Seconds())
	}
}
