package artifact_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/trust"
)

// A mitm is who is between a client and a repository, or runs a mirror of it: it
// answers what it likes.
type mitm struct {
	f       *fixture
	limits  trust.Limits
	answers map[string]http.HandlerFunc // by the name of a file
	url     string
}

func (f *fixture) mitm() *mitm {
	m := &mitm{f: f, answers: map[string]http.HandlerFunc{}}
	files := artifact.Files(f.storage())
	m.url = f.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := m.answers[strings.TrimPrefix(r.URL.Path, "/")]; h != nil {
			h(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	return m
}

func (m *mitm) bytes(name string, b []byte) {
	m.answers[name] = func(w http.ResponseWriter, _ *http.Request) { w.Write(b) }
}

func (m *mitm) missing(name string) { m.answers[name] = http.NotFound }

// client is a victim. Its folder is what it saw before.
func (m *mitm) client(dir string) *trust.Client {
	m.f.t.Helper()
	c, err := trust.New(trust.Config{Root: m.f.root(1), URL: m.url, Dir: dir, Now: m.f.now, Limits: m.limits})
	if err != nil {
		m.f.t.Fatal(err)
	}
	return c
}

// get is what a victim does.
func get(t *testing.T, c *trust.Client, name string) error {
	t.Helper()
	if err := c.Refresh(t.Context()); err != nil {
		return err
	}
	target, err := c.Target(t.Context(), name)
	if err != nil {
		return err
	}
	file := filepath.Join(t.TempDir(), "file")
	err = c.Download(t.Context(), target, file)
	if _, stat := os.Stat(file); err != nil && stat == nil {
		t.Error("a file is there although its download failed")
	}
	return err
}

// read gives a file of the repository.
func (f *fixture) read(name string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, filepath.FromSlash(name)))
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) key(role string) *artifact.Key {
	for _, k := range slices.Concat(f.online, f.offline) {
		if k.Role == role {
			return k
		}
	}
	f.t.Fatalf("no key of %s", role)
	return nil
}

func parse[T metadata.Roles](t *testing.T, b []byte) *metadata.Metadata[T] {
	t.Helper()
	m, err := new(metadata.Metadata[T]).FromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func signed[T metadata.Roles](t *testing.T, m *metadata.Metadata[T], keys ...*artifact.Key) []byte {
	t.Helper()
	b, err := artifact.Sign(m, keys...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names are the current files of top-level metadata, and that of the bin which
// has a target.
func (f *fixture) names(t *testing.T, target string) (snapshot, bin string) {
	ts := parse[metadata.TimestampType](t, f.read("timestamp.json"))
	snapshot = fmt.Sprintf("%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version)
	sn := parse[metadata.SnapshotType](t, f.read(snapshot))
	targets := parse[metadata.TargetsType](t, f.read(fmt.Sprintf("%d.targets.json", sn.Signed.Meta["targets.json"].Version)))
	role := targets.Signed.Delegations.SuccinctRoles.GetRolesForTarget(target)[0].Name
	return snapshot, fmt.Sprintf("%d.%s.json", sn.Signed.Meta[role+".json"].Version, role)
}

func hashed(dirAndName string, b []byte) string {
	i := strings.LastIndexByte(dirAndName, '/') + 1
	return fmt.Sprintf("targets/%s%x.%s", dirAndName[:i], sha256.Sum256(b), dirAndName[i:])
}

// TestAttacks makes each attack that The Update Framework knows against a real
// client and a real repository. The names are those of its specification.
func TestAttacks(t *testing.T) {
	content := func(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "executable %d ", n), 1000) }
	for _, test := range []struct {
		name   string
		want   error
		attack func(t *testing.T, f *fixture, m *mitm, seen, target string)
	}{
		{"arbitrary software", trust.ErrMismatch, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			evil := content(1)
			evil[7] ^= 1
			m.bytes(hashed(target, content(1)), evil)
		}},
		{"arbitrary software, signed by a stranger", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, bin := f.names(t, target)
			b := parse[metadata.TargetsType](t, f.read(bin))
			sum := sha256.Sum256([]byte("evil"))
			b.Signed.Targets[target].Hashes["sha256"], b.Signed.Targets[target].Length = sum[:], 4
			m.bytes(bin, signed(t, b, newKeys(t, artifact.RoleBuilds)...))
			m.bytes(hashed(target, []byte("evil")), []byte("evil"))
		}},
		{"wrong software", trust.ErrMismatch, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			f.publish(2)
			m.bytes(hashed(target, content(1)), content(2)) // a good one, but not what was asked for
		}},
		{"wrong software, by another bin", trust.ErrNoTarget, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, bin := f.names(t, target)
			b := parse[metadata.TargetsType](t, f.read(bin))
			b.Signed.Targets = map[string]*metadata.TargetFiles{}
			m.bytes(bin, signed(t, b, f.key(artifact.RoleBuilds))) // as another, empty bin would be
		}},
		{"rollback", trust.ErrRollback, func(t *testing.T, f *fixture, m *mitm, seen, target string) {
			old := f.read("timestamp.json")
			f.publish(2)
			if err := get(t, m.client(seen), target); err != nil {
				t.Fatal(err)
			}
			m.bytes("timestamp.json", old)
		}},
		{"rollback of the snapshot, with the timestamp's key", trust.ErrRollback, func(t *testing.T, f *fixture, m *mitm, seen, target string) {
			old := parse[metadata.TimestampType](t, f.read("timestamp.json"))
			f.publish(2)
			if err := get(t, m.client(seen), target); err != nil {
				t.Fatal(err)
			}
			old.Signed.Version = 99
			m.bytes("timestamp.json", signed(t, old, f.key(artifact.RoleTimestamp)))
		}},
		{"rollback of the root", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, seen, target string) {
			// The timestamp's key is stolen, and replaced. Who saw the new root is told
			// that there is none, and shown what the thief signed.
			stolen := f.key(artifact.RoleTimestamp)
			ts := parse[metadata.TimestampType](t, f.read("timestamp.json"))
			fresh := newKeys(t, artifact.RoleTimestamp)
			f.online = append(f.online, fresh...)
			if err := f.rotate(artifact.Rotation{Role: artifact.RoleTimestamp, Add: []*metadata.Key{fresh[0].Public}, Remove: []string{stolen.ID}}, f.offline); err != nil {
				t.Fatal(err)
			}
			if err := f.repo.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := get(t, m.client(seen), target); err != nil {
				t.Fatal(err)
			}
			m.missing("2.root.json")
			ts.Signed.Version = 99
			m.bytes("timestamp.json", signed(t, ts, stolen))
		}},
		{"freeze", trust.ErrExpired, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.bytes("timestamp.json", f.read("timestamp.json"))
			f.set(time.Now().Add(49 * time.Hour))
		}},
		{"freeze of the root", trust.ErrExpired, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			f.set(time.Now().Add(366 * 24 * time.Hour))
		}},
		{"mix and match: an old snapshot", trust.ErrMismatch, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			old, _ := f.names(t, target)
			b := f.read(old)
			f.publish(2)
			now, _ := f.names(t, target)
			m.bytes(now, b)
		}},
		{"mix and match: an old bin", trust.ErrRollback, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, old := f.names(t, target)
			b := f.read(old)
			for n, now := 2, old; ; n++ { // until something is published in the same bin
				f.publish(n)
				if _, now = f.names(t, target); now != old {
					m.bytes(now, b)
					return
				}
			}
		}},
		{"endless data: the root", trust.ErrTooLarge, func(t *testing.T, f *fixture, m *mitm, _, target string) { m.answers["2.root.json"] = endless }},
		{"endless data: the timestamp", trust.ErrTooLarge, func(t *testing.T, f *fixture, m *mitm, _, target string) { m.answers["timestamp.json"] = endless }},
		{"endless data: the snapshot", trust.ErrTooLarge, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			name, _ := f.names(t, target)
			m.answers[name] = endless
		}},
		{"endless data: a bin", trust.ErrTooLarge, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, name := f.names(t, target)
			m.answers[name] = endless
		}},
		{"endless data: the executable", trust.ErrTooLarge, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.answers[hashed(target, content(1))] = func(w http.ResponseWriter, r *http.Request) {
				w.Write(content(1))
				endless(w, r)
			}
		}},
		{"slow retrieval: nothing comes", trust.ErrSlow, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.answers["timestamp.json"] = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		}},
		{"slow retrieval: metadata", trust.ErrSlow, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.answers["timestamp.json"] = trickle(f.read("timestamp.json"))
		}},
		{"slow retrieval: the executable", trust.ErrSlow, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.answers[hashed(target, content(1))] = trickle(content(1))
		}},
		{"extraneous dependencies", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, bin := f.names(t, target)
			b := f.read(bin)
			evil := bytes.Replace(b, []byte("github.com/caddy-dns/cloudflare"), []byte("github.com/caddy-dns/cloudf1are"), 1)
			if bytes.Equal(b, evil) {
				t.Fatal("the spec has no plugin")
			}
			m.bytes(bin, evil)
		}},
		{"key compromise: one of two root keys", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			root := parse[metadata.RootType](t, f.root(1))
			root.Signed.Version = 2
			evil := newKeys(t, artifact.RoleRoot)
			root.Signed.Roles["root"].Threshold = 1
			if err := root.Signed.AddKey(evil[0].Public, "root"); err != nil {
				t.Fatal(err)
			}
			m.bytes("2.root.json", signed(t, root, f.offline[0], evil[0]))
		}},
		{"key compromise: a root key twice", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			root := parse[metadata.RootType](t, f.root(1))
			root.Signed.Version = 2
			m.bytes("2.root.json", signed(t, root, f.offline[0], f.offline[0]))
		}},
		{"key compromise: one of two targets keys, and all online ones", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			name, _ := f.names(t, target)
			sn := parse[metadata.SnapshotType](t, f.read(name))
			targets := parse[metadata.TargetsType](t, f.read(fmt.Sprintf("%d.targets.json", sn.Signed.Meta["targets.json"].Version)))
			targets.Signed.Version++
			sum := sha256.Sum256([]byte("evil"))
			targets.Signed.Targets[target] = &metadata.TargetFiles{Length: 4, Hashes: metadata.Hashes{"sha256": sum[:]}}
			sn.Signed.Version += 100
			sn.Signed.Meta["targets.json"].Version++
			b := signed(t, sn, f.key(artifact.RoleSnapshot))
			ts := parse[metadata.TimestampType](t, f.read("timestamp.json"))
			ts.Signed.Version += 100
			snSum := sha256.Sum256(b)
			ts.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: sn.Signed.Version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": snSum[:]}}
			m.bytes(fmt.Sprintf("%d.targets.json", targets.Signed.Version), signed(t, targets, f.key(artifact.RoleTargets), newKeys(t, artifact.RoleTargets)[0]))
			m.bytes(fmt.Sprintf("%d.snapshot.json", sn.Signed.Version), b)
			m.bytes("timestamp.json", signed(t, ts, f.key(artifact.RoleTimestamp)))
		}},
		{"key compromise: the timestamp's key signs a bin", trust.ErrSignatures, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			_, bin := f.names(t, target)
			m.bytes(bin, signed(t, parse[metadata.TargetsType](t, f.read(bin)), f.key(artifact.RoleTimestamp)))
		}},
		{"malicious mirror: garbage", trust.ErrMalformed, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			m.bytes("timestamp.json", []byte("<!doctype html><title>Sign in to the hotel's network</title>"))
		}},
		{"key compromise: the timestamp's key signs what panics readers", trust.ErrMalformed, func(t *testing.T, f *fixture, m *mitm, _, target string) {
			ts := parse[metadata.TimestampType](t, f.read("timestamp.json"))
			ts.Signed.Version, ts.Signed.Meta = 99, map[string]*metadata.MetaFiles{}
			m.bytes("timestamp.json", signed(t, ts, f.key(artifact.RoleTimestamp)))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, 1)
			f.t = t
			_, target := f.publish(1)
			m := f.mitm()
			seen := t.TempDir()
			if err := get(t, m.client(t.TempDir()), target.Name); err != nil {
				t.Fatalf("before the attack: %v", err)
			}
			test.attack(t, f, m, seen, target.Name)
			if strings.HasPrefix(test.name, "slow") {
				m.limits = trust.Limits{Window: 200 * time.Millisecond, MinRate: 100}
			}
			err := get(t, m.client(seen), target.Name)
			if !errors.Is(err, test.want) {
				t.Errorf("the attack gives %v; want %v", err, test.want)
			}
			t.Log(err)
			// A mirror that is no accomplice helps, unless all are too old, or what was
			// shown before is signed, and newer than what is true.
			switch test.name {
			case "freeze", "freeze of the root", "wrong software, by another bin",
				"key compromise: one of two targets keys, and all online ones",
				"key compromise: the timestamp's key signs what panics readers":
				return
			}
			c, err := trust.New(trust.Config{
				Root: f.root(1), URL: m.url, Mirrors: []string{f.url}, Dir: seen, Now: f.now,
				Limits: trust.Limits{Window: 3 * time.Second, MinRate: 100}, // honest ones may be on a busy machine
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := get(t, c, target.Name); err != nil {
				t.Errorf("with an honest mirror: %v", err)
			}
		})
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	b := bytes.Repeat([]byte(" "), 64<<10)
	for r.Context().Err() == nil {
		if _, err := w.Write(b); err != nil {
			return
		}
	}
}

// trickle sends a byte each 50 ms: no timeout of a connection sees that.
func trickle(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := range b {
			w.Write(b[i : i+1])
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// TestFastForward has a thief of online keys raise versions to the highest there
// is. That is signed, so clients follow; new keys free them.
func TestFastForward(t *testing.T) {
	f := newFixture(t, 1)
	_, target := f.publish(1)
	m := f.mitm()
	seen := t.TempDir()
	name, _ := f.names(t, target.Name)
	sn := parse[metadata.SnapshotType](t, f.read(name))
	sn.Signed.Version = 1<<62 - 1
	b := signed(t, sn, f.key(artifact.RoleSnapshot))
	sum := sha256.Sum256(b)
	ts := parse[metadata.TimestampType](t, f.read("timestamp.json"))
	ts.Signed.Version = 1<<62 - 1
	ts.Signed.Meta["snapshot.json"] = &metadata.MetaFiles{Version: sn.Signed.Version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	m.bytes(fmt.Sprintf("%d.snapshot.json", sn.Signed.Version), b)
	m.bytes("timestamp.json", signed(t, ts, f.key(artifact.RoleTimestamp)))
	if err := get(t, m.client(seen), target.Name); err != nil {
		t.Fatalf("what is signed is followed: %v", err)
	}
	clear(m.answers)
	if err := get(t, m.client(seen), target.Name); !errors.Is(err, trust.ErrRollback) {
		t.Fatalf("after the attack: %v", err)
	}
	for _, role := range []string{artifact.RoleTimestamp, artifact.RoleSnapshot} {
		fresh := newKeys(t, role)
		old := f.key(role)
		f.online = append(slices.DeleteFunc(f.online, func(k *artifact.Key) bool { return k == old }), fresh...)
		if err := f.rotate(artifact.Rotation{Role: role, Add: []*metadata.Key{fresh[0].Public}, Remove: []string{old.ID}}, f.offline); err != nil {
			t.Fatal(err)
		}
		if err := f.repo.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, next := f.publish(2)
	if err := get(t, m.client(seen), next.Name); err != nil {
		t.Errorf("with new keys: %v", err)
	}
}
