package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// counts are the expressions that merge the numbers of a group's rows.
var counts = fmt.Sprintf(`least(sum(count), %d)::BIGINT, least(sum(sum), %[1]d)::BIGINT,
	least(sum(reports), %d)::BIGINT, max(top)`, int64(math.MaxInt64), uint32(math.MaxUint32))

// merged are counts and those of the sketches. A group of one, the usual after
// compaction, spares its buckets the call into Go.
var merged = counts + `,
	CASE count(buckets) WHEN 0 THEN NULL WHEN 1 THEN any_value(buckets)
		ELSE merge_buckets(list(buckets) FILTER (buckets IS NOT NULL)) END,
	CASE count(registers) WHEN 0 THEN NULL WHEN 1 THEN any_value(registers)
		ELSE merge_registers(list(registers) FILTER (registers IS NOT NULL)) END`

// A statement is SQL with its arguments, in their order.
type statement struct {
	strings.Builder
	args []any
}

func (st *statement) add(sql string, args ...any) {
	st.WriteString(sql)
	st.args = append(st.args, args...)
}

// in adds "AND column IN (…)" for values.
func in[T any](st *statement, column string, values []T, arg func(T) any) {
	if len(values) == 0 {
		st.add(" AND false")
		return
	}
	st.add(" AND " + column + " IN (")
	for i, v := range values {
		if i > 0 {
			st.add(", ")
		}
		st.add("?", arg(v))
	}
	st.add(")")
}

// among adds the same for a dimension.
func among(st *statement, dim int, values []wire.Value) {
	if len(values) == 0 {
		st.add(" AND false")
		return
	}
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = strconv.Itoa(int(v))
	}
	st.add(fmt.Sprintf(" AND d%d IN (%s)", dim, strings.Join(names, ", ")))
}

func bytesArg(s string) any { return []byte(s) }

// seconds is the first whole second that is not before t.
func seconds(t time.Time) int64 {
	if t.Nanosecond() > 0 {
		return t.Unix() + 1
	}
	return t.Unix()
}

// Query implements store.Store.
func (s *Store) Query(ctx context.Context, q store.Query) ([]store.Row, error) {
	st, err := selection(q)
	if err != nil {
		return nil, fmt.Errorf("querying metric %d: %w", q.Metric, err)
	}
	if err := s.reading.take(ctx); err != nil {
		return nil, err
	}
	defer s.reading.give()
	var rows []store.Row
	err = s.with(func(db *sql.DB) error {
		res, err := db.QueryContext(ctx, st.String(), st.args...)
		if err != nil {
			return err
		}
		defer res.Close()
		rows = nil
		for res.Next() {
			r := store.Row{Key: store.Key{Grain: q.Grain, Metric: q.Metric, Facet: q.Facet}}
			var keys []any
			var value, label []byte
			if q.ByTime {
				keys = append(keys, &r.Start)
			}
			if q.ByValue {
				keys = append(keys, &value)
			}
			for _, d := range dimsOf(q) {
				keys = append(keys, &r.Dims[d])
			}
			if q.ByLabel {
				keys = append(keys, &label)
			}
			if err := scan(res, &r, keys...); err != nil {
				return err
			}
			r.Value, r.Label = string(value), string(label)
			rows = append(rows, r)
		}
		return res.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("querying metric %d: %w", q.Metric, err)
	}
	return rows, nil
}

// scan reads the keys and what merged selects into r.
func scan(res *sql.Rows, r *store.Row, keys ...any) error {
	var buckets, registers []byte
	if err := res.Scan(append(keys, &r.Count, &r.Sum, &r.Reports, &r.Top, &buckets, &registers)...); err != nil {
		return err
	}
	var err error
	if buckets != nil {
		if r.Buckets, err = decodeBuckets(buckets); err != nil {
			return err
		}
	}
	if registers != nil {
		r.Registers, err = raiseRegisters(nil, registers)
	}
	return err
}

// dimsOf lists the dimensions that the result is told apart by, each once.
func dimsOf(q store.Query) []int {
	return slices.Compact(slices.Sorted(slices.Values(q.ByDims)))
}

// selection makes the SQL of a query. Every string from outside is an argument.
// Numbers are written out: the engine plans a statement once as it is and, if it
// has arguments, once more with them, which for most of our queries is half of
// what they cost.
func selection(q store.Query) (*statement, error) {
	t, err := table(q.Grain)
	if err != nil {
		return nil, err
	}
	if q.Limit < 0 {
		return nil, fmt.Errorf("the limit %d is negative", q.Limit)
	}
	var keys []string
	if q.ByTime {
		keys = append(keys, "start")
	}
	if q.ByValue {
		keys = append(keys, "value")
	}
	for _, d := range dimsOf(q) {
		if d < 0 || d >= wire.MaxDims {
			return nil, fmt.Errorf("dimension %d does not exist", d)
		}
		keys = append(keys, fmt.Sprintf("d%d", d))
	}
	if q.ByLabel {
		keys = append(keys, "label")
	}

	var st statement
	st.add("SELECT ")
	for _, k := range keys {
		st.add(k + ", ")
	}
	values := merged
	if q.CountsOnly {
		values = counts + ", NULL::BLOB, NULL::BLOB"
	}
	st.add(fmt.Sprintf("%s FROM %s WHERE start >= %d AND start < %d AND metric = %d AND facet = %d",
		values, t, seconds(q.From), seconds(q.To), q.Metric, q.Facet))
	if q.Values != nil {
		in(&st, "value", q.Values, bytesArg)
	}
	for d := range wire.MaxDims {
		if values, ok := q.Where[d]; ok {
			among(&st, d, values)
		}
	}
	for d := range q.Where {
		if d < 0 || d >= wire.MaxDims {
			return nil, fmt.Errorf("dimension %d does not exist", d)
		}
	}
	if q.Labels != nil {
		in(&st, "label", q.Labels, bytesArg)
	}
	if len(keys) == 0 {
		st.add(" HAVING count(*) > 0")
		return &st, nil
	}
	st.add(" GROUP BY " + strings.Join(keys, ", "))
	// The count is the first expression after the keys.
	count := fmt.Sprintf("%d DESC", len(keys)+1)
	if q.Limit > 0 {
		top := statement{args: st.args}
		top.add("FROM (" + st.String())
		top.add(fmt.Sprintf(" ORDER BY %s, %s LIMIT %d)", count, strings.Join(keys, ", "), q.Limit))
		st = statement{args: top.args}
		st.add(top.String())
	}
	order := append([]string{}, keys...)
	if q.ByTime {
		order = slices.Insert(order, 1, count)
	} else {
		order = slices.Insert(order, 0, count)
	}
	st.add(" ORDER BY " + strings.Join(order, ", "))
	return &st, nil
}
