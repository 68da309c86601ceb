package build

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/server/control"
)

//go:embed sql
var sqlFiles embed.FS

func steps() ([]string, error) {
	sub, err := fs.Sub(sqlFiles, "sql")
	if err != nil {
		return nil, err
	}
	return control.Steps(sub)
}

// A row is a build in the control state.
type row struct {
	id       string
	spec     artifact.Spec
	state    state
	priority Priority
	asked    time.Time
	ended    time.Time
	owner    string
	attempts int
	err      string
	result   *artifact.Build // nil until done
	size     int64
	used     time.Time
}

const rowColumns = "id, spec, state, priority, asked, ended, owner, attempts, error, result, size, used"

func scan(scan func(...any) error) (row, error) {
	var r row
	var spec, result string
	var asked, ended, used int64
	if err := scan(&r.id, &spec, &r.state, &r.priority, &asked, &ended, &r.owner, &r.attempts, &r.err, &result, &r.size, &used); err != nil {
		return row{}, err
	}
	r.asked, r.ended, r.used = control.Time(asked), control.Time(ended), control.Time(used)
	if err := json.Unmarshal([]byte(spec), &r.spec); err != nil {
		return row{}, fmt.Errorf("reading the spec of build %.12s: %w", r.id, err)
	}
	if result != "" {
		if err := json.Unmarshal([]byte(result), &r.result); err != nil {
			return row{}, fmt.Errorf("reading what build %.12s made: %w", r.id, err)
		}
	}
	return r, nil
}

// get finds a build; its second result is false if there is none.
func get(ctx context.Context, tx *sql.Tx, id string) (row, bool, error) {
	r, err := scan(tx.QueryRowContext(ctx, "SELECT "+rowColumns+" FROM builds WHERE id = $1", id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return row{}, false, nil
	}
	return r, err == nil, err
}

func list(ctx context.Context, tx *sql.Tx, where string, args ...any) ([]row, error) {
	rows, err := tx.QueryContext(ctx, "SELECT "+rowColumns+" FROM builds WHERE "+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var rs []row
	for rows.Next() {
		r, err := scan(rows.Scan)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
	}
	return rs, rows.Err()
}

// enter brings a build to a state, which must follow from the one it is in.
// set is more to set, with $3 as the first of args.
func enter(ctx context.Context, tx *sql.Tx, r row, to state, set string, args ...any) error {
	if !r.state.may(to) {
		return fmt.Errorf("build %.12s is %s: it can't become %s", r.id, r.state, to)
	}
	if set != "" {
		set = ", " + set
	}
	_, err := tx.ExecContext(ctx, "UPDATE builds SET state = $2"+set+" WHERE id = $1", append([]any{r.id, string(to)}, args...)...)
	return err
}

// quoted is a list of states for IN.
func quoted(states ...state) string {
	var s []string
	for _, st := range states {
		s = append(s, "'"+string(st)+"'")
	}
	return "(" + strings.Join(s, ", ") + ")"
}
