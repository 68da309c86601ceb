// Command evergreen is the service that collects reports from Caddy instances,
// keeps their sums, and shows them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/caddy-evergreen/evergreen/server/build/sandbox"
)

// A command is one of the subcommands. Its usage is what --help prints.
type command struct {
	name  string
	short string
	run   func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

func commands() []command {
	return []command{
		{"serve", "collect reports and show them; plan, build and serve updates", serve},
		{"demo", "see it all at work on this machine", demo},
		{"delta", "make and apply patches of executables", deltaCommand},
		{"build", "build a Caddy, or verify one, by the recipe of the build service", buildCommand},
		{"geo", "install a database that tells a sender's country", geoCommand},
		{"rollout", "bring a release to a growing share of instances", rolloutCommand},
		{"plan", "find the smallest change that fixes a build", planCommand},
		{"audit", "tell what a build is vulnerable to", audit},
		{"query", "ask for the numbers that charts show, or search them", queryCommand},
		{"dataset", "publish the open data set, verify or mirror one", datasetCommand},
		{"hello", "explain TLS ClientHellos", hello},
		{"release", "say how much a version matters", releaseCommand},
		{"advisory", "show known vulnerabilities, and rate them", advisoryCommand},
		{"alert", "be told when a number departs from what is usual", alertCommand},
		{"keys", "make and change the keys that updates are signed with", keysCommand},
		{"bench", "make up a fleet of instances; measure how fast pages are", bench},
		{"version", "print the version", version},
	}
}

func main() {
	sandbox.Enter() // a build's sandbox begins as this executable
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var status exitStatus
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "evergreen:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "evergreen:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("see `evergreen help`")

// An exitStatus is a result that a command's exit status tells, and that it has
// printed already.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		usage(stderr)
		return errUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		if len(args) > 1 {
			return run(ctx, []string{args[1], "--help"}, stdout, stderr)
		}
		usage(stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			return c.run(ctx, args[1:], stdout, stderr)
		}
	}
	return fmt.Errorf("there is no command %q: %w", args[0], errUsage)
}

func usage(w io.Writer) {
	fmt.Fprint(w, "evergreen: telemetry for the Caddy web server, the service's side\n\nUsage: evergreen COMMAND [FLAGS]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.short)
	}
	fmt.Fprint(w, "\n`evergreen help COMMAND` tells more of each.\n")
}

// flags makes a flag set whose help begins with about.
func flags(name, about string, stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "%s\n\nFlags:\n", about)
		fs.PrintDefaults()
	}
	return fs
}

// parse refuses arguments after the flags, which no command of ours but geo has.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", err, errUsage)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q: %w", fs.Name(), fs.Arg(0), errUsage)
	}
	return nil
}

func version(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flags("version", "Usage: evergreen version\n\nPrints the version of this program.", stderr)
	if err := parse(fs, args); err != nil {
		return err
	}
	fmt.Fprintln(stdout, ownVersion())
	return nil
}

func ownVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		return b.Main.Version
	}
	return "(devel)"
}
