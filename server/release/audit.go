package release

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/caddy-evergreen/evergreen/server/control"
)

// A Change is a line of the audit log.
type Change struct {
	N         int64           `json:"n"` // 1, 2, 3, …
	Time      time.Time       `json:"time"`
	By        string          `json:"by"`
	Principal string          `json:"principal,omitempty"` // "" is the service itself
	Action    string          `json:"action"`              // "tag", "propose", "approve", "reject", "yank", "restore", "grant", "revoke", "override", "found", "retract"
	Path      string          `json:"path,omitempty"`      // module, or the pattern of a role
	Subject   string          `json:"subject,omitempty"`   // version, name, or an advisory's id
	Before    json.RawMessage `json:"before,omitempty"`
	After     json.RawMessage `json:"after,omitempty"`
	// Sum is the SHA-256 of the sum before and this line, in hexadecimal.
	Sum string `json:"sum"`
}

// sum chains a line to the one before.
func (c Change) sum(before string) string {
	h := sha256.New()
	// Lengths, so that no two lines are one string.
	for _, s := range []string{
		before, fmt.Sprint(c.N), fmt.Sprint(control.Micros(c.Time)), c.By, c.Principal, c.Action, c.Path, c.Subject, string(c.Before), string(c.After),
	} {
		fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// A change is a transaction that changes something, for a person.
type change struct {
	ctx context.Context
	tx  *sql.Tx
	who person
	now time.Time
	gen int64 // 0 until bumped
}

// audit adds a line; nil is nothing.
func (c *change) audit(action, path, subject string, before, after any) error {
	var last sql.NullInt64
	var lastSum sql.NullString
	err := c.tx.QueryRowContext(c.ctx, "SELECT n, sum FROM release_audit ORDER BY n DESC LIMIT 1").Scan(&last, &lastSum)
	if err != nil && err != sql.ErrNoRows {
		return err
	}
	line := Change{N: last.Int64 + 1, Time: c.now, By: c.who.name, Principal: c.who.principal, Action: action, Path: path, Subject: subject}
	for _, of := range []struct {
		v  any
		to *json.RawMessage
	}{{before, &line.Before}, {after, &line.After}} {
		if of.v == nil {
			continue
		}
		if *of.to, err = json.Marshal(of.v); err != nil {
			return err
		}
	}
	line.Sum = line.sum(lastSum.String)
	_, err = c.tx.ExecContext(c.ctx, "INSERT INTO release_audit ("+auditColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		line.N, control.Micros(line.Time), line.By, line.Principal, line.Action, line.Path, line.Subject, string(line.Before), string(line.After), line.Sum)
	return err
}

const auditColumns = "n, time, who, principal, action, path, subject, before, after, sum"

func scanChange(rows *sql.Rows) (Change, error) {
	var c Change
	var at int64
	var before, after string
	err := rows.Scan(&c.N, &at, &c.By, &c.Principal, &c.Action, &c.Path, &c.Subject, &before, &after, &c.Sum)
	c.Time = control.Time(at)
	if before != "" {
		c.Before = json.RawMessage(before)
	}
	if after != "" {
		c.After = json.RawMessage(after)
	}
	return c, err
}

// Audit is the log, the latest change first: at most limit lines before the
// line n (0: from the end), of one path ("": of all).
func (s *Service) Audit(ctx context.Context, path string, n int64, limit int) ([]Change, error) {
	if n <= 0 {
		n = 1 << 62
	}
	query := "SELECT " + auditColumns + " FROM release_audit WHERE n < $1"
	args := []any{n, limit}
	if path != "" {
		query += " AND path = $3"
		args = append(args, path)
	}
	var cs []Change
	err := s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		cs = nil
		return control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			c, err := scanChange(rows)
			cs = append(cs, c)
			return err
		}, query+" ORDER BY n DESC LIMIT $2", args...)
	})
	return cs, err
}

// A Chain checks lines of the log as they follow one another, from the first.
type Chain struct {
	Lines int64  // that were checked
	Sum   string // of the last of them
}

// Next checks the line that follows.
func (c *Chain) Next(line Change) error {
	if line.N != c.Lines+1 {
		return fmt.Errorf("line %d of the audit log is missing", c.Lines+1)
	}
	if line.sum(c.Sum) != line.Sum {
		return fmt.Errorf("line %d of the audit log was changed after it was written", line.N)
	}
	c.Lines, c.Sum = line.N, line.Sum
	return nil
}

// VerifyAudit checks the whole log, and answers how many lines it has and the
// last one's sum. Whoever wrote that down before can tell that nothing older
// was changed since. Anybody can do the same with what the API gives: Chain.
func (s *Service) VerifyAudit(ctx context.Context) (lines int64, sum string, err error) {
	var chain Chain
	err = s.cfg.DB.Read(ctx, func(tx *sql.Tx) error {
		chain = Chain{}
		return control.EachRow(ctx, tx, func(rows *sql.Rows) error {
			c, err := scanChange(rows)
			if err != nil {
				return err
			}
			return chain.Next(c)
		}, "SELECT "+auditColumns+" FROM release_audit ORDER BY n")
	})
	return chain.Lines, chain.Sum, err
}
