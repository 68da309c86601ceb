package release

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/server/answer"
	"github.com/caddy-evergreen/evergreen/server/vulndb"
	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of requests and answers.
const (
	maxRequest = 64 << 10 // bytes
	maxListed  = 1000     // of anything in one answer
	maxHistory = 50       // lines of the audit log in one answer
)

// ReleaseList answers GET /api/v1/releases.
type ReleaseList struct {
	Generation string `json:"generation"`
	// Releases are the latest found or tagged first, or with a path the
	// highest version first.
	Releases []wire.Release `json:"releases"`
	More     int            `json:"more,omitempty"` // that are not listed
	// Pending are tags that wait for a second person.
	Pending []Proposal `json:"pending,omitempty"`
}

// ReleaseShown answers GET /api/v1/releases/show.
type ReleaseShown struct {
	Outcome
	// History is the latest changes of the version, the last one first.
	History []Change `json:"history"`
}

// AuditList answers GET /api/v1/releases/audit.
type AuditList struct {
	Changes []Change `json:"changes"` // the latest first
	// Next is what to ask for with before= for the next ones; 0: no more.
	Next int64 `json:"next,omitempty"`
}

// AdvisoryList answers GET /api/v1/advisories. AsOf is how old the database
// is: of what was published later nothing is known, zero means that there is
// no database.
type AdvisoryList struct {
	Generation string          `json:"generation"`
	AsOf       time.Time       `json:"as_of"`
	Advisories []wire.Advisory `json:"advisories"`
	More       int             `json:"more,omitempty"`
}

// AdvisoryShown answers GET /api/v1/advisories/{id}.
type AdvisoryShown struct {
	AsOf       time.Time       `json:"as_of"`
	Link       string          `json:"link,omitempty"`
	Advisories []wire.Advisory `json:"advisories"` // one for each module
	Override   *Override       `json:"override,omitempty"`
}

// Bodies of requests below /api/v1/releases/, beside Tag.
type (
	// YankRequest withdraws a version (yank), or takes that back.
	YankRequest struct {
		Path    string `json:"path"`
		Version string `json:"version"`
		Reason  string `json:"reason"`
		Restore bool   `json:"restore,omitempty"`
	}
	// ApproveRequest approves or rejects the proposal that has Sum (approve).
	ApproveRequest struct {
		Path    string `json:"path"`
		Version string `json:"version"`
		Sum     string `json:"sum"`
		Reject  bool   `json:"reject,omitempty"`
	}
	// GrantRequest gives a role (grant).
	GrantRequest struct {
		Principal string `json:"principal"`
		Path      string `json:"path"`
		Role      Role   `json:"role"`
		Name      string `json:"name"`
	}
	// RevokeRequest takes a role of a principal or name away (revoke).
	RevokeRequest struct {
		Path string `json:"path"`
		Who  string `json:"who"`
	}
	// OverrideRequest rates an advisory (/api/v1/advisories/override); a
	// severity of "" takes that back.
	OverrideRequest struct {
		ID       string        `json:"id"`
		Severity wire.Severity `json:"severity"`
		Reason   string        `json:"reason"`
	}
)

// Register adds the API's paths to mux.
func (s *Service) Register(mux *http.ServeMux) {
	read := func(path string, f func(*http.Request, *Snapshot) (any, error), params ...string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			if err := s.read(w, r, f, params); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	read(wire.PathReleases, listReleases, "path", "severity", "channel", "limit")
	read(wire.PathReleases+"/show", s.showRelease, "path", "version")
	read(wire.PathReleases+"/audit", s.showAudit, "path", "before", "limit")
	read(wire.PathAdvisories, listAdvisories, "path", "severity", "limit")
	read(wire.PathAdvisories+"/{id}", showAdvisory)

	post(s, mux, wire.PathReleases+"/tag", func(ctx context.Context, as Credential, t Tag) (any, error) { return s.Tag(ctx, as, t) })
	post(s, mux, wire.PathReleases+"/yank", func(ctx context.Context, as Credential, y YankRequest) (any, error) {
		return s.Yank(ctx, as, y.Path, y.Version, y.Reason, y.Restore)
	})
	post(s, mux, wire.PathReleases+"/approve", func(ctx context.Context, as Credential, a ApproveRequest) (any, error) {
		return s.Approve(ctx, as, a.Path, a.Version, a.Sum, a.Reject)
	})
	post(s, mux, wire.PathReleases+"/grant", func(ctx context.Context, as Credential, g GrantRequest) (any, error) {
		return s.Grant(ctx, as, Grant{Principal: g.Principal, Path: g.Path, Role: g.Role, Name: g.Name})
	})
	post(s, mux, wire.PathReleases+"/revoke", func(ctx context.Context, as Credential, r RevokeRequest) (any, error) {
		return struct{}{}, s.Revoke(ctx, as, r.Path, r.Who)
	})
	// Who has which role is for those who have any: a POST with an empty object.
	post(s, mux, wire.PathReleases+"/roles", func(ctx context.Context, as Credential, _ struct{}) (any, error) { return s.Grants(ctx, as) })
	post(s, mux, wire.PathAdvisories+"/override", func(ctx context.Context, as Credential, o OverrideRequest) (any, error) {
		return s.Overrule(ctx, as, o.ID, o.Severity, o.Reason)
	})
}

// read answers from a snapshot. What follows from it alone has its generation
// for an ETag, so that asking again costs nothing.
func (s *Service) read(w http.ResponseWriter, r *http.Request, f func(*http.Request, *Snapshot) (any, error), params []string) error {
	for k, v := range r.URL.Query() {
		if !slices.Contains(params, k) {
			hint := ""
			if n := nearest.Name(k, params); n != "" {
				hint = fmt.Sprintf(" Did you mean %q?", n)
			}
			return &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf("There is no parameter %.40q.%s", k, hint)}
		}
		if len(v) > 1 {
			return &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf("%s is given twice.", k)}
		}
	}
	snap := s.Snapshot()
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", "no-cache") // to be kept, but asked for again
	if !strings.HasPrefix(r.URL.Path, wire.PathReleases+"/") {
		tag := `"` + snap.Generation() + `"`
		h.Set("ETag", tag)
		if strings.TrimPrefix(r.Header.Get("If-None-Match"), "W/") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	v, err := f(r, snap)
	if err != nil {
		return err
	}
	answer.JSON(w, wire.TypeJSON, http.StatusOK, v)
	return nil
}

// limit is how many a request wants, within most.
func limit(q url.Values, most int) (int, error) {
	if !q.Has("limit") {
		return min(100, most), nil
	}
	n, err := strconv.Atoi(q.Get("limit"))
	if err != nil || n < 1 || n > most {
		return 0, &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf("limit is %.20q: it is a number from 1 to %d.", q.Get("limit"), most)}
	}
	return n, nil
}

func severityOf(q url.Values) (wire.Severity, error) {
	v := wire.Severity(q.Get("severity"))
	if v != "" && v != wire.SeverityUnrated && !slices.Contains(wire.Severities, v) {
		return "", &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf("severity is %.40q: it is one of %s, %s.", v, joined(wire.Severities), wire.SeverityUnrated)}
	}
	return v, nil
}

func listReleases(r *http.Request, snap *Snapshot) (any, error) {
	q := r.URL.Query()
	most, err1 := limit(q, maxListed)
	severity, err2 := severityOf(q)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	list := ReleaseList{Generation: snap.Generation()}
	list.Releases, list.More = snap.Recent(q.Get("path"), severity, wire.Channel(q.Get("channel")), most)
	list.More -= len(list.Releases)
	for _, p := range snap.proposals {
		if q.Get("path") == "" || q.Get("path") == p.Release.Path {
			list.Pending = append(list.Pending, p)
		}
	}
	return list, nil
}

// Recent are at most limit releases of a path ("": of all), a severity ("": of
// any) and a channel ("": of both), those tagged or found last first, of one
// path the highest first; and how many there are in all.
func (s *Snapshot) Recent(path string, severity wire.Severity, channel wire.Channel, limit int) (rs []wire.Release, all int) {
	seq := reversed(s.releases[path])
	if path == "" {
		seq = func(yield func(wire.Release) bool) {
			for _, r := range s.recent() {
				if !yield(*r) {
					return
				}
			}
		}
	}
	return first(seq, limit, func(r wire.Release) bool {
		return (severity == "" || r.Severity == severity) && (channel == "" || r.Channel == channel)
	})
}

func reversed[T any](of []T) iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, v := range slices.Backward(of) {
			if !yield(v) {
				return
			}
		}
	}
}

// first are at most limit of those that are wanted, and how many are.
func first[T any](of iter.Seq[T], limit int, wanted func(T) bool) (some []T, all int) {
	some = []T{}
	for v := range of {
		if !wanted(v) {
			continue
		}
		if all++; all <= limit {
			some = append(some, v)
		}
	}
	return some, all
}

// sorted orders by time, then by path, then the highest version first.
func (s *Snapshot) sorted() []*wire.Release {
	type at struct {
		micros int64
		n      int // as they come: by path, and within a path from the highest
		r      *wire.Release
	}
	var order []at
	for _, p := range s.Paths() {
		rs := s.releases[p]
		for i := range slices.Backward(rs) {
			order = append(order, at{rs[i].Time.UnixMicro(), len(order), &rs[i]})
		}
	}
	slices.SortFunc(order, func(a, b at) int { return cmp.Or(cmp.Compare(b.micros, a.micros), cmp.Compare(a.n, b.n)) })
	rs := make([]*wire.Release, len(order))
	for i, o := range order {
		rs[i] = o.r
	}
	return rs
}

func (s *Service) showRelease(r *http.Request, snap *Snapshot) (any, error) {
	path, v := r.URL.Query().Get("path"), r.URL.Query().Get("version")
	var out ReleaseShown
	var ok bool
	out.Release, ok = snap.Release(path, v)
	if p, pending := snap.Proposal(path, v); pending {
		out.Proposal, ok = &p, true
	}
	if !ok {
		if len(snap.releases[path]) == 0 {
			return nil, missing("No release of %.100q is known. Is it a module's path, as in go.mod?", path)
		}
		return nil, missing("%s has no release %.70q that is known; the highest is %s.", path, v, snap.releases[path][len(snap.releases[path])-1].Version)
	}
	cs, err := s.Audit(r.Context(), path, 0, maxListed)
	for _, c := range cs {
		if c.Subject == v && len(out.History) < maxHistory {
			out.History = append(out.History, c)
		}
	}
	return out, err
}

func (s *Service) showAudit(r *http.Request, _ *Snapshot) (any, error) {
	q := r.URL.Query()
	most, err := limit(q, maxListed)
	if err != nil {
		return nil, err
	}
	before, err := strconv.ParseInt(q.Get("before"), 10, 64)
	if q.Has("before") && (err != nil || before < 1) {
		return nil, &fault{http.StatusBadRequest, "a parameter is not understood", fmt.Sprintf("before is %.20q: it is the number of a line.", q.Get("before"))}
	}
	list := AuditList{Changes: []Change{}}
	cs, err := s.Audit(r.Context(), q.Get("path"), before, most)
	if err != nil {
		return nil, err
	}
	list.Changes = append(list.Changes, cs...)
	if len(cs) == most && cs[most-1].N > 1 {
		list.Next = cs[most-1].N
	}
	return list, nil
}

func listAdvisories(r *http.Request, snap *Snapshot) (any, error) {
	q := r.URL.Query()
	most, err1 := limit(q, maxListed)
	severity, err2 := severityOf(q)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	list := AdvisoryList{Generation: snap.Generation(), AsOf: snap.AsOf()}
	list.Advisories, list.More = snap.RecentAdvisories(q.Get("path"), severity, most)
	list.More -= len(list.Advisories)
	return list, nil
}

// RecentAdvisories are at most limit advisories of a path ("": of all) and a
// severity ("": of any), those published last first; and how many there are in
// all.
func (s *Snapshot) RecentAdvisories(path string, severity wire.Severity, limit int) (as []wire.Advisory, all int) {
	return first(slices.Values(s.recentAdvisories()), limit, func(a wire.Advisory) bool {
		return (path == "" || a.Path == path) && (severity == "" || a.Severity == severity)
	})
}

func (s *Snapshot) sortedAdvisories() []wire.Advisory {
	as := slices.Collect(s.Advisories())
	slices.SortStableFunc(as, func(a, b wire.Advisory) int {
		if c := b.Published.Compare(a.Published); c != 0 {
			return c
		}
		return strings.Compare(b.ID, a.ID)
	})
	return as
}

func showAdvisory(r *http.Request, snap *Snapshot) (any, error) {
	id := r.PathValue("id")
	as := snap.Advisory(id)
	if len(as) == 0 {
		return nil, missing("The database of vulnerabilities, of %s, has no %.70q.", dateOf(snap.AsOf()), id)
	}
	out := AdvisoryShown{AsOf: snap.AsOf(), Advisories: as, Link: vulndb.Link(as[0].ID)}
	if o, ok := snap.Override(as[0].ID); ok {
		out.Override = &o
	}
	return out, nil
}

// post handles a change: its body is read, proven, and decoded strictly.
func post[T any](s *Service, mux *http.ServeMux, path string, f func(context.Context, Credential, T) (any, error)) {
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		v, err := func() (any, error) {
			if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != wire.TypeJSON {
				return nil, &fault{http.StatusUnsupportedMediaType, "unsupported media type", "send Content-Type: " + wire.TypeJSON}
			}
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
			if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
				return nil, &fault{http.StatusRequestEntityTooLarge, "too large", fmt.Sprintf("at most %d bytes are read", maxRequest)}
			}
			if err != nil {
				return nil, &fault{http.StatusBadRequest, "the body could not be read", "it ended early"}
			}
			as, err := s.credential(r, body)
			if err != nil {
				return nil, err
			}
			// Strangers don't get as far as to keep others from writing, or to
			// have the module proxy asked.
			if err := s.cfg.DB.Read(r.Context(), func(tx *sql.Tx) error {
				_, err := personOf(r.Context(), tx, as.Principal)
				return err
			}); err != nil {
				return nil, err
			}
			var v T
			if err := decode(body, &v); err != nil {
				return nil, &fault{http.StatusBadRequest, "the body can't be decoded", err.Error()}
			}
			return f(r.Context(), as, v)
		}()
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		answer.JSON(w, wire.TypeJSON, http.StatusOK, v)
	})
}

// decode refuses what is not known: a word that is misspelt would be left out
// silently.
func decode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after the JSON value")
	}
	return nil
}
