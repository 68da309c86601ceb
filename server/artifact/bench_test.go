package artifact

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/wire"
)

// BenchmarkPublished10000 says what metadata costs when 10,000 executables are
// published, each with three plugins, compressed and with provenance: bytes that
// a client downloads (compressed as the server sends them) for its first check,
// and after something was published; and the time that publishing one more takes.
func BenchmarkPublished10000(b *testing.B) {
	dir := b.TempDir()
	s, err := OpenStorage(b.Context(), dir)
	if err != nil {
		b.Fatal(err)
	}
	var keys []*Key
	for _, role := range Roles {
		k, err := NewKey(role)
		if err != nil {
			b.Fatal(err)
		}
		keys = append(keys, k)
	}
	if err := Init(b.Context(), s, Ceremony{Keys: keys, Now: time.Now()}); err != nil {
		b.Fatal(err)
	}
	r, err := Open(b.Context(), Options{Storage: s, Keys: func() ([]*Key, error) { return keys, nil }})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { r.Close() }()
	all := map[string]*metadata.TargetFiles{}
	for i := range 10_000 {
		fill(all, i)
	}
	if err := r.submit(b.Context(), all); err != nil {
		b.Fatal(err)
	}
	n := 10_000
	for b.Loop() {
		more := map[string]*metadata.TargetFiles{}
		fill(more, n)
		n++
		if err := r.submit(b.Context(), more); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	r.Close()
	began := time.Now()
	if r, err = Open(b.Context(), Options{Storage: s, Keys: func() ([]*Key, error) { return keys, nil }}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(time.Since(began).Seconds(), "s-to-open")
	size := func(name string) (plain, packed float64) {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			b.Fatal(err)
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(raw)
		w.Close()
		return float64(len(raw)), float64(z.Len())
	}
	root, _ := size("1.root.json")
	targets, _ := size("1.targets.json")
	timestamp, _ := size("timestamp.json")
	snapshot, snapshotZ := size(fmt.Sprintf("%d.snapshot.json", r.state.snapshot.Signed.Version))
	var bin, binZ float64
	for name, m := range r.state.bins {
		p, z := size(fmt.Sprintf("%d.%s.json", m.Signed.Version, name))
		bin, binZ = bin+p/float64(len(r.state.bins)), binZ+z/float64(len(r.state.bins))
	}
	b.ReportMetric(timestamp, "timestamp-B")
	b.ReportMetric(snapshot, "snapshot-B")
	b.ReportMetric(bin, "bin-B")
	b.ReportMetric(snapshotZ, "snapshot-gz-B")
	b.ReportMetric(binZ, "bin-gz-B")
	b.ReportMetric(root+targets+timestamp+snapshotZ+binZ, "first-check-B")
	b.ReportMetric(timestamp+snapshotZ+binZ, "next-check-B")
}

func fill(entries map[string]*metadata.TargetFiles, i int) {
	spec := Spec{
		Go: "go1.26.8", System: wire.System{OS: "linux", Arch: "amd64"}, Caddy: fmt.Sprintf("v2.11.%d", i), Evergreen: "v0.1.0",
		Plugins: []wire.ModuleVersion{
			{Path: "github.com/caddy-dns/cloudflare", Version: "v0.2.1"},
			{Path: "github.com/caddyserver/replace-response", Version: "v0.0.0-20250618171559-80962887e4c6"},
			{Path: "github.com/mholt/caddy-ratelimit", Version: "v0.1.0"},
		},
		Service: "https://evergreen.example.com", Root: sha256Hex(nil),
	}
	sum := sha256.Sum256(fmt.Append(nil, i))
	other := sha256.Sum256(sum[:])
	of := fmt.Sprintf("%x", sum)
	raw, err := json.Marshal(spec)
	if err != nil {
		panic(err) // strings only
	}
	name := TargetName(spec)
	entries[name] = targetFiles(52_000_000, sum[:], wire.TargetCustom{Kind: wire.TargetExecutable, SpecID: spec.ID(), Spec: raw, System: &spec.System, Severity: wire.SeverityCritical})
	entries[name+".zst"] = targetFiles(15_000_000, other[:], wire.TargetCustom{Kind: wire.TargetCompressed, Of: of})
	entries[name+".provenance.json"] = targetFiles(60_000, other[:], wire.TargetCustom{Kind: wire.TargetProvenance, Of: of})
}
