package artifact

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"
	"gocloud.dev/blob"
)

// A state is a repository's metadata as a client would see it, verified as a
// client does but for expiry. It is not changed once it is made.
type state struct {
	root      *metadata.Metadata[metadata.RootType]
	rootBytes []byte
	timestamp *metadata.Metadata[metadata.TimestampType]
	snapshot  *metadata.Metadata[metadata.SnapshotType]
	// snapshotBytes are what the timestamp has the hash of.
	snapshotBytes []byte
	targets       *metadata.Metadata[metadata.TargetsType]
	bins          map[string]*metadata.Metadata[metadata.TargetsType]
	// top is the greatest version of each role's files, referred to or not. A
	// version is never used twice, for a cache may have seen what a crash left.
	top map[string]int64
	// unsigned tells that timestamp and snapshot are not signed as the newest root
	// wants: a crash came between.
	unsigned bool
}

// ErrNoRepository says that there is no repository yet.
var ErrNoRepository = errors.New("there is no repository yet: make its keys with `evergreen keys init`")

// ErrLocked says that another process has the repository.
var ErrLocked = errors.New("another process signs for this repository")

func load(ctx context.Context, s *Storage) (*state, error) {
	st := &state{top: map[string]int64{}, bins: map[string]*metadata.Metadata[metadata.TargetsType]{}}
	if err := s.list(ctx, "", func(o *blob.ListObject) error {
		if v, role, ok := parseVersioned(o.Key); ok {
			st.top[role] = max(st.top[role], v)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	newest := st.top[metadata.ROOT]
	if newest == 0 {
		return nil, ErrNoRepository
	}
	var err error
	if st.rootBytes, err = s.read(ctx, fmt.Sprintf("%d.root.json", newest)); err != nil {
		return nil, err
	}
	t, err := trustedmetadata.New(st.rootBytes)
	if err != nil {
		return nil, fmt.Errorf("root metadata: %w", err)
	}
	st.root = t.Root
	err = st.follow(ctx, s, t)
	var unsigned *metadata.ErrUnsignedMetadata
	if errors.As(err, &unsigned) && newest > 1 {
		// The root was replaced, and what it signs was not yet signed again.
		old, err := s.read(ctx, fmt.Sprintf("%d.root.json", newest-1))
		if err != nil {
			return nil, err
		}
		if t, err = trustedmetadata.New(old); err != nil {
			return nil, fmt.Errorf("root metadata: %w", err)
		}
		st.unsigned = true
		return st, st.follow(ctx, s, t)
	}
	return st, err
}

// follow reads what a root signs, whatever its age: the server is who renews it.
func (st *state) follow(ctx context.Context, s *Storage, t *trustedmetadata.TrustedMetadata) error {
	t.RefTime = time.Time{}
	b, err := s.read(ctx, "timestamp.json")
	if missing(err) {
		return ErrNoRepository // `keys init` writes it last
	}
	if err != nil {
		return err
	}
	if st.timestamp, err = t.UpdateTimestamp(b); err != nil {
		return fmt.Errorf("timestamp metadata: %w", err)
	}
	m := st.timestamp.Signed.Meta["snapshot.json"]
	if m == nil {
		return errors.New("timestamp metadata: it names no snapshot")
	}
	if b, err = s.read(ctx, fmt.Sprintf("%d.snapshot.json", m.Version)); err != nil {
		return err
	}
	if st.snapshot, err = t.UpdateSnapshot(b, false); err != nil {
		return fmt.Errorf("snapshot metadata: %w", err)
	}
	st.snapshotBytes = b
	if m = st.snapshot.Signed.Meta["targets.json"]; m == nil {
		return errors.New("snapshot metadata: it names no targets")
	}
	if b, err = s.read(ctx, fmt.Sprintf("%d.targets.json", m.Version)); err != nil {
		return err
	}
	if st.targets, err = t.UpdateTargets(b); err != nil {
		return fmt.Errorf("targets metadata: %w", err)
	}
	succinct := succinctRoles(st.targets)
	if succinct == nil {
		return errors.New("targets metadata: it delegates to no bins")
	}
	for _, name := range succinct.GetRoles() {
		m := st.snapshot.Signed.Meta[name+".json"]
		if m == nil {
			return fmt.Errorf("snapshot metadata: it names no %s", name)
		}
		if b, err = s.read(ctx, fmt.Sprintf("%d.%s.json", m.Version, name)); err != nil {
			return err
		}
		if st.bins[name], err = t.UpdateDelegatedTargets(b, name, metadata.TARGETS); err != nil {
			return fmt.Errorf("metadata of %s: %w", name, err)
		}
	}
	return nil
}

func succinctRoles(t *metadata.Metadata[metadata.TargetsType]) *metadata.SuccinctRoles {
	if t.Signed.Delegations == nil || t.Signed.Delegations.SuccinctRoles == nil {
		return nil
	}
	if s := t.Signed.Delegations.SuccinctRoles; s.BitLength >= 1 && s.BitLength <= 14 {
		return s
	}
	return nil
}

// next is the version that comes next of root or targets. A version that a crash
// left, and nothing refers to, is written again.
func (st *state) next(role string) int64 {
	if role == RoleRoot {
		return st.root.Signed.Version + 1
	}
	return st.targets.Signed.Version + 1
}

// bin is the role that is responsible for a target.
func (st *state) bin(name string) string {
	return succinctRoles(st.targets).GetRolesForTarget(name)[0].Name
}

// keyIDs are those of who may sign for a role, and how many must.
func keyIDs(root *metadata.Metadata[metadata.RootType], targets *metadata.Metadata[metadata.TargetsType], role string) ([]string, int) {
	if role == RoleBuilds {
		if s := succinctRoles(targets); s != nil {
			return s.KeyIDs, s.Threshold
		}
		return nil, 0
	}
	if r := root.Signed.Roles[role]; r != nil {
		return r.KeyIDs, r.Threshold
	}
	return nil, 0
}

// among are the keys that some ids name, each once.
func among(keys []*Key, ids ...string) []*Key {
	var found []*Key
	for _, k := range keys {
		if slices.Contains(ids, k.ID) && !slices.ContainsFunc(found, func(f *Key) bool { return f.ID == k.ID }) {
			found = append(found, k)
		}
	}
	return found
}
