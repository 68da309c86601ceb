package trust_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/trust"
)

// A signer is a key of one role.
type signer struct {
	signature.Signer
	key *metadata.Key
}

func newSigner(t testing.TB, seed byte) signer {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	s, err := signature.LoadSigner(private, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	k, err := metadata.KeyFromPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	return signer{s, k}
}

func signed[T metadata.Roles](t testing.TB, m *metadata.Metadata[T], by ...signer) []byte {
	t.Helper()
	for _, s := range by {
		if _, err := m.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := m.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// past is when all of it expired: what is saved is good for as long as the
// executable that it proves.
var past = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// A saving is what Saved gives of a repository with offline keys and bins, and
// the keys to forge more of it.
type saving struct {
	files                        map[string][]byte
	bin                          string
	rootKey, targetsKey, binsKey signer
}

func rootOf(t testing.TB, version int64, rootKey, targetsKey signer, by ...signer) []byte {
	t.Helper()
	m := metadata.Root(past)
	m.Signed.Version = version
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		k := targetsKey
		if role == metadata.ROOT {
			k = rootKey
		}
		if err := m.Signed.AddKey(k.key, role); err != nil {
			t.Fatal(err)
		}
	}
	return signed(t, m, by...)
}

func binOf(t testing.TB, content []byte, by signer) []byte {
	t.Helper()
	m := metadata.Targets(past)
	tf, err := metadata.TargetFile().FromBytes(name, content)
	if err != nil {
		t.Fatal(err)
	}
	custom := json.RawMessage(`{"kind":"executable","spec":{"caddy":"v2.11.9"}}`)
	tf.Custom = &custom
	m.Signed.Targets[name] = tf
	return signed(t, m, by)
}

func newSaving(t testing.TB) *saving {
	s := &saving{files: map[string][]byte{}, rootKey: newSigner(t, 1), targetsKey: newSigner(t, 2), binsKey: newSigner(t, 3)}
	s.files["1.root.json"] = rootOf(t, 1, s.rootKey, s.targetsKey, s.rootKey)
	targets := metadata.Targets(past)
	bins := &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: 4, NamePrefix: "bin"}
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, SuccinctRoles: bins}
	if err := targets.Signed.AddKey(s.binsKey.key, "bin"); err != nil {
		t.Fatal(err)
	}
	s.bin = bins.GetRolesForTarget(name)[0].Name + ".json"
	s.files["targets.json"] = signed(t, targets, s.targetsKey)
	s.files[s.bin] = binOf(t, executable, s.binsKey)
	return s
}

func fileOf(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestVerifySaved(t *testing.T) {
	file := fileOf(t, executable)
	evil := newSigner(t, 9)
	newRoot := newSigner(t, 4)
	other := bytes.Repeat([]byte("another one "), 5000)
	for _, c := range []struct {
		name   string
		change func(s *saving)
		file   []byte
		target string
		trust  func(s *saving) []byte // the root; version 1 if nil
		want   error                  // nil: proven
	}{
		{name: "as it was saved"},
		{name: "an executable that was changed", file: append(bytes.Clone(executable[1:]), 'x'), want: trust.ErrMismatch},
		{name: "a longer executable", file: append(bytes.Clone(executable), 'x'), want: trust.ErrMismatch},
		{name: "a truncated executable", file: executable[:100], want: trust.ErrMismatch},
		{name: "an empty executable", file: []byte{}, want: trust.ErrMismatch},
		{name: "another target", target: "caddy/linux amd64/other", want: os.ErrNotExist},
		{name: "another root", trust: func(*saving) []byte { return rootOf(t, 1, evil, evil, evil) }, want: trust.ErrSignatures},
		{name: "no metadata", change: func(s *saving) { s.files = nil }, want: trust.ErrSignatures},
		{name: "no targets", change: func(s *saving) { delete(s.files, "targets.json") }, want: os.ErrNotExist},
		{name: "no bin", change: func(s *saving) { delete(s.files, s.bin) }, want: os.ErrNotExist},
		{name: "another's bin", file: other, change: func(s *saving) { s.files[s.bin] = binOf(t, other, evil) }, want: trust.ErrSignatures},
		{name: "a bin in place of the targets", file: other, change: func(s *saving) { s.files["targets.json"] = binOf(t, other, s.binsKey) }, want: trust.ErrSignatures},
		{name: "the root in place of the targets", change: func(s *saving) { s.files["targets.json"] = s.files["1.root.json"] }, want: trust.ErrMalformed},
		{name: "half of the targets", change: func(s *saving) { s.files["targets.json"] = s.files["targets.json"][:50] }, want: trust.ErrMalformed},
		{name: "the root under another name", change: func(s *saving) {
			s.files["2.root.json"] = s.files["1.root.json"]
			delete(s.files, "1.root.json")
		}, want: trust.ErrMalformed},
		{name: "a chain of roots", change: func(s *saving) {
			s.files["2.root.json"] = rootOf(t, 2, newRoot, s.targetsKey, s.rootKey, newRoot)
			s.files["3.root.json"] = rootOf(t, 3, newRoot, s.targetsKey, newRoot)
		}},
		{name: "a chain of roots from its middle", change: func(s *saving) {
			s.files["2.root.json"] = rootOf(t, 2, newRoot, s.targetsKey, s.rootKey, newRoot)
			s.files["3.root.json"] = rootOf(t, 3, newRoot, s.targetsKey, newRoot)
		}, trust: func(s *saving) []byte { return s.files["2.root.json"] }},
		{name: "a root that the one before did not sign", change: func(s *saving) {
			s.files["2.root.json"] = rootOf(t, 2, evil, evil, evil)
		}, want: trust.ErrSignatures},
		{name: "a root that leaves a version out", change: func(s *saving) {
			s.files["2.root.json"] = rootOf(t, 3, newRoot, s.targetsKey, s.rootKey, newRoot)
		}, want: trust.ErrRollback},
		{name: "targets whose key a newer root took away", change: func(s *saving) {
			s.files["2.root.json"] = rootOf(t, 2, s.rootKey, newRoot, s.rootKey)
		}, want: trust.ErrSignatures},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSaving(t)
			root := s.files["1.root.json"]
			if c.change != nil {
				c.change(s)
			}
			if c.trust != nil {
				root = c.trust(s)
			}
			of, target := file, name
			if c.file != nil {
				of = fileOf(t, c.file)
			}
			if c.target != "" {
				target = c.target
			}
			got, err := trust.VerifySaved(sha256.Sum256(root), s.files, target, of)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("%v, not %v", err, c.want)
			}
			if err == nil && (got.SHA256 != sha256.Sum256(executable) || string(got.Custom.Spec) != `{"caddy":"v2.11.9"}`) {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestSaved proves, without the repository, what a client downloaded from it.
func TestSaved(t *testing.T) {
	r := newRepo(t)
	dir := t.TempDir()
	c := r.client(dir)
	first := sha256.Sum256(r.files["1.root.json"])
	second := sha256.Sum256(r.root(2, nil))
	r.root(3, nil)
	target, err := c.Target(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "caddy")
	if err := c.Download(t.Context(), target, file); err != nil {
		t.Fatal(err)
	}
	saved, err := c.Saved(target)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"1.root.json", "2.root.json", "3.root.json", "targets.json"}
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(saved))); d != "" {
		t.Error(d)
	}
	for _, root := range [][32]byte{first, second} {
		if got, err := trust.VerifySaved(root, saved, name, file); err != nil || got.SHA256 != target.SHA256 {
			t.Errorf("%x, %v", got.SHA256, err)
		}
	}
	// What is not as it was verified is not saved.
	wrong := target
	wrong.Size++
	if _, err := c.Saved(wrong); !errors.Is(err, trust.ErrMismatch) {
		t.Errorf("another target: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "metadata", "targets.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Saved(target); err == nil {
		t.Error("metadata that somebody changed is saved")
	}
}

// FuzzVerifySaved has strangers write the folder of a slot: nothing panics, and
// nothing but the signed executable is proven.
func FuzzVerifySaved(f *testing.F) {
	s := newSaving(f)
	root := sha256.Sum256(s.files["1.root.json"])
	names := []string{"1.root.json", "2.root.json", "targets.json", s.bin}
	for i, n := range names {
		f.Add(uint8(i), s.files[n])
	}
	f.Add(uint8(2), []byte(`{"signed":{"_type":"targets","delegations":{"succinct_roles":{"bit_length":-1}}},"signatures":[]}`))
	f.Add(uint8(1), rootOf(f, 2, s.rootKey, s.targetsKey, s.rootKey))
	good, evil := fileOf(f, executable), fileOf(f, []byte("evil"))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		files := maps.Clone(s.files)
		files[names[int(which)%len(names)]] = b
		if got, err := trust.VerifySaved(root, files, name, evil); err == nil {
			t.Errorf("it proves another executable: %+v", got)
		}
		if got, err := trust.VerifySaved(root, files, name, good); err == nil && got.SHA256 != sha256.Sum256(executable) {
			t.Errorf("it proves %+v", got)
		}
	})
}
