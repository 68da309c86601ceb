package artifact_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	_ "gocloud.dev/blob/memblob"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/wire"
)

// TestBucket has the repository in a bucket that is no folder, below the path
// that the service serves it at.
func TestBucket(t *testing.T) {
	s, err := artifact.OpenStorage(t.Context(), "mem://")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	keys := newKeys(t, artifact.Roles...)
	if err := artifact.Init(t.Context(), s, artifact.Ceremony{Keys: keys, BinBits: 1, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r, err := artifact.Open(t.Context(), artifact.Options{Storage: s, Keys: func() ([]*artifact.Key, error) { return keys, nil }})
	if err != nil {
		t.Fatal(err)
	}
	b, file := build(t, 1, nil)
	target, err := r.Publish(t.Context(), b, file)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	r.Register(mux)
	c, err := trust.New(trust.Config{Root: r.RootMetadata(), URL: serve(t, mux) + wire.PathTUF, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range target.Files {
		if got := fetch(t, c, f.Name); int64(len(got)) != f.Size {
			t.Errorf("%s has %d bytes, not %d", f.Name, len(got), f.Size)
		}
	}
	if _, err := artifact.OpenStorage(context.Background(), "nowhere://bucket"); err == nil {
		t.Error("a bucket of an unknown kind is opened")
	}
}
