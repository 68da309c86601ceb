package main

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/caddy-evergreen/evergreen/nearest"
	"github.com/caddy-evergreen/evergreen/server/release"
	"github.com/caddy-evergreen/evergreen/wire"
)

// A verb is a subcommand of a command that asks a service.
type verb struct {
	args  string // in the usage
	about string
	run   func(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error
}

// runVerb runs the verb that args begins with.
func runVerb(ctx context.Context, command, about string, verbs map[string]verb, args []string, stdout, stderr io.Writer) error {
	names := slices.Sorted(func(yield func(string) bool) {
		for n := range verbs {
			if !yield(n) {
				return
			}
		}
	})
	if len(args) == 0 || slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]) {
		fmt.Fprintf(stderr, "Usage: evergreen %s VERB [FLAGS]\n\n%s\n\n", command, about)
		w := tabwriter.NewWriter(stderr, 0, 8, 2, ' ', 0)
		for _, n := range names {
			fmt.Fprintf(w, "  %s %s\t%s\n", n, verbs[n].args, verbs[n].about)
		}
		w.Flush()
		fmt.Fprintf(stderr, "%s\n\n`evergreen %s VERB --help` tells more of each.\n", clientAbout, command)
		if len(args) == 0 {
			return errUsage
		}
		return flag.ErrHelp
	}
	v, ok := verbs[args[0]]
	if !ok {
		hint := ""
		if n := nearest.Name(args[0], names); n != "" {
			hint = fmt.Sprintf(" (did you mean %q?)", n)
		}
		return fmt.Errorf("there is no `evergreen %s %.40s`%s: %w", command, args[0], hint, errUsage)
	}
	return v.run(ctx, new(client), args[0], args[1:], stdout, stderr)
}

// verbFlags makes a verb's flags, those of the client among them.
func verbFlags(c *client, command, name string, v verb, stderr io.Writer) *flag.FlagSet {
	fs := flags(command+" "+name, fmt.Sprintf("Usage: evergreen %s %s %s [FLAGS]\n\n%s.", command, name, v.args, capitalised(v.about)), stderr)
	c.flags(fs)
	return fs
}

func capitalised(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

const releaseAbout = `Says which versions matter, and how much. MODULE is a module's path as in
go.mod, or "toolchain"; VERSION is such as v1.2.3, or go1.26.11.`

func releaseCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runVerb(ctx, "release", releaseAbout, releaseVerbs(), args, stdout, stderr)
}

func releaseVerbs() map[string]verb {
	return map[string]verb{
		"tag":     {"MODULE@VERSION", "say how much a version matters, for whom it is", releaseTag},
		"list":    {"[MODULE]", "list releases, the latest first", releaseList},
		"show":    {"MODULE@VERSION", "show a release and who said what of it", releaseShow},
		"yank":    {"MODULE@VERSION", "withdraw a version: nothing is updated to it, and what runs it is offered the way off", releaseYank},
		"approve": {"MODULE@VERSION", "let another person's tag count, or reject it", releaseApprove},
		"grant":   {"MODULE", "give a person a role for a module, for all below a path (github.com/someone/...) or for all ('*')", releaseGrant},
		"revoke":  {"MODULE", "take a role away", releaseRevoke},
		"roles":   {"", "list who has which role", releaseRoles},
		"log":     {"[MODULE]", "list what was changed, by whom, the latest first", releaseLog},
		"key":     {"FILE", "make a key, whose public half an administrator grants a role", releaseKey},
	}
}

// moduleVersion reads the only argument, MODULE@VERSION.
func moduleVersion(name string, args []string) (path, version string, err error) {
	if len(args) == 1 {
		if path, version, ok := strings.Cut(args[0], "@"); ok && path != "" && version != "" {
			return path, version, nil
		}
	}
	return "", "", fmt.Errorf("%s takes one MODULE@VERSION, such as github.com/someone/plugin@v1.2.3: %w", name, errUsage)
}

// oneModule reads an argument that may be missing.
func oneModule(name string, args []string, must bool) (string, error) {
	if len(args) > 1 || must && len(args) == 0 {
		return "", fmt.Errorf("%s takes one MODULE: %w", name, errUsage)
	}
	return strings.Join(args, ""), nil
}

// several collects a flag that may be given more than once.
type several []string

func (s *several) String() string     { return strings.Join(*s, " ") }
func (s *several) Set(v string) error { *s = append(*s, v); return nil }

func releaseTag(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	var t release.Tag
	severity := fs.String("severity", "", "`SEVERITY`: critical (fixes a vulnerability of high risk), important (another security fix, or a great gain in performance), feature, minor")
	channel := fs.String("channel", "", "`CHANNEL`: stable or beta (default: beta for what comes before a release, such as v1.2.0-rc.1)")
	fs.StringVar(&t.Notes, "notes", "", "what is new, as `TEXT`")
	notesFile := fs.String("notes-file", "", "the same, from a `FILE`")
	fs.Var((*several)(&t.Links), "link", "`URL` of more; may be given several times")
	var kernels several
	fs.Var(&kernels, "min-kernel", "lowest version of an operating system's kernel that it runs on, as `OS=VERSION` (linux=3.2); may be given several times")
	fs.BoolVar(&t.Step, "step", false, "what is older must be updated to this version first")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if t.Path, t.Version, err = moduleVersion("tag", rest); err != nil {
		return err
	}
	if *notesFile != "" {
		b, err := os.ReadFile(*notesFile)
		if err != nil {
			return err
		}
		t.Notes = string(b)
	}
	for _, k := range kernels {
		if t.MinKernel == nil {
			t.MinKernel = map[string]string{}
		}
		os, v, _ := strings.Cut(k, "=")
		t.MinKernel[os] = v
	}
	t.Severity, t.Channel = wire.Severity(*severity), wire.Channel(*channel)
	if t.Severity == "" {
		return fmt.Errorf("tag needs a --severity: %w", errUsage)
	}
	var out release.Outcome
	if err := c.post(ctx, wire.PathReleases+"/tag", t, &out); err != nil {
		return err
	}
	return c.outcome(stdout, out)
}

// outcome prints what became of a change.
func (c *client) outcome(w io.Writer, out release.Outcome) error {
	if c.json {
		return printJSON(w, out)
	}
	if p := out.Proposal; p != nil {
		fmt.Fprintf(w, "%s@%s waits for another person:\n", printable(p.Release.Path), printable(p.Release.Version))
		printRelease(w, p.Release)
		fmt.Fprintf(w, "\nThe other person runs: evergreen release approve %s@%s --sum %.12s\n", printable(p.Release.Path), printable(p.Release.Version), printable(p.Sum))
	}
	if out.Release.Path != "" {
		if out.Proposal != nil {
			fmt.Fprintln(w, "\nUntil then it is:")
		}
		printRelease(w, out.Release)
	}
	return nil
}

func printRelease(to io.Writer, r wire.Release) {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(w, "%s\t%s\n", k, strings.ReplaceAll(printable(v), "\n", "\n\t"))
		}
	}
	line("release", r.Path+"@"+r.Version)
	line("severity", string(r.Severity))
	line("channel", string(r.Channel))
	line("withdrawn", r.Yanked)
	switch {
	case r.Tagged:
		line("tagged by", r.By+", "+r.Time.Format("2006-01-02 15:04 MST"))
	default:
		line("found", r.Time.Format("2006-01-02 15:04 MST")+", nobody has tagged it")
	}
	if r.Step {
		line("step", "what is older is updated to this version first")
	}
	for _, os := range slices.Sorted(mapKeys(r.MinKernel)) {
		line("needs", os+" "+r.MinKernel[os])
	}
	line("links", strings.Join(r.Links, "\n"))
	line("notes", r.Notes)
	w.Flush()
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func releaseList(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	severity := fs.String("severity", "", "only those of this `SEVERITY`")
	channel := fs.String("channel", "", "only those of this `CHANNEL`")
	limit := fs.Int("limit", 50, "at most `N` of them")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	module, err := oneModule("list", rest, false)
	if err != nil {
		return err
	}
	var list release.ReleaseList
	if err := c.get(ctx, wire.PathReleases, asked("path", module, "severity", *severity, "channel", *channel, "limit", fmt.Sprint(*limit)), &list); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, list)
	}
	w := tabwriter.NewWriter(stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "SEVERITY\tRELEASE\tCHANNEL\tSINCE\tBY\tWITHDRAWN")
	for _, r := range list.Releases {
		row(w, r.Severity, r.Path+"@"+r.Version, r.Channel, r.Time.Format("2006-01-02"), cmp.Or(r.By, "-"), r.Yanked)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if list.More > 0 {
		fmt.Fprintf(stdout, "and %d more: see --limit\n", list.More)
	}
	for _, p := range list.Pending {
		fmt.Fprintln(stdout, printable(fmt.Sprintf("%s@%s waits for another person's approval as %s: evergreen release approve %s@%s",
			p.Release.Path, p.Release.Version, p.Release.Severity, p.Release.Path, p.Release.Version)))
	}
	return nil
}

// asked makes a query of names and values, without those that are empty.
func asked(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func releaseShow(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	shown, err := c.shown(ctx, "show", rest)
	if err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, shown)
	}
	if err := c.outcome(stdout, shown.Outcome); err != nil {
		return err
	}
	fmt.Fprintln(stdout)
	return printLog(stdout, shown.History)
}

func (c *client) shown(ctx context.Context, verb string, args []string) (shown release.ReleaseShown, err error) {
	path, version, err := moduleVersion(verb, args)
	if err != nil {
		return shown, err
	}
	return shown, c.get(ctx, wire.PathReleases+"/show", asked("path", path, "version", version), &shown)
}

func releaseYank(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	var y release.YankRequest
	fs.StringVar(&y.Reason, "reason", "", "why, as one line of `TEXT` that operators read")
	fs.BoolVar(&y.Restore, "restore", false, "take the withdrawal back")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if y.Path, y.Version, err = moduleVersion("yank", rest); err != nil {
		return err
	}
	if y.Reason == "" {
		return fmt.Errorf("yank needs a --reason: %w", errUsage)
	}
	var out release.Outcome
	if err := c.post(ctx, wire.PathReleases+"/yank", y, &out); err != nil {
		return err
	}
	return c.outcome(stdout, out)
}

func releaseApprove(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	sum := fs.String("sum", "", "`SUM` of the proposal that you have seen, at least 12 digits of it; without, it is shown")
	reject := fs.Bool("reject", false, "reject it")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	shown, err := c.shown(ctx, "approve", rest)
	if err != nil {
		return err
	}
	p := shown.Proposal
	switch {
	case p == nil:
		return fmt.Errorf("no tag of %s waits for approval", rest[0])
	case *sum == "":
		return c.outcome(stdout, shown.Outcome)
	case len(*sum) < 12:
		return fmt.Errorf("--sum needs at least 12 digits: %w", errUsage)
	case !strings.HasPrefix(p.Sum, *sum):
		return errors.New("the proposal is another one now: run the command without --sum to see it")
	}
	var out release.Outcome
	if err := c.post(ctx, wire.PathReleases+"/approve", release.ApproveRequest{
		Path: p.Release.Path, Version: p.Release.Version, Sum: p.Sum, Reject: *reject,
	}, &out); err != nil {
		return err
	}
	if *reject && !c.json {
		fmt.Fprintln(stdout, "rejected")
	}
	return c.outcome(stdout, out)
}

func releaseLog(ctx context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := verbFlags(c, "release", name, releaseVerbs()[name], stderr)
	limit := fs.Int("limit", 50, "at most `N` changes")
	before := fs.String("before", "", "those before the change number `N`")
	verify := fs.Bool("verify", false, "read the whole log, and check that no change was altered or taken away")
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if *verify {
		return c.verifyLog(ctx, stdout)
	}
	module, err := oneModule("log", rest, false)
	if err != nil {
		return err
	}
	var list release.AuditList
	if err := c.get(ctx, wire.PathReleases+"/audit", asked("path", module, "limit", fmt.Sprint(*limit), "before", *before), &list); err != nil {
		return err
	}
	if c.json {
		return printJSON(stdout, list)
	}
	return printLog(stdout, list.Changes)
}

// verifyLog reads the log from its end, as the service gives it, and checks it
// from its beginning.
func (c *client) verifyLog(ctx context.Context, stdout io.Writer) error {
	var log []release.Change
	for before := ""; ; {
		var page release.AuditList
		if err := c.get(ctx, wire.PathReleases+"/audit", asked("limit", "1000", "before", before), &page); err != nil {
			return err
		}
		log = append(log, page.Changes...)
		// Else a service could go on for ever.
		if page.Next == 0 || len(page.Changes) == 0 || page.Changes[len(page.Changes)-1].N > log[0].N-int64(len(log))+1 {
			break
		}
		before = fmt.Sprint(page.Next)
	}
	var chain release.Chain
	for _, line := range slices.Backward(log) {
		if err := chain.Next(line); err != nil {
			return err
		}
	}
	if c.json {
		return printJSON(stdout, chain)
	}
	fmt.Fprintf(stdout, "%d changes, none altered. Keep this sum, to compare when the log is longer:\n%s\n", chain.Lines, chain.Sum)
	return nil
}

func printLog(to io.Writer, changes []release.Change) error {
	w := tabwriter.NewWriter(to, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "CHANGE\tTIME\tBY\tACTION\tOF")
	for _, ch := range changes {
		row(w, ch.N, ch.Time.Format("2006-01-02 15:04:05"), ch.By, ch.Action, strings.Trim(ch.Path+" "+ch.Subject, " "))
	}
	return w.Flush()
}

func releaseKey(_ context.Context, c *client, name string, args []string, stdout, stderr io.Writer) error {
	fs := flags("release key", "Usage: evergreen release key FILE\n\nMakes an Ed25519 key in FILE, which only you can read, and prints its public half\nfor an administrator's `evergreen release grant MODULE --public-key …`.", stderr)
	rest, err := interleaved(fs, args)
	if err != nil {
		return err
	}
	if len(rest) != 1 {
		return fmt.Errorf("key takes one FILE: %w", errUsage)
	}
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(rest[0], os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), f.Sync(), f.Close()); err != nil {
		return err
	}
	fmt.Fprintln(stdout, hex.EncodeToString(pub))
	return nil
}
