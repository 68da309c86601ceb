package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/called"
	"github.com/caddy-evergreen/evergreen/server/plan"
	"github.com/caddy-evergreen/evergreen/wire"
)

const auditAbout = `Usage: evergreen audit [FLAGS] FILE

Tells what a build is vulnerable to, whether the vulnerable code is in it, and what
fixes it.

FILE is an executable made by Go, what ` + "`go version -m`" + ` prints of one, a build list or
a check as JSON, a URL of one of these, or - for the standard input. Only an
executable tells which packages and functions are linked; also one that was stripped
does. Its bytes are not sent anywhere: module paths and versions go to the module
proxy (GOPROXY), and the vulnerability database is downloaded as a whole.

LINKED is "symbol" if a vulnerable function is in the executable, "package" if only
its package is, "absent" if not even that is (then it is information, and needs no
fix), and "unknown" without an executable. Nobody rates the vulnerabilities of the Go
database; what is unrated counts as important if a vulnerable function is linked or
that is not known, and as minor if only its package is. With --called it is told
whether a vulnerable function can be reached from the program's start; that changes no
severity, because calls through reflection are not seen.

A database that is older than --max-age never calls anything clean, since it does not
know what was found later: the answer is "unknown since" its date.

The exit status is 0 if the build is clean, 3 if it is vulnerable, 4 if that is
unknown, 2 if the flags were wrong, and 1 if anything else went wrong.`

func audit(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("audit", auditAbout, stderr)
	var f planFlags
	f.register(fs)
	fs.DurationVar(&f.maxAge, "max-age", plan.DefaultMaxAge, "how old the database may be and still call a build clean")
	trace := fs.Bool("called", false, "follow the calls of a Caddy's source, too: whether vulnerable functions can be reached (needs Go, some minutes and 3 GB of memory; kept for the next time)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
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
	found, err := p.Audit(ctx, in.check, in.names, time.Now(), f.maxAge)
	if err != nil {
		return err
	}
	if *trace {
		if err := f.trace(ctx, p, in.check, &found); err != nil {
			return err
		}
	}
	if f.json {
		err = writeJSON(stdout, found)
	} else {
		err = printAudit(stdout, in.check, found)
	}
	switch {
	case err != nil:
		return err
	case found.Verdict == plan.Vulnerable:
		return exitStatus(3)
	case found.Verdict == plan.Unknown:
		return exitStatus(4)
	}
	return nil
}

// trace adds to an audit which vulnerabilities the build's code can reach.
func (f *planFlags) trace(ctx context.Context, p *plan.Planner, c wire.Check, found *plan.Audit) error {
	// A plan that changes nothing tells what the build's go.mod requires.
	c.Scope = wire.ScopeNone
	now, err := p.Plan(ctx, c)
	if err != nil {
		return err
	}
	dir, err := f.folder()
	if err != nil {
		return err
	}
	t, err := called.New(called.Config{Dir: filepath.Join(dir, "called")})
	if err != nil {
		return err
	}
	goes, _, _ := strings.Cut(c.Build.Go, " ")
	levels, err := t.Caddy(ctx, called.Build{Roots: now.Roots, Go: goes, System: c.System}, f.vulndb, found.AdvisoriesAsOf)
	if err != nil {
		return err
	}
	for i, v := range found.Findings {
		found.Findings[i].Called = string(levels[v.ID])
	}
	return nil
}

func printAudit(w io.Writer, c wire.Check, a plan.Audit) error {
	fmt.Fprintf(w, "%s\n", a.Says)
	absent := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "\nVULNERABILITY\tSEVERITY\tMODULE\tVERSION\tFIXED IN\tLINKED\tWHAT\n"
	for _, v := range a.Findings {
		if v.Severity == wire.SeverityUnrated {
			absent++
			continue
		}
		fmt.Fprint(t, head)
		head = ""
		fixed := v.FixedIn
		if fixed == "" {
			fixed = "no version"
		}
		linked := string(v.Linked)
		switch {
		case v.Called == string(called.Called):
			linked += ", called"
		case v.Called != "":
			linked += ", not called"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.ID, v.Severity, v.Path, v.Version, fixed, linked, shorten(v.Summary, 60))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if absent > 0 {
		fmt.Fprintf(w, "\nand %s of modules in it whose vulnerable packages are not linked (with --json)\n", count(absent, "vulnerability"))
	}
	for _, m := range a.Unchecked {
		fmt.Fprintf(w, "\nNothing is known of %s: it is of no released version.\n", m)
	}
	if a.Plan == nil {
		_, err := fmt.Fprintf(w, "\nNo plan: %s\n", a.PlanError)
		return err
	}
	fmt.Fprintf(w, "\nWhat fixes it, with scope %s:\n", c.Scope)
	printChanges(w, *a.Plan)
	return printUnfixed(w, a.Plan.Unfixed)
}
