package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"gocloud.dev/blob"
)

// offlineLife is how long root and targets are valid.
const offlineLife = 365 * 24 * time.Hour

// A Ceremony is what a repository begins with.
type Ceremony struct {
	Keys []*Key // of all roles
	// RootThreshold and TargetsThreshold are how many keys must sign; the online
	// roles have one.
	RootThreshold, TargetsThreshold int
	// BinBits is how many bits of a target's hash choose its bin: 2^BinBits files
	// hold all targets; 0 is 9.
	BinBits int
	Lives   Lives
	Now     time.Time
}

// Init makes a repository in an empty storage: the first version of all metadata.
func Init(ctx context.Context, s *Storage, c Ceremony) error {
	if _, err := load(ctx, s); !errors.Is(err, ErrNoRepository) {
		return errors.New("there is a repository already: keys are changed with `evergreen keys rotate`")
	}
	now, lives := c.Now.UTC().Truncate(time.Second), c.Lives.or()
	of := map[string][]*Key{}
	for _, k := range c.Keys {
		of[k.Role] = append(of[k.Role], k)
	}
	thresholds := map[string]int{RoleRoot: max(c.RootThreshold, 1), RoleTargets: max(c.TargetsThreshold, 1), RoleBuilds: 1, RoleSnapshot: 1, RoleTimestamp: 1}
	for role, n := range thresholds {
		if len(of[role]) < n {
			return fmt.Errorf("%s has %d keys: its threshold is %d", role, len(of[role]), n)
		}
	}
	root := metadata.Root(now.Add(offlineLife))
	for _, role := range []string{RoleRoot, RoleTargets, RoleSnapshot, RoleTimestamp} {
		for _, k := range of[role] {
			if err := root.Signed.AddKey(k.Public, role); err != nil {
				return fmt.Errorf("making root metadata: %w", err)
			}
		}
		root.Signed.Roles[role].Threshold = thresholds[role]
	}
	bits := c.BinBits
	if bits == 0 {
		bits = 9
	}
	targets := metadata.Targets(now.Add(offlineLife))
	targets.Signed.Delegations = &metadata.Delegations{
		Keys:          map[string]*metadata.Key{},
		SuccinctRoles: &metadata.SuccinctRoles{KeyIDs: []string{}, Threshold: 1, BitLength: bits, NamePrefix: RoleBuilds},
	}
	if succinctRoles(targets) == nil {
		return fmt.Errorf("%d bits of bins: 1 to 14 are possible", bits)
	}
	for _, k := range of[RoleBuilds] {
		if err := targets.Signed.AddKey(k.Public, RoleBuilds); err != nil {
			return fmt.Errorf("making targets metadata: %w", err)
		}
	}
	if _, err := writeSigned(ctx, s, "1.root.json", root, of[RoleRoot]); err != nil {
		return err
	}
	if _, err := writeSigned(ctx, s, "1.targets.json", targets, of[RoleTargets]); err != nil {
		return err
	}
	r := &Repository{o: Options{Storage: s, Lives: lives, Now: func() time.Time { return now }}, s: s, keys: c.Keys}
	r.state = &state{root: root, targets: targets, timestamp: &metadata.Metadata[metadata.TimestampType]{},
		bins: map[string]*metadata.Metadata[metadata.TargetsType]{}, top: map[string]int64{}}
	r.index.build(nil)
	return r.commit(ctx, change{bins: succinctRoles(targets).GetRoles()})
}

// A Rotation is a change of the offline metadata, by which keys are changed too.
type Rotation struct {
	Add    []*metadata.Key // public keys that Role gets
	Remove []string        // ids of keys that Role loses
	Role   string          // "" changes no keys, and only renews what expires
	// Threshold is that of Role from then on; 0 leaves it.
	Threshold int
	Now       time.Time
}

// Rotate drafts new root and targets metadata, as they are needed for r. Drafts
// are signed by SignDraft, wherever the offline keys are, and published by Stage.
func Rotate(ctx context.Context, s *Storage, r Rotation) (drafts map[string][]byte, err error) {
	st, err := load(ctx, s)
	if err != nil {
		return nil, err
	}
	root, targets := st.root, st.targets // load made them for us alone
	expires := r.Now.UTC().Truncate(time.Second).Add(offlineLife)
	root.Signed.Version, root.Signed.Expires = st.next(RoleRoot), expires
	targets.Signed.Version, targets.Signed.Expires = st.next(RoleTargets), expires
	root.ClearSignatures()
	targets.ClearSignatures()
	withRoot, withTargets := true, true
	var change keyChanger = &root.Signed
	switch r.Role {
	case "":
	case RoleBuilds:
		withRoot, change = false, &targets.Signed
	case RoleTargets: // its new keys must sign what it vouches for
	case RoleRoot, RoleSnapshot, RoleTimestamp:
		withTargets = false
	default:
		return nil, fmt.Errorf("there is no role %q", r.Role)
	}
	for _, id := range r.Remove {
		if err := change.RevokeKey(id, r.Role); err != nil {
			return nil, fmt.Errorf("removing the key %s: %w", id, err)
		}
	}
	for _, k := range r.Add {
		if err := change.AddKey(k, r.Role); err != nil {
			return nil, fmt.Errorf("adding a key: %w", err)
		}
	}
	if r.Threshold > 0 {
		if r.Role == RoleBuilds {
			succinctRoles(targets).Threshold = r.Threshold
		} else {
			root.Signed.Roles[r.Role].Threshold = r.Threshold
		}
	}
	for _, role := range Roles {
		ids, n := keyIDs(root, targets, role)
		if len(ids) < n {
			return nil, fmt.Errorf("%s would have %d keys, and a threshold of %d", role, len(ids), n)
		}
		if n > 1 && !Offline(role) {
			return nil, fmt.Errorf("%s is signed by the server alone: its threshold is 1", role)
		}
	}
	drafts = map[string][]byte{}
	if withRoot {
		if drafts[fmt.Sprintf("%d.root.json", root.Signed.Version)], err = root.ToBytes(true); err != nil {
			return nil, fmt.Errorf("drafting root metadata: %w", err)
		}
	}
	if withTargets {
		if drafts[fmt.Sprintf("%d.targets.json", targets.Signed.Version)], err = targets.ToBytes(true); err != nil {
			return nil, fmt.Errorf("drafting targets metadata: %w", err)
		}
	}
	return drafts, nil
}

type keyChanger interface {
	AddKey(k *metadata.Key, role string) error
	RevokeKey(id, role string) error
}

// A Summary is what a draft says, for who is asked to sign it.
type Summary struct {
	Role    string
	Version int64
	Expires time.Time
	Keys    map[string][]string // of each role that it names: ids
	Needs   map[string]int      // of each such role: how many must sign
	Signed  []string            // ids of who signed
	Targets int                 // files that it vouches for itself
}

// SignDraft adds to root or targets metadata the signatures of those keys that
// are of its role. It needs no repository: it is for a machine without network.
func SignDraft(draft []byte, keys []*Key) (signed []byte, sum Summary, err error) {
	var head struct {
		Signed struct {
			Type string `json:"_type"`
		} `json:"signed"`
	}
	if len(draft) > maxMetadata {
		return nil, sum, errors.New("the draft is too large")
	}
	if err := json.Unmarshal(draft, &head); err != nil {
		return nil, sum, fmt.Errorf("the draft is no metadata: %w", err)
	}
	keys = slices.DeleteFunc(slices.Clone(keys), func(k *Key) bool { return k.Role != head.Signed.Type })
	sum = Summary{Role: head.Signed.Type, Keys: map[string][]string{}, Needs: map[string]int{}}
	switch head.Signed.Type {
	case RoleRoot:
		m, err := metadata.Root().FromBytes(draft)
		if err != nil {
			return nil, sum, fmt.Errorf("the draft is no root metadata: %w", err)
		}
		sum.Version, sum.Expires = m.Signed.Version, m.Signed.Expires
		for role, r := range m.Signed.Roles {
			sum.Keys[role], sum.Needs[role] = r.KeyIDs, r.Threshold
		}
		return signDraft(m, keys, sum)
	case RoleTargets:
		m, err := metadata.Targets().FromBytes(draft)
		if err != nil {
			return nil, sum, fmt.Errorf("the draft is no targets metadata: %w", err)
		}
		sum.Version, sum.Expires, sum.Targets = m.Signed.Version, m.Signed.Expires, len(m.Signed.Targets)
		if r := succinctRoles(m); r != nil {
			sum.Keys[RoleBuilds], sum.Needs[RoleBuilds] = r.KeyIDs, r.Threshold
		}
		return signDraft(m, keys, sum)
	}
	return nil, sum, fmt.Errorf("the draft is metadata of %.40q: only root and targets are signed by hand", head.Signed.Type)
}

func signDraft[T metadata.Roles](m *metadata.Metadata[T], keys []*Key, sum Summary) ([]byte, Summary, error) {
	if err := addSignatures(m, keys); err != nil {
		return nil, sum, err
	}
	for _, s := range m.Signatures {
		sum.Signed = append(sum.Signed, s.KeyID)
	}
	b, err := m.ToBytes(true)
	return b, sum, err
}

// Combine joins the signatures of copies of one draft that were signed apart.
func Combine(drafts ...[]byte) ([]byte, error) {
	type signed struct {
		Signed     json.RawMessage      `json:"signed"`
		Signatures []metadata.Signature `json:"signatures"`
	}
	var all signed
	for i, d := range drafts {
		var s signed
		if err := json.Unmarshal(d, &s); err != nil {
			return nil, fmt.Errorf("the draft is no metadata: %w", err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, s.Signed); err != nil {
			return nil, fmt.Errorf("the draft is no metadata: %w", err)
		}
		if i > 0 && !bytes.Equal(all.Signed, compact.Bytes()) {
			return nil, errors.New("the files are not copies of the same draft")
		}
		all.Signed = compact.Bytes()
		for _, g := range s.Signatures {
			if !slices.ContainsFunc(all.Signatures, func(h metadata.Signature) bool { return h.KeyID == g.KeyID }) {
				all.Signatures = append(all.Signatures, g)
			}
		}
	}
	return json.Marshal(all)
}

// stagedFolder is where signed drafts wait for the process that has the lock.
const stagedFolder = "staged/"

// Stage checks that drafts of root and targets metadata have the signatures that
// clients will want, and lays them down for Run, or the next Open, to install.
func Stage(ctx context.Context, s *Storage, drafts ...[]byte) error {
	st, err := load(ctx, s)
	if err != nil {
		return err
	}
	p, err := parsePlan(st, drafts...)
	if err != nil {
		return err
	}
	if p.targets != nil {
		if err := s.write(ctx, fmt.Sprintf("%s%d.targets.json", stagedFolder, p.targets.Signed.Version), bytes.NewReader(p.targetsBytes)); err != nil {
			return err
		}
	}
	if p.root != nil { // last: it may rest on targets
		return s.write(ctx, fmt.Sprintf("%s%d.root.json", stagedFolder, p.root.Signed.Version), bytes.NewReader(p.rootBytes))
	}
	return nil
}

// A plan is new offline metadata.
type plan struct {
	root         *metadata.Metadata[metadata.RootType]
	targets      *metadata.Metadata[metadata.TargetsType]
	rootBytes    []byte
	targetsBytes []byte
}

func parsePlan(st *state, drafts ...[]byte) (plan, error) {
	var p plan
	for _, d := range drafts {
		_, sum, err := SignDraft(d, nil)
		if err != nil {
			return p, err
		}
		want := st.next(sum.Role)
		if sum.Version != want {
			return p, fmt.Errorf("the draft is version %d of %s: %d comes next: was another one published since it was made?", sum.Version, sum.Role, want)
		}
		if sum.Role == RoleRoot {
			p.rootBytes = d
			if p.root, err = metadata.Root().FromBytes(d); err != nil {
				return p, err
			}
		} else {
			p.targetsBytes = d
			if p.targets, err = metadata.Targets().FromBytes(d); err != nil {
				return p, err
			}
		}
	}
	if p.root == nil && p.targets == nil {
		return p, errors.New("there is no draft")
	}
	root, targets := st.root, st.targets
	if p.root != nil {
		if err := st.root.VerifyDelegate(RoleRoot, p.root); err != nil {
			return p, fmt.Errorf("the draft of root is not signed by enough of the keys so far: %w", err)
		}
		if err := p.root.VerifyDelegate(RoleRoot, p.root); err != nil {
			return p, fmt.Errorf("the draft of root is not signed by enough of its own keys: %w", err)
		}
		root = p.root
	}
	if p.targets != nil {
		targets = p.targets
		was, is := succinctRoles(st.targets), succinctRoles(targets)
		if is == nil || is.BitLength != was.BitLength || is.NamePrefix != was.NamePrefix {
			return p, errors.New("the draft of targets changes the bins: that is not possible")
		}
	}
	if err := root.VerifyDelegate(RoleTargets, targets); err != nil {
		return p, fmt.Errorf("targets is not signed by enough of the keys that root names: sign its draft and publish both at once: %w", err)
	}
	return p, nil
}

// install publishes what was staged. What clients may see between its steps is
// valid at each of them, if the keys so far are still here: snapshot and
// timestamp are signed by old and new keys before the root changes.
func (r *Repository) install(ctx context.Context) error {
	var drafts [][]byte
	var names []string
	if err := r.s.list(ctx, stagedFolder, func(o *blob.ListObject) error {
		version, role, ok := parseVersioned(o.Key[len(stagedFolder):])
		if !ok || !Offline(role) || version < r.state.next(role) {
			return nil // installed: pruned one day
		}
		b, err := r.s.read(ctx, o.Key)
		if err != nil {
			return err
		}
		drafts, names = append(drafts, b), append(names, o.Key)
		return nil
	}); err != nil || len(drafts) == 0 {
		return err
	}
	p, err := parsePlan(r.state, drafts...)
	if err != nil {
		// Someone is laying down more of it, or it is of no use: it does no harm.
		return fmt.Errorf("installing %v: %w", names, err)
	}
	keys, err := r.o.Keys()
	if err != nil {
		return err
	}
	r.keys = append(keys, r.keys...) // those of before sign the way over
	root, targets := r.state.root, r.state.targets
	if p.root != nil {
		root = p.root
	}
	if p.targets != nil {
		targets = p.targets
	}
	for _, role := range []string{RoleBuilds, RoleSnapshot, RoleTimestamp} {
		if ids, n := keyIDs(root, targets, role); len(among(r.keys, ids...)) < n {
			return fmt.Errorf("installing %v: the new keys of %s are not here: put %v in the server's folder of keys", names, role, ids)
		}
	}
	var also []string
	if p.root != nil {
		for _, role := range []string{RoleSnapshot, RoleTimestamp} {
			ids, _ := keyIDs(p.root, targets, role)
			also = append(also, ids...)
		}
	}
	c := change{also: also}
	early := p.targets != nil && r.state.root.VerifyDelegate(RoleTargets, p.targets) == nil
	if p.targets != nil {
		b := p.targetsBytes
		if err := r.s.write(ctx, fmt.Sprintf("%d.targets.json", p.targets.Signed.Version), bytes.NewReader(b)); err != nil {
			return err
		}
		if early {
			c.targets = p.targets
			c.bins = succinctRoles(p.targets).GetRoles()
		}
	}
	if p.targets == nil || early {
		if err := r.commit(ctx, c); err != nil {
			return err
		}
	}
	if p.root == nil {
		r.o.Log.Info("installed new offline metadata", "targets", p.targets.Signed.Version)
		return nil
	}
	if err := r.s.write(ctx, fmt.Sprintf("%d.root.json", p.root.Signed.Version), bytes.NewReader(p.rootBytes)); err != nil {
		r.state = nil
		return err
	}
	next := *r.state
	next.root, next.rootBytes = p.root, p.rootBytes
	r.state = &next
	c = change{}
	if p.targets != nil && !early {
		c.targets, c.bins = p.targets, succinctRoles(p.targets).GetRoles()
	}
	if err := r.commit(ctx, c); err != nil {
		return err
	}
	r.o.Log.Info("installed new offline metadata", "root", p.root.Signed.Version)
	return nil
}

// Show tells of a repository's roles. It needs no keys.
func Show(ctx context.Context, s *Storage) ([]Summary, error) {
	st, err := load(ctx, s)
	if err != nil {
		return nil, err
	}
	var all []Summary
	for _, role := range Roles {
		ids, n := keyIDs(st.root, st.targets, role)
		sum := Summary{Role: role, Keys: map[string][]string{role: ids}, Needs: map[string]int{role: n}}
		switch role {
		case RoleRoot:
			sum.Version, sum.Expires = st.root.Signed.Version, st.root.Signed.Expires
		case RoleTargets:
			sum.Version, sum.Expires = st.targets.Signed.Version, st.targets.Signed.Expires
		case RoleSnapshot:
			sum.Version, sum.Expires = st.snapshot.Signed.Version, st.snapshot.Signed.Expires
		case RoleTimestamp:
			sum.Version, sum.Expires = st.timestamp.Signed.Version, st.timestamp.Signed.Expires
		case RoleBuilds:
			for _, b := range st.bins {
				sum.Targets += len(b.Signed.Targets)
				if sum.Expires.IsZero() || b.Signed.Expires.Before(sum.Expires) {
					sum.Expires = b.Signed.Expires
				}
				sum.Version = max(sum.Version, b.Signed.Version)
			}
		}
		all = append(all, sum)
	}
	return all, nil
}

// Root gives the newest root metadata of a repository.
func Root(ctx context.Context, s *Storage) ([]byte, error) {
	st, err := load(ctx, s)
	if err != nil {
		return nil, err
	}
	return st.rootBytes, nil
}
