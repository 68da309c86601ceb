package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/wire"
)

const planAbout = `Usage: evergreen plan [FLAGS] FILE
       evergreen plan [FLAGS] --caddy-releases

Finds the smallest change of a build of Caddy that fixes what the scope covers, and
prints why each module changes, and what stays unfixed and why.

FILE is a Caddy executable, what ` + "`go version -m`" + ` prints of one, a build list or a
check as JSON, a URL of one of these, or - for the standard input. Nothing of it is
sent anywhere but the paths and versions of modules to the module proxy (GOPROXY).

With --scope feature or all, the versions that the module proxy lists of Caddy and of
the plugins count as releases: a patch version as minor, a minor version as feature.

With --caddy-releases, it plans for every release of Caddy 2 that the module proxy
serves, without plugins, and prints one line for each.

The exit status is 0 if nothing is to be changed and nothing stays unfixed, 3 if
something is to be changed, 4 if nothing can be changed but something stays unfixed,
2 if the flags were wrong, and 1 if anything else went wrong.`

func planCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("plan", planAbout, stderr)
	var f planFlags
	f.register(fs)
	releases := fs.Bool("caddy-releases", false, "plan for every release of Caddy 2")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if *releases {
		if fs.NArg() > 0 {
			return fmt.Errorf("plan --caddy-releases takes no file: %w", errUsage)
		}
		return f.caddyReleases(ctx, stdout, stderr)
	}
	in, done, err := f.input(ctx, fs)
	if err != nil {
		return err
	}
	defer done()
	p, err := f.planner(ctx, in.check)
	if err != nil {
		return err
	}
	found, err := p.PlanLinked(ctx, in.check, in.names)
	if err != nil {
		return err
	}
	if f.json {
		err = writeJSON(stdout, found)
	} else {
		err = printPlan(stdout, in.check, found)
	}
	switch {
	case err != nil:
		return err
	case len(found.Changes) > 0:
		return exitStatus(3)
	case len(found.Unfixed) > 0:
		return exitStatus(4)
	}
	return nil
}

// input reads the build that the one argument names.
func (f *planFlags) input(ctx context.Context, fs *flag.FlagSet) (in buildInput, done func(), err error) {
	if fs.NArg() != 1 {
		return in, nil, fmt.Errorf("%s takes one file: %w", fs.Name(), errUsage)
	}
	dir, err := os.MkdirTemp("", "evergreen-")
	if err != nil {
		return in, nil, fmt.Errorf("making a folder for a download: %w", err)
	}
	done = func() { os.RemoveAll(dir) }
	if in, err = readBuild(ctx, fs.Arg(0), dir); err == nil {
		err = f.complete(&in.check)
	}
	if err != nil {
		done()
		return in, nil, err
	}
	return in, done, nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printPlan prints a plan's reasoning.
func printPlan(w io.Writer, c wire.Check, p wire.Plan) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "Build\tCaddy %s, %s, %s, %s, %s\n", c.Build.Version(wire.CaddyPath), count(len(p.Roots)-1-raised(p), "plugin"),
		count(len(c.Build.Modules), "module"), c.Build.Go, c.System)
	fmt.Fprintf(t, "Scope\t%s, channel %s%s\n", c.Scope, c.Channel, pinned(c.Pins))
	fmt.Fprintf(t, "Database\t%s\n", asOf(p.AdvisoriesAsOf))
	if err := t.Flush(); err != nil {
		return err
	}
	printChanges(w, p)
	return printUnfixed(w, p.Unfixed)
}

// raised counts the roots that are neither Caddy nor plugins.
func raised(p wire.Plan) int {
	n := 0
	for _, r := range p.Roots {
		if !r.Plugin && r.Path != wire.CaddyPath {
			n++
		}
	}
	return n
}

// maxShown is how many of a change's reasons the table names.
const maxShown = 4

func printChanges(w io.Writer, p wire.Plan) {
	if len(p.Changes) == 0 {
		fmt.Fprintln(w, "\nNothing is to be changed.")
		return
	}
	follow := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nCHANGE\tMODULE\tFROM\tTO\tWHY\n")
	for _, c := range p.Changes {
		if len(c.Reasons) == 0 && c.Kind == wire.ChangeDependency {
			follow++
			continue
		}
		for i, why := range reasons(c.Reasons) {
			if i == 0 {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Kind, c.Path, orDash(c.From), orDash(c.To), why)
			} else {
				fmt.Fprintf(t, "\t\t\t\t%s\n", why)
			}
		}
	}
	t.Flush()
	if follow > 0 {
		fmt.Fprintf(w, "and %s that those ask for (all of them with --json)\n", count(follow, "dependency"))
	}
	fmt.Fprint(w, "\ngo.mod then requires:")
	for _, r := range p.Roots {
		fmt.Fprintf(w, " %s", r)
	}
	fmt.Fprintf(w, "\nbuilt with %s\n", p.Build.Go)
}

// reasons are lines for a table; at least one.
func reasons(rs []wire.Reason) []string {
	if len(rs) == 0 {
		return []string{"another change requires it"}
	}
	var lines []string
	for i, r := range rs {
		if i == maxShown && len(rs) > maxShown+1 {
			var ids []string
			for _, r := range rs[i:] {
				ids = append(ids, r.ID)
			}
			return append(lines, fmt.Sprintf("and %d more: %s", len(ids), shorten(strings.Join(ids, ", "), 60)))
		}
		lines = append(lines, reasonLine(r))
	}
	return lines
}

func reasonLine(r wire.Reason) string {
	id := r.ID
	if r.Kind == "release" {
		id = "release " + id
	}
	s := fmt.Sprintf("%s (%s)", id, r.Severity)
	if r.Summary != "" {
		s += " " + shorten(r.Summary, 60)
	}
	return s
}

func printUnfixed(w io.Writer, us []wire.Unfixed) error {
	if len(us) == 0 {
		fmt.Fprintln(w, "\nNothing of what the scope covers stays unfixed.")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nUNFIXED\tMODULE\tWHY\n")
	for _, u := range us {
		fmt.Fprintf(t, "%s (%s)\t%s\t%s\n", u.Reason.ID, u.Reason.Severity, u.Path, u.Why)
	}
	return t.Flush()
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case strings.HasSuffix(what, "y"):
		return fmt.Sprintf("%d %sies", n, strings.TrimSuffix(what, "y"))
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func pinned(pins map[string]string) string {
	if len(pins) == 0 {
		return ""
	}
	return ", " + count(len(pins), "pin")
}

func asOf(t time.Time) string {
	if t.IsZero() {
		return "none: nothing is known of vulnerabilities"
	}
	return "of " + t.Format(time.DateOnly) + ": what was published later is not known"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func shorten(s string, n int) string {
	r := []rune(strings.Join(strings.Fields(s), " "))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n-1]) + "…"
}
