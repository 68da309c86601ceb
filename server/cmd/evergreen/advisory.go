package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

const advisoryAbout = `Shows known vulnerabilities of Go modules, the standard library ("stdlib") and
the toolchain ("toolchain"), and rates them. ID is such as GO-2026-5346, or an
alias (CVE-…, GHSA-…).`

func advisoryCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runVerb(ctx, "advisory", advisoryAbout, advisoryVerbs(), args, stdout, stderr)
}

func advisoryVerbs() map[string]verb {
	return map[string]verb{
		"list":     {"[MODULE]", "list advisories, the latest first", advisoryList},
		"show":     {"ID", "show an advisory", advisoryShow},
		"override": {"ID", "rate an advisory, whatever anybody else says (for administrators of all modules)", advisoryOverride},
	}
}

func oneID(verb string, args []string) (string, error) {
	if len(args) != 1 {
		return "", fmt.Errorf("%s takes one ID: %w", verb, errUsage)
	}
	return args[0], nil
}

func advisoryList(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "advisory", name, advisoryVerbs()[name], stderr)
	severity := fs.String("severity", "", "only those of this `SEVERITY`; unrated is one, too")
	limit := fs.Int("limit", 50, "at most `N` of them")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	module, err := oneModule("list", rest, false)
	if err != nil {
		return err
	}
	var list release.AdvisoryList
	if err := c.get(ctx, wire.PathAdvisories, asked("path", module, "severity", *severity, "limit", fmt.Sprint(*limit)), &list); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, list)
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSEVERITY\tMODULE\tFIXED IN\tSUMMARY")
	for _, a := range list.Advisories {
		row(w, a.ID, a.Severity, a.Path, fixes(a), fmt.Sprintf("%.100s", a.Summary))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if list.More > 0 {
		fmt.Fprintf(stdout, "and %d more: see --limit\n", list.More)
	}
	fmt.Fprintln(stdout, age(list.AsOf))
	return nil
}

// age tells what a database does not know.
func age(asOf time.Time) string {
	if asOf.IsZero() {
		return "The service has no database of vulnerabilities: nothing is known of any."
	}
	return "The database is of " + asOf.Format("2006-01-02") + ": what was published later is not known."
}

func fixes(a wire.Advisory) string {
	var fixed []string
	for _, r := range a.Ranges {
		if r.Fixed != "" {
			fixed = append(fixed, r.Fixed)
		}
	}
	return cmp.Or(strings.Join(fixed, ", "), "-")
}

func advisoryShow(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "advisory", name, advisoryVerbs()[name], stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	id, err := oneID("show", rest)
	if err != nil {
		return err
	}
	var shown release.AdvisoryShown
	if err := c.get(ctx, wire.PathAdvisories+"/"+id, nil, &shown); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, shown)
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s\t%s\n", k, printable(v))
		}
	}
	for i, a := range shown.Advisories {
		if i == 0 {
			line("advisory", a.ID)
			line("aliases", strings.Join(a.Aliases, ", "))
			line("published", a.Published.Format("2006-01-02"))
			line("summary", a.Summary)
			line("link", shown.Link)
			if o := shown.Override; o != nil {
				line("override", fmt.Sprintf("%s, by %s: %s", o.Severity, o.By, o.Reason))
			}
		}
		line("module", a.Path)
		line("  severity", string(a.Severity)+" (by "+a.Why+")")
		for _, r := range a.Ranges {
			line("  affected", "from "+cmp.Or(r.Introduced, "the first")+cmp.Or(map[bool]string{true: ", fixed in " + r.Fixed}[r.Fixed != ""], ", not fixed"))
		}
		for _, p := range a.Packages {
			line("  package", p.Path+" "+strings.Join(p.Symbols, " "))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(stdout, age(shown.AsOf))
	return nil
}

func advisoryOverride(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "advisory", name, advisoryVerbs()[name], stderr)
	var o release.OverrideRequest
	severity := fs.String("severity", "", "`SEVERITY`: critical, important, feature, minor or unrated")
	fs.StringVar(&o.Reason, "reason", "", "why, as one line of `TEXT`")
	clear := fs.Bool("clear", false, "take an override back")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if o.ID, err = oneID("override", rest); err != nil {
		return err
	}
	if *clear == (*severity != "") {
		return fmt.Errorf("override needs either --severity or --clear: %w", errUsage)
	}
	if o.Reason == "" {
		return fmt.Errorf("override needs a --reason: %w", errUsage)
	}
	o.Severity = wire.Severity(*severity)
	var done release.Override
	if err := c.post(ctx, wire.PathAdvisories+"/override", o, &done); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, done)
	}
	if *clear {
		fmt.Fprintln(stdout, printable(done.ID+" is no longer overridden"))
		return nil
	}
	fmt.Fprintln(stdout, printable(fmt.Sprintf("%s is %s", done.ID, done.Severity)))
	return nil
}
