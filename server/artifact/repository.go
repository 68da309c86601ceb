package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/internal/filelock"
)

// Lives are for how long what the server signs is valid. Each is signed again
// when half of that is over.
type Lives struct {
	Timestamp time.Duration // default 2 days: how long withholding updates stays unseen
	Snapshot  time.Duration // default 14 days
	Builds    time.Duration // default 180 days
}

func (l Lives) or() Lives {
	for d, v := range map[*time.Duration]time.Duration{&l.Timestamp: 48 * time.Hour, &l.Snapshot: 14 * 24 * time.Hour, &l.Builds: 180 * 24 * time.Hour} {
		if *d <= 0 {
			*d = v
		}
	}
	return l
}

// Options are what a Repository works with.
type Options struct {
	Storage *Storage
	// Keys loads the online keys. It is called again when keys were rotated.
	Keys  func() ([]*Key, error)
	Lives Lives
	Now   func() time.Time // nil: time.Now
	Log   *slog.Logger     // nil: none
	// Builder is the URL that names this service in provenance.
	Builder string
	// MaxBytes is how much executables, and what makes them, may take: beyond it,
	// those that nobody asks for are withdrawn. 0 keeps all.
	MaxBytes int64
}

// A Repository is a signed repository of The Update Framework. One process at a
// time has it. Its methods can be called at the same time.
//
// What clients see changes in one step, when timestamp.json is replaced: all that
// it refers to is written before, under names that were never used. A crash at
// any moment leaves either the old or the new.
type Repository struct {
	o      Options
	s      *Storage
	lock   *filelock.Lock
	opened time.Time

	mu    sync.Mutex // held while signing and writing metadata
	keys  []*Key
	state *state // nil after a failure in which what is stored is not known

	files sync.RWMutex // read-held from storing a target's file to committing it

	pendMu  sync.Mutex
	pending []*submission

	index  index
	deltas deltaQueue
}

// Open reads a repository that `evergreen keys init` made, verifies all of it,
// and finishes what a crash left undone.
func Open(ctx context.Context, o Options) (_ *Repository, err error) {
	o.Lives = o.Lives.or()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Repository{o: o, s: o.Storage, opened: o.Now()}
	r.deltas.wake = make(chan struct{}, 1)
	if r.s.dir != "" {
		r.lock, err = filelock.Take(filepath.Join(r.s.dir, ".lock"))
		if errors.Is(err, filelock.ErrLocked) {
			return nil, fmt.Errorf("%w: stop it first: %w", ErrLocked, err)
		}
		if err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, r.lock.Close())
			}
		}()
	}
	if r.keys, err = o.Keys(); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	if err := r.install(ctx); err != nil {
		r.o.Log.Error("what was published by hand is not installed: it is tried each second", "error", err)
	}
	if err := r.ready(ctx); err != nil {
		return nil, err
	}
	return r, r.renew(ctx)
}

// Close lets another process have the repository. Nothing may be under way.
func (r *Repository) Close() error {
	if r.lock == nil {
		return nil
	}
	return r.lock.Close()
}

// RootMetadata is the newest root metadata, for executables to trust.
func (r *Repository) RootMetadata() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == nil {
		return nil
	}
	return bytes.Clone(r.state.rootBytes)
}

// ready has the state read if it is not known.
func (r *Repository) ready(ctx context.Context) error {
	if r.state != nil {
		return nil
	}
	st, err := load(ctx, r.s)
	if err != nil {
		return err
	}
	for _, role := range []string{RoleBuilds, RoleSnapshot, RoleTimestamp} {
		if ids, n := keyIDs(st.root, st.targets, role); len(among(r.keys, ids...)) < n {
			return fmt.Errorf("the keys of %s are not here: %d of %v are needed", role, n, ids)
		}
	}
	r.state = st
	r.index.build(st.bins)
	if st.unsigned {
		return r.commit(ctx, change{})
	}
	return nil
}

// A change is what a commit makes of the state.
type change struct {
	entries map[string]*metadata.TargetFiles // by name; nil removes it
	bins    []string                         // to be signed again
	targets *metadata.Metadata[metadata.TargetsType]
	// only tells to sign a new timestamp and nothing else.
	only bool
	// also are more keys that sign snapshot and timestamp, those of a root to come.
	also []string
}

// commit signs and writes a change, the timestamp last.
func (r *Repository) commit(ctx context.Context, c change) (err error) {
	old, now := r.state, r.o.Now().UTC().Truncate(time.Second)
	next := *old
	next.unsigned = false
	next.bins, next.top = maps.Clone(old.bins), old.top // a version that was tried stays used
	if c.targets != nil {
		next.targets = c.targets
	}
	changed := map[string]*metadata.Metadata[metadata.TargetsType]{}
	bin := func(name string) *metadata.Metadata[metadata.TargetsType] {
		if changed[name] == nil {
			m := metadata.Targets(now.Add(r.o.Lives.Builds))
			if was := old.bins[name]; was != nil {
				m.Signed.Targets = maps.Clone(was.Signed.Targets)
			}
			changed[name] = m
		}
		return changed[name]
	}
	for name, tf := range c.entries {
		targets := bin(next.bin(name)).Signed.Targets
		if tf == nil {
			delete(targets, name)
		} else {
			targets[name] = tf
		}
	}
	for _, name := range c.bins {
		bin(name)
	}
	ids, _ := keyIDs(next.root, next.targets, RoleBuilds)
	builders := among(r.keys, ids...)
	for _, name := range slices.Sorted(maps.Keys(changed)) {
		m := changed[name]
		next.top[name]++
		m.Signed.Version = next.top[name]
		if _, err := writeSigned(ctx, r.s, fmt.Sprintf("%d.%s.json", m.Signed.Version, name), m, builders); err != nil {
			return err
		}
		next.bins[name] = m
	}
	if !c.only {
		snapshot := metadata.Snapshot(now.Add(r.o.Lives.Snapshot))
		next.top[RoleSnapshot]++
		snapshot.Signed.Version = next.top[RoleSnapshot]
		snapshot.Signed.Meta = map[string]*metadata.MetaFiles{"targets.json": {Version: next.targets.Signed.Version}}
		for name, m := range next.bins {
			snapshot.Signed.Meta[name+".json"] = &metadata.MetaFiles{Version: m.Signed.Version}
		}
		ids, _ := keyIDs(next.root, next.targets, RoleSnapshot)
		b, err := writeSigned(ctx, r.s, fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version), snapshot, among(r.keys, append(slices.Clone(ids), c.also...)...))
		if err != nil {
			return err
		}
		next.snapshot, next.snapshotBytes = snapshot, b
	}
	timestamp := metadata.Timestamp(now.Add(r.o.Lives.Timestamp))
	timestamp.Signed.Version = old.timestamp.Signed.Version + 1
	sum := sha256.Sum256(next.snapshotBytes)
	timestamp.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": {
		Version: next.snapshot.Signed.Version, Length: int64(len(next.snapshotBytes)), Hashes: metadata.Hashes{"sha256": sum[:]},
	}}
	ids, _ = keyIDs(next.root, next.targets, RoleTimestamp)
	if _, err := writeSigned(ctx, r.s, "timestamp.json", timestamp, among(r.keys, append(slices.Clone(ids), c.also...)...)); err != nil {
		r.state = nil // it may be there all the same
		return err
	}
	next.timestamp = timestamp
	r.state = &next
	r.index.update(c.entries)
	return nil
}

func writeSigned[T metadata.Roles](ctx context.Context, s *Storage, name string, m *metadata.Metadata[T], keys []*Key) ([]byte, error) {
	if err := sign(m, keys); err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	b, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	return b, s.write(ctx, name, bytes.NewReader(b))
}

// renew signs again what has lived half its life, at most some bins at a time.
func (r *Repository) renew(ctx context.Context) error {
	const most = 32
	now := r.o.Now()
	old := func(expires time.Time, life time.Duration) bool { return now.After(expires.Add(-life / 2)) }
	c := change{only: true}
	for _, name := range slices.Sorted(maps.Keys(r.state.bins)) {
		if len(c.bins) < most && old(r.state.bins[name].Signed.Expires, r.o.Lives.Builds) {
			c.bins = append(c.bins, name)
		}
	}
	switch {
	case len(c.bins) > 0 || old(r.state.snapshot.Signed.Expires, r.o.Lives.Snapshot):
		c.only = false
	case !old(r.state.timestamp.Signed.Expires, r.o.Lives.Timestamp):
		return nil
	}
	return r.commit(ctx, c)
}

// A submission is entries that wait to be committed.
type submission struct {
	entries map[string]*metadata.TargetFiles
	done    bool
	err     error
}

// submit commits entries together with all others that wait: however many are
// published at once, a few snapshots hold them.
func (r *Repository) submit(ctx context.Context, entries map[string]*metadata.TargetFiles) error {
	s := &submission{entries: entries}
	r.pendMu.Lock()
	r.pending = append(r.pending, s)
	r.pendMu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.done {
		return s.err
	}
	r.pendMu.Lock()
	batch := r.pending
	r.pending = nil
	r.pendMu.Unlock()
	all := map[string]*metadata.TargetFiles{}
	for _, b := range batch {
		maps.Copy(all, b.entries)
	}
	// The others' entries are in the batch too: whose turn it is must not end it.
	err := r.ready(context.WithoutCancel(ctx))
	if err == nil {
		err = r.commit(context.WithoutCancel(ctx), change{entries: all})
	}
	for _, b := range batch {
		b.done, b.err = true, err
	}
	return err
}

func custom(v any) *json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own types
	}
	m := json.RawMessage(b)
	return &m
}
