package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/theupdateframework/go-tuf/v2/metadata"
	"gocloud.dev/gcerrors"

	"github.com/caddy-evergreen/evergreen/wire"
)

// TargetName is that of the executable that is built from a spec.
func TargetName(s Spec) string {
	system := s.System.OS + "-" + s.System.Arch
	if s.System.Variant != "" {
		system += "-" + s.System.Variant
	}
	name := "caddy"
	if s.System.OS == "windows" {
		name += ".exe"
	}
	return path.Join("caddy", system, s.ID()[:32], name)
}

// fileName is where a target's bytes are in the storage: its hash is part of it.
func fileName(name, sum string) string {
	dir, base := path.Split(name)
	return "targets/" + dir + sum + "." + base
}

// ErrNotBuilt says that a file is not the executable that a build is said to be.
var ErrNotBuilt = errors.New("the file is not what was built")

// Publish makes an executable a target, compressed and with provenance. When it
// returns, clients see all of that; before, none. The file is read, not kept. To
// publish what is published already changes nothing but its custom metadata.
func (r *Repository) Publish(ctx context.Context, b Build, file string) (wire.Target, error) {
	b.Spec = b.Spec.Canonical()
	name := TargetName(b.Spec)
	r.files.RLock()
	defer r.files.RUnlock()
	entries := map[string]*metadata.TargetFiles{}
	if err := r.publish(ctx, b, file, name, entries); err != nil {
		return wire.Target{}, fmt.Errorf("publishing %s: %w", name, err)
	}
	if err := r.submit(ctx, entries); err != nil {
		return wire.Target{}, fmt.Errorf("publishing %s: %w", name, err)
	}
	t, ok := r.FindExecutable(b.SHA256, "")
	if !ok {
		return wire.Target{}, fmt.Errorf("publishing %s: another build of the same spec was published at the same time", name)
	}
	return t, nil
}

func (r *Repository) publish(ctx context.Context, b Build, file, name string, entries map[string]*metadata.TargetFiles) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != b.SHA256 || n != b.Size {
		return fmt.Errorf("%w: it has %d bytes and SHA-256 %s, not %d and %s", ErrNotBuilt, n, got, b.Size, b.SHA256)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := r.store(ctx, fileName(name, b.SHA256), n, f); err != nil {
		return err
	}
	spec, err := json.Marshal(b.Spec)
	if err != nil {
		return err
	}
	system := b.Spec.System
	entries[name] = targetFiles(n, sum.Sum(nil), wire.TargetCustom{
		Kind: wire.TargetExecutable, SpecID: b.Spec.ID(), Spec: spec, System: &system,
		Severity: b.Severity, Supersedes: b.Supersedes, MinKernel: b.MinKernel, MinOS: b.MinOS,
	})
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := r.compress(ctx, f, name+".zst", b.SHA256, entries); err != nil {
		return err
	}
	r.mu.Lock()
	err = r.ready(ctx)
	st, keys := r.state, r.keys
	r.mu.Unlock()
	if err != nil {
		return err
	}
	ids, _ := keyIDs(st.root, st.targets, RoleBuilds)
	statement, err := provenance(b, name, r.o.Builder, r.o.Now().UTC(), among(keys, ids...))
	if err != nil {
		return err
	}
	return r.add(ctx, name+".provenance.json", statement, wire.TargetCustom{Kind: wire.TargetProvenance, Of: b.SHA256}, entries)
}

// compress stores a file as a Zstandard frame. It takes the level that needs a
// second for an executable of 50 MB: a delta is what saves bytes.
func (r *Repository) compress(ctx context.Context, f io.Reader, name, of string, entries map[string]*metadata.TargetFiles) error {
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, f); err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return err
	}
	return r.add(ctx, name, b.Bytes(), wire.TargetCustom{Kind: wire.TargetCompressed, Of: of}, entries)
}

// add stores bytes as a target.
func (r *Repository) add(ctx context.Context, name string, b []byte, c wire.TargetCustom, entries map[string]*metadata.TargetFiles) error {
	sum := sha256.Sum256(b)
	if err := r.store(ctx, fileName(name, hex.EncodeToString(sum[:])), int64(len(b)), bytes.NewReader(b)); err != nil {
		return err
	}
	entries[name] = targetFiles(int64(len(b)), sum[:], c)
	return nil
}

func targetFiles(size int64, sum []byte, c wire.TargetCustom) *metadata.TargetFiles {
	return &metadata.TargetFiles{Length: size, Hashes: metadata.Hashes{"sha256": sum}, Custom: custom(c)}
}

// store writes bytes under a name that has their hash in it, unless they are there.
func (r *Repository) store(ctx context.Context, name string, size int64, b io.Reader) error {
	if r.s.has(ctx, name, size) {
		return nil
	}
	return r.s.write(ctx, name, b)
}

// Withdraw takes executables, by SHA-256, out of the metadata with all that makes
// or tells of them: nobody downloads them any more. Their files go when no
// client can be under way with the metadata before. Unknown ones are no error.
func (r *Repository) Withdraw(ctx context.Context, sums ...string) error {
	if err := r.withdraw(ctx, sums); err != nil {
		return fmt.Errorf("withdrawing: %w", err)
	}
	return nil
}

func (r *Repository) withdraw(ctx context.Context, sums []string) error {
	entries := map[string]*metadata.TargetFiles{}
	for _, sum := range sums {
		for _, name := range r.index.about(sum) {
			entries[name] = nil
		}
	}
	if len(entries) == 0 {
		return nil
	}
	return r.submit(ctx, entries)
}

// OpenTarget reads the file of an executable that was published, by its SHA-256.
// It is for who rebuilds or compares; clients download.
func (r *Repository) OpenTarget(ctx context.Context, sum string) (io.ReadSeekCloser, error) {
	t, ok := r.FindExecutable(sum, "")
	if !ok {
		return nil, fmt.Errorf("no executable with SHA-256 %.64s was published", sum)
	}
	rd, err := r.s.bucket.NewReader(ctx, fileName(t.Name, t.SHA256), nil)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", t.Name, err)
	}
	return rd, nil
}

// prune removes what nothing refers to any more and is older than grace: files of
// metadata that newer ones replaced, of targets that are gone, and what a crash
// left half written.
func (r *Repository) prune(ctx context.Context, grace time.Duration) error {
	// What is being published may be an old file that nothing refers to yet.
	r.files.Lock()
	defer r.files.Unlock()
	r.mu.Lock()
	st := r.state
	r.mu.Unlock()
	if st == nil {
		return nil
	}
	before := r.o.Now().Add(-grace)
	wanted := map[string]bool{
		fmt.Sprintf("%d.snapshot.json", st.snapshot.Signed.Version): true,
		fmt.Sprintf("%d.targets.json", st.targets.Signed.Version):   true,
	}
	for name, m := range st.bins {
		wanted[fmt.Sprintf("%d.%s.json", m.Signed.Version, name)] = true
		for target, tf := range m.Signed.Targets {
			wanted[fileName(target, hex.EncodeToString(tf.Hashes["sha256"]))] = true
		}
	}
	it := r.s.bucket.List(nil)
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("pruning the repository: %w", err)
		}
		v, role, isMetadata := parseVersioned(o.Key)
		switch {
		case wanted[o.Key], o.Key == "timestamp.json", o.Key == ".lock", o.ModTime.After(before):
			continue
		case isMetadata && (Offline(role) || v == st.top[role]):
			// The chain of roots stays, so do the keys that signed provenance, and the
			// greatest version is remembered.
			continue
		}
		if err := r.s.bucket.Delete(ctx, o.Key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return fmt.Errorf("pruning the repository: %w", err)
		}
	}
}
