package artifact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/caddy-evergreen/evergreen/server/artifact"
	"github.com/caddy-evergreen/evergreen/trust"
	"github.com/caddy-evergreen/evergreen/wire"
)

// rotate drafts, signs on as many machines as there are keys, joins, stages.
func (f *fixture) rotate(r artifact.Rotation, signers []*artifact.Key) error {
	f.t.Helper()
	r.Now = f.now()
	drafts, err := artifact.Rotate(f.t.Context(), f.storage(), r)
	if err != nil {
		f.t.Fatal(err)
	}
	var signed [][]byte
	for _, d := range drafts {
		var copies [][]byte
		for _, k := range signers {
			c, _, err := artifact.SignDraft(d, []*artifact.Key{k})
			if err != nil {
				f.t.Fatal(err)
			}
			copies = append(copies, c)
		}
		whole, err := artifact.Combine(copies...)
		if err != nil {
			f.t.Fatal(err)
		}
		signed = append(signed, whole)
	}
	return artifact.Stage(f.t.Context(), f.storage(), signed...)
}

// TestRotation replaces the keys of each role in turn. A client that saw all of
// it, one that comes at the end, and one that was there at the beginning only,
// follow.
func TestRotation(t *testing.T) {
	f := newFixture(t, 3)
	_, target := f.publish(1)
	always, once := f.client(t.TempDir()), f.client(t.TempDir())
	fetch(t, always, target.Name)
	fetch(t, once, target.Name)
	for i, role := range artifact.Roles {
		fresh := newKeys(t, role)
		var old *artifact.Key
		for _, k := range slices.Concat(f.offline, f.online) {
			if k.Role == role {
				old = k
				break
			}
		}
		f.mu.Lock()
		if artifact.Offline(role) {
			f.offline = append(f.offline, fresh...)
		} else {
			// The key that goes is not there any more: the server still has it in memory.
			f.online = append(slices.DeleteFunc(f.online, func(k *artifact.Key) bool { return k == old }), fresh...)
		}
		f.mu.Unlock()
		if err := f.rotate(artifact.Rotation{Role: role, Add: []*metadata.Key{fresh[0].Public}, Remove: []string{old.ID}}, f.offline); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		if err := f.repo.Step(t.Context()); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		f.offline = slices.DeleteFunc(f.offline, func(k *artifact.Key) bool { return k == old })
		fetch(t, always, target.Name)
		_, target = f.publish(i + 2)
		fetch(t, always, target.Name)
		f.reopen() // from now on only the new keys
		_, target = f.publish(i + 20)
		fetch(t, always, target.Name)
	}
	fetch(t, once, target.Name)
	fetch(t, f.client(t.TempDir()), target.Name)
	// root, targets, snapshot and timestamp are named by root; builds by targets.
	if v := once.RootVersion(); v != 5 {
		t.Errorf("the root metadata is of version %d, not 5", v)
	}
}

// TestRotationAtEachStep lets clients come at every moment of a change of all
// online keys: each sees valid metadata.
func TestRotationAtEachStep(t *testing.T) {
	f := newFixture(t, 2)
	_, target := f.publish(1)
	for _, role := range []string{artifact.RoleTimestamp, artifact.RoleSnapshot, artifact.RoleBuilds, artifact.RoleTargets} {
		fresh := newKeys(t, role)
		var olds []string
		for _, k := range slices.Concat(f.offline, f.online) {
			if k.Role == role && len(olds) == 0 {
				olds = append(olds, k.ID)
			}
		}
		f.mu.Lock()
		if artifact.Offline(role) {
			f.offline = append(f.offline, fresh...)
		} else {
			f.online = append(f.online, fresh...)
		}
		f.mu.Unlock()
		if err := f.rotate(artifact.Rotation{Role: role, Add: []*metadata.Key{fresh[0].Public}, Remove: olds}, f.offline); err != nil {
			t.Fatal(err)
		}
		var steps int
		f.repo.OnWrite(func(name string) {
			steps++
			if err := f.client(t.TempDir()).Refresh(t.Context()); err != nil {
				t.Errorf("%s: after writing %s: %v", role, name, err)
			}
		})
		if err := f.repo.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.repo.OnWrite(nil)
		if steps < 2 {
			t.Errorf("%s: only %d files were written", role, steps)
		}
		fetch(t, f.client(t.TempDir()), target.Name)
	}
}

// TestCrash ends the server at every write of publishing and of rotating keys.
// Clients see what was before or after, and a new server goes on.
func TestCrash(t *testing.T) {
	f := newFixture(t, 2)
	_, target := f.publish(1)
	c := f.client(t.TempDir())
	crash := errors.New("crash")
	for at := 1; ; at++ {
		fresh := newKeys(t, artifact.RoleTimestamp, artifact.RoleTargets)
		f.mu.Lock()
		f.online = append(f.online, fresh[0])
		f.mu.Unlock()
		if err := f.rotate(artifact.Rotation{Role: artifact.RoleTimestamp, Add: []*metadata.Key{fresh[0].Public}}, f.offline); err != nil {
			t.Fatal(err)
		}
		n := 0
		f.repo.OnWriting(func(string) error {
			if n++; n >= at {
				return crash
			}
			return nil
		})
		b, file := build(t, 100+at, nil)
		errStep := f.repo.Step(t.Context())
		_, errPublish := f.repo.Publish(t.Context(), b, file)
		f.repo.OnWriting(nil)
		fetch(t, c, target.Name)
		f.reopen()
		if err := f.repo.Step(t.Context()); err != nil {
			t.Fatalf("after a crash at write %d: %v", at, err)
		}
		fetch(t, c, target.Name)
		again, err := f.repo.Publish(t.Context(), b, file)
		if err != nil {
			t.Fatalf("after a crash at write %d: %v", at, err)
		}
		fetch(t, c, again.Name)
		if errStep == nil && errPublish == nil {
			if at < 8 {
				t.Errorf("there were only %d writes", at)
			}
			return
		}
	}
}

// TestDraftRefused has drafts that clients would not follow refused before anyone
// sees them.
func TestDraftRefused(t *testing.T) {
	f := newFixture(t, 2)
	fresh := newKeys(t, artifact.RoleTimestamp, artifact.RoleRoot)
	add := artifact.Rotation{Role: artifact.RoleTimestamp, Add: []*metadata.Key{fresh[0].Public}}
	for name, signers := range map[string][]*artifact.Key{
		"one root key": f.offline[:1], "nobody": nil, "targets keys": f.offline[3:], "a stranger": {fresh[1], f.offline[0]},
	} {
		if err := f.rotate(add, append(signers, fresh[0])); err == nil || !strings.Contains(err.Error(), "not signed by enough") {
			t.Errorf("signed by %s: %v", name, err)
		}
	}
	if _, err := artifact.Rotate(t.Context(), f.storage(), artifact.Rotation{Role: artifact.RoleRoot, Threshold: 4, Now: time.Now()}); err == nil {
		t.Error("a threshold that nobody can reach is drafted")
	}
	// Without the new key on the server, nothing changes for clients.
	add.Remove = []string{f.online[2].ID}
	if err := f.rotate(add, f.offline); err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "the new keys of timestamp are not here") {
		t.Errorf("installing without the new key: %v", err)
	}
	_, target := f.publish(1)
	fetch(t, f.client(t.TempDir()), target.Name)
	f.mu.Lock()
	f.online = append(f.online, fresh[0])
	f.mu.Unlock()
	if err := f.repo.Step(t.Context()); err != nil {
		t.Error(err)
	}
	c := f.client(t.TempDir())
	fetch(t, c, target.Name)
	if v := c.RootVersion(); v != 2 {
		t.Errorf("the root metadata is of version %d, not 2", v)
	}
}

// TestRenewal lets time pass: what the server signs never expires while it runs.
func TestRenewal(t *testing.T) {
	f := newFixture(t, 3)
	_, target := f.publish(1)
	c := f.client(t.TempDir())
	now := time.Now()
	for range 300 {
		now = now.Add(23 * time.Hour)
		f.set(now)
		if err := f.repo.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fetch(t, c, target.Name)
	f.set(now.Add(49 * time.Hour))
	if err := f.client(t.TempDir()).Refresh(t.Context()); !errors.Is(err, trust.ErrExpired) {
		t.Errorf("after two days without a server: %v", err)
	}
	if err := f.repo.Prune(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	fetch(t, c, target.Name)
	f.reopen()
	files, err := os.ReadDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) > 2*(8+4) {
		t.Errorf("%d files are left", len(files))
	}
}

func TestKeyFiles(t *testing.T) {
	dir := t.TempDir()
	k := newKeys(t, artifact.RoleRoot)[0]
	if _, err := k.Save(dir, nil); err == nil {
		t.Error("a key is written without a passphrase")
	}
	name, err := k.Save(dir, []byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Save(dir, []byte("correct horse")); err == nil {
		t.Error("a key is overwritten")
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v", fi.Mode())
	}
	got, err := artifact.LoadKeys(dir, []byte("correct horse"))
	if err != nil || len(got) != 1 || got[0].ID != k.ID {
		t.Errorf("read %v, %v", got, err)
	}
	if got, err := artifact.LoadKeys(dir, []byte("correct horse"), artifact.RoleBuilds); err != nil || len(got) != 0 {
		t.Errorf("keys of builds: %v, %v", got, err)
	}
	if _, err := artifact.LoadKeys(dir, []byte("wrong")); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("with another passphrase: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.key"), []byte(strings.Replace(string(b), k.ID, strings.Repeat("0", 64), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.LoadKeys(dir, []byte("correct horse")); err == nil || !strings.Contains(err.Error(), "claims") {
		t.Errorf("with another id: %v", err)
	}
}

// TestProvenance verifies the attestation with the public libraries of DSSE.
func TestProvenance(t *testing.T) {
	f := newFixture(t, 2)
	b, target := f.publish(3)
	raw := fetch(t, f.client(t.TempDir()), target.Name+".provenance.json")
	var e dsse.Envelope
	if err := json.Unmarshal(raw, &e); err != nil {
		t.Fatal(err)
	}
	var public string
	for _, k := range f.online {
		if k.Role == artifact.RoleBuilds {
			public = k.Public.Value.PublicKey
		}
	}
	v, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(&signerverifier.SSLibKey{KeyType: "ed25519", Scheme: "ed25519", KeyVal: signerverifier.KeyVal{Public: public}, KeyID: e.Signatures[0].KeyID})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := dsse.NewEnvelopeVerifier(v)
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := verifier.VerifyAndDecode(t.Context(), &e)
	if err != nil {
		t.Fatal(err)
	}
	type dependency struct {
		Name   string            `json:"name"`
		URI    string            `json:"uri"`
		Digest map[string]string `json:"digest,omitempty"`
	}
	var got struct {
		Type    string `json:"_type"`
		Subject []struct {
			Name   string            `json:"name"`
			Digest map[string]string `json:"digest"`
		} `json:"subject"`
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			BuildDefinition struct {
				ExternalParameters   artifact.Spec `json:"externalParameters"`
				ResolvedDependencies []dependency  `json:"resolvedDependencies"`
			} `json:"buildDefinition"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "https://in-toto.io/Statement/v1" || got.PredicateType != "https://slsa.dev/provenance/v1" {
		t.Errorf("it is a %s with a %s", got.Type, got.PredicateType)
	}
	if len(got.Subject) != 1 || got.Subject[0].Name != target.Name || got.Subject[0].Digest["sha256"] != b.SHA256 {
		t.Errorf("its subject is %+v", got.Subject)
	}
	if d := cmp.Diff(b.Spec.Canonical(), got.Predicate.BuildDefinition.ExternalParameters); d != "" {
		t.Errorf("spec (-want +got):\n%s", d)
	}
	sum, err := base64.StdEncoding.DecodeString("LPFjkX6bbW7DJp7vrgmpTZXRHwN5Wcwl16pbZJQKmIc=")
	if err != nil {
		t.Fatal(err)
	}
	want := []dependency{
		{Name: "toolchain", URI: "pkg:golang/toolchain@go1.26.8"},
		{Name: wire.CaddyPath, URI: "pkg:golang/" + wire.CaddyPath + "@v2.11.3", Digest: map[string]string{"dirHash": hex.EncodeToString(sum)}},
	}
	if d := cmp.Diff(want, got.Predicate.BuildDefinition.ResolvedDependencies); d != "" {
		t.Errorf("dependencies (-want +got):\n%s", d)
	}
	e.Payload = e.Payload[:len(e.Payload)-8] + "AAAAAAA="
	if _, _, err := verifier.VerifyAndDecode(t.Context(), &e); err == nil {
		t.Error("another payload is verified")
	}
}

// FuzzSignDraft signs what strangers send to who has the offline keys.
func FuzzSignDraft(f *testing.F) {
	x := newFixture(f, 1)
	for _, r := range []artifact.Rotation{{}, {Role: artifact.RoleBuilds, Threshold: 1}} {
		r.Now = time.Now()
		drafts, err := artifact.Rotate(f.Context(), x.storage(), r)
		if err != nil {
			f.Fatal(err)
		}
		for _, d := range drafts {
			f.Add(d)
		}
	}
	f.Add([]byte(`{"signed":{"_type":"root"},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, draft []byte) {
		signed, sum, err := artifact.SignDraft(draft, x.offline)
		if err != nil {
			return
		}
		_, again, err := artifact.SignDraft(signed, nil)
		if err != nil {
			t.Fatalf("what was signed can't be read: %v", err)
		}
		if d := cmp.Diff(sum, again); d != "" {
			t.Errorf("what was signed says something else (-draft +signed):\n%s", d)
		}
		joined, err := artifact.Combine(signed, signed)
		if err != nil {
			t.Fatalf("copies of one draft can't be joined: %v", err)
		}
		if _, again, err = artifact.SignDraft(joined, nil); err != nil || len(again.Signed) != len(sum.Signed) {
			t.Errorf("joined, it is signed by %v, not %v: %v", again.Signed, sum.Signed, err)
		}
	})
}
