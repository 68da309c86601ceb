package release

import (
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/caddy-evergreen/evergreen/server/control"
	"github.com/caddy-evergreen/evergreen/wire"
)

// BenchmarkSnapshot is what a server of 1000 modules with 100 releases each
// takes to start, to see one more release, and to answer.
func BenchmarkSnapshot(b *testing.B) {
	db, err := control.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "control.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	cfg := Config{DB: db, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	s, err := Open(b.Context(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	find := func(path string, from, to int) {
		p := &polling{Service: s, path: path}
		for n := from; n < to; n++ {
			p.found = append(p.found, fmt.Sprintf("v1.%d.%d", n/10, n%10))
		}
		if err := p.save(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	for m := range 1000 {
		find(fmt.Sprintf("example.com/m%d", m), 0, 100)
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if _, err := Open(b.Context(), cfg); err != nil {
				b.Fatal(err)
			}
		}
	})
	n := 100
	b.Run("one more", func(b *testing.B) {
		for b.Loop() {
			find("example.com/m500", n, n+1)
			n++
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			s.Snapshot().Recent("", wire.SeverityFeature, "", 100)
		}
	})
	b.Run("releases of a module", func(b *testing.B) {
		for b.Loop() {
			s.Snapshot().Releases("example.com/m7")
		}
	})
}
