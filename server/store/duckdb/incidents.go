package duckdb

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	driver "github.com/duckdb/duckdb-go/v2"

	"github.com/caddy-evergreen/evergreen/server/store"
)

// incidentColumns are the columns of incidents, in order.
var incidentColumns = []string{"instance", "number", "known", "begun", "ended", "ongoing", "kind", "scan", "fingerprint", "events",
	"networks", "countries", "percents"}

const mergeIncidentsSQL = `
MERGE INTO incidents AS i USING appended_data AS n ON i.instance = n.instance AND i.number = n.number
WHEN MATCHED AND n.known >= i.known THEN UPDATE SET known = n.known, begun = n.begun, ended = n.ended, ongoing = n.ongoing,
	kind = n.kind, scan = n.scan, fingerprint = n.fingerprint, events = n.events,
	networks = n.networks, countries = n.countries, percents = n.percents
WHEN NOT MATCHED THEN INSERT VALUES
	(n.instance, n.number, n.known, n.begun, n.ended, n.ongoing, n.kind, n.scan, n.fingerprint, n.events,
	n.networks, n.countries, n.percents)`

func incidentTypes() ([]driver.TypeInfo, error) {
	var types []driver.TypeInfo
	add := func(list bool, all ...driver.Type) error {
		for _, t := range all {
			info, err := driver.NewTypeInfo(t)
			if err == nil && list {
				info, err = driver.NewListInfo(info)
			}
			if err != nil {
				return err
			}
			types = append(types, info)
		}
		return nil
	}
	return types, errors.Join(
		add(false, driver.TYPE_UUID, driver.TYPE_UBIGINT, driver.TYPE_BIGINT, driver.TYPE_BIGINT, driver.TYPE_BIGINT, driver.TYPE_BOOLEAN,
			driver.TYPE_USMALLINT, driver.TYPE_USMALLINT, driver.TYPE_USMALLINT, driver.TYPE_BIGINT),
		add(true, driver.TYPE_UINTEGER, driver.TYPE_VARCHAR, driver.TYPE_UINTEGER))
}

// mergeIncidents stores states of incidents, in the connection's transaction.
func mergeIncidents(ctx context.Context, conn sqldriver.Conn, incidents []store.Incident) error {
	if len(incidents) == 0 {
		return nil
	}
	types, err := incidentTypes()
	if err != nil {
		return err
	}
	a, err := driver.NewQueryAppender(conn, mergeIncidentsSQL, "", types, incidentColumns)
	if err != nil {
		return err
	}
	for i := range incidents {
		in := &incidents[i]
		if i%checkEvery == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), a.Close())
		}
		networks, countries, percents := []uint32{}, []string{}, []uint32{}
		for _, n := range in.Networks {
			networks = append(networks, n.Network)
			countries = append(countries, n.Country)
			percents = append(percents, n.Percent)
		}
		err := a.AppendRow(driver.UUID(in.Instance), in.Number, in.Known, in.Start, in.End, in.Open,
			uint16(in.Kind), uint16(in.Scan), uint16(in.Fingerprint), saturate(in.Events), networks, countries, percents)
		if err != nil {
			return errors.Join(err, a.Close())
		}
	}
	return a.Close()
}

// hoursSQL spreads incidents over the hours that they touch, in [$1, $2): part
// is what falls into an hour.
const hoursSQL = `
touched AS (
	SELECT *, unnest(range(greatest(begun // 3600, $1::BIGINT // 3600), least(greatest(begun, ended - 1) // 3600 + 1, $2::BIGINT // 3600))) * 3600 AS hour
	FROM incidents WHERE begun < $2::BIGINT AND greatest(begun + 1, ended) > $1::BIGINT
), spread AS (
	SELECT *, CASE WHEN ended <= begun THEN events::DOUBLE
		ELSE events::DOUBLE * (least(ended, hour + 3600) - greatest(begun, hour)) / (ended - begun) END AS part
	FROM touched
)`

// Samples are made only of what is answered: of all, they would not fit into memory.
const sightingsSQL = `WITH` + hoursSQL + `, traits AS (
	SELECT kind, scan, 0 AS fingerprint, 0 AS network, hour, instance, part FROM spread
	UNION ALL
	SELECT kind, scan, fingerprint, 0, hour, instance, part FROM spread WHERE fingerprint > 0
	UNION ALL
	SELECT kind, scan, 0, network, hour, instance, part * percent / 100 FROM (
		SELECT kind, scan, unnest(networks) AS network, unnest(percents) AS percent, hour, instance, part FROM spread
	) WHERE network > 0
), sums AS (
	SELECT kind, scan, fingerprint, network, hour, instance, sum(part) AS part FROM traits GROUP BY ALL
), counts AS (
	SELECT kind, scan, fingerprint, network, hour, count(*) AS instances, sum(part) AS events, max(part) AS top
	FROM sums GROUP BY kind, scan, fingerprint, network, hour
	QUALIFY fingerprint = 0 AND network = 0 OR max(count(*)) OVER (PARTITION BY kind, scan, fingerprint, network) >= $3::VARCHAR::UBIGINT
), samples AS (
	SELECT kind, scan, fingerprint, network, hour, list_sort(list(hash(instance)))[1:%d] AS sample
	FROM sums SEMI JOIN (
		SELECT * FROM counts WHERE (fingerprint > 0 OR network > 0) AND 2 * instances >= $3::VARCHAR::UBIGINT
	) USING (kind, scan, fingerprint, network, hour)
	GROUP BY kind, scan, fingerprint, network, hour
)
SELECT kind, scan, fingerprint, network, hour, instances,
	least(round(events), 9e18)::BIGINT, least(round(top), 9e18)::BIGINT, coalesce(sample, []::UBIGINT[])
FROM counts LEFT JOIN samples USING (kind, scan, fingerprint, network, hour)
ORDER BY kind, scan, fingerprint, network, hour`

// Sightings implements store.Store.
func (s *Store) Sightings(ctx context.Context, q store.Sighted) ([]store.Sighting, error) {
	found, err := s.sightings(ctx, true, fmt.Sprintf(sightingsSQL, store.SampleSize),
		hourFrom(q.From), hourFrom(q.To), strconv.FormatUint(q.Least, 10))
	if err != nil {
		return nil, fmt.Errorf("looking for incidents that have something in common: %w", err)
	}
	return found, nil
}

const spreadSQL = `WITH` + hoursSQL + `, matched AS (
	SELECT hour, instance, part * CASE WHEN fingerprint > 0 AND list_contains($5::VARCHAR::USMALLINT[], fingerprint) THEN 100
		ELSE coalesce(list_sum([CASE WHEN list_contains($6::VARCHAR::UINTEGER[], networks[i]) THEN percents[i] ELSE 0 END FOR i IN range(1, len(networks) + 1)]), 0)
		END / 100 AS part,
		fingerprint > 0 AND list_contains($5::VARCHAR::USMALLINT[], fingerprint) OR list_has_any($6::VARCHAR::UINTEGER[], networks) AS hit
	FROM spread WHERE kind = $3::USMALLINT AND scan = $4::USMALLINT
), sums AS (
	SELECT hour, instance, sum(part) AS part FROM matched WHERE hit GROUP BY ALL
)
SELECT $3::USMALLINT, $4::USMALLINT, 0, 0, hour, count(*), least(round(sum(part)), 9e18)::BIGINT, least(round(max(part)), 9e18)::BIGINT
FROM sums GROUP BY hour ORDER BY hour`

// Spread implements store.Store.
func (s *Store) Spread(ctx context.Context, traits []store.Trait, from, to time.Time) ([]store.Sighting, error) {
	if len(traits) == 0 {
		return nil, ctx.Err()
	}
	fingerprints, networks := []byte{'['}, []byte{'['}
	add := func(list []byte, n uint64) []byte {
		if len(list) > 1 {
			list = append(list, ',')
		}
		return strconv.AppendUint(list, n, 10)
	}
	kind, scan := traits[0].Kind, traits[0].Scan
	for _, t := range traits {
		switch {
		case t.Kind != kind || t.Scan != scan:
			return nil, errors.New("looking at incidents: the traits are of more than one kind")
		case t.Fingerprint != 0:
			fingerprints = add(fingerprints, uint64(t.Fingerprint))
		case t.Network != 0:
			networks = add(networks, uint64(t.Network))
		}
	}
	found, err := s.sightings(ctx, false, spreadSQL, hourFrom(from), hourFrom(to), uint16(kind), uint16(scan),
		string(append(fingerprints, ']')), string(append(networks, ']')))
	if err != nil {
		return nil, fmt.Errorf("counting instances with like incidents: %w", err)
	}
	return found, nil
}

// hourFrom is the start of the first hour that is not before t.
func hourFrom(t time.Time) int64 {
	h := t.Truncate(time.Hour)
	if h.Before(t) {
		h = h.Add(time.Hour)
	}
	return h.Unix()
}

func (s *Store) sightings(ctx context.Context, sampled bool, query string, args ...any) ([]store.Sighting, error) {
	if err := s.reading.take(ctx); err != nil {
		return nil, err
	}
	defer s.reading.give()
	var found []store.Sighting
	err := s.with(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		found = nil
		for rows.Next() {
			var g store.Sighting
			to := []any{&g.Kind, &g.Scan, &g.Fingerprint, &g.Network, &g.Hour, &g.Instances, &g.Events, &g.Top}
			var sample driver.Composite[[]uint64]
			if sampled {
				to = append(to, &sample)
			}
			if err := rows.Scan(to...); err != nil {
				return err
			}
			g.Sample = sample.Get()
			found = append(found, g)
		}
		return rows.Err()
	})
	return found, err
}

// DropIncidents implements store.Store.
func (s *Store) DropIncidents(ctx context.Context, t time.Time) error {
	if err := s.writing.take(ctx); err != nil {
		return err
	}
	defer s.writing.give()
	err := s.with(func(db *sql.DB) error {
		return transact(ctx, db, func(conn *sql.Conn) error {
			_, err := conn.ExecContext(ctx, "DELETE FROM incidents WHERE ended < ?", seconds(t))
			return err
		})
	})
	if err != nil {
		return fmt.Errorf("dropping incidents before %s: %w", t.UTC().Format(time.RFC3339), err)
	}
	return nil
}
