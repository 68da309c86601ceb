package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/caddy-evergreen/evergreen/delta"
	"github.com/caddy-evergreen/evergreen/server/build"
)

// deltaPairs are what an update changes: a patch version, two of them, and
// plugins. Each is built without our module, as upstream is.
var deltaPairs = []struct {
	name       string
	old, fresh build.Spec
}{
	{"2.11.8 to 2.11.9", plain("v2.11.8"), plain("v2.11.9")},
	{"2.11.3 to 2.11.8", plain("v2.11.3"), plain("v2.11.8")},
	{"2.11.3 to 2.11.9", plain("v2.11.3"), plain("v2.11.9")},
	{"2.11.9, one plugin more", plain("v2.11.9"), plain("v2.11.9", cloudflare)},
	{"2.11.9, a second plugin", plain("v2.11.9", cloudflare), plain("v2.11.9", cloudflare, ratelimit)},
}

const (
	cloudflare = "github.com/caddy-dns/cloudflare@v0.2.1"
	ratelimit  = "github.com/mholt/caddy-ratelimit@v0.1.0"
)

func plain(version string, plugins ...string) build.Spec {
	return build.Spec{Caddy: version, Plugins: plugins, Without: true}
}

// deltas makes patches by each method and applies them.
func deltas(ctx context.Context) error {
	b := &build.Builder{Progress: os.Stderr}
	read := func(s build.Spec) ([]byte, error) {
		exe, err := b.Caddy(ctx, s)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(exe)
	}
	fmt.Println("pair, method: bytes, percent of the new executable, processor seconds to make and to apply")
	for _, p := range deltaPairs {
		old, err := read(p.old)
		if err != nil {
			return err
		}
		fresh, err := read(p.fresh)
		if err != nil {
			return err
		}
		for _, m := range []delta.Method{delta.Zstd, delta.ZstdPatch, delta.Bsdiff} {
			var patch bytes.Buffer
			before := processor()
			if _, err := delta.Make(ctx, old, fresh, m, &patch); err != nil {
				return err
			}
			making := processor() - before
			before = processor()
			if _, err := delta.Apply(io.NewSectionReader(bytes.NewReader(old), 0, int64(len(old))), bytes.NewReader(patch.Bytes()), io.Discard, delta.Limits{SHA256: sha256.Sum256(fresh)}); err != nil {
				return err
			}
			fmt.Printf("%-24s %-10v %9d %6.2f %% %6.1f s %5.2f s\n", p.name, m, patch.Len(), 100*float64(patch.Len())/float64(len(fresh)), making, processor()-before)
		}
	}
	return nil
}

// processor is how many seconds of processor time this process has used.
func processor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(errors.Join(errors.New("getrusage"), err)) // its arguments are constant
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)/1e6
}
