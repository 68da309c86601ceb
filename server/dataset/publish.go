package dataset

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
	"github.com/caddy-evergreen/evergreen/server/store"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A Source has rollup rows, such as a store.Store.
type Source interface {
	Export(ctx context.Context, g store.Grain, from, to time.Time) iter.Seq2[store.Row, error]
}

// A Config says what is published, and where.
type Config struct {
	Store  Source
	Folder string // what is published; made if it is missing
	State  string // the publisher's own folder, which nobody else may read
	Key    ed25519.PrivateKey
	Rule   Rule // Public if zero
	// Window is the length of a window, and Delay how long after its end an hour
	// or day is published: what is reported later is left out. An hour if 0.
	Window, Delay time.Duration
	Name          string
	Service       string
	Licence       string // "CC-BY-4.0" if empty
	Attribution   string
	Simulated     bool
	Now           func() time.Time
	Logger        *slog.Logger
}

// A Publisher publishes one data set. One process has its folder at a time.
type Publisher struct {
	c        Config
	lock     *filelock.Lock
	manifest *Manifest
}

// ErrOtherRule is that what is published follows another rule or method.
var ErrOtherRule = errors.New("the data set was published by another rule or method")

// Open reads what was published so far. Its error is ErrOtherRule if going on
// would mix two rules.
func Open(c Config) (*Publisher, error) {
	p, err := OpenAgain(c)
	if err != nil {
		return nil, err
	}
	a, err := p.unfinished()
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	m := p.manifest
	same := m.Layout == 0 || m.Rule == p.c.Rule && m.Method == Method
	if a != nil {
		same = a.Rule == p.c.Rule // Publish goes on with it
	}
	if !same {
		return nil, errors.Join(fmt.Errorf("%w (%+v, method %d): run `evergreen dataset build --again` to publish all of it by the new one", ErrOtherRule, m.Rule, m.Method), p.Close())
	}
	return p, nil
}

// OpenAgain is Open for publishing all of it again by another rule.
func OpenAgain(c Config) (*Publisher, error) {
	if c.Rule == (Rule{}) {
		c.Rule = Public
	}
	if err := c.Rule.Check(); err != nil {
		return nil, err
	}
	if len(c.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("a data set needs a key to be signed with")
	}
	if c.Window == 0 {
		c.Window = wire.DefaultTiming.Window
	}
	if c.Delay == 0 {
		c.Delay = time.Hour
	}
	if c.Licence == "" {
		c.Licence = "CC-BY-4.0"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := errors.Join(os.MkdirAll(c.State, 0o700), os.MkdirAll(c.Folder, 0o755)); err != nil {
		return nil, fmt.Errorf("opening the data set: %w", err)
	}
	lock, err := filelock.Take(filepath.Join(c.State, "lock"))
	if err != nil {
		return nil, fmt.Errorf("opening the data set: %w", err)
	}
	p := &Publisher{c: c, lock: lock}
	if err := p.load(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return p, nil
}

// Close gives the folders back.
func (p *Publisher) Close() error { return p.lock.Close() }

// load reads the manifest that was published, which must be our own.
func (p *Publisher) load() error {
	b, err := os.ReadFile(filepath.Join(p.c.Folder, ManifestName))
	if errors.Is(err, fs.ErrNotExist) {
		p.manifest = &Manifest{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening the data set: %w", err)
	}
	p.manifest, err = ParseManifest(b)
	if err != nil {
		return fmt.Errorf("opening the data set in %s: %w", p.c.Folder, err)
	}
	return nil
}

// Run publishes what becomes complete, until ctx is done.
func (p *Publisher) Run(ctx context.Context) error {
	for {
		if _, err := p.Publish(ctx); err != nil && ctx.Err() == nil {
			p.c.Logger.Error("the data set could not be published; it is tried again in five minutes", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(5 * time.Minute):
		}
	}
}

// Publish publishes the hours and days that are complete, and were not yet, after
// it has finished what Again began. It returns how many files it wrote. After an
// error, it goes on where it was.
func (p *Publisher) Publish(ctx context.Context) (files int, err error) {
	a, err := p.unfinished()
	if err != nil {
		return 0, err
	}
	if a != nil {
		if files, err = p.goOn(ctx, a); err != nil {
			return files, err
		}
	}
	until := p.c.Now().Add(-p.c.Delay).UTC()
	day, err := p.first(ctx, until)
	if err != nil || day.IsZero() {
		return files, err
	}
	for ; day.Before(until); day = day.AddDate(0, 0, 1) {
		n, err := p.publishDay(ctx, day, until)
		files += n
		if err != nil {
			return files, fmt.Errorf("publishing %s: %w", day.Format(time.DateOnly), err)
		}
	}
	return files, nil
}

// first is the first day that is not whole yet, or the day of the first row.
func (p *Publisher) first(ctx context.Context, until time.Time) (time.Time, error) {
	var last string
	for _, l := range p.manifest.Days {
		last = max(last, l.Day)
	}
	if last != "" {
		day, err := time.Parse(time.DateOnly, last)
		return day.AddDate(0, 0, 1), err
	}
	for row, err := range p.c.Store.Export(ctx, store.Hour, time.Unix(0, 0), until) {
		return store.Day.Start(time.Unix(row.Start, 0)), err
	}
	return time.Time{}, ctx.Err()
}

// publishDay publishes a day's hours up to until, and the day if it is over.
func (p *Publisher) publishDay(ctx context.Context, day, until time.Time) (files int, err error) {
	var hours []time.Time
	news := false
	end := day.AddDate(0, 0, 1)
	for at := day; at.Before(end) && !at.Add(time.Hour).After(until); at = at.Add(time.Hour) {
		hours = append(hours, at)
		if !exists(p.hourFile(at)) {
			if err := p.freezeHour(ctx, at); err != nil {
				return 0, err
			}
			news = true
		}
	}
	over := len(hours) == 24
	if !news && !over && p.published(day) == len(hours) || len(hours) == 0 {
		return 0, nil
	}
	if over {
		if err := p.freezeDay(ctx, day); err != nil {
			return 0, err
		}
	}
	return p.release(ctx, day, hours, over)
}

// published is how many hours of a day are.
func (p *Publisher) published(day time.Time) int {
	var to time.Time
	for _, f := range p.manifest.Files {
		if f.Grain == store.Hour.String() && strings.Contains(f.Path, day.Format(time.DateOnly)) && f.To.After(to) {
			to = f.To
		}
	}
	if to.IsZero() {
		return -1
	}
	return int(to.Sub(day) / time.Hour)
}

// release makes the files of a day from frozen rows.
func (p *Publisher) release(ctx context.Context, day time.Time, hours []time.Time, over bool) (files int, err error) {
	r, err := p.compute(ctx, day, hours, over)
	if err != nil {
		return 0, err
	}
	span := func(grain store.Grain, from, to time.Time, final bool) File {
		return File{Grain: grain.String(), From: from, To: to, Final: final}
	}
	for _, m := range wire.Metrics() {
		if err := ctx.Err(); err != nil {
			return files, err
		}
		f := span(store.Hour, day, hours[len(hours)-1].Add(time.Hour), over)
		n, err := p.write(m, day.Format(time.DateOnly), f, r.hours[m.Name])
		files += n
		if err != nil {
			return files, err
		}
	}
	if over {
		if err := keepReleased(p.releasedFile(day), r.days); err != nil {
			return files, err
		}
		n, err := p.writeMonth(ctx, day)
		files += n
		if err != nil {
			return files, err
		}
		p.manifest.Days = slices.DeleteFunc(p.manifest.Days, func(l Loss) bool { return l.Day == r.loss.Day })
		p.manifest.Days = append(p.manifest.Days, r.loss)
		slices.SortFunc(p.manifest.Days, func(a, b Loss) int { return strings.Compare(a.Day, b.Day) })
	}
	return files, p.sign()
}

// writeMonth writes the days of a month so far.
func (p *Publisher) writeMonth(ctx context.Context, last time.Time) (files int, err error) {
	first := time.Date(last.Year(), last.Month(), 1, 0, 0, 0, 0, time.UTC)
	rows := map[string][]Row{}
	from := last
	for day := first; !day.After(last) && ctx.Err() == nil; day = day.AddDate(0, 0, 1) {
		if !exists(p.releasedFile(day)) {
			continue
		}
		one, err := readReleased(p.releasedFile(day))
		if err != nil {
			return files, err
		}
		for metric, r := range one {
			rows[metric] = append(rows[metric], r...)
		}
		if day.Before(from) {
			from = day
		}
	}
	to := last.AddDate(0, 0, 1)
	for _, m := range wire.Metrics() {
		f := File{Grain: store.Day.String(), From: from, To: to, Final: to.Month() != last.Month()}
		n, err := p.write(m, last.Format("2006-01"), f, rows[m.Name])
		files += n
		if err != nil {
			return files, err
		}
	}
	return files, ctx.Err()
}

// write writes a table in both formats and notes it in the manifest. A table
// without rows has no file.
func (p *Publisher) write(m *wire.Metric, name string, f File, rows []Row) (files int, err error) {
	for _, format := range []struct {
		name  string
		write func(io.Writer, *wire.Metric, []Row) error
	}{{"parquet", writeParquet}, {"csv.zst", writeCSV}} {
		f := f
		f.Path = fmt.Sprintf("v%d/%s/%s/%s.%s", Layout, f.Grain, m.Name, name, format.name)
		p.manifest.Files = slices.DeleteFunc(p.manifest.Files, func(o File) bool { return o.Path == f.Path })
		full := filepath.Join(p.c.Folder, filepath.FromSlash(f.Path))
		if len(rows) == 0 {
			if err := os.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return files, fmt.Errorf("removing a file that has no rows any more: %w", err)
			}
			continue
		}
		hash := sha256.New()
		size := counter{}
		err := replace(full, func(w io.Writer) error { return format.write(io.MultiWriter(w, hash, &size), m, rows) })
		if err != nil {
			return files, err
		}
		f.Format, f.Metric, f.Rows, f.Size, f.SHA256 = format.name, m.Name, len(rows), size.n, hex.EncodeToString(hash.Sum(nil))
		p.manifest.Files = append(p.manifest.Files, f)
		files++
	}
	return files, nil
}

type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// sign publishes the manifest: last, so that what it names is there.
func (p *Publisher) sign() error {
	m := p.manifest
	m.Layout, m.Method, m.Name, m.Service, m.Licence, m.Attribution = Layout, Method, p.c.Name, p.c.Service, p.c.Licence, p.c.Attribution
	m.Withheld = withheld
	m.Simulated, m.Rule, m.Generated = p.c.Simulated, p.c.Rule, p.c.Now().UTC().Truncate(time.Second)
	slices.SortFunc(m.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	b, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	b = append(b, '\n')
	pub := p.c.Key.Public().(ed25519.PublicKey)
	comment := "manifest of " + m.Generated.Format(time.RFC3339)
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{KeyName, []byte("untrusted comment: key of the data set\n" + PublicKey(pub) + "\n")},
		{SignatureName, sign(p.c.Key, b, comment)},
		{ManifestName, b},
	} {
		err := replace(filepath.Join(p.c.Folder, f.name), func(w io.Writer) error { _, err := w.Write(f.content); return err })
		if err != nil {
			return err
		}
	}
	return nil
}
