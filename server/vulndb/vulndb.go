// Package vulndb reads a database of known vulnerabilities of Go modules.
//
// In comes the Go vulnerability database, in OSV format and in the layout in
// which https://vuln.go.dev publishes it (index/db.json, index/modules.json,
// ID/GO-….json), from a folder, a zip or a URL. Out go advisories by module,
// with the standard library and the toolchain as modules of their own.
//
// # Guarantees
//
// A DB never changes: Refresh makes another. So whatever was computed from it
// holds for as long as Generation is the same.
//
// A database is read wholly or not at all: one entry that is not understood
// fails the reading and is named. Who has an older DB keeps it, and says how
// old it is (AsOf); an advisory is never left out silently. What is left out
// is what was withdrawn and what is of other languages' modules.
//
// What can't be told is taken for vulnerable: a range without a known end, a
// module without ranges.
//
// # Severities
//
// The Go database has none. With Options.Scores, a second database in OSV
// format gives them, such as GitHub's advisories, which the first names as
// aliases: of a score of 9.0 and more "critical", of any other "important".
// Without, all are unrated. What operators and maintainers say is package
// release's.
package vulndb

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

// Limits of a database, which may come from anywhere.
const (
	maxEntry   = 1 << 20   // bytes of one entry
	maxIndex   = 64 << 20  // bytes of index/modules.json
	maxZip     = 256 << 20 // bytes of a zip
	maxTotal   = 1 << 30   // bytes of all entries
	maxEntries = 200_000

	requestTimeout = 2 * time.Minute
)

// Options say how to read. The zero value is right for the Go database.
type Options struct {
	// Client asks URLs; nil means one that gives up after two minutes.
	Client *http.Client
	// Cache is a folder in which a zip that was fetched is kept, so that the
	// next Open asks whether it changed, and does without if nobody answers.
	// "" keeps none.
	Cache string
	// Modules, where it is not nil, are the only ones that are fetched one by
	// one from a URL that has no vulndb.zip. All that a zip or a folder has is
	// read in any case.
	Modules []string
	// Scores is where severities come from: the path or URL of a zip, or a
	// folder, of OSV entries with scores, in any layout; "" is nowhere.
	Scores string
}

// A DB is a database as it was when it was read.
type DB struct {
	source     *source
	opts       Options
	byModule   map[string][]wire.Advisory
	byID       map[string][]wire.Advisory
	scores     scores
	asOf       time.Time
	generation string
}

// Open reads the database at a path (a folder or a zip) or a URL (of the
// layout, or of a zip).
func Open(ctx context.Context, pathOrURL string, opts Options) (*DB, error) {
	if opts.Client == nil {
		opts.Client = &http.Client{Timeout: requestTimeout}
	}
	db := &DB{opts: opts}
	if opts.Scores != "" {
		s, err := readScores(ctx, opts)
		if err != nil {
			return nil, fmt.Errorf("reading scores of vulnerabilities from %s: %w", opts.Scores, err)
		}
		db.scores = s
	}
	next, err := db.read(ctx, &source{place: pathOrURL, client: opts.Client, cache: opts.Cache})
	if err != nil {
		return nil, fmt.Errorf("reading the vulnerability database from %s: %w", pathOrURL, err)
	}
	return next, nil
}

// Refresh reads the database again if it changed, and answers db itself if it
// did not. Scores are read again whenever the database is.
func (db *DB) Refresh(ctx context.Context) (*DB, error) {
	next, err := db.read(ctx, db.source)
	if err != nil {
		return nil, fmt.Errorf("refreshing the vulnerability database from %s: %w", db.source.place, err)
	}
	if next == db || db.opts.Scores == "" {
		return next, nil
	}
	return Open(ctx, db.source.place, db.opts)
}

func (db *DB) read(ctx context.Context, from *source) (*DB, error) {
	got, err := from.read(ctx, db.opts.Modules, db.source)
	if err != nil {
		return nil, err
	}
	if got == nil {
		return db, nil
	}
	next := &DB{
		source: got.source, opts: db.opts, scores: db.scores, asOf: got.asOf,
		byModule: map[string][]wire.Advisory{}, byID: map[string][]wire.Advisory{},
	}
	h := sha256.New()
	fmt.Fprintln(h, got.asOf.UnixNano())
	for _, e := range got.entries { // by id
		fmt.Fprintln(h, e.ID, e.Modified.UnixNano())
		for _, a := range e.advisories() {
			next.scores.rate(&a)
			fmt.Fprintln(h, a.Severity)
			next.byModule[a.Path] = append(next.byModule[a.Path], a)
			next.byID[a.ID] = append(next.byID[a.ID], a)
		}
	}
	next.generation = hex.EncodeToString(h.Sum(nil)[:12])
	return next, nil
}

// Advisories are those of a module (wire.Stdlib, wire.Toolchain), by id. They
// are shared: whoever wants to change one copies it.
func (db *DB) Advisories(modulePath string) []wire.Advisory {
	return slices.Clip(db.byModule[modulePath])
}

// ByID are the advisories of one id, one for each module, by module; none if
// the database has no such id.
func (db *DB) ByID(id string) []wire.Advisory { return slices.Clip(db.byID[id]) }

// All yields every advisory, by module and id.
func (db *DB) All() iter.Seq[wire.Advisory] {
	return func(yield func(wire.Advisory) bool) {
		for _, path := range slices.Sorted(maps.Keys(db.byModule)) {
			for _, a := range db.byModule[path] {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// Modules is how many modules have advisories.
func (db *DB) Modules() int { return len(db.byModule) }

// AsOf is when the database was last changed, as itself says. Of what was
// found later it knows nothing.
func (db *DB) AsOf() time.Time { return db.asOf }

// Generation is another whenever the content is another.
func (db *DB) Generation() string { return db.generation }

// Link is the page of an advisory.
func Link(id string) string {
	switch {
	case strings.HasPrefix(id, "GO-"):
		return "https://pkg.go.dev/vuln/" + id
	case strings.HasPrefix(id, "GHSA-"):
		return "https://github.com/advisories/" + id
	case strings.HasPrefix(id, "CVE-"):
		return "https://www.cve.org/CVERecord?id=" + id
	}
	return ""
}

func sortByID(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.ID, b.ID) })
}

// readBounded reads all of r, which must have at most limit bytes.
func readBounded(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("it has more than %d bytes", limit)
	}
	return b, err
}
