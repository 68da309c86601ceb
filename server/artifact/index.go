package artifact

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// An index finds targets by what they are. It follows the metadata.
type index struct {
	mu     sync.RWMutex
	byName map[string]listed
	exe    map[string]string              // SHA-256 → name
	spec   map[string]string              // spec's id → name
	of     map[string]map[string]struct{} // SHA-256 → names of what makes or tells of it

	usedMu sync.Mutex
	used   map[string]time.Time // SHA-256 of executables → when one was last found or run
}

// use notes that clients want, or run, some executables.
func (x *index) use(now time.Time, sums ...string) {
	x.usedMu.Lock()
	defer x.usedMu.Unlock()
	if x.used == nil {
		x.used = map[string]time.Time{}
	}
	for _, sum := range sums {
		x.used[sum] = now
	}
}

type listed struct {
	size   int64
	sha256 string
	custom wire.TargetCustom
}

func (x *index) build(bins map[string]*metadata.Metadata[metadata.TargetsType]) {
	x.mu.Lock()
	x.byName, x.exe, x.spec, x.of = map[string]listed{}, map[string]string{}, map[string]string{}, map[string]map[string]struct{}{}
	x.mu.Unlock()
	for _, b := range bins {
		x.update(b.Signed.Targets)
	}
}

func (x *index) update(entries map[string]*metadata.TargetFiles) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, tf := range entries {
		if was, ok := x.byName[name]; ok {
			delete(x.byName, name)
			if x.exe[was.sha256] == name {
				delete(x.exe, was.sha256)
			}
			if x.spec[was.custom.SpecID] == name {
				delete(x.spec, was.custom.SpecID)
			}
			delete(x.of[was.custom.Of], name)
		}
		if tf == nil || tf.Custom == nil {
			continue
		}
		l := listed{size: tf.Length, sha256: fmt.Sprintf("%x", []byte(tf.Hashes["sha256"]))}
		if json.Unmarshal(*tf.Custom, &l.custom) != nil {
			continue
		}
		x.byName[name] = l
		if l.custom.Kind == wire.TargetExecutable {
			x.exe[l.sha256], x.spec[l.custom.SpecID] = name, name
			continue
		}
		if x.of[l.custom.Of] == nil {
			x.of[l.custom.Of] = map[string]struct{}{}
		}
		x.of[l.custom.Of][name] = struct{}{}
	}
}

// Find gives the executable that was built from a spec, by its id, with the ways
// to it: deltas from the executable with the SHA-256 from, if there are any, and
// the whole of it; the smallest first. It is false if none was published.
func (r *Repository) Find(specID, from string) (wire.Target, bool) {
	return r.find(from, func(x *index) string { return x.spec[specID] })
}

// FindExecutable is Find by the executable's own SHA-256.
func (r *Repository) FindExecutable(sha256, from string) (wire.Target, bool) {
	return r.find(from, func(x *index) string { return x.exe[sha256] })
}

func (r *Repository) find(from string, name func(*index) string) (wire.Target, bool) {
	x := &r.index
	x.mu.RLock()
	t, ok := x.target(name(x), from)
	_, base := x.exe[from]
	x.mu.RUnlock()
	if ok {
		x.use(r.o.Now(), t.SHA256)
	}
	if base {
		x.use(r.o.Now(), from) // deltas are made from it
	}
	return t, ok
}

func (x *index) target(name, from string) (wire.Target, bool) {
	e, ok := x.byName[name]
	if !ok {
		return wire.Target{}, false
	}
	t := wire.Target{Name: name, SHA256: e.sha256, Size: e.size, Files: []wire.TargetFile{{Name: name, SHA256: e.sha256, Size: e.size}}}
	for name := range x.of[e.sha256] {
		switch f := x.byName[name]; {
		case f.custom.Kind == wire.TargetCompressed:
			t.Files = append(t.Files, wire.TargetFile{Name: name, Method: "zstd", SHA256: f.sha256, Size: f.size})
		case f.custom.Kind == wire.TargetDelta && f.custom.From == from:
			t.Files = append(t.Files, wire.TargetFile{Name: name, Method: f.custom.Method, From: from, SHA256: f.sha256, Size: f.size})
		}
	}
	slices.SortFunc(t.Files, func(a, b wire.TargetFile) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.Name, b.Name))
	})
	return t, true
}

// Provenance is the path of the attestation of the executable that was built
// from a spec, by its id, below the storage's top; false if none was published.
func (r *Repository) Provenance(specID string) (path string, ok bool) {
	x := &r.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	name := x.spec[specID] + ".provenance.json"
	l, ok := x.byName[name]
	if !ok || l.custom.Kind != wire.TargetProvenance {
		return "", false
	}
	return fileName(name, l.sha256), true
}

// about names the executable with a SHA-256 and all that makes or tells of it, or
// begins with it.
func (x *index) about(sum string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	name, ok := x.exe[sum]
	if !ok {
		return nil
	}
	names := append([]string{name}, slices.Sorted(maps.Keys(x.of[sum]))...)
	for n, l := range x.byName {
		if l.custom.Kind == wire.TargetDelta && l.custom.From == sum {
			names = append(names, n)
		}
	}
	return names
}
