package evergreen

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
	"golang.org/x/mod/semver"

	"github.com/caddy-evergreen/evergreen/boot"
	"github.com/caddy-evergreen/evergreen/slots"
)

func slotsCommand(s *shared) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "slots",
		Short: "Shows the executables that Caddy updated itself to",
		Long: `Shows the executables that Caddy updated itself to, and the installed one: which
versions they are, which one runs, which one the next start runs, whether they
served well, and in how many starts each may still fail to come up.

They are in the folder evergreen/updates of Caddy's data directory, which the
running Caddy tells. Without one, it is looked for where this user's Caddy and
the user 'caddy' have it, or in --data.`,
		Example: `  $ caddy evergreen slots
  $ sudo -u caddy caddy evergreen slots --json
  $ caddy evergreen slots --data /var/lib/caddy/.local/share/caddy`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := s.slotsNow(data)
			if err != nil {
				return err
			}
			if s.json {
				body, err := json.Marshal(d)
				return show(cmd.OutOrStdout(), body, err)
			}
			return writeSlots(cmd.OutOrStdout(), d, time.Now())
		},
	}
	cmd.Flags().StringVarP(&data, "data", "", "", "Caddy's data directory, in place of asking the running Caddy")
	return cmd
}

// slotsDocument is what 'caddy evergreen slots --json' prints. Times are as RFC 3339.
type slotsDocument struct {
	Folder    string         `json:"folder"`
	Installed slots.Identity `json:"installed"`
	Active    string         `json:"active"`            // slot; "": the installed executable
	Running   *string        `json:"running,omitempty"` // slot, of a Caddy that answers
	Slots     []slots.Slot   `json:"slots"`             // the oldest first
}

// slotsNow reads the folder of slots.
func (s *shared) slotsNow(data string) (d slotsDocument, err error) {
	dir := boot.Updates(data)
	if data == "" {
		now, asked := s.updatesNow()
		if asked == nil && now.Folder != "" {
			dir, d.Running, d.Installed.Path = now.Folder, &now.Running, now.Installed
		} else {
			dir = findSlots()
		}
	}
	d.Folder = dir
	open := slots.Open(dir)
	if d.Slots, err = open.List(); err != nil {
		return d, fmt.Errorf("%w: 'sudo' may be needed, or --data with Caddy's data directory", err)
	}
	if d.Active, err = open.ActiveID(); err != nil {
		return d, err
	}
	if d.Slots == nil {
		d.Slots = []slots.Slot{}
	}
	if d.Installed.Path == "" {
		d.Installed.Path, _ = os.Executable()
		if n := len(d.Slots); n > 0 && d.Slots[n-1].Installed.Path != "" {
			d.Installed.Path = d.Slots[n-1].Installed.Path
		}
	}
	if i, err := slots.Identify(d.Installed.Path); err == nil {
		d.Installed = i
	}
	return d, nil
}

// findSlots is the folder of slots of this user's Caddy, or, if that has none, of
// the user that packages run it as.
func findSlots() string {
	own := updatesDir()
	for _, dir := range []string{own, packagedUpdates()} {
		if _, err := os.Stat(filepath.Join(dir, "slots")); dir != "" && err == nil {
			return dir
		}
	}
	return own
}

// packagedUpdates is where the user 'caddy' has the folder of updates; "" if there
// is no such user.
func packagedUpdates() string {
	u, err := user.Lookup("caddy")
	if err != nil || u.HomeDir == "" {
		return ""
	}
	return boot.Updates(boot.DataDir(func(name string) string {
		return map[string]string{"HOME": u.HomeDir, "AppData": u.HomeDir}[name]
	}))
}

func writeSlots(out io.Writer, d slotsDocument, now time.Time) error {
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SLOT\tCADDY\tSTATE\tTRIES\tMADE\t")
	runs := func(id string) string {
		if d.Running != nil && *d.Running == id {
			return "runs"
		}
		return ""
	}
	next := "starts next"
	var lines []string
	for _, s := range d.Slots {
		state, starts := string(s.State), ""
		if !s.Sealed {
			state = "not whole"
		}
		switch {
		case s.ID != d.Active:
		case s.State == slots.Bad || !s.Sealed || s.Tries == 0:
			starts = "active, and not started: see the log of the last start"
		default:
			starts, next = "starts next", ""
		}
		lines = append(lines, fmt.Sprintf("%.12s\t%s\t%s\t%d of %d\t%s\t%s\n",
			s.ID, s.Caddy, state, s.Tries, s.Most, when(s.Made.Round(time.Second), now), join(join(runs(s.ID), starts), s.Why)))
	}
	fmt.Fprintf(w, "installed\t%s\t\t\t\t%s\n", orUnknown(d.Installed.Caddy), join(join(runs(""), next), d.Installed.Path))
	for _, l := range lines {
		fmt.Fprint(w, l)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(&b, "They are in %s.\n", d.Folder)
	_, err := out.Write(b.Bytes())
	return err
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}

func promoteCommand(s *shared) *cobra.Command {
	var p promotion
	var yes bool
	cmd := &cobra.Command{
		Use:   "promote",
		Short: "Writes what Caddy updated itself to over the installed executable",
		Long: `Writes the active slot's executable over the installed one, which keeps its owner,
permissions and capabilities, so that every use of it, also without this module's
data directory, is of the new version. Nothing is interrupted: the running Caddy
goes on as it is, and the next start needs no slot.

It is verified once more, against the root of trust that the executable which
runs this command was built with, or which --root or EVERGREEN_ROOT names, and
only an executable that has served well is taken. Who may write beside the
installed executable may do this: mostly root.

If a package manager installed it, its next upgrade will write over it.`,
		Example: `  $ sudo caddy evergreen promote
  $ sudo caddy evergreen promote --root /etc/caddy/root.json --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := s.slotsNow(p.data)
			if err != nil {
				return err
			}
			if err := p.prepare(d); err != nil {
				return err
			}
			if !yes {
				if err := confirm(cmd.InOrStdin(), cmd.ErrOrStderr(), p.String()); err != nil {
					return err
				}
			}
			if err := p.do(); err != nil {
				return err
			}
			if s.json {
				body, err := json.Marshal(map[string]string{"path": p.over, "from": p.was.Caddy, "to": p.slot.Caddy})
				return show(cmd.OutOrStdout(), body, err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is Caddy %s now.\n", p.over, p.slot.Caddy)
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&yes, "yes", "y", false, "Do it without asking")
	f.StringVarP(&p.data, "data", "", "", "Caddy's data directory, in place of asking the running Caddy")
	f.StringVarP(&p.over, "over", "", "", "File to write over, if it is not the executable that runs this command")
	f.StringVarP(&p.root, "root", "", "", "File with the root metadata to trust, in place of what was built in")
	return cmd
}

// A promotion is one executable over another.
type promotion struct {
	data, over, root string
	dir              *slots.Dir
	slot             slots.Slot
	was              slots.Identity // of what is written over
	trusted          [32]byte
}

func (p *promotion) String() string {
	return fmt.Sprintf("Caddy %s is written over %s, which is %s.", p.slot.Caddy, p.over, orUnknown(p.was.Caddy))
}

// prepare finds out what is to be done. Who Caddy runs as can write whatever it
// likes to the folder of slots, and this command may be root's: nothing that the
// folder or the running Caddy says names the file that is written to.
func (p *promotion) prepare(d slotsDocument) (err error) {
	p.dir = slots.Open(d.Folder)
	var ok bool
	if p.slot, ok, err = p.dir.Active(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("nothing to write over the installed executable: no slot is active in %s", d.Folder)
	}
	if p.slot.State != slots.Good {
		return fmt.Errorf("slot %.12s (Caddy %s) is %s, and only what has served well is promoted: 'caddy evergreen status' tells how it goes", p.slot.ID, p.slot.Caddy, p.slot.State)
	}
	if p.over == "" {
		if p.over, err = os.Executable(); err != nil {
			return fmt.Errorf("finding the installed executable: %w: name it with --over", err)
		}
	}
	if p.over, err = filepath.EvalSymlinks(p.over); err != nil {
		return fmt.Errorf("finding the installed executable: %w", err)
	}
	if real, err := filepath.EvalSymlinks(d.Folder); err == nil {
		if in, err := filepath.Rel(real, p.over); err == nil && filepath.IsLocal(in) {
			return errors.New("this command is run by the executable in the slot: name the installed one with --over")
		}
	}
	if p.was, err = slots.Identify(p.over); err != nil {
		return fmt.Errorf("%w: only an executable of Caddy is written over", err)
	}
	return p.findRoot()
}

func (p *promotion) findRoot() error {
	root, known, err := boot.TrustedRoot(func(name string) string {
		if name == boot.Root && p.root != "" {
			return p.root
		}
		return os.Getenv(name)
	})
	switch {
	case err != nil:
		return err
	case !known:
		return errors.New("this executable knows no root of trust to verify the slot with: name a file with the root metadata with --root, the one that the configuration or " + boot.Root + " names")
	}
	p.trusted = root
	return nil
}

// do replaces the file.
func (p *promotion) do() error {
	err := p.dir.Install(p.slot.ID, p.over, func(file string) error {
		target, err := boot.Prove(p.dir, p.slot, p.trusted, file)
		if err != nil {
			return err
		}
		return notOlder(p.was, target.Custom.Spec)
	})
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: this user may not do that; try 'sudo %s evergreen promote', or leave it: the slot is used at every start as it is", err, cmp.Or(filepath.Base(p.over), "caddy"))
	}
	if err != nil {
		return err
	}
	if installed, err := filepath.EvalSymlinks(p.slot.Installed.Path); err != nil || installed != p.over {
		return nil // what Caddy is started from is another file, which needs the slot
	}
	// What is installed goes first now, so this only saves the next start a look.
	if err := p.dir.Activate("", 0); err != nil {
		caddy.Log().Named("evergreen").Warn("the slot stays active, which does no harm: " + err.Error())
	}
	return nil
}

// notOlder refuses to write an older Caddy, as it is signed, over a newer one.
func notOlder(was slots.Identity, spec json.RawMessage) error {
	var signed struct {
		Caddy string `json:"caddy"`
	}
	if err := json.Unmarshal(spec, &signed); err != nil || !semver.IsValid(signed.Caddy) {
		return errors.New("it is not signed as any version of Caddy")
	}
	if semver.IsValid(was.Caddy) && semver.Compare(signed.Caddy, was.Caddy) < 0 {
		return fmt.Errorf("it is Caddy %s, older than the installed %s", signed.Caddy, was.Caddy)
	}
	return nil
}
