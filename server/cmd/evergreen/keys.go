package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"golang.org/x/term"

	"github.com/caddy-evergreen/evergreen/server/artifact"
)

const keysAbout = `Usage: evergreen keys init [FLAGS]
       evergreen keys show [FLAGS]
       evergreen keys new --role ROLE [FLAGS]
       evergreen keys rotate [--role ROLE] [FLAGS] FOLDER
       evergreen keys sign [--yes] [FLAGS] DRAFT…
       evergreen keys publish [FLAGS] DRAFT…

Makes and changes the keys that updates are signed with. docs/trust.md leads
through the ceremony step by step.

  init     makes all keys and a repository that they sign. Do it on a machine
           that you trust, copy the repository and the folder of online keys to
           the server, and keep the offline keys elsewhere.
  show     prints each role's keys, how many of them must sign, and until when
           what they signed is valid.
  new      makes an offline key (role root or targets), for whoever takes part
           later, and a file .pub to hand on for rotate.
  rotate   drafts into FOLDER a change of a role's keys. Roles: root and targets
           (offline), builds, snapshot and timestamp (the server's: the new key
           is made in the folder of online keys, in place of all others).
           Without --role it drafts the yearly renewal.
  sign     adds to drafts the signatures of the offline keys that are here. It
           prints what it would sign, and signs with --yes. It needs no network
           and no repository.
  publish  checks that enough have signed, and puts it into force. Copies of a
           draft that were signed apart are joined.

Keys are files, encrypted with a passphrase: that in --passphrase-file, else in
the file that EVERGREEN_KEYS_PASSPHRASE_FILE names, else it is asked for.`

// keysFlags are those of all verbs.
type keysFlags struct {
	repository, online, offline, passphrase string
	role                                    string
	rootKeys, rootThreshold                 int
	targetsKeys, targetsThreshold           int
	bits, threshold                         int
	add, remove                             list
	yes                                     bool
}

// A list is a flag that can be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func keysCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("keys", keysAbout, stderr)
	var f keysFlags
	data := defaultConfig().Data
	fs.StringVar(&f.repository, "repository", filepath.Join(data, "tuf"), "`FOLDER` of the repository, or a URL of gocloud.dev/blob")
	fs.StringVar(&f.online, "keys", filepath.Join(data, "keys"), "`FOLDER` of the server's keys")
	fs.StringVar(&f.offline, "offline", "offline-keys", "`FOLDER` of offline keys")
	fs.StringVar(&f.passphrase, "passphrase-file", os.Getenv("EVERGREEN_KEYS_PASSPHRASE_FILE"), "`FILE` with the passphrase")
	fs.StringVar(&f.role, "role", "", "`ROLE` of new and rotate: root, targets, builds, snapshot or timestamp")
	fs.IntVar(&f.rootKeys, "root-keys", 3, "how `MANY` root keys init makes")
	fs.IntVar(&f.rootThreshold, "root-threshold", 2, "how `MANY` of them must sign")
	fs.IntVar(&f.targetsKeys, "targets-keys", 2, "how `MANY` targets keys init makes")
	fs.IntVar(&f.targetsThreshold, "targets-threshold", 1, "how `MANY` of them must sign")
	fs.IntVar(&f.bits, "bin-bits", 9, "init: the metadata of builds is in two to the power of `BITS` files")
	fs.IntVar(&f.threshold, "threshold", 0, "rotate: how `MANY` of the role must sign from then on (0: as before)")
	fs.Var(&f.add, "add", "rotate: public key in `FILE.pub` that the role gets (several times)")
	fs.Var(&f.remove, "remove", "rotate: `ID` of a key that the role loses, or how it begins (several times)")
	fs.BoolVar(&f.yes, "yes", false, "sign: do sign")
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	switch n := fs.NArg(); {
	case verb == "init" && n == 0:
		return f.init(ctx, stdout, stderr)
	case verb == "show" && n == 0:
		return f.show(ctx, stdout)
	case verb == "new" && n == 0:
		return f.new(stdout, stderr)
	case verb == "rotate" && n == 1:
		return f.rotate(ctx, fs.Arg(0), stdout, stderr)
	case verb == "sign" && n > 0:
		return f.sign(fs.Args(), stdout, stderr)
	case verb == "publish" && n > 0:
		return f.publish(ctx, fs.Args(), stdout, stderr)
	}
	return fmt.Errorf("keys takes init, show, new, rotate FOLDER, sign DRAFT… or publish DRAFT…: %w", errUsage)
}

// maxPassphrase bounds the file of a passphrase, in bytes.
const maxPassphrase = 4096

// secret reads the passphrase, or asks for it.
func (f *keysFlags) secret(stderr io.Writer) ([]byte, error) {
	return passphrase(f.passphrase, stderr)
}

func passphrase(file string, stderr io.Writer) ([]byte, error) {
	var b []byte
	var err error
	switch {
	case file != "":
		var r *os.File
		if r, err = os.Open(file); err != nil {
			return nil, fmt.Errorf("reading the passphrase: %w", err)
		}
		defer r.Close()
		b, err = io.ReadAll(io.LimitReader(r, maxPassphrase+1))
	case term.IsTerminal(int(os.Stdin.Fd())):
		fmt.Fprint(stderr, "Passphrase of the keys: ")
		b, err = term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(stderr)
	default:
		return nil, fmt.Errorf("the keys have a passphrase: name a file with it in --passphrase-file or EVERGREEN_KEYS_PASSPHRASE_FILE: %w", errUsage)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	b = []byte(strings.TrimRight(string(b), "\r\n"))
	if len(b) == 0 || len(b) > maxPassphrase {
		return nil, fmt.Errorf("the passphrase has %d bytes: 1 to %d are possible", len(b), maxPassphrase)
	}
	return b, nil
}

func (f *keysFlags) init(ctx context.Context, stdout, stderr io.Writer) error {
	secret, err := f.secret(stderr)
	if err != nil {
		return err
	}
	s, err := artifact.OpenStorage(ctx, f.repository)
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := artifact.Root(ctx, s); !errors.Is(err, artifact.ErrNoRepository) {
		return fmt.Errorf("%s has a repository already: its keys are changed with `evergreen keys rotate`", f.repository)
	}
	var keys []*artifact.Key
	for role, n := range map[string]int{
		artifact.RoleRoot: f.rootKeys, artifact.RoleTargets: f.targetsKeys,
		artifact.RoleBuilds: 1, artifact.RoleSnapshot: 1, artifact.RoleTimestamp: 1,
	} {
		for range n {
			k, err := artifact.NewKey(role)
			if err != nil {
				return err
			}
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b *artifact.Key) int { return strings.Compare(a.Role+a.ID, b.Role+b.ID) })
	for _, k := range keys {
		name, err := k.Save(f.folder(k.Role), secret)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-9s  %s  %s\n", k.Role, k.ID, name)
	}
	if err := artifact.Init(ctx, s, artifact.Ceremony{
		Keys: keys, RootThreshold: f.rootThreshold, TargetsThreshold: f.targetsThreshold, BinBits: f.bits, Now: time.Now(),
	}); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "\nThe repository is in %s; executables are built to trust its 1.root.json.\nMove %s off this machine: whoever has %d of its root keys can replace all others.\n", f.repository, f.offline, f.rootThreshold)
	return nil
}

func (f *keysFlags) folder(role string) string {
	if artifact.Offline(role) {
		return f.offline
	}
	return f.online
}

func (f *keysFlags) show(ctx context.Context, stdout io.Writer) error {
	s, err := artifact.OpenStorage(ctx, f.repository)
	if err != nil {
		return err
	}
	defer s.Close()
	roles, err := artifact.Show(ctx, s)
	if err != nil {
		return err
	}
	for _, r := range roles {
		state := "valid until"
		if time.Now().After(r.Expires) {
			state = "EXPIRED on"
		}
		fmt.Fprintf(stdout, "%-9s  version %d, %s %s, %d of %d keys sign", r.Role, r.Version, state, r.Expires.Format("2006-01-02 15:04 MST"), r.Needs[r.Role], len(r.Keys[r.Role]))
		if r.Role == artifact.RoleBuilds {
			fmt.Fprintf(stdout, ", %d files", r.Targets)
		}
		fmt.Fprintln(stdout)
		for _, id := range r.Keys[r.Role] {
			here := ""
			name := filepath.Join(f.folder(r.Role), r.Role+"-"+id[:12]+".key")
			if _, err := os.Stat(name); err == nil {
				here = "  " + name
			}
			fmt.Fprintf(stdout, "           %s%s\n", id, here)
		}
	}
	return nil
}

func (f *keysFlags) new(stdout, stderr io.Writer) error {
	if !artifact.Offline(f.role) {
		return fmt.Errorf("new makes keys of root and targets, not of %q: rotate makes those of the server: %w", f.role, errUsage)
	}
	secret, err := f.secret(stderr)
	if err != nil {
		return err
	}
	k, err := artifact.NewKey(f.role)
	if err != nil {
		return err
	}
	name, err := k.Save(f.offline, secret)
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(k.Public, "", "\t")
	if err != nil {
		return err
	}
	public := strings.TrimSuffix(name, ".key") + ".pub"
	if err := os.WriteFile(public, append(b, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%s  %s  %s\nHand on %s, and tell its id by another way.\n", k.Role, k.ID, name, public)
	return nil
}

func (f *keysFlags) rotate(ctx context.Context, folder string, stdout, stderr io.Writer) error {
	s, err := artifact.OpenStorage(ctx, f.repository)
	if err != nil {
		return err
	}
	defer s.Close()
	roles, err := artifact.Show(ctx, s)
	if err != nil {
		return err
	}
	r := artifact.Rotation{Role: f.role, Threshold: f.threshold, Now: time.Now()}
	var has []string
	for _, x := range roles {
		if x.Role == f.role {
			has = x.Keys[f.role]
		}
	}
	for _, name := range f.add {
		k, err := readPublic(name)
		if err != nil {
			return err
		}
		r.Add = append(r.Add, k)
	}
	for _, id := range f.remove {
		found := slices.DeleteFunc(slices.Clone(has), func(h string) bool { return id == "" || !strings.HasPrefix(h, id) })
		if len(found) != 1 {
			return fmt.Errorf("%d keys of %q begin with %q: `evergreen keys show` lists them", len(found), f.role, id)
		}
		r.Remove = append(r.Remove, found[0])
	}
	if f.role != "" && !slices.Contains(artifact.Roles, f.role) {
		return fmt.Errorf("there is no role %q: it is one of %s: %w", f.role, strings.Join(artifact.Roles, ", "), errUsage)
	}
	if f.role != "" && !artifact.Offline(f.role) && len(r.Add) == 0 {
		secret, err := f.secret(stderr)
		if err != nil {
			return err
		}
		k, err := artifact.NewKey(f.role)
		if err != nil {
			return err
		}
		name, err := k.Save(f.online, secret)
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s  %s  %s\n", k.Role, k.ID, name)
		r.Add, r.Remove = []*metadata.Key{k.Public}, has
	}
	drafts, err := artifact.Rotate(ctx, s, r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(drafts)) {
		file := filepath.Join(folder, name)
		if err := os.WriteFile(file, drafts[name], 0o644); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "drafted %s: sign it with `evergreen keys sign` where the offline keys are\n", file)
	}
	return nil
}

// maxDraft bounds files that are read here, in bytes.
const maxDraft = 1 << 20

func readSmall(name string) ([]byte, error) {
	fi, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if fi.Size() > maxDraft {
		return nil, fmt.Errorf("%s has %d bytes: at most %d are taken", name, fi.Size(), maxDraft)
	}
	return os.ReadFile(name)
}

func readPublic(name string) (*metadata.Key, error) {
	b, err := readSmall(name)
	if err != nil {
		return nil, err
	}
	var k metadata.Key
	if err := json.Unmarshal(b, &k); err != nil {
		return nil, fmt.Errorf("%s is no public key: %w", name, err)
	}
	if _, err := k.ToPublicKey(); err != nil {
		return nil, fmt.Errorf("%s is no public key: %w", name, err)
	}
	return &k, nil
}

func (f *keysFlags) sign(names []string, stdout, stderr io.Writer) error {
	var keys []*artifact.Key
	if f.yes {
		secret, err := f.secret(stderr)
		if err != nil {
			return err
		}
		if keys, err = artifact.LoadKeys(f.offline, secret, artifact.RoleRoot, artifact.RoleTargets); err != nil {
			return err
		}
		if len(keys) == 0 {
			return fmt.Errorf("%s has no offline keys: name their folder with --offline", f.offline)
		}
	}
	for _, name := range names {
		b, err := readSmall(name)
		if err != nil {
			return err
		}
		signed, sum, err := artifact.SignDraft(b, keys)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(stdout, "%s: %s, version %d, valid until %s, %d files of its own\n", name, sum.Role, sum.Version, sum.Expires.Format(time.DateOnly), sum.Targets)
		for _, role := range slices.Sorted(maps.Keys(sum.Keys)) {
			fmt.Fprintf(stdout, "  %d of these sign for %s:\n", sum.Needs[role], role)
			for _, id := range sum.Keys[role] {
				fmt.Fprintf(stdout, "    %s\n", id)
			}
		}
		fmt.Fprintf(stdout, "  signed by %d:\n", len(sum.Signed))
		for _, id := range sum.Signed {
			fmt.Fprintf(stdout, "    %s\n", id)
		}
		if !f.yes {
			continue
		}
		if err := writeAside(name, 0o644, func(w io.Writer) error {
			_, err := w.Write(signed)
			return err
		}); err != nil {
			return err
		}
	}
	if !f.yes {
		fmt.Fprintln(stdout, "\nNothing was signed. If the ids are those that you were told, sign with --yes.")
	}
	return nil
}

// publishWait is how long a running server may take to put a change into force.
const publishWait = 15 * time.Second

func (f *keysFlags) publish(ctx context.Context, names []string, stdout, stderr io.Writer) error {
	s, err := artifact.OpenStorage(ctx, f.repository)
	if err != nil {
		return err
	}
	defer s.Close()
	copies := map[string][][]byte{} // of each draft
	want := map[string]int64{}
	for _, name := range names {
		b, err := readSmall(name)
		if err != nil {
			return err
		}
		_, sum, err := artifact.SignDraft(b, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		copies[sum.Role] = append(copies[sum.Role], b)
		want[sum.Role] = sum.Version
	}
	var drafts [][]byte
	for role, c := range copies {
		b, err := artifact.Combine(c...)
		if err != nil {
			return fmt.Errorf("joining the drafts of %s: %w", role, err)
		}
		drafts = append(drafts, b)
	}
	if err := artifact.Stage(ctx, s, drafts...); err != nil {
		return err
	}
	// A running server has the lock, and sees what was laid down.
	secret, err := f.secret(stderr)
	if err != nil {
		return err
	}
	r, err := artifact.Open(ctx, artifact.Options{Storage: s, Keys: func() ([]*artifact.Key, error) {
		return artifact.LoadKeys(f.online, secret, artifact.RoleBuilds, artifact.RoleSnapshot, artifact.RoleTimestamp)
	}})
	if err == nil {
		err = r.Close()
	} else if errors.Is(err, artifact.ErrLocked) {
		err = nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, publishWait)
	defer cancel()
	for {
		roles, err := artifact.Show(ctx, s)
		if err == nil && !slices.ContainsFunc(roles, func(r artifact.Summary) bool { return r.Version < want[r.Role] }) {
			fmt.Fprintln(stdout, "in force")
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("it is laid down, and not in force yet: the log of `evergreen serve` says why; are the new keys in its folder?"), err)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
