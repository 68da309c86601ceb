package release

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

// change runs f in a transaction, for whom a credential proves, and shows what
// it changed.
func (s *Service) change(ctx context.Context, as Credential, f func(*change) error) error {
	err := s.cfg.DB.Tx(ctx, func(tx *sql.Tx) error {
		c := &change{ctx: ctx, tx: tx, now: s.now()}
		var err error
		if c.who, err = personOf(ctx, tx, as.Principal); err != nil {
			return err
		}
		if err := c.spend(as); err != nil {
			return err
		}
		return f(c)
	})
	if err != nil {
		return err
	}
	return s.refresh(ctx)
}

// spend refuses a signed request that was obeyed before.
func (c *change) spend(as Credential) error {
	if as.once == "" {
		return nil
	}
	if _, err := c.tx.ExecContext(c.ctx, "DELETE FROM release_spent WHERE until < $1", control.Micros(c.now)); err != nil {
		return err
	}
	var n int
	if err := c.tx.QueryRowContext(c.ctx, "SELECT count(*) FROM release_spent WHERE signature = $1", as.once).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return &fault{http.StatusConflict, "this was done already", "The same signed request came before. Sign it again if it is meant again."}
	}
	_, err := c.tx.ExecContext(c.ctx, "INSERT INTO release_spent (signature, until) VALUES ($1, $2)", as.once, control.Micros(as.until))
	return err
}

// bump is the generation of what this transaction changes. Its row makes
// changes follow one another.
func (c *change) bump() (int64, error) {
	if c.gen > 0 {
		return c.gen, nil
	}
	err := c.tx.QueryRowContext(c.ctx, "UPDATE release_generation SET n = n + 1 WHERE one = 1 RETURNING n").Scan(&c.gen)
	return c.gen, err
}

// release is one as it is kept; nil if there is none.
func (c *change) release(path, version string) (*wire.Release, error) {
	var body string
	err := c.tx.QueryRowContext(c.ctx, "SELECT body FROM releases WHERE path = $1 AND version = $2", path, version).Scan(&body)
	if err == sql.ErrNoRows {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(wire.Release)
	return r, json.Unmarshal([]byte(body), r)
}

func (c *change) put(r wire.Release) error {
	gen, err := c.bump()
	if err != nil {
		return err
	}
	body, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = c.tx.ExecContext(c.ctx, `INSERT INTO releases (path, version, body, generation) VALUES ($1, $2, $3, $4)
		ON CONFLICT (path, version) DO UPDATE SET body = excluded.body, generation = excluded.generation`, r.Path, r.Version, string(body), gen)
	return err
}

// An Outcome is what became of a change of a release.
type Outcome struct {
	// Release is as it now is, zero if it is not there yet.
	Release wire.Release `json:"release"`
	// Proposal waits for a second person; nil if there is none.
	Proposal *Proposal `json:"proposal,omitempty"`
}

// Tag says what a version is. What needs a second person becomes a proposal,
// in place of an earlier one for the version.
func (s *Service) Tag(ctx context.Context, as Credential, t Tag) (out Outcome, err error) {
	if _, err := t.release("", s.now()); err != nil {
		return out, invalid(err)
	}
	if err := s.exists(ctx, t.Path, t.Version); err != nil {
		return out, err
	}
	err = s.change(ctx, as, func(c *change) error {
		out = Outcome{}
		if !c.who.may(RoleMaintainer, t.Path) {
			return c.forbidden(RoleMaintainer, t.Path)
		}
		had, err := c.release(t.Path, t.Version)
		if err != nil {
			return err
		}
		next, err := t.release(c.who.name, c.now)
		if err != nil {
			return invalid(err)
		}
		if had != nil {
			next.Yanked = had.Yanked
			out.Release = *had
		}
		wasCritical := had != nil && had.Tagged && had.Severity == wire.SeverityCritical
		if s.cfg.TwoPeople && (next.Severity == wire.SeverityCritical || wasCritical) {
			out.Proposal, err = c.propose(next, had)
			return err
		}
		if err := c.withdrawProposal(t.Path, t.Version); err != nil {
			return err
		}
		out.Release = next
		if err := c.put(next); err != nil {
			return err
		}
		return c.audit("tag", t.Path, t.Version, orNil(had), next)
	})
	return out, err
}

func (c *change) propose(next wire.Release, had *wire.Release) (*Proposal, error) {
	if _, err := c.bump(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	if _, err = c.tx.ExecContext(c.ctx, `INSERT INTO release_proposals (path, version, body, principal, time) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (path, version) DO UPDATE SET body = excluded.body, principal = excluded.principal, time = excluded.time`,
		next.Path, next.Version, string(body), c.who.principal, control.Micros(c.now)); err != nil {
		return nil, err
	}
	p := &Proposal{Release: next, Sum: sumOf(body), Time: c.now, principal: c.who.principal}
	return p, c.audit("propose", next.Path, next.Version, orNil(had), next)
}

func (c *change) withdrawProposal(path, version string) error {
	if _, err := c.bump(); err != nil {
		return err
	}
	_, err := c.tx.ExecContext(c.ctx, "DELETE FROM release_proposals WHERE path = $1 AND version = $2", path, version)
	return err
}

func sumOf(body []byte) string {
	h := sha256.Sum256(body)
	return hex.EncodeToString(h[:])
}

func scanProposal(rows *sql.Rows) (Proposal, error) {
	var p Proposal
	var body string
	var at int64
	if err := rows.Scan(&body, &p.principal, &at); err != nil {
		return p, err
	}
	p.Sum, p.Time = sumOf([]byte(body)), control.Time(at)
	return p, json.Unmarshal([]byte(body), &p.Release)
}

// Approve lets a proposal count, whose sum the approver saw; or rejects it,
// which the proposer may do, too.
func (s *Service) Approve(ctx context.Context, as Credential, path, version, sum string, reject bool) (out Outcome, err error) {
	err = s.change(ctx, as, func(c *change) error {
		out = Outcome{}
		if !c.who.may(RoleMaintainer, path) {
			return c.forbidden(RoleMaintainer, path)
		}
		var p *Proposal
		err := control.EachRow(c.ctx, c.tx, func(rows *sql.Rows) error {
			got, err := scanProposal(rows)
			p = &got
			return err
		}, "SELECT body, principal, time FROM release_proposals WHERE path = $1 AND version = $2", path, version)
		if err != nil {
			return err
		}
		if p == nil {
			return missing("No tag of %s %s waits for approval.", path, version)
		}
		if p.Sum != sum {
			return &fault{http.StatusConflict, "the proposal is another one now", "Look at it again: `evergreen release show`."}
		}
		had, err := c.release(path, version)
		if err != nil {
			return err
		}
		if had != nil {
			out.Release = *had
		}
		if err := c.withdrawProposal(path, version); err != nil {
			return err
		}
		if reject {
			return c.audit("reject", path, version, p.Release, nil)
		}
		if err := c.approvable(*p); err != nil {
			return err
		}
		next := p.Release
		next.By, next.Time = next.By+", "+c.who.name, c.now
		next.Yanked = out.Release.Yanked // of meanwhile
		if err := c.put(next); err != nil {
			return err
		}
		out.Release = next
		return c.audit("approve", path, version, orNil(had), next)
	})
	return out, err
}

// approvable refuses one's own proposal, and that of somebody who may no
// longer make it.
func (c *change) approvable(p Proposal) error {
	proposer, err := personOf(c.ctx, c.tx, p.principal)
	if err != nil || !proposer.may(RoleMaintainer, p.Release.Path) {
		return &fault{http.StatusConflict, "the proposer has no role any more", fmt.Sprintf("%q may no longer tag %s. Reject it, and tag it yourself.", p.Release.By, p.Release.Path)}
	}
	if proposer.principal == c.who.principal || proposer.name == c.who.name {
		return &fault{http.StatusForbidden, "another person has to approve", fmt.Sprintf("%q proposed it.", proposer.name)}
	}
	return nil
}

// Yank withdraws a version, for a reason, or takes that back.
func (s *Service) Yank(ctx context.Context, as Credential, path, version, reason string, restore bool) (out Outcome, err error) {
	if err := checkVersion(path, version); err != nil {
		return out, invalid(err)
	}
	if err := checkLine("reason", reason, maxReason); err != nil {
		return out, invalid(err)
	}
	err = s.change(ctx, as, func(c *change) error {
		out = Outcome{}
		if !c.who.may(RoleMaintainer, path) {
			return c.forbidden(RoleMaintainer, path)
		}
		had, err := c.release(path, version)
		if err != nil {
			return err
		}
		// A version that nobody has found yet can be known to be bad.
		next := Found(path, version, c.now)
		if had != nil {
			next = *had
		}
		action := "yank"
		if next.Yanked = reason; restore {
			if had == nil || had.Yanked == "" {
				return missing("%s %s is not withdrawn.", path, version)
			}
			action, next.Yanked = "restore", ""
		}
		out.Release = next
		if err := c.put(next); err != nil {
			return err
		}
		return c.audit(action, path, version, orNil(had), struct {
			wire.Release
			Reason string `json:"reason"`
		}{next, reason})
	})
	return out, err
}

// Overrule gives an advisory a severity, whatever anybody else says; "" takes
// that back. id may be an alias.
func (s *Service) Overrule(ctx context.Context, as Credential, id string, severity wire.Severity, reason string) (o Override, err error) {
	if severity != "" && severity != wire.SeverityUnrated && !slices.Contains(wire.Severities, severity) {
		return o, invalid(fmt.Errorf("severity is %.40q: it is one of %s, %s", severity, joined(wire.Severities), wire.SeverityUnrated))
	}
	if err := checkLine("reason", reason, maxReason); err != nil {
		return o, invalid(err)
	}
	snap := s.Snapshot()
	if known := snap.Advisory(id); len(known) > 0 {
		id = known[0].ID
	} else if _, ok := snap.Override(id); !ok {
		return o, missing("The database of vulnerabilities, of %s, has no %.70q.", dateOf(snap.AsOf()), id)
	}
	err = s.change(ctx, as, func(c *change) error {
		if !c.who.may(RoleAdmin, AllPaths) {
			return c.forbidden(RoleAdmin, AllPaths)
		}
		if _, err := c.bump(); err != nil {
			return err
		}
		var before any
		var had string
		switch err := c.tx.QueryRowContext(c.ctx, "SELECT severity FROM advisory_overrides WHERE id = $1", id).Scan(&had); err {
		case nil:
			before = had
		case sql.ErrNoRows:
		default:
			return err
		}
		o = Override{ID: id, Severity: severity, Reason: reason, By: c.who.name, Time: c.now}
		if severity == "" {
			if _, err := c.tx.ExecContext(c.ctx, "DELETE FROM advisory_overrides WHERE id = $1", id); err != nil {
				return err
			}
		} else if _, err := c.tx.ExecContext(c.ctx, `INSERT INTO advisory_overrides (id, severity, reason, who, time) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (id) DO UPDATE SET severity = excluded.severity, reason = excluded.reason, who = excluded.who, time = excluded.time`,
			o.ID, string(o.Severity), o.Reason, o.By, control.Micros(o.Time)); err != nil {
			return err
		}
		return c.audit("override", "", id, before, o)
	})
	return o, err
}

func orNil(r *wire.Release) any {
	if r == nil {
		return nil
	}
	return *r
}
