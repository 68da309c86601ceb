package artifact

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

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
	x := &r.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.target(x.spec[specID], from)
}

// FindExecutable is Find by the executable's own SHA-256.
func (r *Repository) FindExecutable(sha256, from string) (wire.Target, bool) {
	x := &r.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.target(x.exe[sha256], from)
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

// about names an executable and all that makes or tells of it.
func (x *index) about(name string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.byName[name]
	if !ok {
		return nil
	}
	names := append([]string{name}, slices.Sorted(maps.Keys(x.of[e.sha256]))...)
	for n, l := range x.byName {
		if l.custom.From == e.sha256 && l.custom.Kind == wire.TargetDelta {
			names = append(names, n)
		}
	}
	return names
}
