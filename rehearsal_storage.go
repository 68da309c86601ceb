package evergreen

import (
	"context"
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
)

// rehearsalStorage is the user's storage, read-only: what is written stays in
// memory, for this process alone, and so do locks. The real storage sees
// reads.
type rehearsalStorage struct {
	Real json.RawMessage `json:"real" caddy:"namespace=caddy.storage inline_key=module"`

	storage *overlay
}

func (rehearsalStorage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.evergreen_rehearsal", New: func() caddy.Module { return new(rehearsalStorage) }}
}

func (s *rehearsalStorage) Provision(ctx caddy.Context) error {
	v, err := ctx.LoadModule(s, "Real")
	if err != nil {
		return err
	}
	real, err := v.(caddy.StorageConverter).CertMagicStorage()
	if err != nil {
		return err
	}
	s.storage = newOverlay(real)
	return nil
}

func (s *rehearsalStorage) CertMagicStorage() (certmagic.Storage, error) { return s.storage, nil }

// An overlay is what was written and deleted over a storage that is only read.
type overlay struct {
	real certmagic.Storage

	mu      sync.Mutex
	written map[string]written
	deleted map[string]bool // keys, with all below them
	locks   map[string]chan struct{}
}

type written struct {
	value []byte
	when  time.Time
}

func newOverlay(real certmagic.Storage) *overlay {
	return &overlay{real: real, written: map[string]written{}, deleted: map[string]bool{}, locks: map[string]chan struct{}{}}
}

// gone reports whether a key of the real storage was deleted.
func (o *overlay) gone(key string) bool {
	for {
		if o.deleted[key] {
			return true
		}
		i := strings.LastIndexByte(key, '/')
		if i < 0 {
			return false
		}
		key = key[:i]
	}
}

func (o *overlay) Store(_ context.Context, key string, value []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.written[key] = written{slices.Clone(value), time.Now()}
	return nil
}

func (o *overlay) Load(ctx context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	w, ok := o.written[key]
	gone := o.gone(key)
	o.mu.Unlock()
	switch {
	case ok:
		return slices.Clone(w.value), nil
	case gone:
		return nil, fs.ErrNotExist
	}
	return o.real.Load(ctx, key)
}

func (o *overlay) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.deleted[key] = true
	for k := range o.written {
		if k == key || strings.HasPrefix(k, key+"/") {
			delete(o.written, k)
		}
	}
	return nil
}

func (o *overlay) Exists(ctx context.Context, key string) bool {
	o.mu.Lock()
	for k := range o.written {
		if k == key || strings.HasPrefix(k, key+"/") {
			o.mu.Unlock()
			return true
		}
	}
	gone := o.gone(key)
	o.mu.Unlock()
	return !gone && o.real.Exists(ctx, key)
}

func (o *overlay) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	real, err := o.real.List(ctx, path, recursive)
	o.mu.Lock()
	defer o.mu.Unlock()
	keys := map[string]bool{}
	for _, k := range real {
		if !o.gone(k) {
			keys[k] = true
		}
	}
	prefix := strings.TrimSuffix(path, "/") + "/"
	if path == "" {
		prefix = ""
	}
	for k := range o.written {
		below, ok := strings.CutPrefix(k, prefix)
		if !ok {
			continue
		}
		keys[k] = true
		for i, c := range below {
			if c == '/' {
				keys[prefix+below[:i]] = true
				if !recursive {
					delete(keys, k)
					break
				}
			}
		}
	}
	if len(keys) == 0 {
		return nil, err
	}
	list := make([]string, 0, len(keys))
	for k := range keys {
		list = append(list, k)
	}
	slices.Sort(list)
	return list, nil
}

func (o *overlay) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	o.mu.Lock()
	w, ok := o.written[key]
	gone := o.gone(key)
	below := slices.ContainsFunc(o.keys(), func(k string) bool { return strings.HasPrefix(k, key+"/") })
	o.mu.Unlock()
	switch {
	case ok:
		return certmagic.KeyInfo{Key: key, Modified: w.when, Size: int64(len(w.value)), IsTerminal: true}, nil
	case gone && !below:
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	info, err := o.real.Stat(ctx, key)
	if err != nil && below || gone {
		return certmagic.KeyInfo{Key: key}, nil
	}
	return info, err
}

func (o *overlay) keys() []string {
	keys := make([]string, 0, len(o.written))
	for k := range o.written {
		keys = append(keys, k)
	}
	return keys
}

// Lock waits for others of this process only: the real lock is the running
// server's.
func (o *overlay) Lock(ctx context.Context, name string) error {
	for {
		o.mu.Lock()
		held, ok := o.locks[name]
		if !ok {
			o.locks[name] = make(chan struct{})
			o.mu.Unlock()
			return nil
		}
		o.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (o *overlay) Unlock(_ context.Context, name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if held, ok := o.locks[name]; ok {
		delete(o.locks, name)
		close(held)
	}
	return nil
}

var (
	_ caddy.Provisioner      = (*rehearsalStorage)(nil)
	_ caddy.StorageConverter = (*rehearsalStorage)(nil)
	_ certmagic.Storage      = (*overlay)(nil)
)
