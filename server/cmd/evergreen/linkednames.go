package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/caddy-evergreen/evergreen/server/linked"
	"github.com/caddy-evergreen/evergreen/wire"
)

// published are executables by their SHA-256.
type published interface {
	FindExecutable(sha256, from string) (wire.Target, bool)
	OpenTarget(ctx context.Context, sha256 string) (io.ReadSeekCloser, error)
}

// maxLinkedNames is how many executables' functions are kept; a Caddy's are some
// megabytes.
const maxLinkedNames = 8

// linkedNames keeps which functions published executables have, so that a
// vulnerability whose code is not in one is no reason to update it. The zero
// value is ready.
type linkedNames struct {
	mu    sync.Mutex // held while one is read: each is read once
	names map[string]*linked.Names
	order []string // of use, the last one last
}

// of returns the functions of an executable; nil if it was not published.
func (l *linkedNames) of(ctx context.Context, p published, sum string) (*linked.Names, error) {
	if _, ok := p.FindExecutable(sum, ""); !ok {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.order, sum); i >= 0 {
		l.order = append(slices.Delete(l.order, i, i+1), sum)
		return l.names[sum], nil
	}
	f, err := p.OpenTarget(ctx, sum)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxExecutable))
	if err != nil {
		return nil, fmt.Errorf("reading executable %.64s: %w", sum, err)
	}
	names, err := linked.Read(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("executable %.64s: %w", sum, err)
	}
	if l.names == nil {
		l.names = map[string]*linked.Names{}
	}
	if len(l.order) >= maxLinkedNames {
		delete(l.names, l.order[0])
		l.order = slices.Delete(l.order, 0, 1)
	}
	l.names[sum] = names
	l.order = append(l.order, sum)
	return names, nil
}
